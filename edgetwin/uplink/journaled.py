"""Frames that wait for the cloud's acknowledgement, in the journal.

::

    put ─▶ staged ─ stage, commit ─▶ durable: visible to the transport ─▶ acknowledged
              └───────────────────────────┴─▶ dropped, named by a gap record

A frame is sent when it is durable and not before. The journal keeps the gap records until the cloud has them; each
frame that is made tells of those that no other tells of. edgetwin.uplink.backlog has what becomes of frames
that are durable.

Events are evicted last, so they go in frames of their own, which can be decoded whatever becomes of the reports.
Corrections stay with the reports, as they are of no use without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetwin.clock import Clock
from edgetwin.codec.encoder import Encoder
from edgetwin.codec.frames import FrameGap
from edgetwin.journal import Class, Gap, Group, Journal, Kind
from edgetwin.journal.gaps import subtract
from edgetwin.records import CORRECTION, Event, Report, SignalSummary
from edgetwin.uplink.backlog import Backlog
from edgetwin.uplink.gaps import frame_gap, lost_event
from edgetwin.uplink.queued import Key, Queued
from edgetwin.uplink.staging import Made, Staged, Staging
from edgetwin.uplink.store import FrameStore

DISK_REFUSED = "disk_refused"


class JournalOutbox(FrameStore):
    """Frames of ``gateway``. An :class:`edgetwin.uplink.port.Outbox`; one consumer; for the event loop's thread, while
    the journal's writer has its own.

    At most ``staged_bytes_max`` bytes wait to be committed: beyond, the oldest go, and those that continue them.
    """

    def __init__(
        self, gateway: str, journal: Journal, encoder: Encoder, clock: Clock, *, staged_bytes_max: int
    ) -> None:
        """Takes up what the journal holds of earlier runs. JournalError when that cannot be read."""
        super().__init__(gateway, encoder, journal.epoch, clock)
        self._journal = journal
        self._clock = clock
        self._staging = Staging(staged_bytes_max)
        self._number: int | None = None
        self._run: int | None = None  # of the frame with reports made last
        self._frame_gaps: dict[FrameGap, Gap] = {}
        self._other_gaps: list[Gap] = []
        self._backlog = Backlog(journal, self)
        if len(self):
            self.changed.set()
            self.drained.clear()

    def __len__(self) -> int:
        return len(self._backlog.waiting)

    @property
    def staged(self) -> int:
        """Frames that are made and not durable yet."""
        return len(self._staging)

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait, about: those that leave count as much as the average."""
        return round(self._backlog.waiting.bytes)

    @property
    def front(self) -> int:
        """Position of the oldest frame; :attr:`end` when there is none."""
        self._notice()
        first = self._backlog.waiting.first(0)
        return self.end if first is None else first

    # ---- in

    def put(
        self, reports: Sequence[Report], events: Sequence[Event] = (), signals: Sequence[SignalSummary] = ()
    ) -> int:
        """Encode, number and stage; returns how many frames it took. Without anything to put, a frame is made if there
        are gaps to tell of. FrameError when a report is malformed."""
        self._notice()
        before = self.counters.enqueued
        super().put(reports, [event for event in events if event.kind == CORRECTION], signals)
        self._other_gaps = [gap for gap in self._gaps() if gap.kind != Kind.FRAME]
        now_ns = self._clock.wall_ns()
        apart = [event for event in events if event.kind != CORRECTION]
        apart += [lost_event(gap, now_ns) for gap in self._other_gaps]
        if apart or (self.counters.enqueued == before and (self._untold() or self._again)):
            self._encode((), apart)
        return self.counters.enqueued - before

    def _gaps(self) -> list[Gap]:
        """Gaps of the journal that no frame tells of, staged ones included."""
        if not (pending := self._journal.gaps()):
            return []
        return subtract(pending, (gap for made in self._staging for gap in made.gaps))

    def _untold(self) -> list[FrameGap]:
        self._frame_gaps = {frame_gap(gap): gap for gap in self._gaps() if gap.kind == Kind.FRAME}
        return list(self._frame_gaps)

    def _told(self) -> Iterator[FrameGap]:
        staged = (gap for made in self._staging for gap in made.gaps)
        return (frame_gap(gap) for gap in (*self._journal.carried_gaps(), *staged) if gap.kind == Kind.FRAME)

    def _next_number(self) -> int:
        if self._number is None:
            self._number = self._journal.take_frame_number()
        return self._number

    def _enter(self, queued: Queued, events: Sequence[Event]) -> None:
        self._number = None
        told = [self._frame_gaps[gap] for gap in queued.gaps]
        cls = Class.DATA
        if any(event.kind != CORRECTION for event in events):
            cls = Class.EVENT
            told += self._other_gaps
        if queued.run is not None:
            self._run = queued.run
        self._staging.enter(Made(queued, cls, tuple(told)))
        self.drained.clear()
        self._bound_staging()

    def _bound_staging(self) -> None:
        while lost := self._staging.overflow():
            self.counters.dropped += len(lost)
            self._backlog.give_up(self.epoch, [(made.seq, made.queued.values) for made in lost], DISK_REFUSED)
            if self._run is not None and lost[0].queued.run == self._run:
                self.encoder.request_key()
        self._quieten()

    # ---- to the disk

    def stage(self, group: Group) -> Staged:
        """Put staged frames into a group, to be told of its fate by :meth:`durable` or :meth:`undurable` before
        another one is staged."""
        return self._staging.take(group)

    def durable(self, staged: Staged) -> None:
        """The commit succeeded: the frames may be sent."""
        self._staging.committed(staged)
        if staged.frames:
            self._backlog.append([made.queued for made in staged.frames])
            self.changed.set()
        self._quieten()

    def undurable(self, staged: Staged) -> None:
        """The commit failed: the frames are staged again, before the others."""
        self._staging.failed(staged)
        self._bound_staging()

    # ---- out

    def read(self, position: int) -> Queued | None:
        """The first frame at or after a position."""
        queued = self._backlog.read(position)
        self._quieten()
        return queued

    def acknowledge(self, through: Key) -> int:
        """The cloud has every frame of the epoch up to and including this sequence number; returns how many that freed.
        Durable with the next commit."""
        freed = self._backlog.acknowledge(through)
        self._quieten()
        return freed

    def drop(self, key: Key, reason: str) -> None:
        """Give a frame up, and those after it that continue it; the next one tells the cloud."""
        self._backlog.drop(key, reason)
        self._quieten()

    def _notice(self) -> None:
        """Take out what the journal has given up meanwhile."""
        self._backlog.notice()
        self._quieten()

    def _quieten(self) -> None:
        if not len(self) and not self.staged:
            self.drained.set()
