"""QoS 1 messages that have been fused and that a broker may send again, compiled: found again inside the scan.

Messages are numbered from 0 on as they are fused; a ring holds the last RING of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgetwin.kernels.bits import Array, at, pointer
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.lookup import hash_bytes

RING = 131_072
"""Twice the packet identifiers there are: what was fused on the last connection, and what came on this one."""
RING_MASK = RING - 1

HOLDING, EXPECTED, EXPECTED_END = 0, 1, 2
"""Where ``Fused.state`` holds: whether messages are noted at all; the number of the next message that the broker is
expected to send again, and the number after the last one."""

_SEED = 0x5851F42D4C957F2D


class Fused(NamedTuple):
    """``mid`` uint16[RING] and ``hash`` int64[RING]: packet identifier and :func:`message_hash` of a message, by number
    modulo RING; ``last`` int64[65536]: one more than the number of the last message, by packet identifier;
    ``state`` int64[3]."""

    mid: Array
    hash: Array
    last: Array
    state: Array


def make_fused() -> Fused:
    """Nothing fused, nothing expected, not holding."""
    return Fused(np.zeros(RING, np.uint16), np.zeros(RING, np.int64), np.zeros(65_536, np.int64), np.zeros(3, np.int64))


@kernel
def fused_pointers(f: Fused) -> Fused:
    """The same as pointers, for other kernels."""
    return Fused(pointer(f.mid), pointer(f.hash), pointer(f.last), pointer(f.state))


@kernel
def message_hash(buf: Array, topic: int, topic_end: int, payload: int, end: int) -> int:
    """64-bit hash of a topic and a payload. The same in every run and on every machine."""
    return hash_bytes(buf, payload, end, hash_bytes(buf, topic, topic_end, _SEED))


@kernel
def is_redelivery(fused: Fused, mid: int, message: int, dup: bool) -> bool:
    """Whether this message of the broker is the expected one, or one after it; those between were acknowledged.

    A broker sends again before it sends anything else, in order and with DUP (MQTT 5, §4.4 and §4.6): the first message
    that does not fit is new, and so are all after it.
    """
    state = fused.state
    expected, end = at(state, EXPECTED), at(state, EXPECTED_END)
    if expected == end:
        return False
    number = at(fused.last, mid) - 1
    if dup and expected <= number and number < end and at(fused.hash, number & RING_MASK) == message:
        state[EXPECTED] = number + 1
        return True
    state[EXPECTED_END] = expected
    return False


@kernel
def note_fused(fused: Fused, ack: Array, hashes: Array, n: int, number: int, first: int, sent: int) -> tuple[int, int]:
    """Note ``n`` messages by their PUBACKs uint8[4 n] and ``hashes`` int64[n], numbered from ``number`` on.

    Messages from ``first`` on are this connection's, and those before ``sent`` have had their PUBACKs. An identifier
    that is used again tells that the broker has these up to the message before: returns the number of the first whose
    acknowledgement it may not have, and the identifier of a message that came although one of the same identifier had
    no PUBACK (0: none).
    """
    broken = 0
    for k in range(n):
        mid = at(ack, 4 * k + 2) << 8 | at(ack, 4 * k + 3)
        before = at(fused.last, mid)
        if before > sent and before > first:
            broken = mid
        first = max(first, before)
        fused.mid[(number + k) & RING_MASK] = mid
        fused.hash[(number + k) & RING_MASK] = hashes[k]
        fused.last[mid] = number + k + 1
    return first, broken
