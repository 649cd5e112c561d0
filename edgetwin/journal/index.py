"""What the journal knows in memory; shared by the writer's thread and those that read."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from edgetwin.journal.findings import Findings
from edgetwin.journal.gaps import FrameKey, Gap, GapLedger, over
from edgetwin.journal.layout import CHAINED, Header, Kind
from edgetwin.journal.manifest import Manifest
from edgetwin.journal.segments import Segment, Tally
from edgetwin.journal.state import StateChain


class Index:
    """Segments in order, acknowledgements, gaps and the chain of state records. Every method takes the lock."""

    def __init__(self, found: Findings) -> None:
        self.lock = threading.RLock()
        self.segments = found.segments
        self.acks = found.acks
        self.gaps = found.gaps
        self.chain: StateChain = found.chain
        self.acks_refused = 0
        self.last_frame: dict[int, int] = {epoch: after - 1 for epoch, after in found.epochs.items() if after > 0}
        self._acks_unwritten: dict[int, int] = {}
        self._gaps_unwritten: list[Gap] = []

    def acknowledge(self, epoch: int, through: int) -> bool:
        """Take the cloud's mark. False when it goes back, is of no epoch here, or beyond what was written."""
        with self.lock:
            if through > self.last_frame.get(epoch, -1):
                self.acks_refused += 1
                return False
            if through <= self.acks.get(epoch, -1):
                self.acks_refused += through < self.acks.get(epoch, -1)
                return False
            self.acks[epoch] = self._acks_unwritten[epoch] = through
            self._settle()
            return True

    def _settle(self) -> None:
        """An epoch of which no frame is on the disk is over: each arrived, or is in a gap."""
        self.gaps.settle(
            lambda key: key[0] not in self.last_frame or key[1] <= self.acks.get(key[0], -1),
            lambda gap: over(gap, self.acks, self.last_frame),
        )

    def give_up(self, gaps: Iterable[Gap]) -> None:
        """Enter gaps, to be written with the next group."""
        with self.lock:
            gaps = list(gaps)
            self.gaps.give_back(g for g in gaps if g.kind == Kind.FRAME)
            self.gaps.add(gaps)
            self._gaps_unwritten += gaps

    def unwritten(self, gaps: list[Gap]) -> None:
        """Gaps that are entered, but not on the disk yet."""
        with self.lock:
            self._gaps_unwritten += gaps

    def marks(self) -> tuple[dict[int, int], list[Gap]]:
        """Acknowledgements and gaps that are not on the disk yet."""
        with self.lock:
            return dict(self._acks_unwritten), list(self._gaps_unwritten)

    def written(self, acks: dict[int, int], gaps: list[Gap]) -> None:
        """Those that :meth:`marks` gave are durable now."""
        with self.lock:
            for epoch, through in acks.items():
                if self._acks_unwritten.get(epoch) == through:
                    del self._acks_unwritten[epoch]
            del self._gaps_unwritten[: len(gaps)]

    def confirm(self, segment: Segment, headers: list[Header], end: int) -> None:
        """Records of ``segment`` are durable, which now ends at ``end``."""
        with self.lock:
            for header in headers:
                segment.enter(header)
                if header.kind == Kind.FRAME:
                    self.last_frame[header.epoch] = header.sequence
                elif header.kind in CHAINED:
                    self.chain.offer(header, segment.number)
            segment.end = end

    def tell(self, gaps: Iterable[Gap], carried: dict[FrameKey, tuple[Gap, ...]]) -> None:
        """Gaps and what frames carry, as durable now."""
        with self.lock:
            gaps = list(gaps)
            self.gaps.give_back(g for g in gaps if g.kind == Kind.FRAME)
            self.gaps.add(gaps)
            for key, told in carried.items():
                self.gaps.carry(key, told)

    def manifest(self, removed: set[int], gaps: GapLedger) -> Manifest:
        """What the next segment begins with; without the segments ``removed``."""
        with self.lock:
            segments = [s for s in self.segments if s.number not in removed]
            epochs = {s.epoch for s in segments}
            return Manifest(
                {epoch: through for epoch, through in self.acks.items() if epoch in epochs},
                tuple(gaps.pending),
                dict(gaps.carried),
                tuple(s.listed() for s in segments),
            )

    def forget(self, segment: Segment) -> None:
        """The segment is no longer there. What is known of its epoch goes with the last segment of it."""
        with self.lock:
            self.segments.remove(segment)
            if all(s.epoch != segment.epoch for s in self.segments):
                self.last_frame.pop(segment.epoch, None)
                self.acks.pop(segment.epoch, None)
                self._settle()

    def replace(self, old: Segment, new: Segment) -> None:
        """A segment was rewritten."""
        with self.lock:
            self.segments[self.segments.index(old)] = new

    def next_frame(self, epoch: int) -> int:
        """The number after the last frame of ``epoch`` that is durable."""
        with self.lock:
            return self.last_frame.get(epoch, -1) + 1

    def acks_written(self) -> dict[int, int]:
        """Acknowledgements of epochs all of whose marks are durable."""
        with self.lock:
            return {epoch: through for epoch, through in self.acks.items() if epoch not in self._acks_unwritten}

    def waiting(self) -> Tally:
        """Frames not acknowledged; see :meth:`Segment.waiting`."""
        total = Tally()
        with self.lock:
            for segment in self.segments:
                left = segment.waiting(self.acks.get(segment.epoch, -1))
                total.records += left.records
                total.values += left.values
                total.bytes += left.bytes
        return total
