"""What the receiver asks of whatever keeps states, events, gaps and its own progress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from edgetwin.clock import NS
from edgetwin.codec.frames import Frame
from edgetwin.receive.batch import Batch
from edgetwin.receive.sequence import Progress
from edgetwin.records import Quality

QUALITY = tuple(q.name.lower() for q in Quality)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store(Protocol):
    """Applies batches, each exactly once: frames and the progress that covers them become durable together.

    Methods block and are called from one thread at a time. ``rows_max`` is how many rows ask for a commit before its
    time. After StoreError the caller calls ``load`` again and works out anew what is still to be applied: the batch
    may or may not have become durable.
    """

    rows_max: int

    def check(self, frame: Frame) -> None:
        """FrameError when the frame can never be stored here."""

    def load(self) -> Sequence[Progress]:
        """Connect if need be, and return the progress of the last commit. StoreError when it cannot be reached now,
        JournalError or ConfigError when waiting does not help."""

    def runs(self) -> Iterable[bytes]:
        """After ``load``: frames of the runs that a coming frame may continue, in the order in which they came, as of
        the last commit; of older runs as well."""

    def apply(self, batch: Batch) -> None:
        """Make a batch durable. StoreError when the store cannot be reached now or when another receiver has moved on
        one of the epochs, JournalError when the disk refuses."""

    def close(self) -> None:
        """Release what is held; a batch that was not applied is forgotten."""


def iso(t_ns: int) -> str:
    """A time in nanoseconds since 1970 as ISO 8601 in UTC, exactly."""
    seconds, ns = divmod(t_ns, NS)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{ns:09d}Z"
