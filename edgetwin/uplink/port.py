"""The two ports of the uplink: what the daemon asks of a transport, and a transport of the store of frames."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from edgetwin.instruments import Histogram
from edgetwin.uplink.queued import Key, Queued


class Uplink(Protocol):
    """Takes frames from an outbox, live ones first, and acknowledges there what the cloud has.

    ``up`` tells whether the cloud can be reached and answers, ``last_error`` why not (empty while up).
    """

    up: bool
    last_error: str

    async def run(self) -> None:
        """Send until cancelled; faults of the link are retried."""

    async def drain(self, deadline_s: float) -> bool:
        """While :meth:`run` runs: wait until the outbox is empty, ``deadline_s`` at most. True when it is."""

    @property
    def frames(self) -> Mapping[str, int]:
        """Frames so far by outcome: sent, resent, acknowledged, failed, dropped, dead_lettered."""

    @property
    def errors(self) -> Mapping[str, int]:
        """Faults so far by reason (:class:`edgetwin.uplink.faults.Reason`), all of them from the start."""

    @property
    def acks_ignored(self) -> Mapping[str, int]:
        """Answers of the cloud that were not believed, by reason."""

    @property
    def bytes_total(self) -> int:
        """Bytes of frames handed to the transport so far, repetitions included."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait to be acknowledged."""

    @property
    def backlog_age_s(self) -> float:
        """Seconds since the last report in the oldest frame that waits; 0 when none does."""

    @property
    def ack_latency(self) -> Histogram:
        """Seconds from sending a frame to its acknowledgement, of some frames."""


class Outbox(Protocol):
    """The store of frames as a transport sees it; it may hold them in memory or on disk.

    Frames lie in the order in which they were made, epoch after epoch. A frame's *position* is an integer that grows
    in this order; within an epoch neighbours differ by one, and nothing else may be made of it. A transport keeps
    positions, never frames, so memory stays bounded however much waits.
    """

    gateway: str
    changed: asyncio.Event
    """Set when there may be something to do: a frame came, or a transport asks to be woken."""
    drained: asyncio.Event
    """Set while nothing waits."""

    def __len__(self) -> int:
        """Frames that wait."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes they take."""

    @property
    def dropped(self) -> int:
        """Frames given up so far, whoever did."""

    @property
    def front(self) -> int:
        """Position of the oldest frame; :attr:`end` when there is none."""

    @property
    def end(self) -> int:
        """Position that the next frame will have."""

    def read(self, position: int) -> Queued | None:
        """The first frame at or after a position."""

    def locate(self, key: Key) -> int | None:
        """Where frame (epoch, sequence) stands, stood or would stand; None when no frame of its epoch is known."""

    def key_at(self, position: int) -> Key | None:
        """The reverse of :meth:`locate`."""

    def acknowledge(self, through: Key) -> int:
        """The cloud has every frame of the epoch up to and including this sequence number; returns how many that
        freed."""

    def drop(self, key: Key, reason: str) -> None:
        """Give one frame up; a gap record tells the cloud."""

    def request_key(self) -> None:
        """The next frame made shall be a key frame, one that can be decoded without those before it, and repeat the gap
        records of those that wait: it may go before them."""
