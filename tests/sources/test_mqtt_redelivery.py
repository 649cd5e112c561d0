"""Held acknowledgements and redelivery against a model of a broker, in memory: nothing is fused twice or lost."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edgetwin.clock import NS, ManualClock
from edgetwin.engine import Engine
from edgetwin.instruments import Histogram
from edgetwin.records import Outcome
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.held import Held
from edgetwin.sources.mqtt.receiver import Receiver
from tests.kernels.wire import COMPILED, array, publish
from tests.sources.mqtt_rig import PLAIN, config, template

SETTINGS = config(1, [template(PLAIN)], protocol="3.1.1")
KINDS = [(b"plant/m/temp", b"20"), (b"plant/m/temp", b"hot"), (b"who/knows", b"1"), (b"plant/%d/temp", b"1")]
"""Fused, invalid, unmatched; a topic that is left to Python when it is first heard."""


@dataclass
class ModelBroker:
    """A broker's side of one session: at most ``window`` messages without PUBACK, in order; sends them again with DUP.

    ``lowest``: it gives each message the lowest free identifier; else the next in a circle. ``unlike``: all messages
    differ in content.
    """

    window: int
    lowest: bool
    unlike: bool
    queue: deque[int] = field(default_factory=deque)
    inflight: OrderedDict[int, int] = field(default_factory=OrderedDict)
    published: int = 0
    last_mid: int = 0
    to_client: deque[tuple[int, bytes]] = field(default_factory=deque)
    """Number of the message, or -1, and the packet."""
    from_client: deque[bytes] = field(default_factory=deque)

    def publish(self, n: int) -> None:
        self.queue.extend(range(self.published, self.published + n))
        self.published += n
        self.send()

    def send(self) -> None:
        while self.queue and len(self.inflight) < self.window:
            mid = self.free()
            self.inflight[mid] = self.queue.popleft()
            self.to_client.append((self.inflight[mid], self.packet(mid, dup=False)))

    def free(self) -> int:
        if self.lowest:
            return next(m for m in range(1, 65_536) if m not in self.inflight)
        self.last_mid = self.last_mid % (self.window + 2) + 1
        while self.last_mid in self.inflight:
            self.last_mid = self.last_mid % (self.window + 2) + 1
        return self.last_mid

    def packet(self, mid: int, *, dup: bool) -> bytes:
        number = self.inflight[mid]
        topic, payload = KINDS[number % len(KINDS)] if self.unlike else KINDS[0]
        topic = topic % (number % 5) if b"%" in topic else topic
        return publish(topic, payload + (b" " * (number + 1) if self.unlike else b""), qos=1, mid=mid, dup=dup)

    def reconnect(self) -> None:
        self.to_client.clear()
        self.from_client.clear()
        for mid, number in self.inflight.items():
            self.to_client.append((number, self.packet(mid, dup=True)))
        self.send()

    def read(self) -> None:
        """Process one packet of the client's."""
        packet = self.from_client.popleft()
        if packet[0] == 0xC0:
            self.to_client.append((-1, b"\xd0\0"))
            return
        mid = int.from_bytes(packet[2:], "big")
        assert next(iter(self.inflight)) == mid, "acknowledged once, and in order"
        del self.inflight[mid]
        self.send()

    # ---- as a link of Held

    def acknowledge(self, acks: bytes) -> None:
        self.from_client.extend(acks[k : k + 4] for k in range(0, len(acks), 4))

    def ping(self) -> None:
        self.pinged()
        self.from_client.append(b"\xc0\0")

    def pinged(self) -> None:
        """Told when a PINGREQ leaves, as the session tells it."""


class Schedule(RuleBasedStateMachine):
    """Any order of deliveries, checkpoints, lost connections and kills; each message counts once in what is durable."""

    unlike = True

    @initialize(window=st.integers(2, 6), lowest=st.booleans())
    def start(self, window: int, lowest: bool) -> None:
        self.broker = ModelBroker(window, lowest, self.unlike)
        self.clock = ManualClock(10**18)
        self.durable: tuple[bytes, list[int]] = (b"", [])
        self.engine = Engine(SETTINGS)
        self.boot()
        self.resume()

    def boot(self) -> None:
        self.clock.advance(NS)  # arrival stamps of two processes differ
        self.receiver = Receiver(SETTINGS.sources[0], self.clock, Histogram())  # type: ignore[arg-type]
        self.receiver.attach(self.engine, 0, TopicBindings("plant", self.engine, self.clock))
        self.held = self.receiver.held
        self.fused = list(self.durable[1])
        self.fresh = False
        self.held.restore(self.durable[0], lambda: None)

    def resume(self) -> None:
        self.broker.reconnect()
        self.broker.pinged = self.held.pinged  # type: ignore[method-assign]
        self.held.connected(self.broker, True)

    @rule(n=st.integers(1, 8))
    def publish(self, n: int) -> None:
        self.broker.publish(n)

    @rule(n=st.integers(1, 10))
    def deliver(self, n: int) -> None:
        for _ in range(min(n, len(self.broker.to_client))):
            number, packet = self.broker.to_client.popleft()
            if number < 0:
                self.held.answered()
                continue
            before = self.engine.ledger.counts[0, Outcome.DUPLICATE]
            self.receiver.take(array(packet), len(packet), bytearray())
            if self.engine.ledger.counts[0, Outcome.DUPLICATE] == before:
                self.fused.append(number)
            else:
                assert number in self.fused
            self.fresh = True

    @rule(n=st.integers(1, 10))
    def read(self, n: int) -> None:
        for _ in range(min(n, len(self.broker.from_client))):
            self.broker.read()

    @precondition(lambda self: self.fresh or self.unlike)
    @rule(dies=st.booleans())
    def checkpoint(self, dies: bool) -> None:
        position, mark = self.held.position(), self.held.mark()
        self.clock.advance(NS)
        self.durable = (position, list(self.fused))
        self.fresh = False
        if dies:
            self.kill()
        else:
            self.held.release(mark)

    @rule(n=st.integers(1, 6))
    def run(self, n: int) -> None:
        """All goes well for a while."""
        self.publish(n)
        self.deliver(n)
        if self.fresh:
            self.checkpoint(False)
        self.read(n + 1)

    @rule(n=st.integers(0, 4))
    def late_checkpoint(self, n: int) -> None:
        """More is delivered while it is being written."""
        if not self.fresh:
            return
        durable, mark = (self.held.position(), list(self.fused)), self.held.mark()
        self.fresh = False
        self.deliver(n)
        self.durable = durable
        self.held.release(mark)

    @rule()
    def reconnect(self) -> None:
        self.held.disconnected(self.broker)
        self.resume()

    @rule()
    def kill(self) -> None:
        self.boot()
        self.resume()

    @invariant()
    def nothing_is_fused_twice(self) -> None:
        if hasattr(self, "fused"):
            assert len(set(self.fused)) == len(self.fused)
            assert self.engine.ledger.balanced()
            position = self.held.position()
            mids = unpack_from(f"<{len(position) // 10}H", position)
            assert len(mids) == len(set(mids))

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        for _ in range(10 * self.broker.published + 10):
            self.deliver(100)
            self.held.release(self.held.mark())
            self.read(100)
        assert sorted(self.fused) == list(range(self.broker.published)), "nothing is lost"
        assert not self.broker.inflight
        assert not self.broker.queue


class ConstantReadings(Schedule):
    """All messages alike, under identifiers that come again at once; every checkpoint has something new."""

    unlike = False


def test_the_ring_goes_round() -> None:
    """Four windows of messages, each released but for its newest, each followed by a new connection."""
    held = Held("plant", ManualClock(), 65_535)
    link = ModelBroker(1, lowest=False, unlike=False)
    held.restore(b"", lambda: None)
    held.connected(link, resumed=False)
    for turn in range(4):
        mids = (np.arange(50_000) + 50_000 * turn) % 65_535 + 1
        hashes = np.arange(50_000) + 50_000 * turn
        acks = np.column_stack([np.full(50_000, 0x40), np.full(50_000, 2), mids >> 8, mids & 255]).astype(np.uint8)
        held.note(acks.reshape(-1), hashes, 50_000)
        position = held.position()
        assert position == mids.astype("<u2").tobytes() + hashes.astype("<i8").tobytes()
        mark = held.mark()
        held.release(mark)
        assert b"".join(link.from_client).removesuffix(b"\xc0\0") == acks[:-1].tobytes()
        link.from_client.clear()
        held.connected(link, resumed=True)
        assert held.position() == position
        assert held.is_redelivery(int(mids[-1]), int(hashes[-1]), dup=True)
        held.note(acks[-1], hashes[-1:], 1)
        held.release(mark)
        assert not link.from_client, "a mark of the connection before"
        for _ in range(2):
            held.release(held.mark())
        assert link.from_client.popleft() == acks[-1].tobytes()
        link.from_client.clear()
        held.pinged()
        held.answered()
        assert held.position() == b""


@pytest.mark.parametrize("machine", [Schedule, ConstantReadings])
def test_any_schedule_counts_every_message_once(machine: Any) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=100 if COMPILED else 15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
