"""Frames of several epochs in one order."""

from __future__ import annotations

from bisect import bisect_right

from edgetwin.uplink.queued import Key


class Positions:
    """Maps (epoch, sequence) to positions and back: epochs follow each other in the order in which they are told, and
    within one neighbours differ by one. ``end`` is the position after the last frame."""

    def __init__(self) -> None:
        self.end = 0
        self._epochs: list[int] = []
        self._firsts: list[int] = []  # ascending: where each epoch begins
        self._zeros: list[int] = []  # where frame 0 of each would stand
        self._numbers: dict[int, int] = {}  # epoch -> its index in these lists

    def begin(self, key: Key) -> None:
        """The next frame is ``key``, the first one known of its epoch."""
        epoch, seq = key
        self._numbers[epoch] = len(self._epochs)
        self._epochs.append(epoch)
        self._firsts.append(self.end)
        self._zeros.append(self.end - seq)

    def place(self, key: Key) -> int:
        """The position of a frame that comes after all others."""
        epoch, seq = key
        if epoch not in self._numbers:
            self.begin(key)
        position = self._zeros[self._numbers[epoch]] + seq
        assert position >= self.end, "frames come in their order"
        self.end = position + 1
        return position

    def locate(self, key: Key) -> int | None:
        """Where a frame stands, stood or would stand; None when its epoch is not known."""
        epoch, seq = key
        number = self._numbers.get(epoch)
        return None if number is None else self._zeros[number] + seq

    def key_at(self, position: int) -> Key | None:
        """The reverse of :meth:`locate`."""
        number = bisect_right(self._firsts, position) - 1
        return None if number < 0 else (self._epochs[number], position - self._zeros[number])

    def span(self, epoch: int) -> tuple[int, int]:
        """(first, stop) of the positions of an epoch that is known."""
        number = self._numbers[epoch]
        stop = self._firsts[number + 1] if number + 1 < len(self._firsts) else self.end
        return self._firsts[number], stop
