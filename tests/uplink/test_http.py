"""The HTTPS uplink against a receiver that can be hostile."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from edgetwin.codec.acks import Ack, encode_ack
from edgetwin.codec.frames import Frame
from edgetwin.config.schema import HttpsUplink as Config
from edgetwin.config.schema import Tls
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.http import ACK_TYPE, SUSPECTS_MAX, HttpsUplink
from edgetwin.uplink.http_faults import seconds_of
from edgetwin.uplink.outbox import Outbox
from tests.conftest import free_port
from tests.uplink.build import fill, filled, running, until
from tests.uplink.cloud import Cloud
from tests.uplink.tunnels import TunnelProxy


def uplink(outbox: Outbox, url: str, base: Path = Path(), **extra: object) -> HttpsUplink:
    config = Config(url=url, **extra)  # type: ignore[arg-type]
    backoff = Backoff(0.02, 0.1, random.Random(1))
    return HttpsUplink(config, "g", outbox, base=base, backoff=backoff, dead_letters=base / "dead-letters")


async def fault(way: HttpsUplink, reason: str, times: int = 1) -> None:
    """Wait until a fault has been counted."""
    await until(lambda: way.errors[reason] >= times)


def status(code: int, **headers: str) -> web.Response:
    body = json.dumps({"title": "no", "status": code, "detail": f"because {code}"})
    return web.Response(status=code, text=body, content_type="application/problem+json", headers=headers)


# ---- as it should be


async def test_frames_arrive_once_in_order_and_leave_when_acknowledged() -> None:
    cloud, outbox = Cloud(), filled(50)
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await outbox.drained.wait()
        fill(outbox, 5)
        assert await way.drain(10)
        assert way.up and way.last_error == ""
        assert way.frames["sent"] == way.frames["acknowledged"] == 55 and way.frames["resent"] == 0
        assert way.ack_latency.counts.sum() > 0
    assert cloud.received == list(range(55))
    assert not way.up


async def test_a_long_backlog_and_live_frames_beside_it_arrive_once() -> None:
    cloud, outbox = Cloud(), filled(700)
    live = asyncio.Event()

    async def slow(_request: web.Request, frames: list[Frame]) -> None:
        if frames[0].seq < 700:
            await live.wait()

    cloud.behaviour = slow
    async with cloud.serving() as url, running(uplink(outbox, url)):
        while not cloud.seqs:
            await asyncio.sleep(0.01)
        fill(outbox, 3)
        await cloud.until(lambda: {700, 701, 702} <= cloud.stored.get(7, set()))
        assert min(cloud.received) >= 700, "live frames did not wait for the backlog's request"
        live.set()
        await outbox.drained.wait()
    assert sorted(cloud.received) == list(range(703))
    backlog = [seq for seq in cloud.received if seq < 700]
    assert backlog == sorted(backlog)


async def test_a_new_connection_learns_how_far_the_cloud_is() -> None:
    """Applied, but the answer was lost: nothing is sent twice."""
    cloud, outbox = Cloud(), filled(10)
    lost = [True]

    async def applied_then_cut(request: web.Request, frames: list[Frame]) -> web.Response | None:
        if not lost:
            return None
        lost.pop()
        for frame in frames:
            cloud.store(frame)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    cloud.behaviour = applied_then_cut
    async with cloud.serving() as url, running(uplink(outbox, url)):
        await outbox.drained.wait()
    assert cloud.received == list(range(10))


async def test_frames_the_cloud_lacks_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetwin.uplink.http.QUIET_S", 0.05)
    cloud, outbox = Cloud(), filled(10)
    lose = {3, 4}

    async def lossy(_request: web.Request, frames: list[Frame]) -> web.Response:
        for frame in frames:
            if frame.seq not in lose:
                cloud.store(frame)
        lose.clear()
        return web.Response(body=encode_ack(cloud.ack(7)), content_type=ACK_TYPE)

    cloud.behaviour = lossy
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await outbox.drained.wait()
        assert way.frames["resent"] == 2
    assert sorted(cloud.received) == list(range(10))


async def test_token_and_prefix() -> None:
    cloud, outbox = Cloud(), filled(1)
    app = web.Application()
    app.router.add_post("/edge/in/v1/gateways/g/frames", cloud.post)
    app.router.add_get("/edge/in/v1/gateways/g/ack", cloud.greet)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with running(uplink(outbox, f"http://127.0.0.1:{port}/edge/in", token="s3cret")):
        await outbox.drained.wait()
    await runner.cleanup()
    assert {h["Authorization"] for h in cloud.headers} == {"Bearer s3cret"}


# ---- a hostile cloud


PORTAL = "<html><title>Welcome to Hotel WiFi</title></html>"


@pytest.mark.parametrize("at", ["greeting", "behaviour"])
async def test_a_captive_portal_takes_nothing_from_the_outbox(at: str) -> None:
    cloud, outbox = Cloud(), filled(5)

    async def portal(_request: web.Request, _frames: list[Frame]) -> web.Response:
        return web.Response(text=PORTAL, content_type="text/html")

    setattr(cloud, at, portal)
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await fault(way, "not_the_cloud", 3)
        assert len(outbox) == 5 and not way.up and "no acknowledgement" in way.last_error
        if at == "greeting":
            assert cloud.payload_bytes == 0
        setattr(cloud, at, None)
        await outbox.drained.wait()
        assert way.up


async def test_a_portal_that_redirects_is_not_followed() -> None:
    cloud, outbox = Cloud(), filled(5)

    async def redirect(request: web.Request, _frames: list[Frame]) -> web.Response:
        return web.Response(status=302, headers={"Location": str(request.url.with_path("/login"))})

    cloud.greeting = redirect
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await fault(way, "not_the_cloud")
        assert len(outbox) == 5 and cloud.payload_bytes == 0


@pytest.mark.parametrize(
    ("ack", "ignored"),
    [
        (Ack("other", 7, 4), "other_gateway"),
        (Ack("g", 9, 4), "other_epoch"),
        (Ack("g", 7, 5), "future"),
        (Ack("g", 7, 2**64 - 1), "future"),
    ],
)
async def test_an_acknowledgement_that_cannot_be_true_frees_nothing(ack: Ack, ignored: str) -> None:
    cloud, outbox = Cloud(), filled(5)
    lying = [True, True]

    async def lie(_request: web.Request, _frames: list[Frame]) -> web.Response | None:
        return web.Response(body=encode_ack(ack)) if lying and lying.pop() else None

    cloud.behaviour = lie
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        while way.acks_ignored[ignored] == 0:
            await asyncio.sleep(0.01)
        assert len(outbox) >= 5
        while lying:
            fill(outbox, 1)
            await asyncio.sleep(0.02)
        if ack.gateway == "g":
            fill(outbox, 1)  # a lying answer is no fault of the link: what it spoke of is not sent again at once
            await cloud.until(lambda: cloud.frames)
        else:
            await outbox.drained.wait()
            assert way.errors["not_the_cloud"] == 2


async def test_the_watermark_does_not_go_back() -> None:
    cloud, outbox = Cloud(), filled(5)

    async def backward(_request: web.Request, frames: list[Frame]) -> web.Response | None:
        return web.Response(body=encode_ack(Ack("g", 7, 1))) if frames[0].seq == 5 else None

    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await outbox.drained.wait()
        cloud.behaviour = backward
        fill(outbox, 1)
        while way.acks_ignored["backward"] == 0:
            await asyncio.sleep(0.01)
        assert len(outbox) == 1 and way.up


@pytest.mark.parametrize("code", [400, 413, 422])
async def test_a_poison_frame_becomes_a_dead_letter_and_the_queue_moves(code: int, tmp_path: Path) -> None:
    cloud, outbox = Cloud(), filled(20)

    async def refuse(_request: web.Request, frames: list[Frame]) -> web.Response | None:
        return status(code) if any(frame.seq == 13 for frame in frames) else None

    cloud.behaviour = refuse
    async with cloud.serving() as url, running(uplink(outbox, url, tmp_path)) as way:
        await cloud.until(lambda: len(cloud.stored.get(7, set())) == 19)
        fill(outbox, 1)
        await outbox.drained.wait()
        assert way.frames["dead_lettered"] == way.frames["dropped"] == 1
    assert sorted(set(cloud.received)) == [n for n in range(21) if n != 13]
    assert [(g.first, g.last, g.reason) for f in cloud.frames for g in f.gaps] == [(13, 13, "refused_by_the_cloud")]
    (letter,) = (tmp_path / "dead-letters").glob("*.frame")
    about = json.loads(letter.with_suffix(".json").read_text())
    assert (about["epoch"], about["seq"]) == (7, 13) and f"status {code}: because {code}" in about["reason"]


async def test_a_cloud_that_refuses_everything_does_not_empty_the_outbox(tmp_path: Path) -> None:
    cloud, outbox = Cloud(), filled(100)

    async def refuse(_request: web.Request, _frames: list[Frame]) -> web.Response:
        return status(422)

    cloud.behaviour = refuse
    async with cloud.serving() as url, running(uplink(outbox, url, tmp_path)) as way:
        await fault(way, "refused", 2)
        assert len(outbox) == 100 and "refuses every frame" in way.last_error
        assert way.frames["dead_lettered"] == 0
        cloud.behaviour = None
        await outbox.drained.wait()
    assert sorted(set(cloud.received)) == list(range(100))
    assert max(len(seqs) for seqs in cloud.seqs) > SUSPECTS_MAX


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, "credentials"),
        (403, "credentials"),
        (404, "refused"),
        (500, "server"),
        (502, "server"),
        (418, "not_the_cloud"),
    ],
)
async def test_other_refusals_delete_nothing(code: int, reason: str) -> None:
    cloud, outbox = Cloud(), filled(5)

    async def refuse(_request: web.Request, _frames: list[Frame]) -> web.Response:
        return status(code)

    cloud.behaviour = refuse
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await fault(way, reason, 2)
        assert len(outbox) == 5 and not way.up and f"status {code}: because {code}" in way.last_error
        cloud.behaviour = None
        await outbox.drained.wait()


async def test_credentials_refused_at_the_door_send_no_frame() -> None:
    cloud, outbox = Cloud(), filled(5)

    async def refuse(_request: web.Request, _frames: list[Frame]) -> web.Response:
        return status(401)

    cloud.greeting = refuse
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await fault(way, "credentials", 3)
        assert cloud.payload_bytes == 0 and len(outbox) == 5


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_kept(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, outbox = Cloud(), filled(5)
    busy = [True]

    async def refuse(_request: web.Request, _frames: list[Frame]) -> web.Response | None:
        return status(code, **{"Retry-After": "7"}) if busy and busy.pop() else None

    cloud.behaviour = refuse
    waits: list[float] = []

    async def pause(self: HttpsUplink, at_least_s: float = 0.0) -> None:
        waits.append(at_least_s)

    monkeypatch.setattr(HttpsUplink, "_pause", pause)
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await outbox.drained.wait()
        assert way.errors["busy"] == 1
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 30, 999_999_999.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
    ],
)
def test_retry_after_in_both_forms(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text, 784_111_740.0) == seconds


async def test_an_answer_that_is_cut_or_never_ends_frees_nothing() -> None:
    cloud, outbox = Cloud(), filled(5)
    tricks = ["cut", "endless"]

    async def trick(request: web.Request, _frames: list[Frame]) -> web.StreamResponse | None:
        if not tricks:
            return None
        response = web.StreamResponse()
        if (kind := tricks.pop()) == "cut":
            response.content_length = 1_000
        await response.prepare(request)
        await response.write(encode_ack(Ack("g", 7, 4))[:20])
        assert request.transport is not None
        if kind == "cut":
            request.transport.abort()
            return response
        for _ in range(1_000):
            if request.transport is None or request.transport.is_closing():
                break
            await response.write(b"x" * 65_536)
        return response

    cloud.behaviour = trick
    async with cloud.serving() as url, running(uplink(outbox, url)) as way:
        await outbox.drained.wait()
        assert way.errors["lost"] >= 1 and way.errors["not_the_cloud"] >= 1
    assert cloud.received == list(range(5))


async def test_a_cloud_that_stalls_is_left_after_the_timeout() -> None:
    cloud, outbox = Cloud(), filled(5)
    stalls, done = [True], asyncio.Event()

    async def stall(_request: web.Request, _frames: list[Frame]) -> None:
        if stalls and stalls.pop():
            await done.wait()

    cloud.behaviour = stall
    async with cloud.serving() as url, running(uplink(outbox, url, timeout=0.2)) as way:
        await outbox.drained.wait()
        assert way.errors["lost"] == 1
        done.set()


async def test_flaps_lose_nothing_and_always_make_progress() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    cloud, outbox = Cloud(), filled(300)

    async def flap(request: web.Request, frames: list[Frame]) -> web.Response | None:
        kind = rng.random()
        if kind > 0.6:
            return None
        if kind < 0.3:
            for frame in frames:
                cloud.store(frame)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    cloud.behaviour = flap
    async with cloud.serving() as url, running(uplink(outbox, url)):
        for _ in range(30):
            fill(outbox, 3)
            await asyncio.sleep(0.01)
        await outbox.drained.wait()
    assert sorted(set(cloud.received)) == list(range(390))


# ---- TLS and proxies


def server_tls(folder: Path, name: str = "server", client_ca: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    if client_ca is not None:
        context.load_verify_locations(folder / f"{client_ca}.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize(
    ("server", "ca", "why"),
    [
        ("server", "other", "self-signed|unable to get local issuer"),
        ("elsewhere", "ca", "IP address mismatch"),
        ("expired", "ca", "certificate has expired"),
    ],
)
async def test_a_certificate_that_does_not_fit_gets_no_byte(authority: Path, server: str, ca: str, why: str) -> None:
    cloud, outbox = Cloud(), filled(5)
    tls = server_tls(authority, server)
    async with cloud.serving(tls=tls) as url:
        async with running(uplink(outbox, url, authority, tls=Tls(ca=f"{ca}.pem"))) as way:
            await fault(way, "certificate", 2)
            assert not way.up and any(part in way.last_error for part in why.split("|")), way.last_error
    assert (cloud.payload_bytes, cloud.greetings, len(outbox)) == (0, 0, 5)


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_a_cloud_that_wants_another_client_certificate_gets_no_byte(authority: Path, name: str | None) -> None:
    cloud, outbox = Cloud(), filled(5)
    tls = Tls(ca="ca.pem") if name is None else Tls(ca="ca.pem", cert=f"{name}.pem", key=f"{name}.key")
    async with cloud.serving(tls=server_tls(authority, client_ca="ca")) as url:
        async with running(uplink(outbox, url, authority, tls=tls)) as way:
            await fault(way, "tls", 2)
    assert (cloud.payload_bytes, cloud.greetings, len(outbox)) == (0, 0, 5)


async def test_mutual_tls_through_a_proxy_with_a_password(authority: Path) -> None:
    cloud, outbox = Cloud(), filled(20)
    proxy = TunnelProxy("Basic " + base64.b64encode(b"me:s3 cret").decode())
    tls = Tls(ca="ca.pem", cert="client.pem", key="client.key")
    async with proxy.serving() as port, cloud.serving(tls=server_tls(authority, client_ca="ca")) as url:
        through = f"http://me:s3%20cret@127.0.0.1:{port}"
        async with running(uplink(outbox, url, authority, tls=tls, proxy=through)):
            await outbox.drained.wait()
        assert set(proxy.targets) == {url.removeprefix("https://")} and proxy.tunnels >= 1
    assert cloud.received == list(range(20))


async def test_a_proxy_that_refuses_is_named_as_the_fault(authority: Path) -> None:
    cloud, outbox = Cloud(), filled(5)
    proxy = TunnelProxy("Basic other")
    async with proxy.serving() as port, cloud.serving(tls=server_tls(authority)) as url:
        way = uplink(outbox, url, authority, tls=Tls(ca="ca.pem"), proxy=f"http://me:x@127.0.0.1:{port}")
        async with running(way):
            await fault(way, "proxy", 2)
            assert "407" in way.last_error
    async with running(uplink(outbox, url, proxy=f"http://127.0.0.1:{free_port()}")) as way:
        await fault(way, "proxy", 1)
    assert len(outbox) == 5


async def test_files_that_are_not_there_are_a_fault_of_the_link(tmp_path: Path) -> None:
    outbox = filled(1)
    async with running(uplink(outbox, "https://127.0.0.1:1", tmp_path, token_file="nowhere")) as way:
        assert not await way.drain(10)
        assert "nowhere" in way.last_error and way.errors["configuration"] >= 1
    async with running(uplink(outbox, "https://127.0.0.1:1", tmp_path, tls=Tls(ca="nowhere.pem"))) as way:
        assert not await way.drain(10)
        assert way.errors["configuration"] >= 1


async def test_nobody_there() -> None:
    outbox = filled(1)
    async with running(uplink(outbox, f"http://127.0.0.1:{free_port()}")) as way:
        assert not await way.drain(10)
        assert way.errors["unreachable"] >= 1 and len(outbox) == 1
