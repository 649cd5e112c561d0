"""Frames of codec ``twin-1``: what the twins did not foresee, within the tolerance of each column.

Frames of a run continue each other, so that few bytes are enough; a key frame begins a run and needs no other frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.codec import columns as table
from edgetwin.codec import plain, twin
from edgetwin.codec.contents import FrameGap, span
from edgetwin.codec.envelope import FrameTooLargeError, enclose, gateway_name
from edgetwin.codec.foresight import UNCERTAIN_SHARE, Foresight, exact
from edgetwin.codec.frames import encode_frame
from edgetwin.codec.limits import COLUMNS_MAX
from edgetwin.codec.spreads import quantise
from edgetwin.codec.stream import Coded, Stream, bits_for, steps_of
from edgetwin.records import Dynamics, Event, Foreseen, Report, SignalSummary

KEY_EVERY_S = 600.0
KEY_FIRST_S = 30.0
RUN_FRAMES_MAX = 1_024
RUN_BYTES_MAX = 4 * 1024 * 1024


class Encoder(Protocol):
    """Makes the frames of one gateway."""

    @property
    def run(self) -> int | None:
        """Sequence number of the key frame of the run that the last frame belongs to; None: it stands alone."""

    def request_key(self) -> None:
        """Let the next frame with reports be one that needs no other."""

    def encode(
        self,
        reports: Sequence[Report],
        epoch: int,
        seq: int,
        events: Sequence[Event] = (),
        gaps: Sequence[FrameGap] = (),
        signals: Sequence[SignalSummary] = (),
    ) -> bytes:
        """One frame. FrameTooLargeError when it passes a bound, FrameError when an argument cannot be written."""


class FrameEncoder:
    """Makes the frames of one gateway, which a receiver decodes in their order.

    A key frame comes first, then when ``key_every_s`` of the reports' time, RUN_FRAMES_MAX frames or ``run_bytes_max``
    bytes have passed, when the epoch changes, after an error, and when one is requested. The first runs are shorter
    (KEY_FIRST_S, then twice the last), as filters still learn then. ``foresight`` tells what is known of columns when
    they are first named in a run; it is asked on the caller's thread.
    """

    def __init__(
        self,
        gateway: str,
        foresight: Foresight = exact,
        key_every_s: float = KEY_EVERY_S,
        run_bytes_max: int = RUN_BYTES_MAX,
    ) -> None:
        self._gateway = gateway_name(gateway)
        self._foresight = foresight
        self._key_every_ns = round(key_every_s * NS)
        self._key_next_ns = min(round(KEY_FIRST_S * NS), self._key_every_ns)
        self._run_bytes_max = run_bytes_max
        self._alone = True
        self._stream: Stream | None = None
        self._numbers: dict[table.Column, int] = {}
        self._epoch = self._key = self._previous = self._key_t = self._frames = self._bytes = 0

    @property
    def run(self) -> int | None:
        """Sequence number of the key frame of the run that the last frame belongs to; None: it stands alone."""
        return None if self._alone else self._key

    def request_key(self) -> None:
        """Let the next frame with reports be a key frame."""
        self._stream = None

    def encode(
        self,
        reports: Sequence[Report],
        epoch: int,
        seq: int,
        events: Sequence[Event] = (),
        gaps: Sequence[FrameGap] = (),
        signals: Sequence[SignalSummary] = (),
    ) -> bytes:
        """One frame; one without reports is of codec ``plain-1`` and stands outside the run.

        FrameTooLargeError when it passes a bound, FrameError when an argument cannot be written; the next frame is then
        a key frame.
        """
        self._alone = not reports
        if not reports:
            return encode_frame((), self._gateway, epoch, seq, events, gaps, signals)
        stream, columns = self._run(reports, epoch, span(reports)[1])
        self._stream = None  # until everything has gone well
        key = self._key if self._frames else seq
        previous = self._previous if self._frames else seq
        fresh, payload = self._payload(stream, reports, columns, key, previous)
        data = enclose(self._gateway, epoch, seq, reports, twin.CODEC, fresh, payload, signals, events, gaps)
        self._stream, self._epoch, self._key, self._previous = stream, epoch, key, seq
        self._frames += 1
        self._bytes += len(data)
        return data

    def _run(self, reports: Sequence[Report], epoch: int, t1: int) -> tuple[Stream, list[NDArray[np.int32]]]:
        """The stream that goes on, or a new one, and the numbers of the columns of each report."""
        for report in reports:
            plain.check(report)
        if sum(len(report) for report in reports) > twin.VALUES_MAX or len(reports) > twin.REPORTS_MAX:
            raise FrameTooLargeError(f"the reports have more than {twin.VALUES_MAX} values")
        stream = self._stream
        within = self._frames < RUN_FRAMES_MAX and self._bytes < self._run_bytes_max
        if stream is not None and epoch == self._epoch and abs(t1 - self._key_t) < self._key_next_ns and within:
            return stream, [self._number(report) for report in reports]
        if self._frames and abs(t1 - self._key_t) >= self._key_next_ns:
            self._key_next_ns = min(2 * self._key_next_ns, self._key_every_ns)
        before = len(self._numbers)
        self._numbers = {}
        self._frames, self._bytes, self._key_t = 0, 0, t1
        columns = [self._number(report) for report in reports]
        return Stream(bits_for(max(before, len(self._numbers)))), columns

    def _payload(
        self,
        stream: Stream,
        reports: Sequence[Report],
        columns: Sequence[NDArray[np.int32]],
        key: int,
        previous: int,
    ) -> tuple[list[table.Column], bytes]:
        """The columns named for the first time, and the payload."""
        known = len(stream.names)
        fresh = list(self._numbers)[known:]
        if len(self._numbers) > COLUMNS_MAX:
            raise FrameTooLargeError(f"the run has more than {COLUMNS_MAX} columns")
        foreseen = self._foresight(fresh) if fresh else Foreseen(np.zeros(0))
        tolerance = _settled(foreseen.tolerance, known, reports, columns)
        steps, models = self._declare(stream, known, fresh, Foreseen(tolerance, foreseen.dynamics))
        coded = [_coded(stream, report, column) for report, column in zip(reports, columns, strict=True)]
        instants = [span(reports)[0], *(report.t_ns for report in reports)]
        times = [twin.wrapped(b - a) for a, b in pairwise(instants)]
        layouts = [twin.layout_to_wire(stream, column) for column in columns]
        code = stream.encode(coded)
        told = tuple(zip(times, layouts, strict=True))
        payload = twin.Payload(key, previous, stream.bits, steps, models, told, code, twin.check_of(coded))
        return fresh, twin.pack(payload)

    def _number(self, report: Report) -> NDArray[np.int32]:
        """The numbers of a report's columns, new ones included."""
        numbers = self._numbers
        return np.array([numbers.setdefault(column, len(numbers)) for column in report.columns], np.int32)

    @staticmethod
    def _declare(
        stream: Stream, known: int, fresh: list[table.Column], foreseen: Foreseen
    ) -> tuple[NDArray[np.float32], tuple[object, ...]]:
        """Tell the stream of new columns; gives what the decoder has to be told."""
        stream.add(fresh)
        steps = steps_of(foreseen.tolerance)
        stream.set_laws(known, steps, foreseen.tolerance)
        models = []
        for dynamics in foreseen.dynamics:
            numbered = Dynamics(dynamics.interval_ns, dynamics.first + known, dynamics.matrix)
            models.append(twin.model_to_wire(numbered))
            twin.model_from_wire(stream, models[-1])
        return steps, tuple(models)


def _settled(
    tolerance: NDArray[np.float64],
    known: int,
    reports: Sequence[Report],
    columns: Sequence[NDArray[np.int32]],
) -> NDArray[np.float64]:
    """Tolerances of the columns from number ``known`` on, where they are not known by their first deviations."""
    settled = np.array(tolerance, np.float64)
    for report, column in zip(reversed(reports), reversed(columns), strict=True):
        mine = np.flatnonzero(column >= known)
        mine = mine[np.isnan(tolerance[column[mine] - known])]
        std = report.std[mine]
        settled[column[mine] - known] = np.where(np.isfinite(std) & (std > 0), std * UNCERTAIN_SHARE, 0.0)
    return settled


def _coded(stream: Stream, report: Report, column: NDArray[np.int32]) -> Coded:
    spread = quantise(report.std, stream.told_spreads(column))
    return Coded(report.t_ns, column, report.mean.copy(), spread, report.quality.astype(np.uint8))
