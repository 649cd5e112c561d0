"""The daemon, a broker and an asset that listens: commands over HTTP and MQTT, rules, arming, and a daemon that dies."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest

from edgetwin.cli import main as cli
from edgetwin.config.load import load
from edgetwin.control.audit import Audit
from edgetwin.runtime.daemon import Daemon
from tests.conftest import Broker
from tests.control.rig import AtOnce

TOKEN, KEY = "t" * 40, "k" * 40
PLANT = """\
gateway: g7
state_dir: state
sources: [{{name: plant, kind: mqtt, url: "{url}"}}]
commands: {{token_file: token, source: plant, keys: {{scada: key}}}}
http: {{listen: "127.0.0.1:0"}}
twins:
  - name: oven
    model: random_walk
    parameters: {{process_noise: 100}}
    stale_after: 60s
    gate: 1000000
    signals:
      T: {{source: plant, topic: oven/T, noise: 0.001}}
      fan_is: {{source: plant, topic: oven/fan/is, noise: 0.001}}
    outputs:
      fan:
        {{source: plant, topic: oven/fan/set, range: [0, 100], fallback: 0, mode: active, {extra}
         interlock: T < 90, max_std: {{T: 1000}}, read_back: {{signal: fan_is, within: 5s}}}}
    rules: [{{name: cool, set: fan, to: 80, when: T > 60, clear: T < 50}}]
"""


class Asset:
    """Does as it is told, and says so."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.told: list[float] = []
        self.shows = asyncio.Event()
        self.shows.set()
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            if message.topic.matches("oven/fan/set"):
                self.told.append(float(message.payload))
                await self.shows.wait()
                await self.client.publish("oven/fan/is", message.payload, qos=1)
            else:
                self.answers.put_nowait(json.loads(message.payload))

    async def temperature(self, value: float) -> None:
        await self.client.publish("oven/T", str(value), qos=1)


@asynccontextmanager
async def plant(broker: Broker, folder: Path, extra: str = "armed: true,") -> AsyncIterator[tuple[Daemon, Asset]]:
    (folder / "token").write_text(TOKEN)
    (folder / "key").write_text(KEY)
    path = folder / "plant.yaml"
    path.write_text(PLANT.format(url=broker.url, extra=extra))
    daemon = Daemon(path, load(path))
    async with aiomqtt.Client("127.0.0.1", broker.port) as client, asyncio.TaskGroup() as tasks:
        asset = Asset(client)
        await client.subscribe([("oven/fan/set", 1), ("edgetwin/g7/commands/answers", 1)])
        listening = tasks.create_task(asset.run())
        running = tasks.create_task(daemon.run())
        async with asyncio.timeout(300):  # the first start compiles kernels
            while not (daemon.ready and daemon.acting and all(c.up for c in daemon.acting.connections)):
                await asyncio.sleep(0.02)
            while not daemon.sources[0].up:
                await asyncio.sleep(0.02)
            await asset.temperature(20)
            while "oven" in daemon.engine.names() and not daemon.engine.estimate("oven", None, 0).last_ns:
                await asyncio.sleep(0.02)
        try:
            yield daemon, asset
        finally:
            daemon.stop()
            await running
            listening.cancel()


def url(daemon: Daemon) -> str:
    assert daemon.http_address is not None
    return f"http://127.0.0.1:{daemon.http_address[1]}"


async def post(daemon: Daemon, path: str, body: Any, token: str = TOKEN) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url(daemon)}/api/v1/twins/oven/{path}", json=body) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


def signed(number: int, value: float, key: str = KEY, **extra: Any) -> bytes:
    body = {
        "id": f"m{number}",
        "twin": "oven",
        "output": "fan",
        "value": value,
        "issued": datetime.now(UTC).isoformat(),
    }
    command = json.dumps({**body, **extra})
    tag = hmac.new(key.encode(), command.encode(), "sha256").hexdigest()
    return json.dumps({"commander": "scada", "command": command, "hmac": tag}).encode()


async def test_commands_over_http(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with plant(broker, tmp_path) as (daemon, asset):
        status, body = await post(daemon, "commands", {"id": "1", "output": "fan", "value": 30})
        assert (status, body["outcome"]) == (200, "written")
        assert asset.told == [30.0]
        for sent, status, step in [
            ({"id": "1", "output": "fan", "value": 40}, 409, "command"),
            ({"id": "2", "output": "fan", "value": 101}, 422, "range"),
            ({"id": "3", "output": "fam", "value": 1}, 404, "listed"),
            ({"id": "4", "output": "fan", "value": 1, "issued": "2020-01-01T00:00:00Z"}, 409, "command"),
            ({"id": "5", "output": "fan", "value": "much"}, 400, "understood"),
            ({"id": "6", "output": "fan", "value": 1, "ttl": 1e6}, 400, "understood"),
        ]:
            got, body = await post(daemon, "commands", sent)
            assert (got, body["step"]) == (status, step), body
        assert (await post(daemon, "commands", {"id": "7", "output": "fan", "value": 1}, token=""))[0] == 401
        assert (await post(daemon, "commands", {"id": "7", "output": "fan", "value": 1}, token="x"))[0] == 401
        assert asset.told == [30.0]
        arguments = ["command", url(daemon), "oven", "fan", "31", "--token-file", str(tmp_path / "token")]
        assert await asyncio.to_thread(cli.main, arguments) == 0
        assert asset.told == [30.0, 31.0]
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
            session.get(f"{url(daemon)}/api/v1/audit?limit=1000") as answer,
        ):
            audit = await answer.json()
        assert audit["durable"] is True
        assert {entry["data"].get("step") for entry in audit["entries"]} >= {"command", "range", "listed", "authorised"}
        capsys.readouterr()
    assert asset.told == [30.0, 31.0, 0.0]  # the daemon's stop brought the fallback


async def test_commands_over_mqtt(broker: Broker, tmp_path: Path) -> None:
    async with plant(broker, tmp_path) as (_, asset):
        topic = "edgetwin/g7/commands"
        await asset.client.publish(topic, signed(1, 30), qos=1)
        assert (await asset.answers.get())["outcome"] == "written"
        await asset.client.publish(topic, signed(1, 40), qos=1)
        assert (await asset.answers.get())["step"] == "command"
        await asset.client.publish(topic, signed(2, 40, key="wrong" * 8), qos=1)
        await asset.client.publish(topic, b"rubbish", qos=1)
        assert "no command" in (await asset.answers.get())["error"]  # the forged one got no answer
        await asset.client.publish(topic, signed(3, -1), qos=1)
        assert (await asset.answers.get())["step"] == "range"
        await asset.client.publish(topic, signed(4, 35), qos=1, retain=True)
        await asset.client.publish(topic, signed(5, 36), qos=1)
        assert {(await asset.answers.get())["id"] for _ in range(2)} == {"m4", "m5"}
        assert asset.told == [30.0, 35.0, 36.0]


async def test_a_client_that_hangs_up_leaves_no_write_unverified(broker: Broker, tmp_path: Path) -> None:
    body = json.dumps({"id": "1", "output": "fan", "value": 30})
    head = f"POST /api/v1/twins/oven/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    async with plant(broker, tmp_path) as (daemon, asset):
        asset.shows.clear()
        assert daemon.http_address is not None and daemon.acting is not None
        _, writer = await asyncio.open_connection(*daemon.http_address)
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        async with asyncio.timeout(20):
            while asset.told != [30.0]:
                await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()
            async with aiohttp.ClientSession() as session, session.get(f"{url(daemon)}/healthz"):
                pass  # by now the server has noticed
            asset.shows.set()
            while daemon.acting.controller.audit.recent[-1].kind != "result":
                await asyncio.sleep(0.01)
        assert daemon.acting.controller.counts["written"] == 1


async def test_who_guesses_the_token_shuts_out_nobody_else(broker: Broker, tmp_path: Path) -> None:
    async with plant(broker, tmp_path) as (daemon, _):
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=elsewhere) as guesser:
            answers = []
            for k in range(12):
                guess = {"Authorization": f"Bearer {k}"}
                async with guesser.post(f"{url(daemon)}/api/v1/twins/oven/commands", json={}, headers=guess) as answer:
                    answers.append(answer.status)
        assert answers == [401] * 10 + [429] * 2
        assert (await post(daemon, "commands", {"id": "1", "output": "fan", "value": 30}))[0] == 200


async def test_a_rule_acts_and_an_interlock_stops_it(broker: Broker, tmp_path: Path) -> None:
    async with plant(broker, tmp_path) as (_, asset):
        for temperature, told in [(70, [80.0]), (55, [80.0]), (40, [80.0, 0.0])]:
            await asset.temperature(temperature)
            async with asyncio.timeout(20):
                while asset.told != told:
                    await asyncio.sleep(0.02)
        await asset.temperature(95)
        await asyncio.sleep(0.5)  # five rounds of the rule in which nothing may happen
        assert asset.told == [80.0, 0.0]


async def test_disarmed_until_somebody_arms_it(broker: Broker, tmp_path: Path) -> None:
    async with plant(broker, tmp_path, extra="") as (daemon, asset):
        status, body = await post(daemon, "commands", {"id": "1", "output": "fan", "value": 30})
        assert (status, body["step"]) == (409, "armed")
        arguments = ["arm", url(daemon), "oven", "fan", "--token-file", str(tmp_path / "token")]
        assert await asyncio.to_thread(cli.main, arguments) == 0
        assert (await post(daemon, "commands", {"id": "2", "output": "fan", "value": 30}))[0] == 200
        assert (await post(daemon, "outputs/fan/disarm", {}))[1]["armed"] is False
        assert asset.told == [30.0, 0.0]


async def test_what_a_snapshot_shows_does_not_stand_for_the_device(broker: Broker, tmp_path: Path) -> None:
    """The last run died after a write: the snapshot before it says 0, and what the fan does nobody knows."""
    async with plant(broker, tmp_path) as (daemon, asset):
        assert (await post(daemon, "commands", {"id": "1", "output": "fan", "value": 30}))[0] == 200
    assert asset.told == [30.0, 0.0]
    audit = Audit(writer := AtOnce(tmp_path / "state"))
    last = list(audit.load())[-1]
    await audit.append("intent", last.t_ns, {"output": "oven/fan", "id": "2", "value": 40.0})
    writer.journal.close()
    async with plant(broker, tmp_path) as (_, asset), asyncio.timeout(20):
        while asset.told != [0.0]:
            await asyncio.sleep(0.02)
