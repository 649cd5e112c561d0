"""The demo as a whole: the real daemon over real protocols, and what happens when a part fails."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from edgetwin.cli import demo as command
from edgetwin.demo.broker import embedded_broker
from edgetwin.demo.daemon import running_daemon
from edgetwin.demo.factory import Show, free_port
from edgetwin.demo.plant import DRIFTING, MACHINES, Plant
from edgetwin.errors import EdgetwinError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:amqtt")

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(1)
"""


def start_demo(directory: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgetwin.cli.main", "demo", "--dir", str(directory), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Everything the process says up to and with the line that holds ``text``."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    pytest.fail(f"the demo ended with {process.wait()} and never said {text!r}:\n{said}")


async def fetch_twins(url: str) -> set[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/twins") as response:
        assert response.status == 200
        return set(re.findall(r"(?:oven|pump|press)-\d\d", await response.text()))


async def test_the_real_thing_until_ctrl_c(tmp_path: Path) -> None:
    process = start_demo(tmp_path)
    try:
        said = read_until(process, "Ctrl-C stops everything.")
        match = re.search(r"(http://\S+?)/api/v1/twins\b", said)
        assert match is not None
        assert f"{DRIFTING.machine}  in {DRIFTING.after_s:.0f} s " in said  # troubles count from readiness
        async with asyncio.timeout(60):
            while (heard := await fetch_twins(match[1])) != set(MACHINES):
                assert heard <= set(MACHINES)
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == command.INTERRUPTED
    assert "Stopped." in rest
    assert "Traceback" not in rest + (tmp_path / "edgetwin.log").read_text()


def test_the_real_thing_for_a_while(tmp_path: Path) -> None:
    process = start_demo(tmp_path, "factory", "--duration", "3s")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert re.search(r"oven-07 temp \d+\.\d+ ± ", said)
    assert "Stopped." in said
    assert str(tmp_path / "edgetwin.yaml") in said
    assert (tmp_path / "edgetwin.yaml").read_text().startswith("# Written by")


async def test_a_daemon_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    dying = (sys.executable, "-c", "print('cannot go on'); raise SystemExit(3)")
    async with (
        embedded_broker(free_port()) as mqtt,
        running_daemon(dying, f"http://127.0.0.1:{free_port()}", tmp_path / "log") as daemon,
    ):
        show = Show(Plant(0), mqtt, daemon, lambda _text: None)
        with pytest.raises(ExceptionGroup) as caught:
            await show.run(None, asyncio.Event())
    (error,) = caught.value.exceptions
    assert isinstance(error, EdgetwinError)
    assert re.search(r"(?s)ended with status 3.*cannot go on", str(error))


async def test_a_daemon_that_does_not_drain_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetwin.demo.daemon.STOP_TIMEOUT_S", 0.2)
    log = tmp_path / "log"
    async with asyncio.timeout(30):
        async with running_daemon((sys.executable, "-c", STUBBORN), "http://127.0.0.1:1", log) as daemon:
            while "up" not in log.read_text():
                await asyncio.sleep(0.01)
        with pytest.raises(EdgetwinError, match=f"ended with status {-signal.SIGKILL}"):
            await daemon.fail_when_ended()


def test_a_preferred_port_in_use_is_avoided() -> None:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = s.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_missing_extra_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    assert command.run(parse("--dir", str(tmp_path))) == 1
    assert "pip install 'edgetwin[demo]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(parse("--dir", "/proc/edgetwin-demo")) == 1
    assert "--dir" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("chocolate",), ("--duration", "10"), ("--duration", "-1s")])
def test_wrong_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2
    capsys.readouterr()


def test_durations() -> None:
    assert parse("--duration", "1.5min").duration == 90.0


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)
