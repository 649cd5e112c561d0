"""Acknowledgements that wait for the checkpoint, and messages that are sent again, over real connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgetwin.clock import ManualClock
from edgetwin.engine import Engine
from edgetwin.errors import SourceError
from edgetwin.sources.mqtt import MqttSource
from tests.conftest import Broker
from tests.sources.broker_double import (
    CONNECT,
    PINGREQ,
    PUBACK,
    SUBSCRIBE,
    Answer,
    BrokerDouble,
    Connection,
    Packet,
    broker_double,
    politely,
)
from tests.sources.mqtt_rig import JSON, PLAIN, Rig, Sent, config, eventually, publish_all, running, template

TWINS = [template(JSON)]


def payload(k: int) -> bytes:
    return b'{"t": %d, "v": %d}' % (1_700_000_000 + k, k)


def keeping(double: Callable[[], BrokerDouble]) -> Answer:
    """A broker that has kept the session of the first connection on all after it."""

    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind == CONNECT and connection is not double().connections[0]:
            return resumed(connection)
        return politely(connection, packet)

    return answer


def resumed(connection: Connection) -> bytes:
    return b"\x20\3\1\0\0" if connection.v5 else b"\x20\2\1\0"


async def again(broker: BrokerDouble, rig: Rig, number: int) -> Connection:
    """The connection after the one that is cut now."""
    broker.connections[number - 1].close()
    await eventually(lambda: not rig.source.up, "the loss")
    return await broker.subscribed(number)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_nothing_is_acknowledged_before_it_is_released_and_all_is_in_order_after(protocol: str) -> None:
    """The newest of a release goes with the next one; a mark covers nothing that came after it."""
    async with (
        broker_double() as broker,
        running(config(broker.port, TWINS, protocol=protocol), position=b"") as rig,
    ):
        client = await broker.subscribed()
        for k in range(10):
            client.publish(b"plant/m/temp", payload(k), qos=1, mid=k + 1)
        await rig.have(10)
        position, mark = rig.source.position(), rig.source.mark()
        assert len(position) == 100
        for k in range(10, 15):
            client.publish(b"plant/m/temp", payload(k), qos=1, mid=k + 1)
        await rig.have(15)
        assert client.of(PUBACK) == []
        rig.source.release(mark)
        await client.until(lambda c: len(c.acknowledged) == 9, "acknowledgements")
        await client.until(lambda c: c.of(PINGREQ), "the question whether they have come")
        await eventually(lambda: len(rig.source.position()) == 60, "the answer")
        rig.source.release(rig.source.mark())
        rig.source.release(rig.source.mark())
        await client.until(lambda c: len(c.acknowledged) == 15, "the newest one")
        assert client.acknowledged == list(range(1, 16))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_is_sent_again_on_a_new_connection_counts_once(protocol: str) -> None:
    """Also when it stands in one segment with CONNACK, and of whatever kind the message is; only the first of those that
    were never seen ends it, and all are acknowledged on the connection they came on."""
    kinds = [(b"plant/m/temp", payload(1)), (b"who/knows", b"1"), (b"plant/m/temp", b"hot"), (b"plant/new/temp", b"x")]
    kinds += [(b"plant/m/temp", payload(2)), (b"plant/long/temp", b"9" * 200_000)]

    def messages(connection: Connection, *, dup: bool) -> bytes:
        return b"".join(connection.message(t, p, qos=1, mid=k + 1, dup=dup) for k, (t, p) in enumerate(kinds))

    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind == CONNECT and connection is not broker.connections[0]:
            unseen = connection.message(b"plant/m/temp", payload(3), qos=1, mid=20, dup=True)
            return resumed(connection) + messages(connection, dup=True) + unseen
        return politely(connection, packet)

    async with (
        broker_double(answer) as broker,
        running(config(broker.port, TWINS, protocol=protocol), position=b"") as rig,
    ):
        client = await broker.subscribed()
        client.send(messages(client, dup=False))
        await rig.have(6)
        mark = rig.source.mark()
        before = dict(rig.ledger)
        client = await again(broker, rig, 1)
        await rig.have(13)
        assert rig.ledger == {**before, "fused": 3, "duplicate": 6}
        rig.source.release(mark)  # of messages that came on the connection before
        rig.source.release(rig.source.mark())
        rig.source.release(rig.source.mark())
        await client.until(lambda c: len(c.acknowledged) == 7, "acknowledgements")
        assert client.acknowledged == [1, 2, 3, 4, 5, 6, 20]
        assert broker.connections[0].of(PUBACK) == []


async def test_a_full_window_is_recognised_by_the_next_process() -> None:
    """65,535 messages; what the broker has taken as acknowledged is not among those that it sends again."""
    async with broker_double(keeping(lambda: broker)) as broker:
        settings = config(broker.port, TWINS)
        engine = Engine(settings)
        async with running(settings, engine=engine, position=b"") as rig:
            client = await broker.subscribed()
            await client.send_all(
                b"".join(client.message(b"plant/m/temp", payload(k), qos=1, mid=k + 1) for k in range(65_535))
            )
            await rig.have(65_535)
            position = rig.source.position()
            assert len(position) == 655_350
        async with running(settings, engine=engine, position=position) as rig:
            assert rig.source.position() == position
            client = await broker.subscribed(1)
            again = range(20_000, 65_535)
            await client.send_all(
                b"".join(client.message(b"plant/m/temp", payload(k), qos=1, mid=k + 1, dup=True) for k in again)
            )
            client.publish(b"plant/m/temp", payload(65_536), qos=1, mid=1)
            await rig.have(65_535 + len(again) + 1)
            assert rig.ledger == {"fused": 65_536, "duplicate": len(again)}
            rig.checkpoint()
            await client.until(lambda c: len(c.acknowledged) == len(again), "acknowledgements")


async def test_the_same_identifier_and_reading_without_dup_is_a_new_message() -> None:
    async with (
        broker_double(keeping(lambda: broker)) as broker,
        running(config(broker.port, [template(PLAIN)]), position=b"") as rig,
    ):
        client = await broker.subscribed()
        for _ in range(3):
            client.publish(b"plant/m/temp", b"20", qos=1, mid=1)
            await eventually(lambda: rig.source.position(), "the message")
            rig.checkpoint()
            rig.checkpoint()
            await eventually(lambda: len(client.acknowledged) == rig.received, "its acknowledgement")
        client = await again(broker, rig, 1)
        client.publish(b"plant/m/temp", b"20", qos=1, mid=1)
        client.publish(b"plant/m/temp", b"20", qos=1, mid=2, dup=True)
        await rig.have(5)
        assert rig.ledger == {"fused": 5}


async def test_after_the_first_that_does_not_fit_nothing_is_recognised() -> None:
    async with (
        broker_double(keeping(lambda: broker)) as broker,
        running(config(broker.port, [template(PLAIN)]), position=b"") as rig,
    ):
        client = await broker.subscribed()
        for k in range(4):
            client.publish(b"plant/m/temp", b"%d" % k, qos=1, mid=k + 1)
        await rig.have(4)
        client = await again(broker, rig, 1)
        for mid, reading in ((2, b"1"), (3, b"another"), (4, b"3")):
            client.publish(b"plant/m/temp", reading, qos=1, mid=mid, dup=True)
        await rig.have(7)
        assert rig.ledger == {"fused": 5, "duplicate": 1, "invalid": 1}


async def test_a_session_that_was_not_kept_ends_the_recognition(capsys: pytest.CaptureFixture[str]) -> None:
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)]), position=b"") as rig:
        client = await broker.subscribed()
        client.publish(b"plant/m/temp", b"20", qos=1, mid=1)
        await rig.have(1)
        client = await again(broker, rig, 1)
        assert rig.source.position() == b""
        assert "session_forgotten" in capsys.readouterr().out
        client.publish(b"plant/m/temp", b"20", qos=1, mid=1, dup=True)
        await rig.have(2)
        assert rig.ledger == {"fused": 2}


async def test_a_refused_connection_forgets_nothing() -> None:
    """Session Present is 0 in every CONNACK that refuses."""

    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind == CONNECT and connection is broker.connections[-1] and len(broker.connections) == 2:
            return b"\x20\3\0\x88\0"  # server unavailable
        return keeping(lambda: broker)(connection, packet)

    async with broker_double(answer) as broker, running(config(broker.port, TWINS), position=b"") as rig:
        client = await broker.subscribed()
        client.publish(b"plant/m/temp", payload(1), qos=1, mid=1)
        await rig.have(1)
        client.close()
        client = await broker.subscribed(2)
        client.publish(b"plant/m/temp", payload(1), qos=1, mid=1, dup=True)
        await rig.have(2)
        assert rig.ledger == {"fused": 1, "duplicate": 1}


async def test_an_identifier_used_again_before_its_acknowledgement_ends_the_connection() -> None:
    async with broker_double() as broker, running(config(broker.port, TWINS), position=b"") as rig:
        client = await broker.subscribed()
        client.publish(b"plant/m/temp", payload(1), qos=1, mid=7)
        client.publish(b"plant/m/temp", payload(2), qos=1, mid=7)
        await eventually(lambda: "packet identifier 7" in rig.source.last_error, "the reason")


@pytest.mark.parametrize("window", [1, 10])
async def test_a_checkpoint_is_wanted_when_half_of_the_window_waits(window: int) -> None:
    """Of a window of one the message that stays back is the half: it is wanted again, and acknowledged."""
    calls: list[int] = []
    async with (
        broker_double() as broker,
        running(
            config(broker.port, TWINS, receive_maximum=window), position=b"", wanted=lambda: calls.append(rig.received)
        ) as rig,
    ):
        client = await broker.subscribed()
        half = max(window // 2, 1)
        for k in range(half):
            assert not calls
            client.publish(b"plant/m/temp", payload(k), qos=1, mid=k + 1)
            await rig.have(k + 1)
        assert calls == [half]
        rig.checkpoint()
        if window == 1:
            assert calls == [1, 1]
            rig.checkpoint()
        await client.until(lambda c: len(c.acknowledged) == max(half - 1, 1), "acknowledgements")


async def test_a_smaller_window_of_the_broker_is_learned_and_unlearned() -> None:
    """Twenty wait at two checkpoints by the clock, so that a checkpoint is wanted as soon as twenty wait; until more do."""
    calls: list[int] = []
    async with (
        broker_double() as broker,
        running(
            config(broker.port, TWINS, protocol="3.1.1"), position=b"", wanted=lambda: calls.append(rig.received)
        ) as rig,
    ):
        client = await broker.subscribed()
        sent = 0

        async def let_out(n: int) -> None:
            nonlocal sent
            client.send(
                b"".join(client.message(b"plant/m/temp", payload(sent + k), qos=1, mid=sent + k + 1) for k in range(n))
            )
            sent += n
            await rig.have(sent)

        await let_out(20)
        rig.checkpoint()
        await let_out(19)  # and the one that stayed back
        rig.checkpoint()
        assert calls == []
        for wanted_at in (58, 77):
            await let_out(19)
            assert calls.pop() == wanted_at
            rig.checkpoint()
        await let_out(20)
        await let_out(1)
        rig.checkpoint()
        calls.clear()
        await let_out(20)
        assert calls == []


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_checkpoints_by_the_clock_keep_mosquitto_going(broker: Broker, protocol: str) -> None:
    broker.stop()
    broker.config.write_text(broker.config.read_text().replace("max_inflight_messages 0", "max_inflight_messages 1"))
    broker.start()
    async with running(config(broker.port, TWINS, protocol=protocol), position=b"") as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", payload(k)) for k in range(100)])

        def all_there() -> bool:
            rig.checkpoint()
            return rig.received == 100

        await eventually(all_there, "all messages")
        assert rig.ledger == {"fused": 100}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_mosquitto_sends_again_what_was_not_released(broker: Broker, protocol: str) -> None:
    """The process dies between the checkpoint and its release; another one dies before its first checkpoint."""
    settings = config(broker.port, TWINS, protocol=protocol)
    engine = Engine(settings)
    async with running(settings, engine=engine, position=b"") as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", payload(k)) for k in range(8)])
        await rig.have(8)
        rig.checkpoint()
        await publish_all(broker.port, [Sent("plant/m/temp", payload(k)) for k in range(8, 15)])
        await rig.have(15)
        position = rig.source.position()
    snapshot = engine.snapshot()
    await publish_all(broker.port, [Sent("plant/m/temp", payload(15))])
    for _ in range(2):
        engine = Engine(settings)
        engine.restore(snapshot, 0)
        async with running(settings, engine=engine, position=position) as rig:
            # The newest of what was released, the seven that were not, and the new one.
            await rig.have(15 + 8 + 1)
            assert rig.ledger == {"fused": 16, "duplicate": 8}
    async with running(settings, engine=Engine(settings), position=b"") as rig:
        await rig.have(9)  # and without the state all of it is new
        assert rig.ledger == {"fused": 9}
        for _ in range(2):
            rig.checkpoint()
        await eventually(lambda: len(rig.source.position()) <= 10, "the broker's answer")
    async with running(settings, engine=Engine(settings), position=b"") as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", payload(16))])
        await rig.have(1)


def test_a_position_of_another_kind_is_refused() -> None:
    settings = config(1, TWINS)
    source = MqttSource(settings.sources[0], Engine(settings), ManualClock())  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="plant: 7 bytes are no position"):
        source.restore(b"1234567", lambda: None)


async def test_the_subscription_of_a_reload_does_not_disturb_what_waits() -> None:
    async with (
        broker_double() as broker,
        running(config(broker.port, TWINS), position=b"") as rig,
    ):
        client = await broker.subscribed()
        client.publish(b"plant/m/temp", payload(1), qos=1, mid=1)
        await rig.have(1)
        other = template({"x": {**PLAIN["x"], "topic": "b/{machine}"}}, "b-{machine}")
        rig.source.attach(Engine(config(broker.port, [other])))
        await client.until(lambda c: len(c.of(SUBSCRIBE)) == 2, "the new filter")
        rig.checkpoint()
        rig.checkpoint()
        await client.until(lambda c: c.acknowledged == [1], "the acknowledgement")
