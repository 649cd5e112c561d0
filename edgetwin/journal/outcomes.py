"""What a journal says of itself: what was found, figures, and its errors."""

from __future__ import annotations

from dataclasses import dataclass

from edgetwin.errors import JournalFullError, JournalLockedError, JournalUnwritableError, JournalWriteError
from edgetwin.journal.disk import Disk
from edgetwin.journal.findings import Counts
from edgetwin.journal.gaps import Gap


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found at the start. ``epoch`` is new; ``epochs`` are those before, each with its next frame number.
    ``gaps`` are what recovery found lost. ``state_behind``: the state is older than the newest that was written."""

    epoch: int
    epochs: dict[int, int]
    counts: Counts
    gaps: tuple[Gap, ...]
    frames: int
    frames_bytes: int
    has_state: bool
    has_positions: bool
    state_behind: bool


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures since the start (counts) and now (``segments``, ``bytes`` on the disk, frames not acknowledged).
    ``full``: the disk was full at the last attempt, and only marks are written."""

    commits: int
    records: int
    bytes_written: int
    syncs: int
    write_failures: int
    frames_evicted: int
    acks_refused: int
    segments: int
    bytes: int
    frames_waiting: int
    frames_waiting_bytes: int
    gaps: int
    full: bool


def lock(disk: Disk) -> None:
    """Become the owner. JournalLockedError, JournalUnwritableError."""
    try:
        disk.lock()
    except BlockingIOError as exc:
        raise JournalLockedError(
            f"journal {disk.name} is in use by another process",
            hint="stop that process, or give this one a state_dir of its own",
        ) from exc
    except OSError as exc:
        raise unwritable(disk, exc) from exc


def unwritable(disk: Disk, exc: OSError) -> JournalUnwritableError:
    """The directory cannot be made or written."""
    return JournalUnwritableError(
        f"journal {disk.name} cannot be written ({exc.strerror})",
        hint="make the directory writable for this user; until then nothing is durable",
    )


def write_error(disk: Disk, exc: OSError) -> JournalWriteError:
    """The disk failed twice."""
    return JournalWriteError(
        f"journal {disk.name} cannot be written ({exc.strerror})",
        hint="check the disk; until it works again nothing more is durable",
    )


def full_error(disk: Disk, what: str) -> JournalFullError:
    """There is no room; ``what`` says where."""
    return JournalFullError(
        f"no room in journal {disk.name}: {what}",
        hint="free space on its disk, or allow the journal more bytes",
    )
