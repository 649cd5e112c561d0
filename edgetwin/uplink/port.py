"""The port to the cloud: what the daemon asks of whatever carries frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Uplink(Protocol):
    """Takes frames from an outbox in order and acknowledges there what the cloud has.

    ``up`` tells whether the cloud can be reached, ``last_error`` why not (empty while up).
    """

    up: bool
    last_error: str

    async def run(self) -> None:
        """Send until cancelled; faults of the link are retried."""

    async def drain(self, deadline_s: float) -> bool:
        """While :meth:`run` runs: wait until the outbox is empty, ``deadline_s`` at most. True when it is."""

    @property
    def frames(self) -> Mapping[str, int]:
        """Frames so far by outcome: sent, acknowledged, failed, dropped."""

    @property
    def bytes_total(self) -> int:
        """Bytes of frames handed to the transport so far."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait to be acknowledged."""
