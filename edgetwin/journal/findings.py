"""What recovery finds, and the files it starts from."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetwin.journal.disk import Disk
from edgetwin.journal.gaps import Gap, GapLedger
from edgetwin.journal.layout import HEADER_BYTES, Kind, SegmentHeader, decode_segment_header, parse_segment_name
from edgetwin.journal.segments import Segment
from edgetwin.journal.state import StateChain


@dataclass(slots=True)
class Counts:
    """What recovery met. ``damaged`` and ``torn`` are places (their bytes beside them): damage among confirmed
    records, and ends of writes that never were. ``lost`` are confirmed records gone; ``dropped`` unconfirmed ones."""

    records: int = 0
    bytes: int = 0
    damaged: int = 0
    damaged_bytes: int = 0
    torn: int = 0
    torn_bytes: int = 0
    lost: int = 0
    dropped: int = 0
    void: int = 0
    duplicates: int = 0
    segments_missing: int = 0
    segments_duplicate: int = 0
    headers_damaged: int = 0


@dataclass(slots=True)
class Findings:
    """A journal as it was found. ``epochs``: the next frame number of each, in order; ``redundant``: files to remove;
    ``new_gaps``: what recovery itself found lost, which is in ``gaps`` too."""

    segments: list[Segment] = field(default_factory=list)
    acks: dict[int, int] = field(default_factory=dict)
    gaps: GapLedger = field(default_factory=GapLedger)
    chain: StateChain = field(default_factory=StateChain)
    epochs: dict[int, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    new_gaps: list[Gap] = field(default_factory=list)
    redundant: list[str] = field(default_factory=list)
    kinds: dict[Kind, int] = field(default_factory=dict)
    last_number: int = 0
    run_ns: int = 0


@dataclass(frozen=True, slots=True)
class SegmentFile:
    name: str
    number: int
    epoch: int
    header: SegmentHeader | None


def read_file(disk: Disk, name: str) -> bytes | None:
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return None  # removed meanwhile by the daemon, beside which an inspection reads
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()


def segment_files(disk: Disk, found: Findings) -> list[SegmentFile]:
    """The segments in order of their numbers, copies of a segment under another name set aside."""
    files: dict[tuple[int, int], SegmentFile] = {}
    for name in disk.names():
        named = parse_segment_name(name)
        if named is None:
            continue
        found.last_number = max(found.last_number, named[0])
        header = _segment_header(disk, name)
        identity = named if header is None else (header.number, header.epoch)
        file = SegmentFile(name, *identity, header)
        other = files.get(identity)
        if other is not None:
            found.counts.segments_duplicate += 1
            if parse_segment_name(other.name) == identity:
                file, other = other, file
            found.redundant.append(other.name)
        files[identity] = file
    return [files[identity] for identity in sorted(files)]


def _segment_header(disk: Disk, name: str) -> SegmentHeader | None:
    """The header, or its copy at the end of a thinned segment."""
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return None
    try:
        header = decode_segment_header(file.read_at(0, HEADER_BYTES))
        return header or decode_segment_header(file.read_at(max(0, file.size() - HEADER_BYTES), HEADER_BYTES))
    finally:
        file.close()


def void_numbers(files: list[SegmentFile]) -> dict[int, list[tuple[int, int]]]:
    """Per epoch, record numbers ``[from, to)`` of writes that failed and were given up."""
    void: dict[int, list[tuple[int, int]]] = {}
    for file in files:
        if file.header is not None and file.header.void < file.header.first:
            void.setdefault(file.epoch, []).append((file.header.void, file.header.first))
    return void
