"""Reports as the frames that the uplink would send, into a file."""

from __future__ import annotations

from typing import IO

from edgetwin.clock import NS
from edgetwin.codec.container import append_frame
from edgetwin.config.schema import Config, MqttUplink
from edgetwin.records import Report
from edgetwin.uplink.outbox import Outbox

VALUES_MAX = 200_000
EPOCH = 0
_UNBOUNDED = 1 << 62


class Frames:
    """Gathers reports for ``uplink.every`` (its default where there is no uplink), as the daemon does on its ticks."""

    def __init__(self, config: Config, file: IO[bytes], tick_ns: int) -> None:
        uplink = config.uplink or MqttUplink(url="")
        self._every_ns = round(uplink.every * NS)
        self._tick_ns = tick_ns
        self._outbox = Outbox(config.gateway, _UNBOUNDED, epoch=EPOCH)  # emptied after every put
        self._file = file
        self._pending: list[Report] = []
        self._values = 0
        self._due_ns = 0
        self.frames = self.reports = self.values = self.bytes = 0

    def add(self, report: Report) -> None:
        """Take a report; they come in the order of time."""
        if self._pending and report.t_ns > self._due_ns:
            self.flush()
        if not self._pending:
            self._due_ns = -(-(report.t_ns + self._every_ns) // self._tick_ns) * self._tick_ns
        self._pending.append(report)
        self._values += len(report)
        if self._values >= VALUES_MAX:
            self.flush()

    def flush(self) -> None:
        """Encode and write what is gathered."""
        if not self._pending:
            return
        self.reports += len(self._pending)
        self.values += self._values
        self._outbox.put(self._pending)
        for queued in list(self._outbox):
            self.bytes += append_frame(self._file, queued.data)
            self.frames += 1
            self._outbox.acknowledge(queued.key)
        self._pending, self._values = [], 0
