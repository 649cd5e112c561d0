"""What the cloud answers a gateway: how far it has come, what it lacks, and whether it wants a key frame.

One msgpack map, over MQTT as the retained message of the acknowledgement topic and over HTTP as the body of an answer.
docs/frames.md is the specification.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from edgetwin.codec.contents import array, integer, items, text, unpacked
from edgetwin.codec.limits import GATEWAY_CHARS_MAX, U64_MAX
from edgetwin.errors import FrameError

VERSION = 1
RESENDS_MAX = 256
ACK_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Ack:
    """Every frame of ``epoch`` up to ``through`` (inclusive; -1: none) is stored durably or accounted for by a gap.

    ``resend`` lists frames ``(first, last)`` beyond a hole that the gateway is asked to send again; ``key`` asks for a
    key frame next, because the receiver lacks what the coming frames continue from.
    """

    gateway: str
    epoch: int
    through: int
    resend: tuple[tuple[int, int], ...] = ()
    key: bool = False


def acks_topic(frames_topic: str) -> str:
    """Where the answers to frames of a topic are retained: its last level ``frames`` replaced by ``acks``, or ``acks``
    added."""
    head, _, last = frames_topic.rpartition("/")
    return f"{head}/acks" if head and last == "frames" else f"{frames_topic}/acks"


def encode_ack(ack: Ack) -> bytes:
    """The bytes of ``ack``; FrameError when a field is out of bounds."""
    resend = [list(pair) for pair in ack.resend]
    wire = {"v": VERSION, "gateway": ack.gateway, "epoch": ack.epoch, "through": ack.through, "resend": resend}
    data = bytes(msgpack.packb(wire | {"key": ack.key}))
    decode_ack(data)
    return data


def decode_ack(data: bytes) -> Ack:
    """The reverse of :func:`encode_ack`. FrameError when ``data`` is anything else."""
    if len(data) > ACK_BYTES_MAX:
        raise FrameError(f"an acknowledgement of more than {ACK_BYTES_MAX} bytes")
    found = unpacked("the acknowledgement is", data, RESENDS_MAX)
    if type(found) is not dict or found.get("v") != VERSION:
        raise FrameError(f"not an acknowledgement of version {VERSION}")
    gateway = text("the gateway of an acknowledgement", found.get("gateway"))
    if not 1 <= len(gateway) <= GATEWAY_CHARS_MAX:
        raise FrameError("the gateway of an acknowledgement is empty or too long")
    key = found.get("key")
    if type(key) is not bool:
        raise FrameError("key is not a boolean")
    return Ack(
        gateway,
        integer("the epoch of an acknowledgement", found.get("epoch"), 0, U64_MAX),
        integer("the watermark of an acknowledgement", found.get("through"), -1, U64_MAX),
        tuple(_range(pair) for pair in items("the ranges to send again", found.get("resend"), RESENDS_MAX)),
        key,
    )


def _range(wire: object) -> tuple[int, int]:
    first, last = (integer("a frame to send again", n, 0, U64_MAX) for n in array("a range to send again", wire, 2))
    if first > last:
        raise FrameError("a range to send again ends before it begins")
    return first, last
