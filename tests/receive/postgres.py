"""A PostgreSQL cluster of the tests' own: Debian's binaries, a temporary directory, a free port, an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.conftest import free_port, wait_until


def binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
    return path


class Cluster:
    """One server. ``fsync`` is off unless a test is about crashes."""

    def __init__(self, folder: Path, *, fsync: bool) -> None:
        self.port = free_port()
        self._data = folder / "data"
        self._log = folder / "log"
        self._fsync = "on" if fsync else "off"
        self._user = _unprivileged()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run(binary("initdb"), "-D", str(self._data), "-A", "trust", "-U", "edgetwin", "--no-sync")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": self._fsync,
            "shared_buffers": "16MB",
            "max_connections": 30,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary("postgres"), "-D", str(self._data), *options], stderr=log, stdout=log, **self._as_user()
            )
        wait_until(self._answers, "PostgreSQL to take connections")

    def kill(self) -> None:
        """End the server at once: SIGKILL to the postmaster, and the children follow it."""
        assert self.process is not None
        children = _children(self.process.pid)
        for pid in (self.process.pid, *children):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.process.wait(10)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the backends to end")

    def stop(self) -> None:
        """End it for good (SIGQUIT: at once, its files are not needed any more)."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(3)
            self.process.wait(20)

    @property
    def url(self) -> str:
        """Of the one database; tests tell themselves apart by schema."""
        return f"postgresql://edgetwin@127.0.0.1:{self.port}/postgres"

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self._log.read_text()
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=60, **self._as_user())

    def _as_user(self) -> dict[str, object]:
        base: dict[str, object] = {"cwd": "/", "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
        if self._user is not None:
            base |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return base


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root. None: as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail("there is neither a user postgres nor nobody to run PostgreSQL as")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@contextmanager
def cluster(*, fsync: bool = False) -> Iterator[Cluster]:
    """A fresh server for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="edgetwin-pg-"))
    server = None
    try:
        server = Cluster(folder, fsync=fsync)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
