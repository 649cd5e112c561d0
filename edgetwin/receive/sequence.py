"""Which frames have come: of each (gateway, epoch) the numbers received and those that a gap record accounts for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from edgetwin.codec.acks import RESENDS_MAX, Ack
from edgetwin.ranges import Range, Ranges

RANGES_MAX = 256
EPOCHS_MAX = 65_536

Span = tuple[int, int]
"""First and last of consecutive frames, as gap records, acknowledgements and stores have them."""

_BEYOND = 2**64
"""Greater than every number of a frame."""


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a store keeps of an epoch of a gateway.

    ``came`` and ``lost`` are disjoint sets of frames: stored, and accounted for by a gap record. Times are ns since
    1970: the first and last frame heard (0: none), and the latest report in any. ``version`` counts the commits that
    changed it, so that two writers cannot both follow the same one.
    """

    gateway: str
    epoch: int
    came: list[Span] = []
    lost: list[Span] = []
    opened_ns: int = 0
    heard_ns: int = 0
    last_t_ns: int = 0
    frames: int = 0
    rows: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the arrival of a number tells.

    ``new`` is False for a duplicate. ``missing`` are numbers skipped for the first time, None if none;
    ``filled`` says that later numbers had come before it. ``given_up`` are holes closed because there were too many.
    """

    new: bool
    missing: Span | None = None
    filled: bool = False
    given_up: tuple[Span, ...] = ()


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
        self._came = Ranges(_ranges(progress.came))
        self._lost = Ranges(_ranges(progress.lost))
        self._deferred_stop = 0
        self._ranges_max = ranges_max

    # ---- in

    def add(self, seq: int) -> Arrival:
        """Note that ``seq`` has come."""
        if seq in self._came:
            return _DUPLICATE
        stop = self._came.stop
        missing = (stop, seq - 1) if seq > stop else None
        self._came.add(seq, seq + 1)
        self._lost.discard(seq, seq + 1)
        return Arrival(True, missing, filled=seq < stop, given_up=tuple(_spans(self._give_up())))

    def account(self, first: int, last: int) -> list[Span]:
        """A gap record names ``first..last``; returns the parts that are neither here nor known to be lost."""
        news = self._enter_lost(first, last + 1)
        while len(self._lost) > self._ranges_max:
            news += self._enter_lost(*_lowest_hole(self._lost))
            if len(self._lost) > self._ranges_max:  # what lies between them came: the two cannot be one
                lowest = next(iter(self._lost))
                self._came.add(*lowest)
                self._lost.discard(*lowest)
        return _spans(news)

    def defer(self, seq: int) -> None:
        """``seq`` has come and cannot be read yet: it is asked for again."""
        self._deferred_stop = max(self._deferred_stop, seq + 1)

    # ---- out

    def has(self, seq: int) -> bool:
        """Whether ``seq`` has come."""
        return seq in self._came

    def lost_within(self, first: int, last: int) -> bool:
        """Whether any of ``first..last`` is known to be lost."""
        return bool(self._lost.common(first, last + 1))

    @property
    def through(self) -> int:
        """Every number up to this one has come or is accounted for; -1: not even the first. Not beyond what a gap
        without an end begins with, as nobody knows how far the frames went."""
        holes = self._unaccounted(0, _BEYOND)
        stop = holes[0][0] if holes else max(self._came.stop, self._open_from)
        return stop - 1

    @property
    def holes(self) -> list[Span]:
        """What is missing below the greatest number known of."""
        return _spans(self._unaccounted(0, max(self._came.stop, self._deferred_stop, self._open_from)))

    @property
    def missing(self) -> int:
        """How many frames the holes hold."""
        return sum(last - first + 1 for first, last in self.holes)

    @property
    def received(self) -> tuple[Span, ...]:
        """The numbers that have come."""
        return tuple(_spans(self._came))

    def ack(self, again: Sequence[Span] = (), *, key: bool = False) -> Ack:
        """What the gateway is to be told; ``again`` are frames wanted besides those that are missing."""
        wanted = Ranges(_ranges([*self.holes, *again]))
        return Ack(self.gateway, self.epoch, self.through, tuple(_spans(wanted)[:RESENDS_MAX]), key)

    def progress(self) -> Progress:
        """What a store is to keep."""
        return Progress(
            gateway=self.gateway,
            epoch=self.epoch,
            came=_spans(self._came),
            lost=_spans(self._lost),
            opened_ns=self.opened_ns,
            heard_ns=self.heard_ns,
            last_t_ns=self.last_t_ns,
            frames=self.frames,
            rows=self.rows,
            version=self.version,
        )

    def unaccounted(self, first: int, last: int) -> list[Span]:
        """The parts of ``first..last`` that have neither come nor are accounted for."""
        return _spans(self._unaccounted(first, last + 1))

    def _unaccounted(self, first: int, stop: int) -> list[Range]:
        return [part for hole in self._came.missing(first, stop) for part in self._lost.missing(*hole)]

    def _enter_lost(self, first: int, stop: int) -> list[Range]:
        news = self._unaccounted(first, stop)
        for part in news:
            self._lost.add(*part)
        return news

    def _give_up(self) -> Iterator[Range]:
        while len(self._came) > self._ranges_max:
            hole = _lowest_hole(self._came)
            yield from self._lost.missing(*hole)
            self._came.add(*hole)
            self._lost.discard(*hole)

    @property
    def _open_from(self) -> int:
        """The first number of the last gap, which may have no end; 0 when there is none."""
        return max((first for first, _ in self._lost), default=0)


def _ranges(spans: Iterable[Span]) -> Iterator[Range]:
    return ((first, last + 1) for first, last in spans)


def _spans(ranges: Iterable[Range]) -> list[Span]:
    return [(first, stop - 1) for first, stop in ranges]


def _lowest_hole(ranges: Ranges) -> Range:
    """The hole between the two lowest ranges; there must be two."""
    (_, first), (stop, _), *_ = ranges
    return first, stop


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
