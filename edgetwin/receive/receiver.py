"""From payloads to batches for a store: each frame once, each loss told, each bad payload set aside.

Durable progress is a position that the store keeps in the same commit as the frames. After any error the receiver asks
the store where it stands and works out anew what of the frames in memory is still to be stored (:meth:`Receiver.load`).
A payload may be acknowledged only after the commit that follows its :meth:`Receiver.take`.

Knows no network and no clock but the one it is given; one thread calls everything save the store's own methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from edgetwin.clock import Clock
from edgetwin.codec.acks import Ack
from edgetwin.codec.contents import EPOCH_ENDED
from edgetwin.codec.decoder import NeedKeyError, identity
from edgetwin.codec.frames import Frame, FrameGap
from edgetwin.codec.limits import U64_MAX
from edgetwin.errors import FrameError, JournalError
from edgetwin.ratelimit import RateLimiter
from edgetwin.receive.batch import Batch, Gap, GapKind, RunFrame
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.decoding import Decoding
from edgetwin.receive.sequence import Progress, Stream, Tracker
from edgetwin.receive.share import WHOLE, Share
from edgetwin.receive.stores.port import Store

log = structlog.get_logger()


class Outcome(Enum):
    """What became of a payload."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    DEFERRED = "deferred"
    REFUSED = "refused"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of a payload, the gateway that it is of (empty when unknown), and why it was refused."""

    outcome: Outcome
    gateway: str = ""
    reason: str = ""


@dataclass(slots=True)
class Counters:
    """Since the start. payloads = stored + duplicates + deferred (not to be read without earlier frames, and asked for
    again) + dead + foreign (of another receiver's share); ``lost`` counts frames a gap record has explained, an
    open-ended one as one."""

    payloads: int = 0
    stored: int = 0
    rows: int = 0
    duplicates: int = 0
    deferred: int = 0
    dead: int = 0
    foreign: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: Frame
    data: bytes


class Receiver:
    """Frames that wait for a commit, and what has been told of each gateway. To be loaded before anything is taken.

    ``pending_bytes`` is the size of the frames, as they came, that no commit has made durable.
    """

    def __init__(self, store: Store, clock: Clock, dead: DeadLetters, *, share: Share = WHOLE) -> None:
        self.counters = Counters()
        self.pending_bytes = 0
        self.share = share
        self.store = store
        self._clock = clock
        self._dead = dead
        self._decoding: Decoding | None = None
        self._limiter = RateLimiter(clock=clock)
        self._tracker = Tracker()
        self._acks: dict[str, Ack] = {}
        self._applying: list[_Waiting] = []
        self._waiting: list[_Waiting] = []
        self._batch = Batch()
        self._changed: dict[tuple[str, int], Stream] = {}
        self._answer: dict[tuple[str, int], Stream] = {}
        self._answering: list[tuple[str, int]] = []
        self._waiting_rows = 0

    # ---- in

    def take(self, payload: bytes, topic: str = "", gateway: str | None = None) -> Taken:
        """One payload, whatever it is; ``gateway`` is whose it must be, if that is known."""
        self.counters.payloads += 1
        if gateway is not None and not self.share.has(gateway):
            return self._foreign()
        try:
            name, epoch, seq = identity(payload)
            _check_gateway(name, gateway)
            if not self.share.has(name):
                return self._foreign()
            if self._tracker.peek(name, epoch).has(seq):
                return self._repeat(payload, name, epoch)
            frame = self._decoder.decode(payload)
            self.store.check(frame)
        except NeedKeyError as exc:
            return self._defer(payload, topic, exc)
        except FrameError as exc:
            return self._set_aside(payload, topic, exc)
        return self._enter(_Waiting(frame, payload))

    @property
    def _decoder(self) -> Decoding:
        assert self._decoding is not None, "loaded before anything is taken"
        return self._decoding

    def _repeat(self, payload: bytes, gateway: str, epoch: int) -> Taken:
        """Known before it is decoded, as a frame of a run is decoded once."""
        self._decoder.repeat(payload)
        stream = self._tracker.of(gateway, epoch)
        self._answer[gateway, epoch] = stream
        self._tracker.heard(stream, self._clock.wall_ns())
        self.counters.duplicates += 1
        return Taken(Outcome.DUPLICATE, gateway)

    def _defer(self, payload: bytes, topic: str, missing: NeedKeyError) -> Taken:
        """A frame of a run that is not here. When what it continues is known to be lost, so is it."""
        stream = self._tracker.of(missing.gateway, missing.epoch)
        self._answer[missing.gateway, missing.epoch] = stream
        self._tracker.heard(stream, self._clock.wall_ns())
        before = missing.key, missing.seq - 1
        if stream.lost_within(*before):
            self._account(missing.gateway, FrameGap(missing.epoch, missing.seq, missing.seq, "run_broken"))
            self._decoder.want(missing)
            return self._set_aside(payload, topic, missing)
        if not stream.unaccounted(*before):  # all of it had come, and is not here any more
            self._decoder.want(missing)
        stream.defer(missing.seq)
        self.counters.deferred += 1
        return Taken(Outcome.DEFERRED, missing.gateway)

    def _enter(self, waiting: _Waiting) -> Taken:
        frame = waiting.frame
        stream = self._tracker.of(frame.gateway, frame.epoch)
        self._answer[frame.gateway, frame.epoch] = stream
        arrival = stream.add(frame.seq)
        self._tracker.heard(stream, self._clock.wall_ns())
        if not arrival.new:
            self.counters.duplicates += 1
            return Taken(Outcome.DUPLICATE, frame.gateway)
        if arrival.missing is not None:
            self._note_missing(frame, *arrival.missing)
        if arrival.filled:
            self._batch.late.append(frame)
            gap = FrameGap(frame.epoch, frame.seq, frame.seq, "came_late", frame.values)
            self._note(frame.gateway, gap, "filled")
        for first, last in arrival.given_up:
            self._note_lost(frame.gateway, FrameGap(frame.epoch, first, last, "too_many_holes"))
        for gap in frame.gaps:
            self._account(frame.gateway, gap)
        self._keep(waiting, stream)
        return Taken(Outcome.STORED, frame.gateway)

    def _keep(self, waiting: _Waiting, stream: Stream) -> None:
        frame = waiting.frame
        stream.frames += 1
        stream.rows += frame.values
        if frame.reports:
            stream.last_t_ns = max(stream.last_t_ns, frame.t1)
        self._changed[frame.gateway, frame.epoch] = stream
        self._batch.frames.append(frame)
        if frame.key is not None:
            self._batch.runs.append(RunFrame(frame.gateway, frame.epoch, frame.key, frame.seq, waiting.data))
        self._waiting.append(waiting)
        self._waiting_rows += frame.values
        self.pending_bytes += len(waiting.data)
        self.counters.stored += 1
        self.counters.rows += frame.values

    # ---- commits

    @property
    def pending_frames(self) -> int:
        """Frames taken that no commit has made durable."""
        return len(self._waiting) + len(self._applying)

    @property
    def full(self) -> bool:
        """Whether a commit is due for reasons of size."""
        return self._waiting_rows >= self.store.rows_max

    def begin(self) -> Batch:
        """What has been taken since the last call, to be applied; then comes :meth:`done`, or after an error
        :meth:`load`. One at a time."""
        assert not self._applying
        batch, self._batch = self._batch, Batch()
        batch.progress = [stream.progress() for stream in self._changed.values()]
        for stream in self._changed.values():
            stream.version += 1
        batch.acks = [self._ack(stream) for stream in self._answer.values()]
        self._applying, self._waiting = self._waiting, []
        self._answering = list(self._answer)
        self._changed, self._answer = {}, {}
        self._waiting_rows = 0
        return batch

    def _ack(self, stream: Stream) -> Ack:
        again = self._decoder.wanted(stream.gateway, stream.epoch)
        return stream.ack(again, key=bool(again))

    def done(self, batch: Batch) -> None:
        """The batch is durable."""
        self.pending_bytes -= sum(len(waiting.data) for waiting in self._applying)
        self._applying, self._answering = [], []
        for ack in batch.acks:
            current = self._tracker.current(ack.gateway)
            if current is not None and current.epoch == ack.epoch:
                self._acks[ack.gateway] = ack

    def commit(self) -> Batch:
        """Everything at once, for one who can wait: StoreError or JournalError as the store says."""
        batch = self.begin()
        if batch:
            self.store.apply(batch)
        self.done(batch)
        return batch

    def load(self) -> None:
        """Take up what the store has; frames in memory that it lacks wait for the next commit. As ``Store.load``."""
        rows = self.store.load()
        self.resume()
        self.restart(rows)

    def resume(self) -> None:
        """The first time that the store has been loaded: take up the runs of frames that it keeps. StoreError when it
        cannot be read now."""
        if self._decoding is None:
            decoding = Decoding()
            decoding.resume(self.store.runs())
            self._decoding = decoding

    def restart(self, rows: Sequence[Progress]) -> None:
        """Take up what the store has been found to hold, ``rows``."""
        again = self._applying + self._waiting
        self._tracker.restore(row for row in rows if self.share.has(row.gateway))
        self._acks = {stream.gateway: stream.ack() for stream in self._tracker.gateways()}
        self._batch, self._applying, self._waiting = Batch(), [], []
        answer = [*self._answering, *self._answer]
        self._changed, self._answering, self._answer = {}, [], {}
        self.pending_bytes, self._waiting_rows = 0, 0
        counted, self.counters = self.counters, Counters()
        for waiting in again:
            self._enter(waiting)
        for gateway, epoch in answer:
            self._answer.setdefault((gateway, epoch), self._tracker.of(gateway, epoch))
        self.counters = counted

    # ---- out

    def ack(self, gateway: str) -> Ack | None:
        """What is durable of a gateway's current epoch; None when it has never been heard."""
        return self._acks.get(gateway)

    def acks(self) -> list[Ack]:
        """The same for every gateway of this share."""
        return list(self._acks.values())

    def streams(self) -> list[Stream]:
        """The current stream of each gateway, with what waits for a commit."""
        return list(self._tracker.gateways())

    # ---- what goes wrong

    def _foreign(self) -> Taken:
        self.counters.foreign += 1
        return Taken(Outcome.FOREIGN)

    def _set_aside(self, payload: bytes, topic: str, exc: FrameError) -> Taken:
        self.counters.dead += 1
        try:
            self._dead.add(payload, topic, str(exc))
        except JournalError as full:
            log.warning("dead_letter_not_kept", error=full.message, hint=full.hint)
        if (suppressed := self._limiter.allow(("dead", topic))) is not None:
            log.warning("frame_refused", topic=topic, error=str(exc), size=len(payload), suppressed=suppressed)
        return Taken(Outcome.REFUSED, reason=str(exc))

    def _note_missing(self, frame: Frame, first: int, last: int) -> None:
        reason = "before_first" if first == 0 else "skipped"
        for low, high in self._tracker.of(frame.gateway, frame.epoch).unaccounted(first, last):
            gap = FrameGap(frame.epoch, low, high, reason)
            self._note(frame.gateway, gap, "missing")
            self._warn("frames_missing", frame.gateway, gap)

    def _account(self, gateway: str, gap: FrameGap) -> None:
        """A gap record of the gateway; of what it names, that which came after all or never was is not lost."""
        stream = self._tracker.of(gateway, gap.epoch)
        news = stream.account(gap.first, gap.last)
        if news:
            self._changed[gateway, gap.epoch] = stream
        if gap.reason != EPOCH_ENDED:
            for first, last in news:
                self._note_lost(gateway, FrameGap(gap.epoch, first, last, gap.reason, gap.count))

    def _note_lost(self, gateway: str, gap: FrameGap) -> None:
        self.counters.lost += 1 if gap.last == U64_MAX else gap.last - gap.first + 1
        self._note(gateway, gap, "lost")
        self._warn("frames_lost", gateway, gap)

    def _warn(self, event: str, gateway: str, gap: FrameGap) -> None:
        if (suppressed := self._limiter.allow((event, gateway))) is not None:
            place = {"epoch": gap.epoch, "first": gap.first, "last": gap.last, "reason": gap.reason}
            log.warning(event, gateway=gateway, **place, suppressed=suppressed)

    def _note(self, gateway: str, gap: FrameGap, kind: GapKind) -> None:
        now = self._clock.wall_ns()
        self._batch.gaps.append(Gap(now, gateway, gap.epoch, gap.first, gap.last, kind, gap.reason, gap.count))


def _check_gateway(name: str, gateway: str | None) -> None:
    if gateway is not None and name != gateway:
        raise FrameError(f"the frame names gateway {name!r}", hint=f"its place is that of {gateway!r}")
