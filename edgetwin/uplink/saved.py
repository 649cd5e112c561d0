"""The outbox as bytes, for the snapshot: a msgpack array whose order is that of :class:`Saved`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from edgetwin.codec.contents import array, integer
from edgetwin.codec.frames import FrameGap
from edgetwin.codec.limits import U64_MAX
from edgetwin.errors import FrameError, JournalError
from edgetwin.uplink.queued import Queued

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Saved:
    """Epoch, the next sequence number, whether nothing came after, frames and gap records still to be sent."""

    epoch: int
    next_seq: int
    clean: bool
    queued: tuple[Queued, ...]
    gaps: tuple[FrameGap, ...]


def pack(state: Saved) -> bytes:
    """The state as bytes."""
    queued = [[*q.key, q.data, q.values, [g.to_wire() for g in q.gaps], q.run] for q in state.queued]
    wire = [_VERSION, state.epoch, state.next_seq, state.clean, queued, [g.to_wire() for g in state.gaps]]
    packed: bytes = msgpack.packb(wire)
    return packed


def unpack(blob: bytes) -> Saved:
    """The reverse of :func:`pack`. JournalError when ``blob`` is anything else."""
    try:
        version, epoch, next_seq, clean, queued, gaps = array("an outbox", msgpack.unpackb(blob), 6)
        integer("the version", version, _VERSION, _VERSION)
        return Saved(
            integer("epoch", epoch, 0, U64_MAX),
            integer("next_seq", next_seq, 0, U64_MAX),
            clean is True,
            tuple(_queued(item) for item in queued),
            tuple(FrameGap.from_wire(gap) for gap in gaps),
        )
    except (FrameError, ValueError, TypeError, OverflowError, msgpack.UnpackException) as exc:
        raise JournalError(
            f"the saved outbox cannot be read ({exc})",
            hint="it was written by another release or is damaged; unsent frames are lost",
        ) from exc


def _queued(wire: Any) -> Queued:
    epoch, seq, data, values, gaps, run = array("a frame", wire, 6)
    key = integer("epoch", epoch, 0, U64_MAX), integer("seq", seq, 0, U64_MAX)
    if type(data) is not bytes:
        raise FrameError("a frame is not binary")
    values = integer("values", values, 0, U64_MAX)
    if run is not None:
        integer("the run of a frame", run, 0, U64_MAX)
    return Queued(key, data, values, tuple(FrameGap.from_wire(gap) for gap in gaps), run)
