"""Frames on their way to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgetwin.journal import Class, Gap, Group
from edgetwin.uplink.queued import Queued

GROUP_FRAMES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Made:
    """A frame with the gaps of the journal that it tells of."""

    queued: Queued
    cls: Class
    gaps: tuple[Gap, ...]

    @property
    def seq(self) -> int:
        """Its sequence number."""
        return self.queued.key[1]


@dataclass(frozen=True, slots=True)
class Staged:
    """Frames that went into a group."""

    frames: tuple[Made, ...] = ()


class Staging:
    """At most ``bytes_max`` bytes of frames that are not durable yet, in order; those in a group come on top."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._frames: list[Made] = []
        self._committing = Staged()

    def __len__(self) -> int:
        return len(self._frames) + len(self._committing.frames)

    def __iter__(self) -> Iterator[Made]:
        yield from self._committing.frames
        yield from self._frames

    def enter(self, made: Made) -> None:
        """Take a new frame."""
        self._frames.append(made)
        self._bytes += made.queued.size

    def take(self, group: Group) -> Staged:
        """Put frames into a group."""
        assert not self._committing.frames, "one group at a time: frames become durable in their order"
        self._committing = Staged(tuple(self._frames[:GROUP_FRAMES_MAX]))
        self._frames = self._frames[GROUP_FRAMES_MAX:]
        for made in self._committing.frames:
            self._bytes -= made.queued.size
            group.frame(made.seq, made.queued.data, cls=made.cls, values=made.queued.values, gaps=made.gaps)
        return self._committing

    def committed(self, staged: Staged) -> None:
        """The frames that :meth:`take` gave are durable."""
        assert staged is self._committing
        self._committing = Staged()

    def failed(self, staged: Staged) -> None:
        """They are not, and come again before the others."""
        self.committed(staged)
        self._frames[:0] = staged.frames
        self._bytes += sum(made.queued.size for made in staged.frames)

    def overflow(self) -> list[Made]:
        """Take the oldest frame out, and those that continue it, when there are too many bytes."""
        if self._bytes <= self._bytes_max:
            return []
        run = self._frames[0].queued.run
        out = [made for k, made in enumerate(self._frames) if k == 0 or (run is not None and made.queued.run == run)]
        self._frames = [made for made in self._frames[1:] if run is None or made.queued.run != run]
        self._bytes -= sum(made.queued.size for made in out)
        return out
