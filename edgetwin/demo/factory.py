"""`edgetwin demo factory`: broker, Modbus device, plant and daemon, and a line of news now and then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from edgetwin.clock import SystemClock
from edgetwin.demo.broker import embedded_broker
from edgetwin.demo.cloud import Arrived, count_frames
from edgetwin.demo.daemon import Daemon, running_daemon
from edgetwin.demo.device import press_controller
from edgetwin.demo.field import publish_plant
from edgetwin.demo.plant import DRIFTING, FAILING, MACHINES, OVENS, PRESSES, PUMPS, SCRIPT, STUCK, Plant
from edgetwin.demo.settings import FRAMES_TOPIC, factory_config
from edgetwin.errors import EdgetwinError
from edgetwin.runtime.process import own_command

HTTP_PORT = 8787
NEWS_EVERY_S = 10.0
WATCHED = ((DRIFTING.machine, "temp"), (STUCK.machine, "flow"), (FAILING.machine, "vibration"))

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """``directory`` takes the configuration, the state and the log; ``duration_s`` None: until stopped."""

    directory: Path
    duration_s: float | None = None
    seed: int = 0


async def run_factory(options: Options, stop: asyncio.Event, say: Say) -> None:
    """Run the demo until ``stop`` is set or its time, counted from the daemon's readiness, is over.

    Raises :class:`EdgetwinError` when a part does not start or the daemon ends by itself.
    """
    async with AsyncExitStack() as stack:
        plant = Plant(options.seed)
        mqtt = await stack.enter_async_context(embedded_broker(free_port()))
        modbus = await stack.enter_async_context(press_controller(plant, free_port()))
        http_port = free_port(HTTP_PORT)
        config = _write_config(options.directory, mqtt, modbus, http_port)
        log = config.with_suffix(".log")
        say(_opening(config, log, mqtt, modbus))
        daemon = await stack.enter_async_context(
            running_daemon(own_command("run", str(config)), f"http://127.0.0.1:{http_port}", log)
        )
        show = Show(plant, mqtt, daemon, say)
        try:
            await show.run(options.duration_s, stop)
        except BaseExceptionGroup as group:
            raise _cause(group) from group
        finally:
            say("Stopping …")
    say(f"Stopped. {show.arrived.frames} frames, {show.arrived.octets:,} bytes, had reached the cloud.")


class Show:
    """What goes on while the broker, the device and the daemon run."""

    def __init__(self, plant: Plant, mqtt_url: str, daemon: Daemon, say: Say) -> None:
        self.arrived = Arrived()
        self._plant = plant
        self._mqtt_url = mqtt_url
        self._daemon = daemon
        self._say = say

    async def run(self, duration_s: float | None, stop: asyncio.Event) -> None:
        """Errors of any part come out as an exception group, after the others were cancelled."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            asyncio.TaskGroup() as tasks,
        ):
            parts = [
                tasks.create_task(count_frames(self._mqtt_url, FRAMES_TOPIC, self.arrived), name="cloud"),
                tasks.create_task(self._daemon.fail_when_ended(), name="daemon"),
                tasks.create_task(self._play(session, duration_s, stop), name="play"),
            ]
            await stop.wait()
            for part in parts:
                part.cancel()

    async def _play(self, session: aiohttp.ClientSession, duration_s: float | None, stop: asyncio.Event) -> None:
        """The plant begins when the daemon is ready, so that its troubles come while somebody looks."""
        await self._daemon.wait_ready(session)
        self._say(_invitation(self._daemon.url))
        async with asyncio.TaskGroup() as tasks:
            plant = tasks.create_task(publish_plant(self._plant, self._mqtt_url, SystemClock()), name="plant")
            await self._tell(session, duration_s)
            plant.cancel()
        stop.set()

    async def _tell(self, session: aiohttp.ClientSession, duration_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                while True:
                    await asyncio.sleep(NEWS_EVERY_S)
                    self._say(await self._news(session))
        self._say(await self._news(session))

    async def _news(self, session: aiohttp.ClientSession) -> str:
        parts = [f"{self._plant.t_s:5.0f} s"]
        for machine, signal in WATCHED:
            twin = await self._daemon.get(session, f"/api/v1/twins/{machine}")
            parts.append(f"{machine} {_state(twin, signal)}")
        parts.append(f"cloud {self.arrived.frames} frames, {self.arrived.octets:,} bytes")
        return " | ".join(parts)


def free_port(preferred: int = 0) -> int:
    """``preferred`` if nobody listens there, else any free loopback port."""
    for port in (preferred, 0):
        with suppress(OSError), socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            return int(s.getsockname()[1])
    raise EdgetwinError("no free port on 127.0.0.1", hint="is the loopback interface up?")


def _write_config(directory: Path, mqtt: str, modbus: str, http_port: int) -> Path:
    path = directory / "edgetwin.yaml"
    text = factory_config(
        mqtt_url=mqtt, modbus_url=modbus, state_dir=str(directory.resolve() / "state"), http_port=http_port
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise EdgetwinError(f"{path} cannot be written ({exc.strerror})", hint="choose another --dir") from exc
    return path


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours in the group, else the first of any kind."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [group]
    while stack:
        error = stack.pop(0)
        if isinstance(error, BaseExceptionGroup):
            stack.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((e for e in leaves if isinstance(e, EdgetwinError)), leaves[0])


def _state(twin: Any, name: str) -> str:
    """``temp 187.2 ± 0.1 degC`` out of the API's answer, ``temp –`` when there is none."""
    state = twin.get("states", {}).get(name) if isinstance(twin, dict) else None
    if not isinstance(state, dict) or state.get("mean") is None:
        return f"{name} –"
    return f"{name} {state['mean']:.2f} ± {state['std'] or 0:.2f} {state.get('unit', '')}".rstrip()


def _opening(config: Path, log: Path, mqtt: str, modbus: str) -> str:
    return f"""\
A factory of {len(MACHINES)} machines on this machine alone:
  {len(OVENS)} ovens    MQTT, JSON             {mqtt}  plant/ovens/+
  {len(PUMPS)} pumps    MQTT, plain numbers    {mqtt}  plant/pumps/+/+
  {len(PRESSES):2} presses  Modbus TCP registers   {modbus}
  configuration  {config}
  daemon's log   {log}
Starting the daemon (the first start compiles its kernels: up to some minutes on a small machine) …"""


def _invitation(url: str) -> str:
    troubles = "".join(
        f"\n  {trouble.machine}  in {trouble.after_s:.0f} s {trouble.what}: {trouble.watch}" for trouble in SCRIPT
    )
    return f"""\
Running. Look at
  {url}/                        the page
  {url}/api/v1/twins            every twin
  {url}/api/v1/twins/{DRIFTING.machine}    one of them
  {url}/metrics                 Prometheus
What to watch for:{troubles}
Ctrl-C stops everything."""
