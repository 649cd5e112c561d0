"""HTTP proxies: the tunnel of CONNECT (RFC 9110, §9.3.6) through which any TCP connection passes.

Blocking, for the thread in which paho connects; HTTPS uses aiohttp's own.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass, field

from edgetwin.config.urls import PROXY_SCHEMES, endpoint
from edgetwin.uplink.faults import Reason, UplinkFaultError

_ANSWER_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Proxy:
    """``host:port`` of an HTTP proxy and who we are there; repr leaves the password out."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (RFC 7617); None without a user."""
        if self.username is None:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password or ''}".encode()).decode()


def proxy_of(url: str | None) -> Proxy | None:
    """The proxy of ``http://[user:password@]host[:port]``; None for None. ConfigError when it is something else."""
    if url is None:
        return None
    place = endpoint(url, PROXY_SCHEMES)
    return Proxy(place.host, place.port, place.username, place.password)


def tunnel(proxy: Proxy, host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to ``host:port`` through a proxy; UplinkFaultError when it cannot be had."""
    try:
        sock = socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
    except OSError as exc:
        raise UplinkFaultError(Reason.PROXY, f"the proxy {proxy.host}:{proxy.port} cannot be reached: {exc}") from exc
    try:
        _ask(sock, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except BaseException:
        sock.close()
        raise
    return sock


def _ask(sock: socket.socket, proxy: Proxy, target: str) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    status = _status(_head(sock))
    if not 200 <= status < 300:
        hint = "check user and password in uplink.proxy" if status == 407 else "check uplink.proxy"
        raise UplinkFaultError(Reason.PROXY, f"the proxy refuses the way to {target} (status {status})", hint=hint)


def _head(sock: socket.socket) -> bytes:
    """The head of the answer, byte by byte at its end: what follows belongs to the tunnel."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        waiting = sock.recv(_ANSWER_BYTES_MAX, socket.MSG_PEEK)
        end = (head + waiting).find(b"\r\n\r\n")
        take = len(waiting) if end < 0 else end + 4 - len(head)
        if not waiting or len(head) + take > _ANSWER_BYTES_MAX:
            raise UplinkFaultError(
                Reason.PROXY, "the proxy gives no answer that can be read", hint="is it an HTTP proxy?"
            )
        head += sock.recv(take)
    return head


def _status(head: bytes) -> int:
    version, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise UplinkFaultError(Reason.PROXY, "the proxy does not speak HTTP", hint="check uplink.proxy")
    return int(rest[:3])
