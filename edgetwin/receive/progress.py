"""How far the store has come: positions of its files and the frames in them, in one small file replaced whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from edgetwin.errors import JournalError
from edgetwin.receive.files import replace
from edgetwin.receive.sequence import EpochRanges

NAME = "progress.json"
_VERSION = 1


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A commit: the kind of store, the position of each file, and of each (gateway, epoch) the ranges received."""

    version: int = _VERSION
    kind: str
    positions: dict[str, int] = {}
    received: list[EpochRanges] = []


def load(directory: Path, kind: str) -> Progress:
    """The last commit in a directory; in a new one, an empty commit is made first. JournalError when it cannot be
    followed, or when there are states that no commit tells about."""
    path = directory / NAME
    try:
        progress = msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return _begin(directory, kind)
    except (OSError, msgspec.MsgspecError) as exc:
        raise JournalError(
            f"{path} cannot be read ({exc})", hint="use another store.path, or remove the directory"
        ) from exc
    if progress.version != _VERSION or progress.kind != kind:
        what = f"version {progress.version}, kind {progress.kind}"
        raise JournalError(f"{path} belongs to another store ({what})", hint="use another store.path")
    return progress


def save(directory: Path, progress: Progress) -> None:
    """Commit. JournalError when the disk refuses."""
    replace(directory / NAME, msgspec.json.encode(progress))


def _begin(directory: Path, kind: str) -> Progress:
    stray = sorted(directory.glob("states*"))
    if stray:
        raise JournalError(
            f"{stray[0]} is there without {NAME}", hint="move it away, or use another store.path: it would be cut"
        )
    progress = Progress(kind=kind)
    save(directory, progress)
    return progress
