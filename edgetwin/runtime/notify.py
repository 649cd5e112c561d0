"""Word to the service manager: the `sd_notify(3)` protocol over a datagram socket.

Without ``NOTIFY_SOCKET`` in the environment every call does nothing, so that the daemon runs the same under
systemd, in a container and on a terminal.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

from edgetwin.clock import Clock, SystemClock

log = structlog.get_logger()


class Notifier:
    """Sends state to the manager named by ``NOTIFY_SOCKET``; a failure is logged once, never raised."""

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._clock = clock or SystemClock()
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environ)
        self._failed = False

    @property
    def enabled(self) -> bool:
        """Whether a service manager listens."""
        return self._address is not None

    def watchdog_interval_s(self) -> float | None:
        """Seconds between pings: half of what the manager allows. None when it keeps no watchdog on us."""
        return self._watchdog_s / 2 if self.enabled and self._watchdog_s is not None else None

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", *_status(status))

    def reloading(self, status: str = "") -> None:
        """A reload has begun; `ready` must follow whether it succeeds or not."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock.monotonic_ns() // 1000}", *_status(status))

    def stopping(self, status: str = "") -> None:
        """The daemon drains and will exit."""
        self._send("STOPPING=1", *_status(status))

    def watchdog(self) -> None:
        """The event loop is alive. To be sent from the loop itself, not from a thread beside it."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def _send(self, *fields: str) -> None:
        if self._address is None or not fields:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
                s.setblocking(False)  # a full queue is an error here, never a wait in the event loop
                s.sendto("\n".join(fields).encode(), self._address)
        except OSError as exc:
            if not self._failed:
                log.warning("notify_failed", error=str(exc))
            self._failed = True
        else:
            self._failed = False


def _address(raw: str) -> str | None:
    """The socket's address; a leading ``@`` names the abstract namespace."""
    if raw.startswith("@"):
        return "\0" + raw[1:]
    return raw if raw.startswith("/") else None


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """``WATCHDOG_USEC`` in seconds, unless it is meant for another process (``WATCHDOG_PID``)."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    return int(usec) / 1e6
