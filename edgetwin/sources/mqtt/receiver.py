"""What one MQTT source does with the bytes it has read: scan, slow path, engine, ledger."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from edgetwin.clock import NS, Clock
from edgetwin.config.schema import MqttSource as MqttConfig
from edgetwin.engine import Engine
from edgetwin.instruments import Histogram
from edgetwin.kernels import mqtt as wire
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Batch, Outcome
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.held import Held
from edgetwin.sources.mqtt.oversize import HEAD_BYTES_MAX, Oversize, oversize_at
from edgetwin.sources.payload import read_payload, split_publish

log = structlog.get_logger()

BUFFER_BYTES = 262_144
HEADER_BYTES_MAX = 65_535 + 1024
PACKETS_MAX = 16_384
SAMPLES_MAX = 65_536
MIDS = 65_535
"""Packet identifiers: what a broker of MQTT 3.1.1 can have unacknowledged at most."""
SLOWS_MAX = 512
"""Packets left to Python in one scan; after them the table knows the topics it has learned."""

_COUNTED = (
    (wire.UNMATCHED, Outcome.UNMATCHED),
    (wire.OVERFLOWED, Outcome.OVERFLOW),
    (wire.INVALIDS, Outcome.INVALID),
    (wire.LATE_DROPPED, Outcome.LATE_DROPPED),
    (wire.DUPLICATES, Outcome.DUPLICATE),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a buffer: its first ``used`` bytes are done with, ``acks`` are to be sent at once, and after the
    used ones begins a packet that is to be dropped, if there is ``oversize``."""

    used: int
    acks: bytes
    oversize: Oversize | None = None


class Receiver:
    """Outlives connections and engines.

    ``messages`` counts PUBLISH packets; ``packet_max`` is the longest packet read, in bytes; ``held`` are the
    acknowledgements that wait; ``unreleased`` are QoS 2 messages of paho's that the broker has not released, by packet
    identifier.
    """

    def __init__(self, config: MqttConfig, clock: Clock, latency: Histogram) -> None:
        self.messages = 0
        self.packet_max = config.payload_max + HEADER_BYTES_MAX
        self.buffer_bytes = max(BUFFER_BYTES, 2 * self.packet_max)
        self.held = Held(config.name, clock, config.receive_maximum if config.protocol == "5" else MIDS)
        self.unreleased: OrderedDict[int, Any] = OrderedDict()
        self._name = config.name
        self._payload_max = config.payload_max
        self._v5 = config.protocol == "5"
        self._clock = clock
        self._latency = latency
        self._out = wire.make_output(SAMPLES_MAX, PACKETS_MAX)
        self._out.room[wire.SLOWS] = SLOWS_MAX
        self._out.room[wire.PAYLOAD_MAX] = config.payload_max
        self._limiter = RateLimiter(every_s=10.0, keys_max=64, clock=clock)
        self._last_ns = 0

    def attach(self, engine: Engine, source: int, bindings: TopicBindings) -> None:
        """Give samples to this engine from now on, as its source number ``source``."""
        self._engine = engine
        self._source = source
        self._bindings = bindings

    def take(self, buffer: NDArray[np.uint8], size: int, control: bytearray) -> Taken:
        """Take the whole packets in ``buffer[:size]``; bytes for the session library are appended to ``control``.

        Raises NotMqttError when this is not MQTT, and another ConnectionError as :meth:`Held.note` does.
        """
        started = self._clock.monotonic_ns()
        arrived = self._arrival()
        before, used, acks = self.messages, 0, bytearray()
        status = wire.FULL
        while status == wire.FULL:
            rest = buffer[used:]
            view, fused = self._bindings.table.view, self.held.fused
            step, status = wire.scan(rest, size - used, view, self._out, fused, arrived, self.packet_max, self._v5)
            messages = int(self._out.counters[wire.MESSAGES])
            self._last_ns = arrived + messages
            self.messages += messages
            self._deliver(rest, arrived + messages, control)
            ack_bytes = int(self._out.counters[wire.ACK_BYTES])
            if self.held.on:
                self.held.note(self._out.ack, self._out.hash, ack_bytes // 4)
            else:
                acks += self._out.ack[:ack_bytes].tobytes()
            arrived += messages
            used += step
        if self.messages > before:
            self._latency.observe((self._clock.monotonic_ns() - started) / NS, self.messages - before)
        oversize = None
        if status == wire.BROKEN:
            oversize = oversize_at(bytes(buffer[used : min(size, used + HEAD_BYTES_MAX)]), self.packet_max)
        return Taken(used, bytes(acks), oversize)

    def _arrival(self) -> int:
        """The time now, but after every message before: unless the clock has been set back."""
        now = self._clock.wall_ns()
        return now if self._last_ns - now > NS else max(now, self._last_ns)

    def note_dropped(self, oversize: Oversize) -> bytes:
        """Count a packet that was too long. Returns its answer, which is due all the same, or the broker would send it
        for ever; empty where that waits or none is due."""
        self.messages += 1
        if not (oversize.acknowledges and self.held.on):
            self._note_too_long(oversize.topic, oversize.length)
            return oversize.answer
        if self.held.is_redelivery(int.from_bytes(oversize.answer[2:], "big"), oversize.hash, oversize.dup):
            self._engine.count(self._source, Outcome.DUPLICATE)
        else:
            self._note_too_long(oversize.topic, oversize.length)
        self.held.note(np.frombuffer(oversize.answer, np.uint8), np.array([oversize.hash]), 1)
        return b""

    def take_message(self, topic: bytes, payload: bytes, retained: bool) -> None:
        """A message that came through the session library: QoS 2."""
        self.messages += 1
        arrived = self._arrival()
        self._last_ns = arrived + 1
        samples = self._read(topic, payload, arrived, retained)
        if samples:
            self._engine.ingest(self._source, _batch(samples), arrived)

    def _deliver(self, buffer: NDArray[np.uint8], now_ns: int, control: bytearray) -> None:
        """Hand one scan's results on: control bytes, samples in order, counts."""
        out = self._out
        counters = out.counters.tolist()
        for start, end in out.control[: counters[wire.CONTROLS]].tolist():
            control += buffer[start:end].tobytes()
        n = counters[wire.SAMPLES]
        batch = Batch(out.slot[:n], out.t_ns[:n], out.value[:n])
        if counters[wire.SLOWS]:
            slow = out.slow[: counters[wire.SLOWS]].tolist()
            inserts = [(before, self._read_packet(bytes(buffer[a:b]), stamp)) for a, b, before, stamp, _ in slow]
            batch = _merged(batch, inserts)
        if len(batch):
            self._engine.ingest(self._source, batch, now_ns)
        for counter, outcome in _COUNTED:
            if counters[counter]:
                self._engine.count(self._source, outcome, counters[counter])
        if counters[wire.INVALIDS]:
            packet = bytes(buffer[counters[wire.INVALID_START] : counters[wire.INVALID_END]])
            message = split_publish(packet, self._v5)
            self._warn_payload(message.topic, message.payload)

    # ---- slow path

    def _read_packet(self, packet: bytes, arrived: int) -> list[tuple[int, int, float]]:
        """A PUBLISH that the kernel left to Python."""
        message = split_publish(packet, self._v5)
        if not message.topic:
            # A topic alias; we never allow one (Topic Alias Maximum is 0), so its topic cannot be known.
            self._engine.count(self._source, Outcome.UNMATCHED)
            return []
        return self._read(message.topic, message.payload, arrived, message.retain)

    def _read(self, topic: bytes, payload: bytes, arrived: int, retained: bool) -> list[tuple[int, int, float]]:
        """The samples of one message; makes its twin if a template asks for it, and counts what is not a sample."""
        if len(payload) > self._payload_max:
            self._note_too_long(topic, len(payload))
            return []
        bindings = self._bindings.table.lookup(topic)
        if bindings is None:
            fate = self._bindings.hear(topic)
            if fate is not None:
                self._engine.count(self._source, fate)
                return []
            bindings = self._bindings.table.lookup(topic)
        if not bindings:
            self._engine.count(self._source, Outcome.UNMATCHED)
            return []
        reading = read_payload(payload, bindings, arrived, retained)
        if reading.invalid:
            self._engine.count(self._source, Outcome.INVALID, reading.invalid)
            self._warn_payload(topic, payload)
        if reading.late_dropped:
            self._engine.count(self._source, Outcome.LATE_DROPPED, reading.late_dropped)
        return reading.samples

    def _note_too_long(self, topic: bytes, size: int) -> None:
        self._engine.count(self._source, Outcome.OVERFLOW)
        if self._limiter.allow("oversize") is not None:
            log.warning(
                "message_too_long", source=self._name, topic=_shown(topic), bytes=size,
                hint="raise payload_max of the source if such messages are meant to be read",
            )  # fmt: skip

    def _warn_payload(self, topic: bytes, payload: bytes) -> None:
        suppressed = self._limiter.allow(topic)
        if suppressed is not None:
            log.warning(
                "payload_invalid", source=self._name, topic=_shown(topic), payload=_shown(payload[:80]),
                similar_suppressed=suppressed, hint=_payload_hint(payload),
            )  # fmt: skip


def _merged(batch: Batch, inserts: list[tuple[int, list[tuple[int, int, float]]]]) -> Batch:
    """``batch`` with samples put in, each group before the position it is given with."""
    parts, at = [], 0
    for before, samples in inserts:
        if samples:
            parts += [
                Batch(batch.slot[at:before], batch.t_ns[at:before], batch.value[at:before]),
                _batch(samples),
            ]
            at = before
    parts.append(Batch(batch.slot[at:], batch.t_ns[at:], batch.value[at:]))
    return Batch(
        np.concatenate([p.slot for p in parts]),
        np.concatenate([p.t_ns for p in parts]),
        np.concatenate([p.value for p in parts]),
    )


def _batch(samples: list[tuple[int, int, float]]) -> Batch:
    slots, times, values = zip(*samples, strict=True) if samples else ((), (), ())
    return Batch(np.array(slots, np.int32), np.array(times, np.int64), np.array(values, np.float64))


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _payload_hint(payload: bytes) -> str:
    if payload.lstrip()[:1] in (b"{", b"["):
        return "JSON payloads need the path of the field: value: $.name"
    return "a payload is one number, or JSON with value: $.name"
