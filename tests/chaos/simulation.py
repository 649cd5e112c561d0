"""Lives of a gateway on simulated parts: ``python -m tests.chaos.simulation --seeds 1000``.

The engine, the MQTT receiver, the checkpoints, the journal, the outbox and the uplink's schedule are the real ones. The
disk (:mod:`tests.journal.simdisk`), the broker and the cloud are simulated, and the clock is set by hand. The gateway
dies at any operation of the disk, by a power cut or by a kill, links break and lose what is on its way, the disk
refuses to sync. In the end

* states, ledger and what is known of every filter equal, bit for bit, those of an engine that was given each sample once;
* the cloud has every report that was durable, and none twice;
* frames are numbered without a hole, and no gap tells of one.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgetwin.clock import NS, GatewayClock, ManualClock
from edgetwin.codec.frames import Frame, decode_frame
from edgetwin.config.durations import Duration
from edgetwin.config.schema import Config, Limits, MqttSource, MqttUplink, Reporting, Signal, Twin
from edgetwin.engine import Engine
from edgetwin.engine.inputs import InputLog
from edgetwin.errors import JournalError
from edgetwin.instruments import Histogram
from edgetwin.journal import Journal
from edgetwin.journal import Limits as JournalLimits
from edgetwin.journal.group import Group
from edgetwin.records import Batch, Outcome
from edgetwin.runtime.checkpoint import Checkpoints, restore
from edgetwin.runtime.reporter import Reporter
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.receiver import Receiver
from edgetwin.uplink.answers import Answers
from edgetwin.uplink.encoding import make_encoder
from edgetwin.uplink.journaled import JournalOutbox
from edgetwin.uplink.schedule import Lane, Schedule, Window
from tests.journal.simdisk import PowerCut, SimDisk
from tests.kernels.wire import publish
from tests.uplink.cloud import Cloud

T0 = 1_800_000_000
LIVES = 6
TWINS = 5
LIMITS = JournalLimits(bytes_max=4 << 20, segment_bytes=65_536, reserve_bytes=65_536)
WIDE = Window(50, 1 << 30)
Message = tuple[bytes, bytes]


def configuration(window: int) -> Config:
    """Machines that make themselves known, whose samples may come late."""
    signal = Signal(source="plant", topic="plant/{machine}", value="$.v", time="$.t")
    every = {"report": Reporting(every=Duration(1.0)), "lateness": Duration(2.0), "isolate": False}
    return Config(
        gateway="g",
        sources=[MqttSource(name="plant", url="mqtt://h", receive_maximum=window)],
        twins=[Twin(name="{machine}", model="auto", signals={"x": signal}, **every)],
        uplink=MqttUplink(url="mqtt://h", codec="plain-1", every=Duration(3.0)),
        limits=Limits(outbox_bytes=1 << 20),
    )


class Plant:
    """Makes samples with times of their own."""

    def __init__(self, rng: random.Random) -> None:
        self.sent: list[tuple[int, int, float]] = []
        self._rng = rng
        self._ms = T0 * 1000

    def message(self) -> Message:
        """The next one."""
        rng = self._rng
        self._ms += rng.randrange(1, 400)
        machine = rng.randrange(TWINS)
        t = self._ms - (rng.randrange(1500) if rng.random() < 0.2 else 0)
        value = round(20 + machine + rng.gauss(0, 0.5), 2)
        self.sent.append((machine, t, value))
        return b"plant/m%d" % machine, json.dumps({"t": t / 1000, "v": value}).encode()


class Broker:
    """Keeps a session: what is not acknowledged is sent again, in order, when the gateway is back. ``sequential``: packet
    identifiers go round, as mosquitto's do; else the lowest that is free is taken, as others do."""

    def __init__(self, rng: random.Random, window: int) -> None:
        self.queue: deque[Message] = deque()
        self.flight: OrderedDict[int, Message] = OrderedDict()
        self._again: deque[int] = deque()
        self._window = window
        self._sequential = rng.random() < 0.5
        self._mid = 0

    def connected(self) -> None:
        """The session is resumed."""
        self._again = deque(self.flight)

    def send(self, n: int) -> bytes:
        """At most ``n`` messages, as far as the window allows."""
        out = b""
        for _ in range(n):
            if self._again:
                mid = self._again.popleft()
                out += self._packet(mid, again=True)
            elif self.queue and len(self.flight) < self._window:
                mid = self._free()
                self.flight[mid] = self.queue.popleft()
                out += self._packet(mid, again=False)
        return out

    def acknowledged(self, acks: bytes) -> None:
        """PUBACK packets have come."""
        for k in range(0, len(acks), 4):
            assert acks[k : k + 2] == b"\x40\x02"
            mid = int.from_bytes(acks[k + 2 : k + 4], "big")
            assert mid in self.flight, f"{mid} is not on its way"
            assert mid not in self._again, f"{mid} is acknowledged before it came on this connection"
            del self.flight[mid]

    @property
    def idle(self) -> bool:
        return not self.queue and not self.flight

    def _packet(self, mid: int, *, again: bool) -> bytes:
        topic, payload = self.flight[mid]
        packet = publish(topic, payload, qos=1, mid=mid, properties=b"")
        return bytes([packet[0] | 8 * again]) + packet[1:]

    def _free(self) -> int:
        if not self._sequential:
            return next(mid for mid in range(1, 65_536) if mid not in self.flight)
        self._mid = self._mid % 65_535 + 1
        while self._mid in self.flight:
            self._mid = self._mid % 65_535 + 1
        return self._mid


class Connection:
    """What the gateway writes to the broker, until it arrives or is lost."""

    def __init__(self) -> None:
        self.acks = b""
        self.pings = 0

    def acknowledge(self, acks: bytes) -> None:
        self.acks += acks

    def ping(self) -> None:
        self.pings += 1


class AtOnce:
    """A journal's writer without a thread."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def commit(self, group: Group) -> None:
        self.journal.commit(group)


class Source:
    """The gateway's side of the broker, down to the bytes."""

    name = "plant"

    def __init__(self, config: Config, engine: Engine, clock: GatewayClock) -> None:
        settings = config.sources[0]
        assert isinstance(settings, MqttSource)
        self.receiver = Receiver(settings, clock, Histogram())
        self.receiver.attach(engine, 0, TopicBindings("plant", engine, clock))
        self.connection: Connection | None = None
        held = self.receiver.held
        self.mark, self.release, self.position = held.mark, held.release, held.position

    def connect(self, broker: Broker) -> None:
        self.connection = Connection()
        broker.connected()
        self.receiver.held.connected(self.connection, True)

    def disconnect(self) -> None:
        if self.connection is not None:
            self.receiver.held.disconnected(self.connection)
        self.connection = None

    def take(self, data: bytes) -> None:
        """Bytes from the broker."""
        if data:
            buffer = np.frombuffer(bytearray(data), np.uint8)
            taken = self.receiver.take(buffer, len(data), bytearray())
            assert taken.used == len(data)
            assert not taken.acks, "acknowledged at once"


class Gateway:
    """One life of it. What a :class:`Checkpoints` and a :class:`Reporter` want of the daemon are attributes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = world.config
        self.clock = GatewayClock(world.machine)
        self.engine = Engine(self.config)
        journal, _ = Journal.open(world.disk, LIMITS, self.clock, epoch=world.rng.randrange(2**64))
        encoder = make_encoder(self.config, lambda columns: self.engine.foresee(columns), 1 << 20)
        self.outbox = JournalOutbox("g", journal, encoder, self.clock, staged_bytes_max=1 << 20)
        self.checkpoints = Checkpoints(self, journal, self.outbox)  # type: ignore[arg-type]
        self.checkpoints.writer = AtOnce(journal)  # type: ignore[assignment]
        found = restore(journal.state(), journal.positions(), self.engine, self.clock.wall_ns())
        position = found.sources.get("plant", b"") if found is not None else b""
        self.engine.inputs = InputLog()
        self.source = Source(self.config, self.engine, self.clock)
        self.sources = [self.source]
        self.wanted = False
        self.source.receiver.held.restore(position, self.want)
        self.reporter = Reporter(self)  # type: ignore[arg-type]
        self.schedule = Schedule(self.outbox, self.clock, quiet_s=5.0)
        self.schedule.begin()
        self.answers = Answers(self.outbox, self.schedule, self.clock)

    def want(self) -> None:
        self.wanted = True

    def checkpoint(self) -> None:
        """Take one, and note what is durable by it."""
        self.wanted = False
        reports = [report.t_ns for report in self.engine.gathering.reports]
        before = self.outbox.counters.enqueued
        if self.world.loop.run_until_complete(self.checkpoints.take()):
            self.world.durable.update(reports)
            self.world.framed = max(self.world.framed, before)

    def uplink(self) -> None:
        """Send frames, of which and of whose answers some get lost."""
        world = self.world
        self.schedule.tick()
        for lane in Lane:
            while (queued := self.schedule.take(lane, WIDE)) is not None:
                if world.faults and world.rng.random() < 0.1:
                    self.schedule.begin()  # the connection is lost
                    return
                frame = decode_frame(queued.data)
                world.receive(frame)
                self.schedule.delivered(queued.position)
                if not world.faults or world.rng.random() < 0.7:
                    self.answers.take(world.cloud.ack(frame.epoch))


class World:
    """Everything that outlives the gateway."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        window = rng.choice([1, 2, 20, 65_535])
        self.config = configuration(window)
        self.machine = ManualClock(T0 * NS + 3600 * NS, synchronized=True)
        self.disk = SimDisk(rng)
        self.broker = Broker(rng, window)
        self.plant = Plant(rng)
        self.cloud = Cloud()
        self.durable: set[int] = set()
        self.framed = 0
        self.reported: Counter[tuple[str, str, int]] = Counter()
        self.faults = True
        self.loop = asyncio.new_event_loop()
        self.seen: Counter[str] = Counter()

    def receive(self, frame: Frame) -> None:
        """The cloud stores a frame once."""
        if frame.seq in self.cloud.stored.get(frame.epoch, ()):
            self.seen["frames repeated"] += 1
            return
        self.cloud.store(frame)
        for report in frame.reports:
            self.reported.update((twin, state, report.t_ns) for twin, state, _ in report.columns)

    # ---- a life

    def live(self) -> None:
        """From a start to a death."""
        self.arm()
        gateway: Gateway | None = None
        try:
            gateway = self.start()
            for _ in range(self.rng.randrange(5, 80)):
                self.step(gateway)
        except PowerCut:
            self.seen["power cuts"] += 1
        finally:
            self.disk.before = lambda operation: None
        self.die(gateway)

    def start(self) -> Gateway:
        """Until the disk lets it."""
        while True:
            try:
                return Gateway(self)
            except JournalError:
                self.disk.locked = False

    def arm(self) -> None:
        """Put the power cut at some operation of the disk to come."""
        last = self.disk.operations + self.rng.choice([self.rng.randrange(1, 12), self.rng.randrange(1, 200)])

        def before(operation: str) -> None:
            if self.disk.operations >= last:
                self.seen[operation] += 1
                raise PowerCut(operation)
            if operation in ("sync", "write") and self.rng.random() < 0.02:
                self.seen["EIO"] += 1
                raise OSError(errno.EIO, "Input/output error")

        self.disk.before = before

    def die(self, gateway: Gateway | None) -> None:
        """By a power cut, or by a kill, after which the operating system still writes what it was given."""
        if gateway is not None and gateway.source.connection is not None:
            self.deliver_acks(gateway)
        if self.rng.random() < 0.5:
            self.disk.cut()
        self.disk.locked = False

    def step(self, gateway: Gateway) -> None:
        """One thing that happens."""
        rng, source = self.rng, gateway.source
        match rng.randrange(8):
            case 0 | 1:
                self.broker.queue.extend(self.plant.message() for _ in range(rng.randrange(30)))
            case 2 | 3:
                if source.connection is None:
                    source.connect(self.broker)
                source.take(self.broker.send(rng.randrange(1, 30)))
            case 4:
                self.machine.advance(rng.randrange(2 * NS))
                gateway.clock.poll()
                gateway.reporter.tick(gateway.clock.wall_ns())
            case 5:
                gateway.checkpoint()
            case 6:
                gateway.uplink()
            case 7:
                self.deliver_acks(gateway)
                if rng.random() < 0.3:
                    source.disconnect()
        if gateway.wanted and rng.random() < 0.5:
            gateway.checkpoint()

    def deliver_acks(self, gateway: Gateway) -> None:
        """Some or all of what is on its way to the broker arrives."""
        connection = gateway.source.connection
        if connection is None:
            return
        n = len(connection.acks) // 4
        arrived = 4 * (n if self.rng.random() < 0.5 or not self.faults else self.rng.randrange(n + 1))
        self.broker.acknowledged(connection.acks[:arrived])
        connection.acks = connection.acks[arrived:]
        if not connection.acks:
            while connection.pings:
                connection.pings -= 1
                gateway.source.receiver.held.answered()

    # ---- the end

    def settle(self) -> Gateway:
        """No more faults: until the broker and the outbox are empty."""
        self.faults = False
        gateway = self.start()
        gateway.source.connect(self.broker)
        for _ in range(10_000):
            if self.broker.idle and not len(gateway.outbox) and not gateway.engine.gathering.reports:
                return gateway
            gateway.source.take(self.broker.send(100))
            self.machine.advance(NS)
            gateway.clock.poll()
            gateway.reporter.tick(gateway.clock.wall_ns())
            if self.broker.idle:
                gateway.reporter.flush()
            gateway.checkpoint()
            self.deliver_acks(gateway)
            gateway.uplink()
        raise AssertionError(f"not settled: {len(self.broker.flight)} in flight, {len(gateway.outbox)} frames")

    def check(self, gateway: Gateway) -> None:
        """What the docstring of the module promises."""
        one, other = gateway.engine, self.uninterrupted()
        assert sorted(one.names()) == sorted(other.names())
        for name in one.names():
            assert list(row_of(one, name)) == list(row_of(other, name)), name
        assert one.ledger.balanced()
        counts = one.ledger.counts[0].copy()
        counts[Outcome.DUPLICATE] -= self.seen_duplicates(other)
        used = counts.sum() - counts[Outcome.DUPLICATE]
        assert used == len(self.plant.sent) - self.seen_duplicates(other), (counts, len(self.plant.sent))
        self.seen["redelivered"] += int(counts[Outcome.DUPLICATE])
        assert not self.reported or max(self.reported.values()) == 1, "a report came twice"
        here = {t_ns for _, _, t_ns in self.reported}
        assert self.durable <= here, f"{len(self.durable - here)} durable reports are missing"
        for epoch, seqs in self.cloud.stored.items():
            assert seqs == set(range(len(seqs))), f"holes in epoch {epoch}"
        lost = [gap for frame in self.cloud.frames for gap in frame.gaps if gap.reason != "epoch_ended"]
        assert not lost, lost
        self.seen["reports"] += len(here)

    def uninterrupted(self) -> Engine:
        """The engine that was given each sample once."""
        engine = Engine(self.config)
        for machine in dict.fromkeys(machine for machine, _, _ in self.plant.sent):
            engine.hear(self.config.twins[0], {"machine": f"m{machine}"})
        slot = {name: engine.instance(name).slots["x"] for name in engine.names()}
        for machine, t_ms, value in self.plant.sent:
            slots = np.array([slot[f"m{machine}"]], np.int32)
            batch = Batch(slots, np.array([t_ms * 1_000_000]), np.array([value]))
            engine.ingest(0, batch, self.machine.wall_ns())
        return engine

    @staticmethod
    def seen_duplicates(engine: Engine) -> int:
        """Samples that repeat one of the same time and value by chance."""
        return int(engine.ledger.counts[0, Outcome.DUPLICATE])


def row_of(engine: Engine, name: str) -> Iterator[Any]:
    """Every field of the row of a twin, but for its numbers within the engine and the mark of its last report."""
    ((bank, index),) = engine.rows_of(name)
    row = bank.rows[index]
    for field in row.dtype.names or ():
        if field not in ("twin", "history", "reported"):
            yield field, row[field].tobytes()


def run(seed: int) -> Counter[str]:
    """One seed; what happened. AssertionError names what is wrong."""
    world = World(seed)
    try:
        for _ in range(LIVES):
            world.live()
        world.check(world.settle())
    finally:
        world.loop.close()
    return world.seen


def main() -> None:
    """Many seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=random.randrange(10**9))
    args = parser.parse_args()
    print(f"first seed {args.first}", flush=True)
    seen: Counter[str] = Counter()
    began = time.monotonic()
    for seed in range(args.first, args.first + args.seeds):
        try:
            seen += run(seed)
        except BaseException:
            print(f"seed {seed}", flush=True)
            raise
    print(f"{args.seeds} seeds, {LIVES} lives each, {time.monotonic() - began:.0f} s: {dict(seen)}")


if __name__ == "__main__":
    main()
