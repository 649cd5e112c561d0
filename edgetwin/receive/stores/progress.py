"""How far a folder has come: positions of its files and the frames in them, in one small file replaced whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from edgetwin.errors import JournalError
from edgetwin.receive.sequence import Progress, Span
from edgetwin.receive.stores.files import Position, replace

NAME = "progress.json"
VERSION = 2


class Commit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The kind of store, where each of its logs stands, the number of its next Parquet file, its file of
    runs, and what it holds."""

    version: int = VERSION
    kind: str
    logs: dict[str, Position] = {}
    parquet: int = 0
    runs: Position = Position()
    received: list[Progress] = []


class _Version(Struct, frozen=True):
    version: int
    kind: str


class _First(Struct, frozen=True, kw_only=True):
    """Version 1: sizes of files, and (gateway, epoch, ranges) in the order in which they were heard."""

    kind: str
    positions: dict[str, int] = {}
    received: list[tuple[str, int, list[Span]]] = []


def load(directory: Path, kind: str) -> Commit:
    """The last commit in a directory; in a new one, an empty commit is made first. JournalError when it cannot be
    followed, or when there are states that no commit tells about."""
    path = directory / NAME
    try:
        data = path.read_bytes()
        about = msgspec.json.decode(data, type=_Version)
        read = _READERS.get(about.version)
        commit = read(data) if read else None
    except FileNotFoundError:
        return _begin(directory, kind)
    except (OSError, msgspec.MsgspecError) as exc:
        raise JournalError(
            f"{path} cannot be read ({exc})", hint="use another store.path, or remove the directory"
        ) from exc
    if commit is None or commit.kind != kind:
        what = f"version {about.version}, kind {about.kind}"
        raise JournalError(f"{path} belongs to another store ({what})", hint="use another store.path")
    return commit


def save(directory: Path, commit: Commit) -> None:
    """Commit. JournalError when the disk refuses."""
    replace(directory / NAME, msgspec.json.encode(commit))


def _begin(directory: Path, kind: str) -> Commit:
    stray = sorted(directory.glob("states*"))
    if stray:
        raise JournalError(
            f"{stray[0]} is there without {NAME}", hint="move it away, or use another store.path: it would be cut"
        )
    commit = Commit(kind=kind)
    save(directory, commit)
    return commit


def _read_first(data: bytes) -> Commit:
    found = msgspec.json.decode(data, type=_First)
    sizes = dict(found.positions)
    parquet = sizes.pop("states", 0) if found.kind == "parquet" else 0
    received = [
        Progress(gateway=gateway, epoch=epoch, came=ranges, opened_ns=order, heard_ns=order)
        for order, (gateway, epoch, ranges) in enumerate(found.received, 1)
    ]
    logs = {name: Position(0, size) for name, size in sizes.items()}
    return Commit(kind=found.kind, logs=logs, parquet=parquet, received=received)


_READERS: dict[int, Callable[[bytes], Commit]] = {
    1: _read_first,
    VERSION: lambda data: msgspec.json.decode(data, type=Commit),
}
