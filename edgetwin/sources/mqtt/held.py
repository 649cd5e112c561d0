"""Acknowledgements of QoS 1 that wait until what they acknowledge is durable, and redeliveries that are recognised.

What a broker may send again is what it has had no PUBACK for: on a session that it has kept it sends that first, in the
original order, under the same packet identifiers and with DUP (MQTT 5, §4.4 and §4.6). So this remembers, in order, the
packet identifier and a hash of topic and payload of every message that has been fused and that the broker is not known
to have taken as acknowledged. It is known of all messages up to

* the last one of an identifier that the broker uses again, and
* the last one whose PUBACK was sent before a PINGREQ that the broker has answered: it reads what we send in order.

**The newest stays back.** Of the messages that become durable together the newest is acknowledged by the release after.
So at whatever instant the process dies, what the broker sends again begins inside the durable list and runs through its
last one, and a new message that looks like an old one (same identifier, same reading) is not taken for it. A release
with nothing new acknowledges that one too, so that a broker that waits for it goes on. Only if the process then dies
between a new message of the same identifier and content and the checkpoint after it is that one message lost.

A broker that forgets acknowledgements when it crashes sends again what is no longer remembered here: that counts twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from edgetwin.clock import NS, Clock
from edgetwin.errors import SourceError
from edgetwin.kernels.redelivery import (
    EXPECTED,
    EXPECTED_END,
    HOLDING,
    RING,
    RING_MASK,
    is_redelivery,
    make_fused,
    note_fused,
)

log = structlog.get_logger()

PING_EVERY_NS = NS
PINGS_MAX = 1_000
_ENTRY_BYTES = 10
_PUBACK = np.uint32(0x4002_0000)


class Link(Protocol):
    """The connection that messages come on."""

    def acknowledge(self, acks: bytes) -> None:
        """Queue PUBACK packets in one piece; must not raise."""

    def ping(self) -> None:
        """Queue a PINGREQ behind all that is queued."""


class Held:
    """One per source; outlives connections and engines. ``window``: messages that the broker may send unacknowledged.

    Does nothing until :meth:`restore` is called: acknowledgements then go out at once.
    """

    def __init__(self, name: str, clock: Clock, window: int) -> None:
        self.fused = make_fused()
        self._name = name
        self._clock = clock
        self._link: Link | None = None
        self._wanted: Callable[[], None] = lambda: None
        # Numbers of messages, all of this connection: the first that the broker may send again, the first without a
        # PUBACK, the first that is not durable, the next.
        self._first = self._sent = self._durable = self._next = 0
        self._pings: deque[int] = deque()
        self._pinged_ns = -PING_EVERY_NS
        self._half = max(window // 2, 1)
        self._enough = self._half
        self._waited = 0
        self._asked = False

    @property
    def on(self) -> bool:
        """Whether acknowledgements wait."""
        return bool(self.fused.state[HOLDING])

    @property
    def waiting(self) -> int:
        """Messages of this connection that have had no PUBACK."""
        return self._next - self._sent

    # ---- the checkpoint's side

    def restore(self, position: bytes, wanted: Callable[[], None]) -> None:
        """From now on acknowledgements wait. ``position``: what :meth:`position` returned for the state that is in the
        engine; empty if there is none. ``wanted`` is called when a checkpoint should come early.

        Raises SourceError when ``position`` is not what :meth:`position` writes.
        """
        count, rest = divmod(len(position), _ENTRY_BYTES)
        if rest:
            raise SourceError(
                f"source {self._name}: {len(position)} bytes are no position",
                hint="the state was written by another release: run that, or name another state_dir",
            )
        mids = np.frombuffer(position, "<u2", count).astype(np.uint16)
        hashes = np.frombuffer(position, "<i8", count, mids.nbytes).astype(np.int64)
        self._wanted = wanted
        self.fused.state[HOLDING] = 1
        self._expect(mids, hashes)

    def position(self) -> bytes:
        """What is fused and may be sent again, in order: at most 65,535 messages, their packet identifiers, uint16, and
        after these their hashes, int64, all little-endian."""
        mids, hashes = self._unacknowledged()
        return mids.astype("<u2").tobytes() + hashes.astype("<i8").tobytes()

    def mark(self) -> int:
        """All that is fused now. As many messages waiting as at the mark before may be all that the broker lets out."""
        waiting = self.waiting
        if waiting and waiting == self._waited:
            self._enough = min(self._enough, waiting)
        self._waited, self._asked = waiting, False
        return self._next

    def release(self, mark: int) -> None:
        """What is before ``mark`` is durable: acknowledge what of it came on this connection, but for the newest one if
        it was not durable at the release before."""
        if mark <= self._sent or self._link is None:
            return
        end = mark if mark == self._durable else mark - 1
        self._durable = mark
        if end > self._sent:
            mids = _stretch(self.fused.mid, self._sent, end)
            self._sent = end
            self._link.acknowledge((mids.astype(np.uint32) | _PUBACK).astype(">u4").tobytes())
            self._ask_whether_it_has_them()
        self._want_if_enough()

    # ---- the connection's side

    def connected(self, link: Link, resumed: bool) -> None:
        """A new connection, before its first message. ``resumed``: the broker has kept the session."""
        self._link = link
        self._pings.clear()
        if not self.on:
            return
        mids, hashes = self._unacknowledged()
        if not resumed and len(mids):
            log.warning(
                "session_forgotten", source=self._name, unacknowledged=len(mids),
                hint="what came while the gateway was away is lost; raise session_expiry, or let the broker persist",
            )  # fmt: skip
            mids, hashes = mids[:0], hashes[:0]
        self._expect(mids, hashes)

    def disconnected(self, link: Link) -> None:
        """The connection is gone; its messages may be sent again on the next one."""
        if self._link is link:
            self._link = None

    def is_redelivery(self, mid: int, message: int, dup: bool) -> bool:
        """Whether a message that the scan could not take is a redelivery of what is fused."""
        return bool(is_redelivery(self.fused, mid, message, dup))

    def note(self, acks: NDArray[np.uint8], hashes: NDArray[np.int64], n: int) -> None:
        """``n`` messages have been fused or recognised; ``acks`` and ``hashes`` as the scan gives them.

        Raises ConnectionError on a broker that uses a packet identifier again too early: what came is noted.
        """
        self._first, broken = note_fused(self.fused, acks, hashes, n, self._next, self._first, self._sent)
        self._next += n
        if broken:
            raise ConnectionError(f"the broker used packet identifier {broken} again before it was acknowledged")
        if self.waiting > self._enough:
            self._enough = self._half  # it lets out more than was thought
        self._want_if_enough()

    def pinged(self) -> None:
        """A PINGREQ has been queued, ours or the session's."""
        if len(self._pings) < PINGS_MAX:
            self._pings.append(self._sent)

    def answered(self) -> None:
        """A PINGRESP has come."""
        if self._pings:
            self._first = max(self._first, self._pings.popleft())

    # ----

    def _expect(self, mids: NDArray[np.uint16], hashes: NDArray[np.int64]) -> None:
        """Begin a connection on which these messages may be sent again."""
        fused, first = self.fused, self._next
        self._next += len(mids)
        numbers = np.arange(first, self._next)
        fused.mid[numbers & RING_MASK] = mids
        fused.hash[numbers & RING_MASK] = hashes
        fused.last[mids] = numbers + 1
        fused.state[EXPECTED], fused.state[EXPECTED_END] = first, self._next
        self._first = self._sent = self._durable = self._next
        self._waited, self._asked = 0, False

    def _unacknowledged(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """(identifiers, hashes) of what may be sent again: what has come on this connection, then what is expected."""
        fused = self.fused
        expected = int(fused.state[EXPECTED]), int(fused.state[EXPECTED_END])
        parts = ((self._first, self._next), expected)
        return (
            np.concatenate([_stretch(fused.mid, *part) for part in parts]),
            np.concatenate([_stretch(fused.hash, *part) for part in parts]),
        )

    def _want_if_enough(self) -> None:
        if self.waiting >= self._enough and not self._asked:
            self._asked = True
            self._wanted()

    def _ask_whether_it_has_them(self) -> None:
        now = self._clock.monotonic_ns()
        if self._link is not None and not self._pings and now - self._pinged_ns >= PING_EVERY_NS:
            self._pinged_ns = now
            self._link.ping()


def _stretch(ring: NDArray[Any], first: int, end: int) -> NDArray[Any]:
    """What the ring holds of the numbers from ``first`` to ``end``."""
    start, stop = first & RING_MASK, (first & RING_MASK) + end - first
    return ring[start:stop] if stop <= RING else np.concatenate([ring[start:], ring[: stop - RING]])
