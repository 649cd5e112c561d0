"""Frames of several epochs in one order."""

from __future__ import annotations

from bisect import bisect_right

from edgetwin.uplink.queued import Key


class Positions:
    """Maps (epoch, sequence) to positions and back: epochs follow each other in the order in which they are told, each
    from its frame 0 on, whether or not that is known. ``end`` is the position after the last frame."""

    def __init__(self) -> None:
        self.end = 0
        self._epochs: list[int] = []
        self._zeros: list[int] = []  # ascending: where frame 0 of each stands
        self._numbers: dict[int, int] = {}  # epoch -> its index in these lists

    def begin(self, epoch: int) -> None:
        """The next frame is of this epoch, which is new."""
        self._numbers[epoch] = len(self._epochs)
        self._epochs.append(epoch)
        self._zeros.append(self.end)

    def place(self, key: Key) -> int:
        """The position of a frame that comes after all others."""
        epoch, seq = key
        if epoch not in self._numbers:
            self.begin(epoch)
        position = self._zeros[self._numbers[epoch]] + seq
        assert position >= self.end, "frames come in their order"
        self.end = position + 1
        return position

    def locate(self, key: Key) -> int | None:
        """Where a frame stands, stood or would stand; None when its epoch is not known. Of an epoch that is over, none
        stands after its last."""
        epoch, seq = key
        number = self._numbers.get(epoch)
        if number is None:
            return None
        position = self._zeros[number] + seq
        over = number + 1 < len(self._zeros)
        return min(position, self._zeros[number + 1] - 1) if over else position

    def key_at(self, position: int) -> Key | None:
        """The reverse of :meth:`locate`."""
        number = bisect_right(self._zeros, position) - 1
        return None if number < 0 else (self._epochs[number], position - self._zeros[number])

    def span(self, epoch: int) -> tuple[int, int]:
        """(first, stop) of the positions of an epoch that is known."""
        number = self._numbers[epoch]
        stop = self._zeros[number + 1] if number + 1 < len(self._zeros) else self.end
        return self._zeros[number], stop
