"""From the record of a source to the adapter that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgetwin.clock import Clock
from edgetwin.config import schema
from edgetwin.config.credentials import password_of
from edgetwin.engine import Engine
from edgetwin.errors import ConfigError
from edgetwin.sources.modbus import Links, ModbusSource
from edgetwin.sources.mqtt import MqttSource


class Source(Protocol):
    """What the daemon asks of a source."""

    name: str
    kind: str
    up: bool

    @property
    def last_error(self) -> str:
        """What is amiss; empty when nothing is."""

    @property
    def config(self) -> schema.Source:
        """The record it was made from."""

    @property
    def messages(self) -> int:
        """Messages or polls received."""

    def attach(self, engine: Engine) -> None:
        """Bind to another engine while the connection stays."""

    async def run(self) -> None:
        """Bring samples until cancelled."""

    def restore(self, position: bytes, wanted: Callable[[], None]) -> None:
        """Before ``run``, where checkpoints are kept: what stands in ``position`` is in the engine already and is not
        fused again, and acknowledgements wait for :meth:`release` from now on. ``wanted`` is called on the event loop
        when a checkpoint should come early; it is to end in a release, also when there is nothing to write.

        Without this call a source owes nothing, and acknowledges at once. Raises SourceError on a position that cannot
        be read.
        """

    def position(self) -> bytes:
        """What the engine has been given and the peer may send again. It belongs to the state of this very moment."""

    def mark(self) -> int:
        """Everything that the engine has been given until now."""

    def release(self, mark: int) -> None:
        """What was given before ``mark`` is durable and may be acknowledged. Called again without anything new, it
        acknowledges what the first call has kept back."""


def make_source(config: schema.Source, engine: Engine, clock: Clock, base: Path, links: Links) -> Source:
    """The adapter of a source; Modbus sources of one URL share a link.

    Raises ConfigError for kinds that do not run in the daemon.
    """
    if isinstance(config, schema.MqttSource):
        return MqttSource(config, engine, clock, password=password_of(config, base), base=base)
    if isinstance(config, schema.ModbusSource):
        return ModbusSource(config, engine, clock, links=links)
    raise ConfigError(f"source {config.name} cannot run in the daemon", hint="csv and simulated sources are for replay")
