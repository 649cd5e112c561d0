"""Bytes of segments and records (the specification is the docstring of the package)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from google_crc32c import value as crc32c

from edgetwin.errors import JournalError

MAGIC = b"\xe5JR1"
SEGMENT_MAGIC = b"\xe5EDGTJ\r\n"
VERSION = 1
HEADER_BYTES = 64
ALIGN = 8
BLOCK_BYTES = 4_096
"""What a file system gives a file at a time."""
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
GROUP_RECORDS_MAX = 65_536
THINNED = 1
"""Flag of a segment that was rewritten with some of its records left out."""

_HEAD = struct.Struct("<4sI")
_FIELDS = struct.Struct("<IIQQQqQBBHI")
_SEGMENT_HEAD = struct.Struct("<8sI")
_SEGMENT_FIELDS = struct.Struct("<IQQQQIIQ")


class Kind(IntEnum):
    """What a record is."""

    UNKNOWN = 0
    """Never written; the kind of a gap whose records can no longer be told apart."""
    COMMIT = 1
    MANIFEST = 2
    FRAME = 3
    STATE_BASE = 4
    STATE_DELTA = 5
    POSITIONS = 6
    ACK = 7
    GAP = 8
    CARRIED = 9
    EVENT = 10
    AUDIT = 11
    INTENT = 12
    RESULT = 13


HISTORY = frozenset({Kind.EVENT, Kind.AUDIT, Kind.INTENT, Kind.RESULT})
"""Kinds kept on the gateway for their age, whether or not the cloud has heard of them."""
STATE = frozenset({Kind.STATE_BASE, Kind.STATE_DELTA})
CHAINED = STATE | {Kind.POSITIONS}
OWN = frozenset({Kind.COMMIT, Kind.MANIFEST, Kind.ACK, Kind.GAP, Kind.CARRIED})
"""Kinds the journal writes itself."""


class Class(IntEnum):
    """What goes first when room is short: the lowest class, and in it the oldest. STATE is never evicted."""

    DATA = 0
    AUDIT = 1
    EVENT = 2
    STATE = 3


CLASS_OF = {
    Kind.FRAME: Class.DATA,
    Kind.AUDIT: Class.AUDIT,
    Kind.INTENT: Class.AUDIT,
    Kind.RESULT: Class.AUDIT,
    Kind.EVENT: Class.EVENT,
}
"""The class of a kind when the caller names none; STATE for the others."""


class Header(NamedTuple):
    """A record without its payload. ``sequence``: number of a frame; of a COMMIT, the number of its first record."""

    length: int
    payload_crc: int
    epoch: int
    number: int
    sequence: int
    wall_ns: int
    run_ns: int
    kind: Kind
    cls: Class
    values: int

    @property
    def size(self) -> int:
        """Bytes of the whole record, padding included."""
        return padded(HEADER_BYTES + self.length)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first 64 bytes of a segment. Record numbers in ``[void, first)`` were written before and do not count."""

    number: int
    epoch: int
    first: int
    void: int
    flags: int
    records: int
    next_frame: int


def padded(length: int) -> int:
    """``length`` rounded up to the alignment of records."""
    return (length + ALIGN - 1) // ALIGN * ALIGN


def encode_header(header: Header) -> bytes:
    """The 64 bytes of ``header``."""
    *most, values = header
    fields = _FIELDS.pack(*most, 0, values)
    return _HEAD.pack(MAGIC, crc32c(fields)) + fields


def decode_header(data: bytes, offset: int) -> Header | None:
    """The header at ``offset``; None when there is none that is whole and sane."""
    end = offset + HEADER_BYTES
    if end > len(data) or data[offset : offset + 4] != MAGIC:
        return None
    fields = data[offset + _HEAD.size : end]
    if crc32c(fields) != int.from_bytes(data[offset + 4 : offset + 8], "little"):
        return None
    length, crc, epoch, number, sequence, wall, run, kind, cls, _, values = _FIELDS.unpack(fields)
    if length > PAYLOAD_BYTES_MAX or kind not in _KINDS or cls > Class.STATE:
        return None
    return Header(length, crc, epoch, number, sequence, wall, run, _KINDS[kind], _CLASSES[cls], values)


_KINDS = {int(kind): kind for kind in Kind if kind is not Kind.UNKNOWN}
_CLASSES = tuple(Class)


def payload_at(data: bytes, offset: int, header: Header) -> bytes | None:
    """The payload of the record at ``offset``; None when it is cut off or damaged."""
    start = offset + HEADER_BYTES
    payload = data[start : start + header.length]
    return payload if len(payload) == header.length and crc32c(payload) == header.payload_crc else None


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The 64 bytes of ``header``."""
    h = header
    fields = _SEGMENT_FIELDS.pack(VERSION, h.number, h.epoch, h.first, h.void, h.flags, h.records, h.next_frame)
    return _SEGMENT_HEAD.pack(SEGMENT_MAGIC, crc32c(fields)) + fields


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header at the start of ``data``; None when it is damaged. JournalError when a newer release wrote it."""
    if len(data) < HEADER_BYTES:
        return None
    magic, crc = _SEGMENT_HEAD.unpack_from(data)
    fields = data[_SEGMENT_HEAD.size : HEADER_BYTES]
    if magic != SEGMENT_MAGIC or crc32c(fields) != crc:
        return None
    version, *rest = _SEGMENT_FIELDS.unpack(fields)
    if version != VERSION:
        raise JournalError(
            f"the journal has format {version}, this release reads {VERSION}",
            hint="run the release that wrote it, or name another state_dir",
        )
    return SegmentHeader(*rest)


def segment_name(number: int, epoch: int) -> str:
    """The file name of a segment."""
    return f"{number:016x}-{epoch:016x}.seg"


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """``(number, epoch)``; None when ``name`` is not that of a segment."""
    if len(name) != 37 or name[16] != "-" or not name.endswith(".seg"):
        return None
    try:
        number, epoch = int(name[:16], 16), int(name[17:33], 16)
    except ValueError:
        return None
    return (number, epoch) if segment_name(number, epoch) == name else None
