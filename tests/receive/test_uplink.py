"""The HTTPS uplink and the receiver's listener: every report once, whatever breaks between them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgetwin.clock import SystemClock
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.config.schema import HttpsUplink as Config
from edgetwin.config.schema import Tls
from edgetwin.journal import Group, Journal, JournalWriter, Limits, RealDisk
from edgetwin.receive.config import HttpFrames, ServerTls
from edgetwin.receive.http import HttpFeed
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.receiver import Receiver
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.http import HttpsUplink
from edgetwin.uplink.journaled import JournalOutbox
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.queued import Queued
from tests.certificates import make_authority, make_certificate
from tests.conftest import free_port
from tests.receive.build import Place, put, read, report_of, rows_of
from tests.uplink.build import running
from tests.uplink.stores import EITHER, Committed, Make


def backoff() -> Backoff:
    return Backoff(0.02, 0.2, random.Random(1))


@asynccontextmanager
async def receiving(folder: Path, config: HttpFrames) -> AsyncIterator[Receiver]:
    receiver = Place("csv", folder / "store").open()
    pipeline = Pipeline(receiver, SystemClock(), commit_every_s=0.02, backoff=backoff())
    feed = HttpFeed(config, pipeline, folder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pipeline.run())
        await pipeline.ready.wait()
        async with feed.serve():
            yield receiver
        pipeline.stop()


def sending(
    outbox: Outbox | Committed, config: Config, base: Path = Path()
) -> AbstractAsyncContextManager[HttpsUplink]:
    return running(HttpsUplink(config, "g", outbox, base=base, backoff=backoff(), dead_letters=base / "dead-letters"))


def check_rows(folder: Path, reports: int) -> None:
    expected = rows_of([report_of(seq) for seq in range(reports)])
    assert Counter(read(folder / "store" / "states.csv")) == Counter(expected)


@EITHER
async def test_a_receiver_that_comes_and_goes_gets_every_report_once(tmp_path: Path, make: Make) -> None:
    port, outbox = free_port(), make()
    config = HttpFrames(listen=f"127.0.0.1:{port}", anonymous=True)
    async with sending(outbox, Config(url=f"http://127.0.0.1:{port}"), tmp_path):
        for turn in range(4):
            put(outbox, 100 * turn, 100 * turn + 90)
            async with receiving(tmp_path, config) as receiver:
                put(outbox, 100 * turn + 90, 100 * turn + 100)
                async with asyncio.timeout(20):
                    while receiver.counters.stored == 0:
                        await asyncio.sleep(0.005)
        async with receiving(tmp_path, config), asyncio.timeout(30):
            await outbox.drained.wait()
    check_rows(tmp_path, 400)


async def test_a_certificate_is_the_credential(tmp_path: Path) -> None:
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "server", "IP:127.0.0.1")
    make_certificate(tmp_path, "g", "DNS:g")
    make_certificate(tmp_path, "h", "DNS:h")
    port, outbox = free_port(), Outbox("g", 1 << 26)
    put(outbox, 0, 20)
    listener = HttpFrames(
        listen=f"127.0.0.1:{port}", tls=ServerTls(cert="server.pem", key="server.key", client_ca="ca.pem")
    )
    url = f"https://127.0.0.1:{port}"
    async with receiving(tmp_path, listener) as receiver:
        other = Config(url=url, tls=Tls(ca="ca.pem", cert="h.pem", key="h.key"))
        async with sending(outbox, other, tmp_path) as uplink, asyncio.timeout(20):
            while uplink.errors["credentials"] < 2:
                await asyncio.sleep(0.01)
        assert receiver.counters.payloads == 0 and len(outbox) == 20
        own = Config(url=url, tls=Tls(ca="ca.pem", cert="g.pem", key="g.key"))
        async with sending(outbox, own, tmp_path), asyncio.timeout(20):
            await outbox.drained.wait()
    check_rows(tmp_path, 20)


@EITHER
@pytest.mark.parametrize("damaged", [0, 7, 19])
async def test_a_damaged_frame_becomes_a_dead_letter_on_both_sides(tmp_path: Path, damaged: int, make: Make) -> None:
    port, outbox = free_port(), make()
    put(outbox, 0, 20)
    original = outbox.read

    def read_damaged(position: int) -> Queued | None:
        queued = original(position)
        if queued is None or queued.key[1] != damaged:
            return queued
        return replace(queued, data=queued.data[:-3] + bytes(3))

    outbox.read = read_damaged  # type: ignore[method-assign]
    config = HttpFrames(listen=f"127.0.0.1:{port}", anonymous=True)
    async with receiving(tmp_path, config) as receiver:
        async with sending(outbox, Config(url=f"http://127.0.0.1:{port}"), tmp_path) as uplink, asyncio.timeout(20):
            while uplink.frames["dead_lettered"] == 0:
                put(outbox, 20, 21)
                await asyncio.sleep(0.05)
            put(outbox, 20, 21)
            await outbox.drained.wait()
        ack = receiver.ack("g")
        assert ack is not None and ack.through >= 20, "the gap record closes the hole"
    assert len(list((tmp_path / "dead-letters").glob("*.frame"))) == 1
    rows = read(tmp_path / "store" / "states.csv")
    assert not set(rows_of([report_of(damaged)])) & set(rows) and set(rows_of([report_of(20)])) <= set(rows)


@EITHER
async def test_frames_of_twin_1_in_two_lanes_are_decoded_all(tmp_path: Path, make: Make) -> None:
    """After an outage a key frame begins the live lane; the run of the backlog goes on beside it."""
    port = free_port()
    outbox = make(encoder=FrameEncoder("g"))
    put(outbox, 0, 400)
    config = HttpFrames(listen=f"127.0.0.1:{port}", anonymous=True)
    order: list[int] = []
    async with receiving(tmp_path, config) as receiver:
        slow = Config(url=f"http://127.0.0.1:{port}", bandwidth=10_000)
        async with sending(outbox, slow, tmp_path) as uplink, asyncio.timeout(40):
            while receiver.counters.stored == 0:
                await asyncio.sleep(0.005)
            for seq in range(400, 410):
                put(outbox, seq, seq + 1)
                order.append(receiver.counters.stored)
                await asyncio.sleep(0.05)
            assert uplink.schedule.split and order[-1] < 400, "live frames went beside the backlog"
            uplink.schedule.budget.bytes_per_s = None  # a better link
            await outbox.drained.wait()
        assert receiver.counters.dead == receiver.counters.deferred == 0
    rows = [row[:5] for row in read(tmp_path / "store" / "states.csv")]
    expected = [row[:5] for row in rows_of([report_of(seq) for seq in range(410)])]
    assert Counter(rows) == Counter(expected)


async def test_a_gateway_that_is_cut_off_again_and_again_delivers_what_was_durable_once(tmp_path: Path) -> None:
    """Each life has a journal's writer of its own, and ends without a word to it: what was put last may be lost."""
    port, clock, durable = free_port(), SystemClock(), 0
    config = HttpFrames(listen=f"127.0.0.1:{port}", anonymous=True)
    async with receiving(tmp_path, config) as receiver:
        for life in range(5):
            journal, _ = Journal.open(RealDisk(tmp_path / "journal"), Limits(), clock)
            outbox = JournalOutbox("g", journal, FrameEncoder("g"), clock, staged_bytes_max=1 << 20)
            writer = JournalWriter(journal)
            async with asyncio.TaskGroup() as tasks, sending(outbox, Config(url=f"http://127.0.0.1:{port}"), tmp_path):
                writing = tasks.create_task(writer.run())
                for _ in range(20):
                    put(outbox, durable, durable + 3)
                    staged = outbox.stage(group := Group())
                    await writer.commit(group)
                    outbox.durable(staged)
                    durable += 3
                put(outbox, durable, durable + 2)
                if life == 4:
                    async with asyncio.timeout(30):
                        while len(outbox):
                            await asyncio.sleep(0.01)
                writing.cancel()
            assert outbox.account.balanced and outbox.account.staged == 2
            journal.close()
        assert receiver.counters.lost == receiver.counters.dead == 0
    rows = [row[:5] for row in read(tmp_path / "store" / "states.csv")]
    assert Counter(rows) == Counter(row[:5] for row in rows_of([report_of(seq) for seq in range(durable)]))
