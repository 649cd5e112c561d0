"""The first record of every segment: all that is known about the log at that point, so that older marks may go.

A msgpack array ``[acks, pending, carried, segments]``:

``acks``      ``[[epoch, through], ...]``
``pending``   gaps, each ``[epoch, kind, first, last, records, values, reason]``
``carried``   ``[[epoch, sequence, [gap, ...]], ...]``
``segments``  ``[[number, epoch, first_frame, last_frame, frames], ...]`` the earlier segments that should be there
              (first_frame > last_frame: it holds no frames)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from edgetwin.errors import JournalError
from edgetwin.journal.gaps import U64_MAX, FrameKey, Gap, gap_from_wire, unpack


@dataclass(frozen=True, slots=True)
class Listed:
    """A segment as a later manifest names it."""

    number: int
    epoch: int
    first_frame: int
    last_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Acknowledged through (by epoch), gaps, what frames carry, earlier segments."""

    acks: dict[int, int]
    pending: tuple[Gap, ...]
    carried: dict[FrameKey, tuple[Gap, ...]]
    segments: tuple[Listed, ...]


def pack_manifest(manifest: Manifest) -> bytes:
    """The payload of a MANIFEST record."""
    wire = [
        list(manifest.acks.items()),
        [gap.to_wire() for gap in manifest.pending],
        [[*key, [gap.to_wire() for gap in gaps]] for key, gaps in manifest.carried.items()],
        [[s.number, s.epoch, s.first_frame, s.last_frame, s.frames] for s in manifest.segments],
    ]
    return bytes(msgpack.packb(wire))


def unpack_manifest(payload: bytes) -> Manifest:
    """The reverse of :func:`pack_manifest`. JournalError when ``payload`` is anything else."""
    try:
        acks, pending, carried, segments = unpack(payload)
        return Manifest(
            dict(_pair(item) for item in _items(acks)),
            tuple(gap_from_wire(gap) for gap in _items(pending)),
            dict(_carried(item) for item in _items(carried)),
            tuple(Listed(*_numbers(item, 5)) for item in _items(segments)),
        )
    except (ValueError, TypeError) as exc:
        raise JournalError("not a manifest") from exc


def pack_ack(epoch: int, through: int) -> bytes:
    """The payload of an ACK record: frames of ``epoch`` up to ``through`` have arrived."""
    return bytes(msgpack.packb([epoch, through]))


def unpack_ack(payload: bytes) -> tuple[int, int]:
    """The reverse of :func:`pack_ack`. JournalError when ``payload`` is anything else."""
    return _pair(unpack(payload))


def pack_carried(key: FrameKey, gaps: tuple[Gap, ...]) -> bytes:
    """The payload of a CARRIED record: the frame ``key`` tells the cloud of ``gaps``."""
    return bytes(msgpack.packb([*key, [gap.to_wire() for gap in gaps]]))


def unpack_carried(payload: bytes) -> tuple[FrameKey, tuple[Gap, ...]]:
    """The reverse of :func:`pack_carried`. JournalError when ``payload`` is anything else."""
    return _carried(unpack(payload))


def _carried(wire: Any) -> tuple[FrameKey, tuple[Gap, ...]]:
    if type(wire) is not list or len(wire) != 3:
        raise JournalError("not a record of carried gaps")
    epoch, sequence = _numbers(wire[:2], 2)
    return (epoch, sequence), tuple(gap_from_wire(gap) for gap in _items(wire[2]))


def _pair(wire: Any) -> tuple[int, int]:
    first, second = _numbers(wire, 2)
    return first, second


def _items(wire: Any) -> list[Any]:
    if type(wire) is not list:
        raise JournalError("a list was expected in a record of the journal")
    return wire


def _numbers(wire: Any, count: int) -> list[int]:
    if type(wire) is list and len(wire) == count and all(type(n) is int and 0 <= n <= U64_MAX for n in wire):
        return wire
    raise JournalError("numbers were expected in a record of the journal")
