"""The store that a configuration names."""

from __future__ import annotations

from pathlib import Path

from edgetwin.receive.config import AnyStore, CsvStore, DuckDbStore, ParquetStore
from edgetwin.receive.share import Share
from edgetwin.receive.stores.duckdb import DuckDb
from edgetwin.receive.stores.folder import FolderStore
from edgetwin.receive.stores.port import Store
from edgetwin.receive.stores.postgres import Postgres


def folder_of(config: AnyStore, base: Path, share: Share) -> Path:
    """The folder that a process has for itself: ``path``, and in it one for each share when there are several."""
    folder = base / config.path
    return folder if share.of == 1 else folder / f"share-{share.index}-of-{share.of}"


def make_store(config: AnyStore, folder: Path, base: Path, share: Share) -> Store:
    """The store, to be opened by ``load``. ``folder`` is of :func:`folder_of`; ``base`` is where other files are."""
    if isinstance(config, CsvStore | ParquetStore):
        return FolderStore(config, folder)
    if isinstance(config, DuckDbStore):
        return DuckDb(config, folder)
    return Postgres(config, base, share)
