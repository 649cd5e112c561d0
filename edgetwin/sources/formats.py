"""Which reader a recorded file needs."""

from __future__ import annotations

from pathlib import Path

from edgetwin.errors import SourceError
from edgetwin.sources.csv import CsvRecording
from edgetwin.sources.parquet import ParquetRecording
from edgetwin.sources.recording import Recording


def open_recording(path: Path) -> Recording:
    """The recording in a file: Parquet by its content, else delimited text. SourceError when it cannot be opened."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as exc:
        raise SourceError(f"cannot read {path}: {exc.strerror}", hint="check the path and its permissions") from exc
    return ParquetRecording(path) if magic == b"PAR1" else CsvRecording(path)
