"""The data path under the MQTT session: what paho takes for its socket.

It reads in bulk, lets the wire kernel take the PUBLISH packets, sends their acknowledgements in one piece between two
packets of paho's, and gives paho every other byte unchanged.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import numpy as np
from paho.mqtt.client import MQTT_ERR_CONN_LOST, PINGREQ, time_func

from edgetwin.sources.mqtt.oversize import Oversize
from edgetwin.sources.mqtt.receiver import Receiver

READS_MAX = 8
BUDGET_S = 0.005
"""After this long others on the event loop have their turn; the socket stays readable."""
PIECE_BYTES_MIN = 16_384
ACK_BYTES_MAX = 1_048_576
"""Four times what a broker that keeps to Receive Maximum can make us owe."""

_CONNACK, _PUBACK = 0x20, 0x40


class DataPath:
    """A socket of one connection, reduced to what paho and aiomqtt use of it; the rest goes to the real one.

    ``fault`` says why the connection was given up, where it was for a reason that paho does not know; ``failure`` is an
    exception on our side of it, which is no fault of the link.
    """

    def __init__(self, sock: Any, paho: Any, receiver: Receiver) -> None:
        self.fault = ""
        self.failure: Exception | None = None
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._paho = paho
        self._receiver = receiver
        memory = bytearray(receiver.buffer_bytes)
        self._buffer = np.frombuffer(memory, np.uint8)
        self._view = memoryview(memory)
        self._have = 0
        self._greeted = False
        self._oversize: Oversize | None = None
        self._skip = 0
        self._piece = len(memory)
        self._control = bytearray()
        self._closed = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def recv(self, size: int) -> bytes:
        """Bytes for paho; BlockingIOError when there are none. Empty when the peer has closed."""
        if not self._control:
            self._fill()
        if self._control:
            piece = bytes(self._control[:size])
            del self._control[:size]
            return piece
        if self._closed:
            return b""
        raise BlockingIOError

    def pending(self) -> int:
        """Bytes that ``recv`` can give without the socket becoming readable: aiomqtt asks after each packet."""
        below = self._sock.pending() if self._tls else 0
        return len(self._control) + below

    def close(self) -> None:
        """Close the socket; what waits to be acknowledged is no longer this connection's."""
        self._receiver.held.disconnected(self)
        self._sock.close()

    def acknowledge(self, acks: bytes) -> None:
        """Send acknowledgements that were held; a broker that does not read them is given up."""
        try:
            self._acknowledge(acks)
        except ConnectionError:
            self._paho._loop_rc_handle(MQTT_ERR_CONN_LOST)

    def ping(self) -> None:
        """Send a PINGREQ of ours; paho goes on counting the silence after its own."""
        self._paho._send_simple_command(PINGREQ)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _fill(self) -> None:
        """Read and scan until there is something for paho, nothing to read, or others are due on the loop."""
        until = time_func() + BUDGET_S
        for _ in range(READS_MAX):
            room = self._view[self._have : self._have + self._piece]
            try:
                size = self._sock.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as exc:
                self.fault = exc.strerror or str(exc)
                raise
            if size == 0:
                self._closed = True
                self.fault = self.fault or "the broker closed the connection"
                return
            self._have += size
            began = time_func()
            self._scan()
            now = time_func()
            # paho sees no samples, and would hang up when its PINGRESP stands behind many of them.
            self._paho._last_bytes_received = now
            self._adapt(now - began)
            if self._control or now > until or (size < len(room) and not self._tls):
                return

    def _adapt(self, took_s: float) -> None:
        """Read less at a time while what comes is slow to take."""
        if took_s > BUDGET_S:
            self._piece = max(self._piece // 2, PIECE_BYTES_MIN)
        elif self._piece < len(self._view):
            self._piece = min(self._piece * 2, len(self._view))

    def _greet(self) -> bool:
        """Tell whether the session was kept, before its first message; False: CONNACK is not yet there."""
        if self._buffer[0] != _CONNACK:
            return True  # no MQTT: the session library says so
        head = bytes(self._view[: min(self._have, 7)])
        flags = next((k + 1 for k in range(1, len(head)) if head[k] < 128), len(head))
        if flags + 2 > len(head):
            return False
        if head[flags + 1] == 0:
            self._receiver.held.connected(self, bool(head[flags] & 1))
        return True

    def _scan(self) -> None:
        self._greeted = self._greeted or self._greet()
        while self._have and self._greeted:
            if self._oversize is not None:
                self._skip_oversize(self._oversize)
                continue
            try:
                taken = self._receiver.take(self._buffer, self._have, self._control)
            except ConnectionError as exc:
                self.fault = str(exc)
                raise
            except Exception as exc:
                self.failure = exc
                raise
            if taken.acks:
                self._acknowledge(taken.acks)
            self._drop(taken.used)
            if taken.oversize is None:
                return
            self._oversize, self._skip = taken.oversize, taken.oversize.length

    def _skip_oversize(self, oversize: Oversize) -> None:
        dropped = min(self._skip, self._have)
        self._skip -= dropped
        self._drop(dropped)
        if not self._skip:
            self._oversize = None
            answer = self._receiver.note_dropped(oversize)
            if answer:
                self._acknowledge(answer)

    def _drop(self, size: int) -> None:
        rest = self._have - size
        if size and rest:
            self._buffer[:rest] = self._buffer[size : self._have].copy()
        self._have = rest

    def _acknowledge(self, acks: bytes) -> None:
        """Queue acknowledgements with paho, which writes an entry of its queue whole, between two of its own packets.

        They join the last entry while none of it is written, so that a broker that does not read costs no more than
        ``ACK_BYTES_MAX``.
        """
        queue = self._paho._out_packet
        last = queue[-1] if queue else None
        if last is None or last["command"] != _PUBACK or last["pos"]:
            self._paho._packet_queue(_PUBACK, bytearray(acks), 0, 0)
            return
        last["packet"] += acks
        last["to_process"] += len(acks)
        if last["to_process"] > ACK_BYTES_MAX:
            self.fault = "the broker sends messages but does not read their acknowledgements"
            raise ConnectionError(self.fault)
