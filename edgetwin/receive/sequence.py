"""Which frames have come: of each (gateway, epoch) the numbers received and those that a gap record accounts for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from edgetwin.codec.acks import RESENDS_MAX, Ack
from edgetwin.receive.ranges import Range, Ranges

RANGES_MAX = 256
EPOCHS_MAX = 65_536
_MAX = 2**64 - 1


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a store keeps of an epoch of a gateway.

    ``came`` and ``lost`` are disjoint sets of frames: stored, and accounted for by a gap record. Times are ns since
    1970: the first and last frame heard (0: none), and the latest report in any. ``version`` counts the commits that
    changed it, so that two writers cannot both follow the same one.
    """

    gateway: str
    epoch: int
    came: list[Range] = []
    lost: list[Range] = []
    opened_ns: int = 0
    heard_ns: int = 0
    last_t_ns: int = 0
    frames: int = 0
    rows: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the arrival of a number tells.

    ``new`` is False for a duplicate. ``missing`` are numbers skipped for the first time (inclusive), None if none;
    ``filled`` says that later numbers had come before it. ``given_up`` are holes closed because there were too many.
    """

    new: bool
    missing: Range | None = None
    filled: bool = False
    given_up: tuple[Range, ...] = ()


_DUPLICATE = Arrival(False)


class Stream:
    """The frames of one epoch of a gateway.

    At most ``ranges_max`` ranges are kept of either kind: past that the lowest hole is given up and counts as lost; a
    number that comes to it later is a duplicate.
    """

    def __init__(self, progress: Progress, ranges_max: int = RANGES_MAX) -> None:
        self.gateway = progress.gateway
        self.epoch = progress.epoch
        self.opened_ns = progress.opened_ns
        self.heard_ns = progress.heard_ns
        self.last_t_ns = progress.last_t_ns
        self.frames = progress.frames
        self.rows = progress.rows
        self.version = progress.version
        self._came = Ranges(progress.came)
        self._lost = Ranges(progress.lost)
        self._deferred_top = -1
        self._ranges_max = ranges_max

    # ---- in

    def add(self, seq: int) -> Arrival:
        """Note that ``seq`` has come."""
        if seq in self._came:
            return _DUPLICATE
        top = self._came.top
        missing = (top + 1, seq - 1) if seq > top + 1 else None
        self._came.add(seq, seq)
        self._lost.remove(seq, seq)
        return Arrival(True, missing, filled=seq < top, given_up=tuple(self._give_up()))

    def account(self, first: int, last: int) -> list[Range]:
        """A gap record names ``first..last``; returns the parts that are neither here nor known to be lost."""
        news = [part for hole in self._came.missing(first, last) for part in self._lost.missing(*hole)]
        for part in news:
            self._lost.add(*part)
        while len(self._lost) > self._ranges_max:
            for part in self.unaccounted(*self._lost.lowest_hole()):
                self._lost.add(*part)
                news.append(part)
            if len(self._lost) > self._ranges_max:  # what lies between them came: the two cannot be one
                self._came.add(*self._lost.ranges[0])
                self._lost.remove(*self._lost.ranges[0])
        return news

    def defer(self, seq: int) -> None:
        """``seq`` has come and cannot be read yet: it is asked for again."""
        self._deferred_top = max(self._deferred_top, seq)

    # ---- out

    def has(self, seq: int) -> bool:
        """Whether ``seq`` has come."""
        return seq in self._came

    def lost_within(self, first: int, last: int) -> bool:
        """Whether any of ``first..last`` is known to be lost."""
        return first <= last and self._lost.missing(first, last) != [(first, last)]

    @property
    def through(self) -> int:
        """Every number up to this one has come or is accounted for; -1: not even the first. Not beyond what a gap
        without an end begins with, as nobody knows how far the frames went."""
        holes = self.unaccounted(0, _MAX)
        if holes:
            return holes[0][0] - 1
        last_gap = self._lost.ranges[-1]
        return max(self._came.top, last_gap[0] - 1)

    @property
    def holes(self) -> list[Range]:
        """What is missing below the greatest number known of."""
        lost = self._lost.ranges
        top = max(self._came.top, self._deferred_top, lost[-1][0] - 1 if lost else -1)
        return self.unaccounted(0, top)

    @property
    def missing(self) -> int:
        """How many frames the holes hold."""
        return sum(last - first + 1 for first, last in self.holes)

    @property
    def received(self) -> tuple[Range, ...]:
        """The numbers that have come."""
        return self._came.ranges

    def ack(self, again: Sequence[Range] = (), *, key: bool = False) -> Ack:
        """What the gateway is to be told; ``again`` are frames wanted besides those that are missing."""
        wanted = Ranges(self.holes)
        for first, last in again:
            wanted.add(first, last)
        return Ack(self.gateway, self.epoch, self.through, wanted.ranges[:RESENDS_MAX], key)

    def progress(self) -> Progress:
        """What a store is to keep."""
        return Progress(
            gateway=self.gateway,
            epoch=self.epoch,
            came=list(self._came.ranges),
            lost=list(self._lost.ranges),
            opened_ns=self.opened_ns,
            heard_ns=self.heard_ns,
            last_t_ns=self.last_t_ns,
            frames=self.frames,
            rows=self.rows,
            version=self.version,
        )

    def unaccounted(self, first: int, last: int) -> list[Range]:
        """The parts of ``first..last`` that have neither come nor are accounted for."""
        return [part for hole in self._came.missing(first, last) for part in self._lost.missing(*hole)]

    def _give_up(self) -> Iterator[Range]:
        while len(self._came) > self._ranges_max:
            hole = self._came.lowest_hole()
            yield from self._lost.missing(*hole)
            self._came.add(*hole)
            self._lost.remove(*hole)


class Tracker:
    """Streams of at most ``epochs_max`` (gateway, epoch) pairs; the one heard longest ago goes first."""

    def __init__(self, epochs_max: int = EPOCHS_MAX) -> None:
        self._streams: OrderedDict[tuple[str, int], Stream] = OrderedDict()
        self._current: dict[str, Stream] = {}
        self._epochs_max = epochs_max

    def of(self, gateway: str, epoch: int) -> Stream:
        """The stream of an epoch; made when it is new."""
        key = gateway, epoch
        stream = self._streams.setdefault(key, Stream(Progress(gateway=gateway, epoch=epoch)))
        self._streams.move_to_end(key)
        if len(self._streams) > self._epochs_max:
            _, gone = self._streams.popitem(last=False)
            if self._current.get(gone.gateway) is gone:
                del self._current[gone.gateway]
        return stream

    def heard(self, stream: Stream, now_ns: int) -> None:
        """A frame of ``stream`` has come. The epoch of a gateway that began last is its current one."""
        stream.heard_ns = now_ns
        if stream.opened_ns == 0:
            stream.opened_ns = now_ns
            self._current[stream.gateway] = stream

    def current(self, gateway: str) -> Stream | None:
        """The stream that a gateway began last."""
        return self._current.get(gateway)

    def gateways(self) -> Iterable[Stream]:
        """The current stream of each gateway."""
        return self._current.values()

    def peek(self, gateway: str, epoch: int) -> Stream:
        """The stream of an epoch, without making or refreshing anything."""
        return self._streams.get((gateway, epoch)) or Stream(Progress(gateway=gateway, epoch=epoch))

    def restore(self, rows: Iterable[Progress]) -> None:
        """Begin again from what a store has kept."""
        self._streams.clear()
        self._current.clear()
        for progress in sorted(rows, key=lambda p: p.heard_ns)[-self._epochs_max :]:
            stream = Stream(progress)
            self._streams[stream.gateway, stream.epoch] = stream
            known = self._current.get(stream.gateway)
            if stream.opened_ns and (known is None or known.opened_ns <= stream.opened_ns):
                self._current[stream.gateway] = stream
