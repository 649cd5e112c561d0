"""What an operator sees of a backlog."""

from __future__ import annotations

from edgetwin.clock import NS, ManualClock
from edgetwin.config.schema import MqttUplink as Config
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from tests.codec.build import T0, report


async def test_bytes_and_age_are_those_of_what_waits() -> None:
    clock, outbox = ManualClock(T0), Outbox("g", 1 << 20, epoch=7)
    way = MqttUplink(Config(url="mqtt://127.0.0.1:1"), "g", outbox, clock=clock)
    assert (way.backlog_bytes, way.backlog_age_s) == (0, 0.0)
    outbox.put([report(T0)])
    outbox.put([report(T0 + 30 * NS)])
    clock.advance(90 * NS)
    assert way.backlog_age_s == 90.0 and way.backlog_bytes == outbox.bytes > 0
    outbox.acknowledge((7, 0))
    assert way.backlog_age_s == 60.0
    clock.set(T0 - 10 * NS)
    assert way.backlog_age_s == 0.0, "a clock that was set back"
