"""Packets that the wire kernel refuses: either a PUBLISH that is only too long, or no MQTT at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HEAD_BYTES_MAX = 5 + 2 + 65_535 + 2
"""Fixed header, topic and packet identifier of a PUBLISH are no longer than this."""

_PUBLISH, _PUBACK, _PUBREC = 3, b"\x40\x02", b"\x50\x02"


class NotMqttError(ConnectionError):
    """The bytes are no MQTT. A ConnectionError, because paho drops the connection on an OSError."""


@dataclass(frozen=True, slots=True)
class Oversize:
    """A PUBLISH of ``length`` bytes in all; ``answer`` tells the broker that it has arrived (empty at QoS 0)."""

    length: int
    topic: bytes
    answer: bytes
    dup: bool

    @property
    def acknowledges(self) -> bool:
        """Whether the answer is a PUBACK."""
        return self.answer.startswith(_PUBACK)

    @property
    def hash(self) -> int:
        """A signed 64-bit word by which it is known again, as its payload is not read."""
        digest = hashlib.blake2b(self.topic + b"\0%d" % self.length, digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)


def oversize_at(head: bytes, packet_max: int) -> Oversize | None:
    """The PUBLISH longer than ``packet_max`` that begins with ``head``; None: too little of it is there to tell.

    Raises NotMqttError on anything else. A QoS 2 message is answered by PUBREC; paho completes the exchange.
    """
    length, start = _length(head)
    qos = head[0] >> 1 & 3
    if head[0] >> 4 != _PUBLISH or qos == 3 or length <= packet_max:
        raise NotMqttError("the broker sent bytes that are not MQTT")
    if len(head) < start + 2:
        return None
    end = start + 2 + int.from_bytes(head[start : start + 2], "big")
    if end + (2 if qos else 0) > length:
        raise NotMqttError("the broker sent a PUBLISH whose topic is longer than the packet")
    if len(head) < end + 2:
        return None
    identifier = head[end : end + 2]
    if qos and not any(identifier):
        raise NotMqttError("the broker sent a PUBLISH with packet identifier 0")
    return Oversize(
        length, head[start + 2 : end], (b"", _PUBACK + identifier, _PUBREC + identifier)[qos], head[0] & 8 != 0
    )


def _length(head: bytes) -> tuple[int, int]:
    """(length of the whole packet, start of its variable header); the kernel refuses nothing before it knows these."""
    size = 0
    for k, byte in enumerate(head[1:5]):
        size |= (byte & 127) << 7 * k
        if byte < 128:
            return 2 + k + size, 2 + k
    raise NotMqttError("the broker sent a packet length that is not MQTT")
