"""One process per state directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetwin.errors import JournalLockedError, JournalUnwritableError

LOCK_NAME = "lock"


@contextmanager
def state_lock(state_dir: str | Path) -> Iterator[Path]:
    """Hold the state directory for as long as the context lasts; yields its path.

    The directory is made when it is missing (mode 0700). The lock is the kernel's (`flock(2)`): it goes with
    the process, however that ends, and the file ``lock``, which holds the owner's pid, may stay behind.

    Raises JournalLockedError at once when another process holds it, naming its pid, and JournalUnwritableError when the
    directory cannot be made, written or locked.
    """
    path = Path(state_dir)
    fd = _open(path)
    try:
        _acquire(fd, path)
        yield path
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise JournalUnwritableError(
            f"state directory {path} cannot be written ({exc.strerror})",
            hint="make it writable for this user, or set state_dir to a directory that is",
        ) from exc


def _acquire(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise JournalLockedError(
            f"state directory {path} is in use by process {_owner(fd)}",
            hint="stop that process, or give this one a state_dir of its own",
        ) from exc
    except OSError as exc:
        raise JournalUnwritableError(
            f"state directory {path} cannot be locked ({exc.strerror})",
            hint="state_dir must be on a file system with flock",
        ) from exc
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as exc:
        raise JournalUnwritableError(
            f"state directory {path} cannot be written ({exc.strerror})", hint="free some space on its disk"
        ) from exc


def _owner(fd: int) -> str:
    """The pid in the lock file, or ``?`` while its owner has not written it yet."""
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "?"
