"""The encoder that the configuration asks for."""

from __future__ import annotations

from edgetwin.codec.encoder import RUN_BYTES_MAX, Encoder, FrameEncoder
from edgetwin.codec.foresight import Foresight
from edgetwin.codec.frames import PlainEncoder
from edgetwin.config.schema import Config, MqttUplink

RUNS_LEAST = 8
"""Runs that fit an outbox: giving up the oldest run must not empty it."""


def make_encoder(config: Config, foresight: Foresight, outbox_bytes: int) -> Encoder:
    """Of ``config.uplink``, or of its defaults where there is no uplink."""
    uplink = config.uplink or MqttUplink(url="")
    if uplink.codec == "plain-1":
        return PlainEncoder(config.gateway)
    run_bytes = min(RUN_BYTES_MAX, outbox_bytes // RUNS_LEAST)
    return FrameEncoder(config.gateway, foresight, uplink.key_every, run_bytes)
