"""From a configuration to the transport it names."""

from __future__ import annotations

from pathlib import Path

from edgetwin.clock import Clock
from edgetwin.config.schema import Config, MqttUplink
from edgetwin.uplink.mqtt import MqttUplink as Mqtt
from edgetwin.uplink.port import Outbox, Uplink

DEAD_LETTERS = "dead-letters"
"""Directory of frames that the cloud refused, in the state directory."""


def make_uplink(config: Config, outbox: Outbox, base: Path, state_dir: Path | None, clock: Clock) -> Uplink:
    """The transport of ``config.uplink``, which is not None; ``base`` is where relative files of it are."""
    uplink = config.uplink
    assert uplink is not None
    dead_letters = None if state_dir is None else state_dir / DEAD_LETTERS
    if isinstance(uplink, MqttUplink):
        return Mqtt(uplink, config.gateway, outbox, base=base, clock=clock, dead_letters=dead_letters)
    from edgetwin.uplink.http import HttpsUplink  # not loaded where MQTT is used

    return HttpsUplink(uplink, config.gateway, outbox, base=base, clock=clock, dead_letters=dead_letters)
