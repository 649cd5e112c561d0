"""Files that a crash at any instant leaves usable: logs cut back to their last commit, small files replaced whole."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgetwin.errors import JournalError
from edgetwin.journal.disk import sync_directory

FILE_BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Position:
    """Where a log stood at a commit: the number of its file, and that file's size in bytes (0: none yet)."""

    number: int = 0
    size: int = 0


class CsvLog:
    """CSV files that only grow: ``NAME.csv``, then ``NAME-00000001.csv`` and so on, each begun when the one before has
    ``bytes_max``. Rows count once :meth:`commit` has returned; opening forgets later ones.

    Floats are written so that they read back exactly. JournalError when the disk refuses, or when committed rows are
    gone.
    """

    def __init__(
        self, directory: Path, name: str, columns: Sequence[str], position: Position, bytes_max: int = FILE_BYTES_MAX
    ) -> None:
        self._directory = directory
        self._name = name
        self._columns = columns
        self._bytes_max = bytes_max
        self._number = position.number
        self._waiting = io.StringIO(newline="")
        self._rows = csv.writer(self._waiting, lineterminator="\n")
        with storing(directory):
            self._forget_later_files()
            self._file = self._open(position.size)

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows; they wait in memory for the commit."""
        self._rows.writerows(rows)

    def commit(self) -> Position:
        """Make every row durable; returns where the log now stands."""
        data = self._waiting.getvalue().encode("utf-8", "surrogatepass")
        self._waiting.seek(0)
        self._waiting.truncate()
        with storing(self._path()):
            if data:
                self._file.write(data)
                self._file.flush()
                os.fsync(self._file.fileno())
            if self._file.tell() >= self._bytes_max:
                self._next_file()
            return Position(self._number, self._file.tell())

    def close(self) -> None:
        """Close the file; rows that were not committed are dropped."""
        self._file.close()

    def _path(self) -> Path:
        return self._directory / (f"{self._name}-{self._number:08d}.csv" if self._number else f"{self._name}.csv")

    def _next_file(self) -> None:
        self._file.close()
        self._number += 1
        self._file = self._open(0)
        sync_directory(self._directory)

    def _open(self, size: int) -> BinaryIO:
        file = self._path().open("ab")
        try:
            self._cut(file, size)
        except BaseException:
            file.close()
            raise
        if size == 0:
            self._rows.writerow(self._columns)
        return file

    def _cut(self, file: BinaryIO, size: int) -> None:
        found = file.seek(0, os.SEEK_END)
        if found < size:
            raise JournalError(
                f"{self._path()} is shorter than its last commit ({found} bytes of {size})",
                hint="restore the file, or use another store.path",
            )
        if found > size:
            file.truncate(size)
            file.seek(0, os.SEEK_END)

    def _forget_later_files(self) -> None:
        for path in self._directory.glob(f"{self._name}-*.csv"):
            number = path.stem.removeprefix(f"{self._name}-")
            if number.isdecimal() and int(number) > self._number:
                path.unlink()


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
