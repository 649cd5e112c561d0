"""Links by what they lead to: sources of one URL share one connection, and with it the order of requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from edgetwin.clock import Clock
from edgetwin.config.modbus_urls import ModbusPlace, modbus_place
from edgetwin.config.schema import ModbusSource, Tls
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus.link import Link
from edgetwin.sources.modbus.wires import opener
from edgetwin.sources.tls import tls_context

Key = tuple[ModbusPlace, Tls | None]


class Links:
    """The links in use. ``base`` is the directory from which the files that the configuration names are found.

    ``backoff`` makes the pauses of a new link between its attempts to connect; the link's own when absent.
    """

    def __init__(self, clock: Clock, base: Path, *, backoff: Callable[[], Backoff] | None = None) -> None:
        self._clock = clock
        self.base = base
        self._backoff = backoff
        self._links: WeakValueDictionary[Key, Link] = WeakValueDictionary()

    def link(self, config: ModbusSource) -> Link:
        """The link of a source, which lives as long as someone holds it. ConfigError for its URL or certificates."""
        place = modbus_place(config.url)
        key = (place, config.tls)
        link = self._links.get(key)
        if link is None:
            context = tls_context(config.tls, self.base) if place.transport == "tls" else None
            backoff = self._backoff() if self._backoff is not None else None
            link = Link(place, opener(place, context), self._clock, pipeline=config.pipeline, backoff=backoff)
            self._links[key] = link
        return link
