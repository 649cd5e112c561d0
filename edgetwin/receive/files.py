"""Files that a crash at any instant leaves usable: logs cut back to their last commit, small files replaced whole."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgetwin.errors import JournalError


class CsvLog:
    """A CSV file that only grows. Rows count once :meth:`commit` has returned; opening forgets later ones.

    ``position`` is the size of the file at its last commit, 0 when there was none. Floats are written so that they
    read back exactly. JournalError when the disk refuses, or when committed rows are gone.
    """

    def __init__(self, path: Path, columns: Sequence[str], position: int) -> None:
        self._path = path
        self._waiting = io.StringIO(newline="")
        self._rows = csv.writer(self._waiting, lineterminator="\n")
        with storing(path):
            self._file = path.open("ab")
            try:
                self._cut(position)
            except BaseException:
                self._file.close()
                raise
        if position == 0:
            self._rows.writerow(columns)

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows; they wait in memory for the commit."""
        self._rows.writerows(rows)

    def commit(self) -> int:
        """Make every row durable; returns the size of the file."""
        data = self._waiting.getvalue().encode("utf-8", "surrogatepass")
        self._waiting.seek(0)
        self._waiting.truncate()
        with storing(self._path):
            if data:
                self._file.write(data)
                self._file.flush()
                os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        """Close the file; rows that were not committed are dropped."""
        self._file.close()

    def _cut(self, position: int) -> None:
        size = self._file.seek(0, os.SEEK_END)
        if size < position:
            raise JournalError(
                f"{self._path} is shorter than its last commit ({size} bytes of {position})",
                hint="restore the file, or use another store.path",
            )
        if size > position:
            self._file.truncate(position)
            self._file.seek(0, os.SEEK_END)


def replace(path: Path, data: bytes) -> None:
    """Give a file new content: whoever reads it, or starts after a crash, finds the old or the new, whole.

    JournalError when the disk refuses.
    """
    partial = path.with_name(f"{path.name}.partial")
    with storing(path):
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns an OSError into JournalError, naming ``path``."""
    try:
        yield
    except OSError as exc:
        raise JournalError(
            f"{path} cannot be written ({exc.strerror or exc})",
            hint="free space on its disk or make it writable; the broker keeps what is not stored",
        ) from exc
