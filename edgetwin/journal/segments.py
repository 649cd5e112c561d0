"""What is kept in memory of a segment: ranges and sums, never its records."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetwin.journal.layout import Class, Header, Kind
from edgetwin.journal.manifest import Listed


@dataclass(slots=True)
class Tally:
    """Sums over records of one kind and class; ``bytes`` as they lie on the disk."""

    records: int = 0
    values: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Segment:
    """A segment file. ``size``: its length; ``end``: where confirmed records end.

    ``first``, ``void``, ``next_frame``: as in its header.
    ``first_frame > last_frame`` when it holds no frames. ``damaged``: to be rewritten without its damage.
    """

    name: str
    number: int
    epoch: int
    size: int
    end: int
    first: int = 0
    void: int = 0
    next_frame: int = 0
    thinned: bool = False
    damaged: bool = False
    first_frame: int = 1
    last_frame: int = 0
    oldest_run_ns: int = -1
    newest_run_ns: int = 0
    first_wall_ns: int = 0
    last_wall_ns: int = 0
    tallies: dict[tuple[Kind, Class], Tally] = field(default_factory=dict)

    def enter(self, header: Header) -> None:
        """Count a confirmed record."""
        tally = self.tallies.setdefault((header.kind, header.cls), Tally())
        tally.records += 1
        tally.bytes += header.size
        if header.kind == Kind.FRAME:
            tally.values += header.values
            if self.first_frame > self.last_frame:
                self.first_frame = header.sequence
            self.last_frame = header.sequence
        if self.oldest_run_ns < 0:
            self.oldest_run_ns, self.first_wall_ns = header.run_ns, header.wall_ns
        self.newest_run_ns, self.last_wall_ns = max(self.newest_run_ns, header.run_ns), header.wall_ns

    def count(self, kind: Kind) -> Tally:
        """The sums over all classes of ``kind``."""
        total = Tally()
        for (own, _), tally in self.tallies.items():
            if own == kind:
                total.records += tally.records
                total.values += tally.values
                total.bytes += tally.bytes
        return total

    def waiting(self, through: int) -> Tally:
        """Frames beyond ``through``, the last one acknowledged. Of a segment acknowledged in part, values and bytes
        are in proportion; so are the records of a thinned one."""
        frames = self.count(Kind.FRAME)
        if not frames.records or self.last_frame <= through:
            return Tally()
        if through < self.first_frame:
            return frames
        span, left = self.last_frame - self.first_frame + 1, self.last_frame - through
        return Tally(*(-(-total * left // span) for total in (frames.records, frames.values, frames.bytes)))

    def listed(self) -> Listed:
        """As the manifest names it."""
        return Listed(self.number, self.epoch, self.first_frame, self.last_frame, self.count(Kind.FRAME).records)
