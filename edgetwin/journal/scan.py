"""A segment's bytes as records, with everything that is not one reported and skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgetwin.journal.layout import ALIGN, HEADER_BYTES, MAGIC, Header, decode_header, decode_segment_header, payload_at


class Record(NamedTuple):
    """A whole record at ``offset`` of its segment."""

    offset: int
    header: Header
    payload: bytes


class Damage(NamedTuple):
    """``length`` bytes at ``offset`` that are no whole record.

    ``header``: that of the record there, when only its payload is damaged. ``tail``: nothing whole follows in the
    segment, as after a power cut in the middle of a write.
    """

    offset: int
    length: int
    header: Header | None
    tail: bool


def scan(data: bytes, epoch: int) -> Iterator[Record | Damage]:
    """The records of ``epoch`` in ``data``, a segment with its header, in order, and the damage between them.

    Zeros up to the end are the room that was reserved and not used: no damage.
    """
    offset = HEADER_BYTES
    while offset < len(data):
        header = decode_header(data, offset)
        if header is None or header.epoch != epoch:
            following = _resynchronise(data, offset + ALIGN, epoch)
            if following < 0:
                yield from _tail(data, offset)
                return
            yield Damage(offset, following - offset, None, tail=False)
            offset = following
            continue
        payload = payload_at(data, offset, header)
        if payload is None:
            tail = _resynchronise(data, offset + header.size, epoch) < 0
            yield Damage(offset, min(header.size, len(data) - offset), header, tail)
        else:
            yield Record(offset, header, payload)
        offset += header.size


def without_trailer(data: bytes) -> bytes:
    """A thinned segment without the copy of its header at the end, if that is whole."""
    return data[:-HEADER_BYTES] if decode_segment_header(data[-HEADER_BYTES:]) is not None else data


def _resynchronise(data: bytes, offset: int, epoch: int) -> int:
    """Where the next whole header of ``epoch`` begins, -1 when there is none.

    Epochs are random, so bytes within a payload that look like a record do not pass for one.
    """
    while (offset := data.find(MAGIC, offset)) >= 0:
        if offset % ALIGN == 0:
            header = decode_header(data, offset)
            if header is not None and header.epoch == epoch:
                return offset
        offset += 1
    return -1


def _tail(data: bytes, offset: int) -> Iterator[Damage]:
    rest = data[offset:].rstrip(b"\0")
    if rest:
        yield Damage(offset, len(rest), None, tail=True)
