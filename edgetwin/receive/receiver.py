"""From payloads to a store: each frame once, each loss told, each bad payload set aside.

Durable progress is a position: a commit first makes the files durable and then replaces ``progress.json``, which
holds their sizes and the frames in them. After a crash the files are cut back to it. A payload may be acknowledged
to the broker only after the commit that follows its :meth:`Receiver.take`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from edgetwin.clock import Clock
from edgetwin.codec.decoder import FrameDecoder, NeedKeyError, identity
from edgetwin.codec.frames import Frame, FrameGap
from edgetwin.errors import FrameError
from edgetwin.ratelimit import RateLimiter
from edgetwin.receive import progress
from edgetwin.receive.config import CsvStore, ParquetStore
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.files import CsvLog, storing
from edgetwin.receive.parquet import ParquetStates
from edgetwin.receive.runs import Runs
from edgetwin.receive.sequence import Received, Tracker
from edgetwin.receive.store import CsvStates, Store, iso

log = structlog.get_logger()

GAP_COLUMNS = ("noticed", "gateway", "epoch", "first", "last", "kind", "reason", "values")
SIGNAL_COLUMNS = (
    "gateway", "twin", "signal", "unit", "t_ns", "t", "count", "min", "max", "mean", "duration_s",
)  # fmt: skip
EVENT_COLUMNS = ("gateway", "epoch", "seq", "t", "kind", "data")

MISSING, FILLED, LOST = "missing", "filled", "lost"


@dataclass(slots=True)
class Counters:
    """Since the start. payloads = stored + duplicates + dead; ``missing`` counts frames skipped, less those that came
    later; ``lost`` frames a gap record has explained, an open-ended one as one."""

    payloads: int = 0
    stored: int = 0
    rows: int = 0
    duplicates: int = 0
    dead: int = 0
    missing: int = 0
    lost: int = 0


class Receiver:
    """A store in a directory that nobody else writes to. Knows files and no network."""

    def __init__(
        self, config: CsvStore | ParquetStore, directory: Path, clock: Clock, dead: DeadLetters | None = None
    ) -> None:
        """JournalError when the directory cannot be written or belongs to another kind of store.

        ``key_wanted`` are the gateways of which a frame came that continues what is not here.
        """
        self.counters = Counters()
        self.key_wanted: set[str] = set()
        self._clock = clock
        self._directory = directory
        self._kind = "csv" if isinstance(config, CsvStore) else "parquet"
        self._limiter = RateLimiter(clock=clock)
        with storing(directory):
            directory.mkdir(parents=True, exist_ok=True)
        done = progress.load(directory, self._kind)
        self._tracker = Tracker()
        self._tracker.restore(done.received)
        self._store = _make_store(config, directory, done.positions.get("states", 0))
        self._gaps = CsvLog(directory / "gaps.csv", GAP_COLUMNS, done.positions.get("gaps", 0))
        self._events = CsvLog(directory / "events.csv", EVENT_COLUMNS, done.positions.get("events", 0))
        self._signals = CsvLog(directory / "signals.csv", SIGNAL_COLUMNS, done.positions.get("signals", 0))
        self._decoder = FrameDecoder()
        self._runs = Runs(directory, done.positions.get("runs_number", 0), done.positions.get("runs", 0))
        self._runs.resume(self._decoder)
        self._dead = dead or DeadLetters(directory / "dead-letters")

    @property
    def full(self) -> bool:
        """Whether the store asks for a commit."""
        return self._store.full

    def take(self, payload: bytes, topic: str = "", gateway: str | None = None) -> None:
        """One payload, whatever it is; ``gateway`` is whose it must be, if that is known.

        JournalError when the disk refuses; then the receiver is done for.
        """
        self.counters.payloads += 1
        try:
            frame = self._decode(payload, gateway)
        except FrameError as exc:
            self._set_aside(payload, topic, exc)
            return
        if frame is None:
            self.counters.duplicates += 1
            return
        self._runs.add(frame, payload)
        arrival = self._tracker.of(frame.gateway, frame.epoch).add(frame.seq)
        if arrival.missing is not None:
            self._note_missing(frame, *arrival.missing)
        if arrival.filled:
            self.counters.missing -= 1
            self._note_gap(frame, FrameGap(frame.epoch, frame.seq, frame.seq, "came_late", frame.values), FILLED)
        for gap in frame.gaps:
            self._note_lost(frame, gap)
        self._store_frame(frame)

    def commit(self) -> None:
        """Make everything taken durable. JournalError when the disk refuses; then the receiver is done for."""
        positions = {"states": self._store.commit(), "gaps": self._gaps.commit(), "events": self._events.commit()}
        positions["signals"] = self._signals.commit()
        positions["runs_number"], positions["runs"] = self._runs.commit()
        done = progress.Progress(kind=self._kind, positions=positions, received=self._tracker.snapshot())
        progress.save(self._directory, done)
        self._runs.tidy()

    def close(self) -> None:
        """Release the files; what was not committed is forgotten."""
        for part in (self._store, self._gaps, self._events, self._signals, self._runs):
            part.close()

    def received(self, gateway: str, epoch: int) -> Received:
        """The numbers that have come of an epoch."""
        return self._tracker.peek(gateway, epoch)

    def _decode(self, payload: bytes, gateway: str | None) -> Frame | None:
        """The frame; None when it has come before, which is asked first: a frame of a run is decoded once."""
        name, epoch, seq = identity(payload)
        if gateway is not None and name != gateway:
            raise FrameError(f"the frame names gateway {name!r}", hint=f"its topic is that of {gateway!r}")
        if self._tracker.peek(name, epoch).has(seq):
            return None
        try:
            frame = self._decoder.decode(payload)
        except NeedKeyError:
            self.key_wanted.add(name)
            raise
        if frame.key == frame.seq:
            self.key_wanted.discard(name)
        return frame

    def _store_frame(self, frame: Frame) -> None:
        self._store.write(frame)
        self._events.write(
            (frame.gateway, frame.epoch, frame.seq, iso(e.t_ns), e.kind, msgspec.json.encode(e.data).decode())
            for e in frame.events
        )
        self._signals.write(_signal_rows(frame))
        self.counters.stored += 1
        self.counters.rows += frame.values

    def _set_aside(self, payload: bytes, topic: str, exc: FrameError) -> None:
        self.counters.dead += 1
        self._dead.add(payload, topic, str(exc))
        if (suppressed := self._limiter.allow(("dead", topic))) is not None:
            log.warning("frame_refused", topic=topic, error=str(exc), size=len(payload), suppressed=suppressed)

    def _note_missing(self, frame: Frame, first: int, last: int) -> None:
        self.counters.missing += last - first + 1
        reason = "before_first" if first == 0 else "skipped"
        self._note_gap(frame, FrameGap(frame.epoch, first, last, reason), MISSING)
        self._warn("frames_missing", frame.gateway, FrameGap(frame.epoch, first, last, reason))

    def _note_lost(self, frame: Frame, gap: FrameGap) -> None:
        """A gap record of the gateway; of what it names, that which came after all is not lost."""
        received = self._tracker.peek(frame.gateway, gap.epoch)
        for first, last in received.missing(gap.first, gap.last):
            self.counters.lost += 1 if gap.reason == "unclean_stop" else last - first + 1
            self._note_gap(frame, FrameGap(gap.epoch, first, last, gap.reason, gap.count), LOST)
            self._warn("frames_lost", frame.gateway, FrameGap(gap.epoch, first, last, gap.reason))

    def _warn(self, event: str, gateway: str, gap: FrameGap) -> None:
        if (suppressed := self._limiter.allow((event, gateway))) is not None:
            place = {"epoch": gap.epoch, "first": gap.first, "last": gap.last, "reason": gap.reason}
            log.warning(event, gateway=gateway, **place, suppressed=suppressed)

    def _note_gap(self, frame: Frame, gap: FrameGap, kind: str) -> None:
        noticed = iso(self._clock.wall_ns())
        self._gaps.write([(noticed, frame.gateway, gap.epoch, gap.first, gap.last, kind, gap.reason, gap.count)])


def _signal_rows(frame: Frame) -> Iterator[tuple[object, ...]]:
    for summary in frame.signals:
        t = iso(summary.t_ns)
        figures = (summary.count, summary.low, summary.high, summary.mean, summary.duration_s)
        for signal, *values in zip(summary.signals, *(f.tolist() for f in figures), strict=True):
            yield frame.gateway, *signal, summary.t_ns, t, *values


def _make_store(config: CsvStore | ParquetStore, directory: Path, position: int) -> Store:
    if isinstance(config, CsvStore):
        return CsvStates(directory, position)
    return ParquetStates(directory, position, config.rows_max)
