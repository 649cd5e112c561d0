"""Frames by HTTP: answers after the commit, refusals, credentials, a store that is away."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from edgetwin.clock import SystemClock
from edgetwin.codec.acks import Ack, decode_ack
from edgetwin.codec.container import append_frame
from edgetwin.codec.frames import FrameGap
from edgetwin.errors import StoreError
from edgetwin.receive.batch import Batch
from edgetwin.receive.config import HttpFrames, MetricsListener, ServerTls
from edgetwin.receive.http import HttpFeed
from edgetwin.receive.metrics import Metrics
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.share import WHOLE, Share, share_of
from edgetwin.sources.backoff import Backoff
from tests.receive.build import Place, frame, report_of, rows_of

TYPE = {"Content-Type": "application/vnd.edgetwin.frames"}


def body(*frames: bytes) -> bytes:
    file = BytesIO()
    for data in frames:
        append_frame(file, data)
    return file.getvalue()


class Cloud:
    """A receiver behind a listener."""

    def __init__(self, receiver: Receiver, pipeline: Pipeline, feed: HttpFeed, base: str) -> None:
        self.receiver = receiver
        self.pipeline = pipeline
        self.feed = feed
        self.base = base

    async def post(
        self, session: aiohttp.ClientSession, *frames: bytes, gateway: str = "g", **options: object
    ) -> Answer:
        options.setdefault("headers", TYPE)
        url = f"{self.base}/v1/gateways/{gateway}/frames"
        async with session.post(url, data=options.pop("data", body(*frames)), **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, session: aiohttp.ClientSession, gateway: str = "g", **options: object) -> Answer:
        async with session.get(f"{self.base}/v1/gateways/{gateway}/ack", **options) as response:
            return Answer(response.status, response.headers, await response.read())


class Answer:
    def __init__(self, status: int, headers: object, data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def ack(self) -> Ack:
        assert self.status == 200, self.data
        assert self.headers["Content-Type"] == "application/vnd.edgetwin.ack"
        return decode_ack(self.data)

    @property
    def problem(self) -> dict[str, object]:
        assert self.headers["Content-Type"] == "application/problem+json"
        found: dict[str, object] = json.loads(self.data)
        assert found["status"] == self.status
        return found


@asynccontextmanager
async def cloud(folder: Path, config: HttpFrames | None = None, share: Share = WHOLE) -> AsyncIterator[Cloud]:
    config = config or HttpFrames(listen="127.0.0.1:0", anonymous=True)
    receiver = Place("csv", folder / "out").open(share, SystemClock())
    pipeline = Pipeline(receiver, SystemClock(), commit_every_s=0.02, backoff=Backoff(0.01, 0.05))
    feed = HttpFeed(config, pipeline, folder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pipeline.run())
        await pipeline.ready.wait()
        async with feed.serve() as (host, port):
            scheme = "https" if config.tls else "http"
            yield Cloud(receiver, pipeline, feed, f"{scheme}://{host if not config.tls else 'localhost'}:{port}")
        pipeline.stop()


def rows(folder: Path) -> list[tuple[str, ...]]:
    return Place("csv", folder / "out").rows()


async def test_the_answer_comes_after_the_commit_and_tells_the_watermark(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        unknown = await c.get(s)
        assert (unknown.status, unknown.problem["type"]) == (404, "urn:edgetwin:problem:unknown-gateway")
        assert (await c.post(s, frame(0), frame(1))).ack == Ack("g", 7, 1)
        assert rows(tmp_path) == rows_of([report_of(0), report_of(1)])
        assert (await c.post(s, frame(1), frame(4))).ack == Ack("g", 7, 1, ((2, 3),))
        assert (await c.get(s)).ack == Ack("g", 7, 1, ((2, 3),))
        assert (await c.post(s, frame(5, gaps=[FrameGap(7, 2, 3, "outbox_full")]))).ack == Ack("g", 7, 5)
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:  # it is known after a restart
        assert (await c.get(s)).ack == Ack("g", 7, 5)


async def test_many_at_once_share_commits(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        answers = await asyncio.gather(*(c.post(s, frame(0, gateway=f"g{n}"), gateway=f"g{n}") for n in range(40)))
        assert [a.ack for a in answers] == [Ack(f"g{n}", 7, 0) for n in range(40)]
        assert c.pipeline.figures.commits < 40
    assert len(rows(tmp_path)) == 40 * len(report_of(0))


async def test_what_can_never_be_stored_is_refused_by_index_and_the_rest_is_stored(tmp_path: Path) -> None:
    newer = bytearray(frame(1))
    newer[3] = 9
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        bad = await c.post(s, frame(0), bytes(newer), frame(2)[:-5], frame(1), frame(3, gateway="h"))
        assert bad.status == 422
        assert [f["index"] for f in bad.problem["frames"]] == [1, 2, 4]
        assert "newer" in bad.problem["frames"][0]["reason"] and "'h'" in bad.problem["frames"][2]["reason"]
        assert (await c.get(s)).ack == Ack("g", 7, 1)
        await c.post(s, bytes(newer))
    assert rows(tmp_path) == rows_of([report_of(0), report_of(1)])
    assert len(list((tmp_path / "out" / "dead-letters").glob("*.frame"))) == 3  # once, though it came twice


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"", TYPE, 422),
        (b"\0\0\0\0", TYPE, 422),
        (b"\xff\xff\xff\xff", TYPE, 422),
        (body(frame(0))[:-1], TYPE, 422),
        (body(frame(0)) + b"\x01", TYPE, 422),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (body(frame(0)), TYPE | {"Content-Encoding": "gzip"}, 415),
        (BytesIO(bytes(9_000_000)), TYPE, 413),
    ],
)
async def test_a_body_that_is_none_of_ours_stores_nothing(
    tmp_path: Path, data: bytes | BytesIO, headers: dict[str, str], status: int
) -> None:
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        answer = await c.post(s, data=data, headers=headers)
        assert answer.status == status and answer.problem
        assert (await c.get(s)).status == 404
        assert (await c.post(s, frame(0))).ack == Ack("g", 7, 0)
    assert rows(tmp_path) == rows_of([report_of(0)])


async def test_a_gateway_of_another_share_is_sent_away(tmp_path: Path) -> None:
    theirs = next(name for name in "abcdefgh" if share_of(name, 2) == 1)
    async with cloud(tmp_path, share=Share(0, 2)) as c, aiohttp.ClientSession() as s:
        answer = await c.post(s, frame(0, gateway=theirs), gateway=theirs)
        assert answer.status == 421 and "share 1/2" in str(answer.problem["detail"])
    assert rows(tmp_path) == []


# ---- a store that is away


class Broken:
    """Makes ``apply`` fail while ``away``; ``after``: only once the batch is durable, as when an answer is lost."""

    def __init__(self, receiver: Receiver, *, after: bool = False) -> None:
        self.away = True
        self.tries = 0
        self._apply = receiver.store.apply
        self._after = after
        receiver.store.apply = self.apply  # type: ignore[method-assign]

    def apply(self, batch: Batch) -> None:
        self.tries += 1
        if not self.away or self._after:
            self._apply(batch)
        if self.away:
            self.away = not self._after
            raise StoreError("the database went away")


async def test_nothing_is_acknowledged_while_the_store_is_away_and_it_goes_on_by_itself(tmp_path: Path) -> None:
    config = HttpFrames(listen="127.0.0.1:0", anonymous=True, answer_within=0.1)
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
        broken = Broken(c.receiver)
        answer = await c.post(s, frame(0), frame(1))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "went away" in str(answer.problem["detail"])
        assert (await c.get(s)).status == 404
        while broken.tries < 3:
            await asyncio.sleep(0.01)
        broken.away = False
        while (await c.post(s, frame(2))).status != 200:  # nobody needs to send 0 and 1 again
            await asyncio.sleep(0.01)
        assert (await c.get(s)).ack == Ack("g", 7, 2)
        assert c.pipeline.figures.failures >= 3
    assert rows(tmp_path) == rows_of([report_of(n) for n in range(3)])


async def test_a_commit_whose_answer_was_lost_is_not_made_twice(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        broken = Broken(c.receiver, after=True)
        assert (await c.post(s, frame(0), frame(1))).ack == Ack("g", 7, 1)
        assert broken.tries == 1
    assert rows(tmp_path) == rows_of([report_of(0), report_of(1)])


async def test_a_full_memory_is_told(tmp_path: Path) -> None:
    config = HttpFrames(listen="127.0.0.1:0", anonymous=True, pending_bytes_max=4_194_304)
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
        c.receiver.pending_bytes = 4_194_304
        answer = await c.post(s, frame(0))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        c.receiver.pending_bytes = 0
        assert (await c.post(s, frame(0))).ack == Ack("g", 7, 0)


# ---- who may


async def test_tokens_let_in_their_own_gateway_alone(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "g").write_text("old\nnew\n")
    (tokens / "h").write_text("theirs\n")
    (tmp_path / "secret").write_text("outside\n")
    config = HttpFrames(listen="127.0.0.1:0", tokens="tokens")
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:

        async def status(token: str | None, gateway: str = "g") -> int:
            headers = TYPE | ({"Authorization": f"Bearer {token}"} if token is not None else {})
            return (await c.post(s, frame(0, gateway=gateway), gateway=gateway, headers=headers)).status

        missing = await c.post(s, frame(0))
        assert missing.status == 401 and missing.headers["WWW-Authenticate"].startswith("Bearer")
        refused = [await status(token) for token in ("theirs", "", "ol", "old\tnew", "ö")]
        assert refused == [403] * 5
        assert await status("outside", "..%2Fsecret") == 403
        assert await status("x", "nobody") == 403
        assert (await c.get(s, headers={"Authorization": "Bearer theirs"})).status == 403
        assert rows(tmp_path) == []
        assert [await status("old"), await status("new")] == [200, 200]
        (tokens / "g").write_text("newest\n")
        assert [await status("new"), await status("newest"), await status("theirs", "h")] == [403, 200, 200]


def certificates(folder: Path) -> None:
    """An authority, a server's certificate for localhost, and clients' for g and h; a stranger's authority for x."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    for ca in ("ca", "stranger"):
        openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={ca}",
            "-keyout",
            f"{ca}.key",
            "-out",
            f"{ca}.pem",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
    for name, ca in (("localhost", "ca"), ("g", "ca"), ("h", "ca"), ("x", "stranger")):
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
        subject = "/CN=g" if name == "x" else f"/CN={name}"
        openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            f"{ca}.pem",
            "-CAkey",
            f"{ca}.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
            "-out",
            f"{name}.pem",
        )


def client_tls(folder: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_certificates_let_in_the_gateway_they_name(tmp_path: Path) -> None:
    certificates(tmp_path)
    tls = ServerTls(cert="localhost.pem", key="localhost.key", client_ca="ca.pem")
    config = HttpFrames(listen="127.0.0.1:0", tls=tls)
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
        assert (await c.post(s, frame(0), ssl=client_tls(tmp_path, "g"))).ack == Ack("g", 7, 0)
        other = await c.post(s, frame(1), ssl=client_tls(tmp_path, "h"))
        assert other.status == 403 and "'h'" in str(other.problem["detail"])
    for name in (None, "x"):  # no certificate; a stranger's that says g
        async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await c.post(s, frame(1), ssl=client_tls(tmp_path, name))
    assert rows(tmp_path) == rows_of([report_of(0)])


async def test_with_both_kinds_of_credentials_either_is_enough(tmp_path: Path) -> None:
    certificates(tmp_path)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "g").write_text("t\n")
    tls = ServerTls(cert="localhost.pem", key="localhost.key", client_ca="ca.pem")
    config = HttpFrames(listen="127.0.0.1:0", tls=tls, tokens="tokens")
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
        assert (await c.post(s, frame(0), ssl=client_tls(tmp_path, "g"))).ack.through == 0
    async with cloud(tmp_path, config) as c, aiohttp.ClientSession() as s:
        bearer = TYPE | {"Authorization": "Bearer t"}
        assert (await c.post(s, frame(1), ssl=client_tls(tmp_path, None), headers=bearer)).ack.through == 1
        assert (await c.post(s, frame(2), ssl=client_tls(tmp_path, None))).status == 401


# ---- figures


async def test_figures_of_each_gateway(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c, aiohttp.ClientSession() as s:
        metrics = Metrics(
            MetricsListener(listen="127.0.0.1:0", gateways_max=1), SystemClock(), c.pipeline, None, c.feed
        )
        async with metrics.serve() as (host, port):
            await c.post(s, frame(0, gateway="old"), gateway="old")
            await c.post(s, frame(0), frame(3), frame(3), b"no frame")
            async with s.get(f"http://{host}:{port}/healthz") as response:
                assert response.status == 200
            async with s.get(f"http://{host}:{port}/metrics") as response:
                found = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines() if line[0] != "#")
            c.pipeline.store_error = "away"
            async with s.get(f"http://{host}:{port}/healthz") as response:
                assert response.status == 503 and "away" in await response.text()
    n = len(report_of(0))
    expected = {
        'edgetwin_receiver_frames_total{outcome="stored"}': 3,
        'edgetwin_receiver_frames_total{outcome="duplicate"}': 1,
        'edgetwin_receiver_frames_total{outcome="refused"}': 1,
        "edgetwin_receiver_rows_total": 3 * n,
        "edgetwin_receiver_store_up": 1,
        'edgetwin_receiver_commits_total{outcome="done"}': 2,
        "edgetwin_receiver_ack_seconds_count": 4,
        "edgetwin_receiver_gateways": 2,
        'edgetwin_receiver_gateway_missing_frames{gateway="g"}': 2,
        'edgetwin_receiver_gateway_rows{gateway="g"}': 2 * n,
        'edgetwin_receiver_requests_total{status="422"}': 1,
        'edgetwin_receiver_acks_total{transport="http"}': 1,
    }
    assert {name: float(found[name]) for name in expected} == expected
    assert not [name for name in found if 'gateway="old"' in name]  # beyond gateways_max
    assert float(found['edgetwin_receiver_gateway_lag_seconds{gateway="g"}']) > 0
