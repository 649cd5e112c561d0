"""What a frame holds beside reports, and how that stands on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from edgetwin.codec.limits import EVENT_FIELDS_MAX, I64_MAX, I64_MIN, U64_MAX
from edgetwin.errors import FrameError
from edgetwin.records import Event, Report, SignalSummary


def event_to_wire(event: Event) -> list[Any]:
    """``[kind, t, {key: scalar}]``. FrameError when it cannot be written."""
    wire = [event.kind, event.t_ns, dict(event.data)]
    event_from_wire(wire)
    return wire


def event_from_wire(wire: object) -> Event:
    """The reverse of :func:`event_to_wire`. FrameError when ``wire`` is anything else."""
    kind, t_ns, data = array("an event", wire, 3)
    if type(data) is not dict or len(data) > EVENT_FIELDS_MAX:
        raise FrameError(f"the data of an event is not a map of at most {EVENT_FIELDS_MAX} fields")
    for key, value in data.items():
        text("a key of an event", key)
        _scalar(value)
    return Event(text("the kind of an event", kind), integer("the time of an event", t_ns, I64_MIN, I64_MAX), data)


EPOCH_ENDED = "epoch_ended"
"""Reason of a gap that names no frame that was: none of these numbers ever came to be."""


@dataclass(frozen=True, slots=True)
class FrameGap:
    """Frames ``first..last`` (inclusive) of ``epoch`` that will not come, why, and the values lost (0: unknown)."""

    epoch: int
    first: int
    last: int
    reason: str
    count: int = 0

    def to_wire(self) -> list[Any]:
        """``[epoch, first, last, reason, count]``. FrameError when it cannot be written."""
        wire = [self.epoch, self.first, self.last, self.reason, self.count]
        FrameGap.from_wire(wire)
        return wire

    @staticmethod
    def from_wire(wire: object) -> FrameGap:
        """The reverse of :meth:`to_wire`. FrameError when ``wire`` is anything else."""
        epoch, first, last, reason, count = array("a gap", wire, 5)
        for number in (epoch, first, last, count):
            integer("a number of a gap", number, 0, U64_MAX)
        if first > last:
            raise FrameError("a gap ends before it begins")
        return FrameGap(epoch, first, last, text("the reason of a gap", reason), count)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded frame; ``t0`` and ``t1`` are the first and last time of its reports in ns, 0 when it has none. ``key``
    is the sequence number of the key frame of its run (its own, if it is that), None when the frame stands alone."""

    gateway: str
    epoch: int
    seq: int
    t0: int
    t1: int
    codec: str
    reports: tuple[Report, ...]
    events: tuple[Event, ...] = ()
    gaps: tuple[FrameGap, ...] = ()
    key: int | None = None
    signals: tuple[SignalSummary, ...] = ()

    @property
    def values(self) -> int:
        """Rows of all reports together."""
        return sum(len(report) for report in self.reports)


def span(reports: Sequence[Report]) -> tuple[int, int]:
    """First and last time of reports, 0 when there is none."""
    times = [report.t_ns for report in reports] or [0]
    return min(times), max(times)


# ---- fields of the wire: the value itself, or FrameError


def unpacked(what: str, data: bytes, array_max: int) -> Any:
    """The one msgpack value in ``data``, with arrays of at most ``array_max`` elements: msgpack makes room for what a
    header claims before it has seen it."""
    try:
        return msgpack.unpackb(data, strict_map_key=True, max_ext_len=0, max_array_len=array_max)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, msgpack.UnpackException) as exc:
        raise FrameError(f"{what} not msgpack ({type(exc).__name__})") from exc


def integer(what: str, value: object, low: int, high: int) -> int:
    """An integer in ``low..high``; a boolean is none."""
    if type(value) is not int or not low <= value <= high:
        raise FrameError(f"{what} is not an integer in {low}..{high}")
    return value


def text(what: str, value: object) -> str:
    """Text."""
    if type(value) is not str:
        raise FrameError(f"{what} is not text")
    return value


def array(what: str, value: object, length: int) -> list[Any]:
    """An array of exactly ``length`` elements."""
    if type(value) is not list or len(value) != length:
        raise FrameError(f"{what} is not an array of {length}")
    return value


def items(what: str, value: object, length_max: int) -> list[Any]:
    """An array of at most ``length_max`` elements."""
    if type(value) is not list or len(value) > length_max:
        raise FrameError(f"{what} are not an array of at most {length_max}")
    return value


def _scalar(value: object) -> None:
    if type(value) is int:
        integer("a number of an event", value, I64_MIN, U64_MAX)
    elif value is not None and type(value) not in (bool, float, str):
        raise FrameError("a field of an event is not a scalar")
