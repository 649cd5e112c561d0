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
from edgetwin.codec.decoder import RUNS_PER_GATEWAY, Run, run_of
from edgetwin.errors import JournalError
from edgetwin.journal.disk import sync_directory
from edgetwin.receive.batch import RunFrame
from edgetwin.receive.stores.files import storing

COMPACT_FACTOR = 4
COMPACT_LEAST_BYTES = 4 * 1024 * 1024


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
        for data in self.frames():
            run = run_of(data)
            if run is not None:
                self._note(run, len(data))

    def frames(self) -> Iterator[bytes]:
        """The frames of the last commit, as they came."""
        self._file.flush()
        with storing(self._path(self._number)), self._path(self._number).open("rb") as file:
            yield from read_frames(file)

    def add(self, frame: RunFrame) -> None:
        """Keep a frame; it counts once :meth:`commit` has returned."""
        self._note((frame.gateway, frame.epoch, frame.key), len(frame.data))
        with storing(self._path(self._number)):
            append_frame(self._file, frame.data)
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

    def _note(self, run: Run, size: int) -> None:
        self._live[run] = self._live.get(run, 0) + size
        self._live.move_to_end(run)
        mine = [known for known in self._live if known[0] == run[0]]
        for old in mine[:-RUNS_PER_GATEWAY]:
            del self._live[old]

    def _compact(self) -> int:
        """Go on in a new file that holds the live runs alone; the old one stays until :meth:`tidy`."""
        path = self._path(self._number + 1)
        with path.open("wb") as file:
            for data in self.frames():
                if run_of(data) in self._live:
                    append_frame(file, data)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._directory)
        self._file.close()
        self._number += 1
        self._file = path.open("a+b")
        return self._file.seek(0, os.SEEK_END)

    def _path(self, number: int) -> Path:
        return self._directory / f"runs-{number:08d}.etf"
