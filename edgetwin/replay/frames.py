"""Reports as the frames that the uplink would send, into a file."""

from __future__ import annotations

from functools import partial
from typing import IO

from edgetwin.clock import NS
from edgetwin.codec.container import append_frame
from edgetwin.config.schema import MqttUplink
from edgetwin.engine import Engine
from edgetwin.records import Report
from edgetwin.uplink.encoding import make_encoder
from edgetwin.uplink.outbox import Outbox

VALUES_MAX = 200_000
EPOCH = 0
_UNBOUNDED = 1 << 62


class Frames:
    """Gathers reports for ``uplink.every`` (its default where there is no uplink), as the daemon does on its ticks.

    What the encoder is told of the twins stood before the first sample, so frames do not depend on how files are cut.
    """

    def __init__(self, engine: Engine, file: IO[bytes], tick_ns: int) -> None:
        config = engine.config
        uplink = config.uplink or MqttUplink(url="")
        self._every_ns = round(uplink.every * NS)
        self._tick_ns = tick_ns
        rows = {bank.name: bank.rows.copy() for bank in engine.banks}
        encoder = make_encoder(config, partial(engine.foresee, rows_of=lambda bank: rows[bank.name]), _UNBOUNDED)
        self._outbox = Outbox(config.gateway, _UNBOUNDED, epoch=EPOCH, encoder=encoder)  # emptied after every put
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
