"""The sd_notify protocol, against a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetwin.clock import ManualClock
from edgetwin.runtime.notify import Notifier


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.environ = {"NOTIFY_SOCKET": address}

    def next(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = request.param == "abstract"
    m = Manager(f"@edgetwin-test-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "notify"))
    yield m
    m.socket.close()


def test_every_state_arrives(manager: Manager) -> None:
    clock = ManualClock()
    clock.advance(12_345_678)
    notifier = Notifier(manager.environ, clock)
    assert notifier.enabled
    notifier.ready("3 sources")
    assert manager.next() == ["READY=1", "STATUS=3 sources"]
    notifier.reloading()
    assert manager.next() == ["RELOADING=1", "MONOTONIC_USEC=12345"]
    notifier.watchdog()
    assert manager.next() == ["WATCHDOG=1"]
    notifier.stopping("draining")
    assert manager.next() == ["STOPPING=1", "STATUS=draining"]


def test_status_stays_on_one_line(manager: Manager) -> None:
    Notifier(manager.environ).status("one\nREADY=1\ttwo")
    assert manager.next() == ["STATUS=one READY=1 two"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_silent_without_a_socket(environ: dict[str, str]) -> None:
    notifier = Notifier({**environ, "WATCHDOG_USEC": "1000000"})
    assert not notifier.enabled
    assert notifier.watchdog_interval_s() is None
    notifier.ready()
    notifier.watchdog()


def test_a_socket_that_went_away_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready()
    notifier.ready()


def test_a_full_queue_does_not_block(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    for _ in range(2000):  # far beyond net.unix.max_dgram_qlen
        notifier.watchdog()
    assert manager.next() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("15000000", None, 7.5),
        ("15000000", "own", 7.5),
        ("15000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("x", None, None),
        ("²", None, None),
        (None, None, None),
    ],
)
def test_watchdog_interval(usec: str | None, pid: str | None, expected: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify"}
    if usec is not None:
        environ["WATCHDOG_USEC"] = usec
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "own" else pid
    assert Notifier(environ).watchdog_interval_s() == expected
