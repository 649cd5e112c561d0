"""What became of every frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Frames since the start: ``enqueued`` were made, ``restored`` were there before, ``acknowledged`` are with the
    cloud, ``dropped`` are named by a gap record."""

    enqueued: int = 0
    restored: int = 0
    acknowledged: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class FrameAccount:
    """:class:`Counters`, and what is still here: frames ``waiting`` for the cloud, and those ``staged``, which are not
    durable yet and therefore not sent."""

    enqueued: int
    restored: int
    acknowledged: int
    dropped: int
    waiting: int
    staged: int

    @property
    def balanced(self) -> bool:
        """Whether every frame is where it must be, once."""
        return self.enqueued + self.restored == self.acknowledged + self.dropped + self.waiting + self.staged
