"""The files of a journal: making, sealing, rewriting and removing segments, and the reserve for a full disk."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import replace

import structlog

from edgetwin.journal.disk import Disk, File
from edgetwin.journal.layout import (
    ALIGN,
    HEADER_BYTES,
    THINNED,
    SegmentHeader,
    encode_header,
    encode_segment_header,
    segment_name,
)
from edgetwin.journal.retention import View
from edgetwin.journal.scan import Damage, Record, scan
from edgetwin.journal.segments import Segment

log = structlog.get_logger()

RESERVE_NAME = "reserve"
PARTIAL = ".tmp"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def read_segment(disk: Disk, segment: Segment) -> bytes:
    """The confirmed bytes of a segment, header included."""
    file = disk.open(segment.name)
    try:
        return file.read_at(0, segment.end)
    finally:
        file.close()


def records(disk: Disk, segment: Segment) -> Iterator[Record]:
    """The whole records of a segment; what has been damaged since is passed over."""
    for item in scan(read_segment(disk, segment), segment.epoch):
        if isinstance(item, Record):
            yield item


class Store:
    """Files in ``disk``. Every method may raise OSError, and leaves nothing half done that counts.

    ``redundant``: segments of which nothing counts. They are gone for good before the later segments go that say so.
    """

    def __init__(self, disk: Disk, reserve_bytes: int, redundant: list[str]) -> None:
        self.redundant = redundant
        self.disk = disk
        self.reserve_bytes = 0
        self._reserve_wanted = reserve_bytes

    # ---- segments

    def create(self, header: SegmentHeader, size: int) -> tuple[Segment, File]:
        """A new segment with room for ``size`` bytes; nothing is in it yet."""
        name = segment_name(header.number, header.epoch)
        file = self.disk.create(name)
        try:
            file.allocate(size)
        except OSError:
            self._discard(name, file)
            raise
        h = header
        return Segment(name, h.number, h.epoch, size, HEADER_BYTES, h.first, h.void, h.next_frame), file

    def fill(self, segment: Segment, file: File, header: SegmentHeader, data: bytes) -> None:
        """Write its beginning; content and name are durable afterwards."""
        try:
            file.write_at(0, encode_segment_header(header) + data)
            file.sync()
            self.disk.sync_directory()
        except OSError:
            self._discard(segment.name, file)
            raise

    def _discard(self, name: str, file: File) -> None:
        file.close()
        self.redundant.append(name)
        with contextlib.suppress(OSError):
            self.disk.unlink(name)

    def remove(self, segment: Segment) -> None:
        """Unlink a segment; the caller syncs the directory."""
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(segment.name)

    def seal(self, segment: Segment, file: File) -> None:
        """Nothing more comes: give back the room that was not used, if that can be done."""
        with contextlib.suppress(OSError):
            file.truncate(segment.end)
            segment.size = segment.end
        file.close()

    def secure(self, segment: Segment) -> None:
        """Make durable what was read of the newest segment. Its writer may have been killed between a write and the
        sync, or after a sync that failed: the bytes can be read then, from memory, and be lost with the power. So they
        are written anew; without room for that they are synced where they are."""
        try:
            self._replace(segment.name, read_segment(self.disk, segment))
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            file = self.disk.open(segment.name)
            try:
                file.sync()
            finally:
                file.close()
            self.disk.sync_directory()
        else:
            segment.size = segment.end

    def thin(self, segment: Segment, view: View) -> Segment | None:
        """Rewrite a segment with what is live. None, with the segment removed, when nothing is."""
        found = list(scan(read_segment(self.disk, segment), segment.epoch))
        kept = [item for item in found if isinstance(item, Record) and view.live(segment.number, item.header)]
        if not kept:
            self.disk.unlink(segment.name)
            return None
        data, thinned = _thinned(segment, kept)
        self._replace(segment.name, data)
        thinned.size = len(data)
        for item in found:
            if isinstance(item, Damage) and not segment.damaged:
                log.warning("journal_damaged", segment=segment.name, offset=item.offset, bytes=item.length)
        return thinned

    def _replace(self, name: str, data: bytes) -> None:
        partial = name + PARTIAL
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(partial)
        file = self.disk.create(partial)
        try:
            file.write_at(0, data)
            file.sync()
        except OSError:
            with contextlib.suppress(OSError):
                self.disk.unlink(partial)
            raise
        finally:
            file.close()
        self.disk.rename(partial, name)
        self.disk.sync_directory()

    def clean(self) -> None:
        """Remove what is redundant, and what a crash left half written."""
        names = [name for name in self.disk.names() if name.endswith(PARTIAL)] + self.redundant
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self.disk.unlink(name)
        if names:
            self.disk.sync_directory()
        self.redundant = []

    # ---- the reserve

    def hold_reserve(self) -> bool:
        """Set room aside, if there is any. OSError only when the directory cannot be written at all."""
        if self.reserve_bytes or not self._reserve_wanted:
            return True
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(RESERVE_NAME)
        try:
            file = self.disk.create(RESERVE_NAME)
            try:
                file.allocate(self._reserve_wanted)
            finally:
                file.close()
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            with contextlib.suppress(OSError):
                self.disk.unlink(RESERVE_NAME)
            return False
        self.reserve_bytes = self._reserve_wanted
        return True

    def release_reserve(self) -> None:
        """Give the room set aside to whatever must be written now."""
        self.reserve_bytes = 0
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(RESERVE_NAME)
        self.disk.sync_directory()


def _thinned(segment: Segment, kept: list[Record]) -> tuple[bytes, Segment]:
    s = segment
    header = SegmentHeader(s.number, s.epoch, s.first, s.void, THINNED, len(kept), s.next_frame)
    head = encode_segment_header(header)
    parts = [head]
    thinned = replace(
        segment, thinned=True, damaged=False, first_frame=1, last_frame=0, oldest_run_ns=-1, newest_run_ns=0, tallies={}
    )
    for record in kept:
        body = record.payload + bytes(-len(record.payload) % ALIGN)
        parts += (encode_header(record.header), body)
        thinned.enter(record.header)
    data = b"".join(parts)
    thinned.end = len(data)
    return data + head, thinned
