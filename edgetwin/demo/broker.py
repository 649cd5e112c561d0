"""The MQTT broker inside `edgetwin demo`: amqtt, which speaks MQTT 3.1.1."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker

from edgetwin.errors import SourceError

PROTOCOL = "3.1.1"


@asynccontextmanager
async def embedded_broker(port: int) -> AsyncIterator[str]:
    """A broker on a loopback port while the context lasts; yields its URL. Nothing is kept on disk."""
    for chatty in ("amqtt", "transitions"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # they report each client that comes and goes
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    try:
        await broker.start()
    except Exception as exc:  # amqtt raises several unrelated kinds
        raise SourceError(f"the embedded broker did not start on port {port} ({exc})") from exc
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        await broker.shutdown()
