"""Frames that later ones may continue, kept so that decoding goes on after a restart.

``runs-N.etf`` holds, as docs/frames.md specifies a file of frames, those of the runs heard last of each gateway and of
older ones. It grows; once what is of use is a small part, that goes into a file of the next number. A commit is
(number, size): opening forgets what came after it, and removes other files.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from edgetwin.codec.container import append_frame, read_frames
from edgetwin.codec.contents import Frame
from edgetwin.codec.decoder import RUNS_PER_GATEWAY, FrameDecoder, run_of
from edgetwin.errors import FrameError, JournalError
from edgetwin.receive.files import storing, sync_directory

COMPACT_FACTOR = 4
COMPACT_LEAST_BYTES = 4 * 1024 * 1024

Run = tuple[str, int, int]
"""(gateway, epoch, sequence number of the key frame)"""


class Runs:
    """The file in ``directory`` as of commit ``number`` and ``position`` (0 and 0: none yet).

    JournalError when the disk refuses, or when committed frames are gone.
    """

    def __init__(self, directory: Path, number: int, position: int) -> None:
        self._directory = directory
        self._number = number
        self._dirty = False
        self._live: OrderedDict[Run, int] = OrderedDict()
        path = self._path(number)
        with storing(path):
            self._file = path.open("a+b")
            size = self._file.seek(0, os.SEEK_END)
            if size >= position:
                self._file.truncate(position)
                self._file.seek(0, os.SEEK_END)
        if size < position:
            self._file.close()
            raise JournalError(
                f"{path} is shorter than its last commit ({size} bytes of {position})",
                hint="restore the file, or use another store.path",
            )

    def resume(self, decoder: FrameDecoder) -> None:
        """Let ``decoder`` take up the runs; call before anything is added."""
        for data in self._frames():
            try:
                frame = decoder.decode(data)
            except FrameError:
                continue  # of a run that began before the file did, or of another release
            self._note(frame, len(data))

    def add(self, frame: Frame, data: bytes) -> None:
        """Keep a frame that was decoded, if others may continue it; it counts once :meth:`commit` has returned."""
        if frame.key is None:
            return
        self._note(frame, len(data))
        with storing(self._path(self._number)):
            append_frame(self._file, data)
        self._dirty = True

    def commit(self) -> tuple[int, int]:
        """Make everything durable; returns the number of the file and its size."""
        with storing(self._path(self._number)):
            size = self._file.tell()
            if size > COMPACT_LEAST_BYTES + COMPACT_FACTOR * sum(self._live.values()):
                size = self._compact()
            if self._dirty:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._dirty = False
            return self._number, size

    def tidy(self) -> None:
        """Remove the files that the last commit does not name."""
        for path in self._directory.glob("runs-*.etf"):
            if path != self._path(self._number):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what was not committed is forgotten."""
        self._file.close()

    def _note(self, frame: Frame, size: int) -> None:
        assert frame.key is not None, "the caller looks"
        run = frame.gateway, frame.epoch, frame.key
        self._live[run] = self._live.get(run, 0) + size
        self._live.move_to_end(run)
        mine = [known for known in self._live if known[0] == frame.gateway]
        for old in mine[:-RUNS_PER_GATEWAY]:
            del self._live[old]

    def _compact(self) -> int:
        """Go on in a new file that holds the live runs alone; the old one stays until :meth:`tidy`."""
        path = self._path(self._number + 1)
        with path.open("wb") as file:
            for data in self._frames():
                if run_of(data) in self._live:
                    append_frame(file, data)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._directory)
        self._file.close()
        self._number += 1
        self._file = path.open("a+b")
        return self._file.seek(0, os.SEEK_END)

    def _frames(self) -> Iterator[bytes]:
        self._file.flush()
        with storing(self._path(self._number)), self._path(self._number).open("rb") as file:
            yield from read_frames(file)

    def _path(self, number: int) -> Path:
        return self._directory / f"runs-{number:08d}.etf"
