"""Frames back to reports: those that stand alone, and those that continue a run."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetwin.codec import columns as table
from edgetwin.codec import plain, spreads, summaries, twin
from edgetwin.codec.contents import Frame, FrameGap, event_from_wire, integer, items, span
from edgetwin.codec.envelope import gateway_name, opened
from edgetwin.codec.limits import EVENTS_MAX, GAPS_MAX, I64_MAX, I64_MIN, U64_MAX
from edgetwin.codec.stream import Coded, Stream
from edgetwin.errors import FrameError
from edgetwin.records import Report

STREAMS_MAX = 512
RUNS_PER_GATEWAY = 2
"""One of the present, and one of a backlog that comes beside it."""


class NeedKeyError(FrameError):
    """The frame is whole but continues one that the decoder does not have: it wants the frames from ``key`` up to this
    one again, or a new key frame and this one given up."""

    def __init__(self, gateway: str, epoch: int, seq: int, key: int) -> None:
        super().__init__(
            f"frame {seq} of {gateway!r} continues a run that is not here (it began with frame {key})",
            hint="ask the gateway for the frames of the run, or for a key frame",
        )
        self.gateway = gateway
        self.epoch = epoch
        self.seq = seq
        self.key = key


Run = tuple[str, int, int]
"""(gateway, epoch, sequence number of the key frame)"""


@dataclass(slots=True)
class _Known:
    previous: int
    stream: Stream


class FrameDecoder:
    """Decodes the frames of many gateways. Of each the RUNS_PER_GATEWAY runs heard last are known, and ``streams_max``
    in all: beyond that the one heard longest ago is forgotten.

    Frames of a run come in order. One that comes twice needs its run from the beginning, so repeats are sorted out
    before (:func:`identity`). A run costs 50 kB and up: about 1.5 kB for each column.
    """

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self._runs: OrderedDict[Run, _Known] = OrderedDict()
        self._streams_max = streams_max

    def decode(self, data: bytes) -> Frame:
        """The frame in ``data``.

        NeedKeyError when it continues what is not here (nothing has changed then); FrameError, and nothing else, when
        it is not exactly one whole frame.
        """
        found = opened(data)
        gateway, epoch, seq = _identity(found)
        codec = found["codec"]
        if codec == plain.CODEC:
            reports, key = _plain(found), None
        elif codec == twin.CODEC:
            reports, key = self._continue(found, gateway, epoch, seq)
        else:
            raise FrameError("the codec of the frame is unknown", hint="update the receiver")
        try:
            return _frame(found, reports, key)
        except FrameError:
            if key is not None:
                self._runs.pop((gateway, epoch, key), None)
            raise

    def _continue(self, found: dict[str, Any], gateway: str, epoch: int, seq: int) -> tuple[tuple[Report, ...], int]:
        payload = twin.unpack(found["payload"])
        names = table.from_wire(found["columns"])
        t0 = integer("t0", found["t0"], I64_MIN, I64_MAX)
        run = gateway, epoch, payload.key
        if payload.key == seq:
            stream = Stream(payload.bits)
        else:
            known = self._runs.get(run)
            if known is None or known.previous != payload.previous:
                raise NeedKeyError(gateway, epoch, seq, payload.key)
            stream = known.stream
        self._runs.pop(run, None)  # an error below leaves the stream in no state to go on
        reports = _reports(stream, payload, names, t0)
        self._keep(run, _Known(seq, stream))
        return reports, payload.key

    def _keep(self, run: Run, known: _Known) -> None:
        self._runs[run] = known
        if known.previous == run[2]:  # a key frame: the only time that runs become more
            mine = [other for other in self._runs if other[0] == run[0]]
            for old in mine[:-RUNS_PER_GATEWAY]:
                del self._runs[old]
            while len(self._runs) > self._streams_max:
                self._runs.popitem(last=False)


def decode_frame(data: bytes) -> Frame:
    """The frame in ``data``, if it stands alone; NeedKeyError when it continues another, FrameError when it is none."""
    return FrameDecoder(1).decode(data)


def identity(data: bytes) -> tuple[str, int, int]:
    """Gateway, epoch and sequence number of a frame, whose payload is not looked at. FrameError when it is none."""
    return _identity(opened(data))


def run_of(data: bytes) -> Run | None:
    """The run that a frame belongs to, None when it stands alone. FrameError when it is no frame."""
    found = opened(data)
    gateway, epoch, _ = _identity(found)
    return (gateway, epoch, twin.unpack(found["payload"]).key) if found["codec"] == twin.CODEC else None


def _identity(found: dict[str, Any]) -> tuple[str, int, int]:
    epoch, seq = (integer(name, found[name], 0, U64_MAX) for name in ("epoch", "seq"))
    return gateway_name(found["gateway"]), epoch, seq


def _plain(found: dict[str, Any]) -> tuple[Report, ...]:
    if type(found["payload"]) is not bytes:
        raise FrameError("payload is not binary")
    return plain.decode(found["payload"], table.from_wire(found["columns"]))


def _reports(stream: Stream, payload: twin.Payload, names: tuple[table.Column, ...], t0: int) -> tuple[Report, ...]:
    """The reports of a payload that the stream expects next."""
    known = len(stream.names)
    if len(payload.steps) != len(names):
        raise FrameError("the columns of the frame and their steps differ in number")
    stream.add(names)
    stream.set_laws(known, payload.steps)
    for model in payload.models:
        twin.model_from_wire(stream, model)
    coded, values, t = [], 0, t0
    for step, layout in payload.reports:
        t = twin.wrapped(t + step)
        column = twin.layout_from_wire(stream, layout)
        n = len(column)
        values += n
        if values > twin.VALUES_MAX:
            raise FrameError(f"the reports have more than {twin.VALUES_MAX} values")
        coded.append(Coded(t, column, np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.uint8)))
    stream.decode(coded, payload.code)
    if twin.check_of(coded) != payload.check:
        raise FrameError(
            "the payload does not decode to what was encoded",
            hint="this is a fault of the software or of the machine's arithmetic; report it",
        )
    return tuple(_report(stream, part) for part in coded)


def _report(stream: Stream, coded: Coded) -> Report:
    columns = tuple(stream.names[c] for c in coded.column.tolist())
    report = Report(coded.t_ns, columns, coded.mean, spreads.value(coded.spread), coded.quality)
    plain.check(report)
    return report


def _frame(found: dict[str, Any], reports: tuple[Report, ...], key: int | None) -> Frame:
    t0, t1 = integer("t0", found["t0"], I64_MIN, I64_MAX), integer("t1", found["t1"], I64_MIN, I64_MAX)
    if (t0, t1) != span(reports):
        raise FrameError("t0 and t1 are not the first and last time of the reports")
    gateway, epoch, seq = _identity(found)
    return Frame(
        gateway=gateway,
        epoch=epoch,
        seq=seq,
        t0=t0,
        t1=t1,
        codec=found["codec"],
        reports=reports,
        events=tuple(event_from_wire(event) for event in items("events", found["events"], EVENTS_MAX)),
        gaps=tuple(FrameGap.from_wire(gap) for gap in items("gaps", found["gaps"], GAPS_MAX)),
        key=key,
        signals=summaries.decode(found["signals"]),
    )
