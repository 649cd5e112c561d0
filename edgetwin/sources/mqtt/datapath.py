"""The data path under the MQTT session: what paho takes for its socket.

It reads in bulk, lets the wire kernel take the PUBLISH packets, sends their acknowledgements in one piece between two
packets of paho's, and gives paho every other byte unchanged.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import numpy as np

from edgetwin.sources.mqtt.receiver import Receiver

READS_MAX = 8
_PUBACK = 0x40


class DataPath:
    """A socket of one connection, reduced to what paho and aiomqtt use of it; the rest goes to the real one."""

    def __init__(self, sock: Any, paho: Any, receiver: Receiver) -> None:
        self._sock = sock
        self._paho = paho
        self._receiver = receiver
        memory = bytearray(receiver.buffer_bytes)
        self._buffer = np.frombuffer(memory, np.uint8)
        self._view = memoryview(memory)
        self._have = 0
        self._skip = 0
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
        below = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return len(self._control) + below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _fill(self) -> None:
        """Read and scan until there is something for paho, nothing to read, or others are due on the loop."""
        for _ in range(READS_MAX):
            room = self._view[self._have :]
            try:
                size = self._sock.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if size == 0:
                self._closed = True
                return
            self._have += size
            self._scan()
            if self._control or (size < len(room) and not isinstance(self._sock, ssl.SSLSocket)):
                return

    def _scan(self) -> None:
        if self._skip:
            self._discard()
        acks, used = self._receiver.take(self._buffer, self._have, self._control)
        if acks:
            # One entry of paho's queue: written whole, between two of its own packets.
            self._paho._packet_queue(_PUBACK, acks, 0, 0)
        rest = self._have - used
        if used and rest:
            self._buffer[:rest] = self._buffer[used : self._have].copy()
        self._have = rest
        self._skip = self._receiver.oversize
        if self._skip:
            self._discard()

    def _discard(self) -> None:
        """Drop bytes of a packet that is too long to be read."""
        dropped = min(self._skip, self._have)
        rest = self._have - dropped
        self._buffer[:rest] = self._buffer[dropped : self._have].copy()
        self._have = rest
        self._skip -= dropped
        self._receiver.oversize = self._skip
