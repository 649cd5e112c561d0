"""What a journal holds, for people; reads beside a running daemon and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetwin.errors import JournalError
from edgetwin.journal import reading
from edgetwin.journal.disk import RealDisk
from edgetwin.journal.findings import Counts
from edgetwin.journal.gaps import coalesce
from edgetwin.journal.index import Index
from edgetwin.journal.layout import Kind, parse_segment_name
from edgetwin.journal.recovery import recover
from edgetwin.journal.segments import Segment
from edgetwin.journal.state import Generation


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """A segment. ``records``: by kind; ``frames``: first and last number, None when it holds none."""

    name: str
    epoch: int
    bytes: int
    thinned: bool
    damaged: bool
    records: dict[str, int]
    frames: tuple[int, int] | None
    first_wall_ns: int
    last_wall_ns: int


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The frames of an epoch. ``acknowledged``: through this number, -1 when none is."""

    epoch: int
    next_frame: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class GapReport:
    """See :class:`edgetwin.journal.gaps.Gap`. ``carried``: a frame on its way tells the cloud of it."""

    epoch: int
    kind: str
    first: int
    last: int
    records: int
    values: int
    reason: str
    carried: bool


@dataclass(frozen=True, slots=True)
class StateReport:
    """The newest whole state: records and bytes of its base and of the changes since."""

    base_records: int
    base_bytes: int
    changes: int
    changes_bytes: int
    has_positions: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `edgetwin inspect` says of a journal. ``damage`` is what a start would find at this moment; the
    end of a group that is being written counts as torn there."""

    directory: str
    bytes: int
    records: dict[str, int]
    frames_waiting: int
    frames_waiting_bytes: int
    state: StateReport | None
    epochs: list[EpochReport]
    gaps: list[GapReport]
    damage: Counts
    segments: list[SegmentReport]


def holds_journal(path: Path) -> bool:
    """Whether there are segments in the directory."""
    return path.is_dir() and any(parse_segment_name(entry.name) for entry in path.iterdir())


class ReadOnlyJournal:
    """The journal in a directory, read once, beside its running owner; the other methods are as of :class:`Journal`."""

    def __init__(self, path: Path) -> None:
        """JournalError when it cannot be read."""
        if not path.is_dir():
            raise JournalError(f"{path} is no directory", hint="name the state_dir of a gateway")
        self._disk = RealDisk(path, read_only=True)
        self._found = recover(self._disk)
        self._index = Index(self._found)

    def state(self) -> Iterator[tuple[Kind, bytes]]:
        """The base's records and what changed since. JournalError when its owner has removed them meanwhile."""
        return reading.state(self._disk, self._index)

    def positions(self) -> bytes | None:
        """The sources' positions that belong to :meth:`state`."""
        return reading.positions(self._disk, self._index)

    def history(self, *kinds: Kind) -> Iterator[reading.StoredRecord]:
        """Records of these kinds that are kept, oldest first."""
        return reading.history(self._disk, self._index, frozenset(kinds))

    def inspect(self) -> Inspection:
        """What it holds."""
        found, index = self._found, self._index
        waiting = index.waiting()
        carried = [gap for gaps in index.gaps.carried.values() for gap in gaps]
        gaps = [(gap, False) for gap in index.gaps.pending] + [(gap, True) for gap in coalesce(carried)]
        return Inspection(
            directory=self._disk.name,
            bytes=found.counts.bytes,
            records={kind.name.lower(): count for kind, count in sorted(found.kinds.items())},
            frames_waiting=waiting.records,
            frames_waiting_bytes=waiting.bytes,
            state=_state(found.chain.current),
            epochs=[EpochReport(e, after, found.acks.get(e, -1)) for e, after in found.epochs.items()],
            gaps=[
                GapReport(g.epoch, g.kind.name.lower(), g.first, g.last, g.records, g.values, g.reason, told)
                for g, told in gaps
            ],
            damage=found.counts,
            segments=[_segment(segment) for segment in found.segments],
        )


def _state(current: Generation | None) -> StateReport | None:
    if current is None:
        return None
    return StateReport(
        current.base_records,
        current.base_bytes,
        len(current.refs) - current.base_records,
        current.bytes - current.base_bytes,
        current.positions is not None,
    )


def _segment(segment: Segment) -> SegmentReport:
    records: dict[str, int] = {}
    for (kind, _), tally in segment.tallies.items():
        records[kind.name.lower()] = records.get(kind.name.lower(), 0) + tally.records
    frames = (segment.first_frame, segment.last_frame) if segment.first_frame <= segment.last_frame else None
    return SegmentReport(
        segment.name, segment.epoch, segment.size, segment.thinned, segment.damaged, records, frames,
        segment.first_wall_ns, segment.last_wall_ns,
    )  # fmt: skip
