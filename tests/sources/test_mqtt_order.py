"""Samples of one read keep the order of their messages, whichever way each of them takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.records import Batch
from edgetwin.sources.mqtt import receiver
from tests.sources.broker_double import PUBCOMP, broker_double
from tests.sources.mqtt_rig import config, running, template

VALUE = {"x": {"source": "plant", "topic": "plant/{machine}/temp", "value": "$.v", "noise": 1.0}}
SLOW_PAYLOAD = b'{"\\u0076": %d}'
"""An escape in a key is left to Python."""


@pytest.fixture
def ingested(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, float]]:
    """(slot, time, value) of all samples, in the order in which the engine gets them."""
    rows: list[tuple[int, int, float]] = []
    ingest: Callable[..., None] = Engine.ingest

    def recorded(self: Engine, source: int, batch: Batch, now_ns: int) -> None:
        rows.extend(zip(batch.slot.tolist(), batch.t_ns.tolist(), batch.value.tolist(), strict=True))
        ingest(self, source, batch, now_ns)

    monkeypatch.setattr(Engine, "ingest", recorded)
    return rows


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The packets that were left to Python."""
    packets: list[bytes] = []
    read = receiver.Receiver._read_packet

    def recorded(self: receiver.Receiver, packet: bytes, arrived: int) -> list[tuple[int, int, float]]:
        packets.append(packet)
        return read(self, packet, arrived)

    monkeypatch.setattr(receiver.Receiver, "_read_packet", recorded)
    return packets


async def test_fast_and_slow_messages_of_a_twin_keep_their_order(
    ingested: list[tuple[int, int, float]], slow: list[bytes]
) -> None:
    count = 4000
    ways = np.random.default_rng(11).integers(0, 3, count)
    async with broker_double() as broker, running(config(broker.port, [template(VALUE)])) as rig:
        client = await broker.subscribed()
        stream = b""
        for k in range(count):
            payload = (SLOW_PAYLOAD if ways[k] == 0 else b'{"v": %d}') % k
            stream += client.message(b"plant/m%d/temp" % (ways[k] // 2), payload, qos=int(k % 2), mid=k + 1)
        client.send(stream)
        await rig.have(count)
        assert (ways == 0).sum() <= len(slow) < count
        assert [value for _, _, value in ingested] == list(range(count))
        times = np.array([t for _, t, _ in ingested])
        assert (np.diff(times) > 0).all(), "arrival stamps increase"
        assert rig.ledger == {"fused": count}


async def test_qos_2_messages_come_with_their_release_and_later_stamps(ingested: list[tuple[int, int, float]]) -> None:
    async with broker_double() as broker, running(config(broker.port, [template(VALUE)], qos=2)) as rig:
        client = await broker.subscribed()
        client.send(
            client.message(b"plant/m/temp", b'{"v": 1}')
            + client.message(b"plant/m/temp", b'{"v": 3}', qos=2, mid=1)
            + client.message(b"plant/m/temp", b'{"v": 2}')
        )
        await client.until(lambda c: c.of(PUBCOMP), "the end of the exchange")
        client.publish(b"plant/m/temp", b'{"v": 4}')
        await rig.have(4)
        assert [value for _, _, value in ingested] == [1, 2, 3, 4]
        assert sorted(t for _, t, _ in ingested) == [t for _, t, _ in ingested]


async def test_stamps_are_never_beyond_now_by_the_engines_account() -> None:
    """With no tolerance for the future, a burst that arrives in one instant is not of the future."""
    async with broker_double() as broker:
        settings = config(broker.port, [template(VALUE)], limits={"future": 0})
        async with running(settings) as rig:
            client = await broker.subscribed()
            client.send(b"".join(client.message(b"plant/m/temp", b'{"v": %d}' % k) for k in range(1000)))
            await rig.have(1000)
            assert rig.ledger == {"fused": 1000}
