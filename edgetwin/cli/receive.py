"""`edgetwin receive`: the cloud side. Frames from a broker or by HTTP into PostgreSQL, DuckDB, Parquet or CSV.

Exit code 0 after SIGTERM or `--idle-exit`, 130 after SIGINT, each with everything stored and acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path

import structlog

from edgetwin.cli.arguments import duration
from edgetwin.clock import NS, Clock, SystemClock
from edgetwin.receive.check import load
from edgetwin.receive.config import ReceiverConfig
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.http import HttpFeed
from edgetwin.receive.metrics import Metrics
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.share import Share
from edgetwin.receive.stores.open import folder_of, make_store
from edgetwin.runtime import logs, loop
from edgetwin.runtime.lock import state_lock

log = structlog.get_logger()

DONE, INTERRUPTED = 0, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help="the receiver's YAML file")
    parser.add_argument("--idle-exit", metavar="TIME", type=duration, help="stop after so long without a frame, as 5s")
    parser.add_argument(
        "--share", metavar="I/N", type=_share, help="look after part I (from 0) of N of the gateways, as 0/4"
    )


def run(args: argparse.Namespace) -> int:
    """Receive until told to stop."""
    path = Path(args.config)
    config = load(path)
    logs.configure(config.log.level, config.log.format)
    share = args.share or Share(config.share.index, config.share.of)
    folder = folder_of(config.store, path.parent, share)
    idle_s = config.idle_exit if args.idle_exit is None else args.idle_exit
    with state_lock(folder):
        return loop.run(_receive(config, folder, path.parent, share, idle_s))


def _share(text: str) -> Share:
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError("write I/N with I below N, as 0/4")
    return Share(int(match[1]), int(match[2]))


async def _receive(config: ReceiverConfig, folder: Path, base: Path, share: Share, idle_s: float | None) -> int:
    clock = SystemClock()
    store = make_store(config.store, folder, base, share)
    dead = DeadLetters(
        base / config.dead_letters if config.dead_letters else folder / "dead-letters",
        config.dead_letters_max,
        config.dead_letters_bytes_max,
    )
    receiver = Receiver(store, clock, dead, share=share)
    pipeline = Pipeline(receiver, clock, commit_every_s=config.store.commit_every)
    mqtt = MqttFeed(config.source, pipeline, base=base) if config.source is not None else None
    http = HttpFeed(config.http, pipeline, base) if config.http is not None else None
    metrics = Metrics(config.metrics, clock, pipeline, mqtt, http) if config.metrics is not None else None
    end = _End()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pipeline.run(), name="store")
            await _serve(mqtt, http, metrics, _until(end, pipeline, clock, idle_s))
            pipeline.stop()
    except BaseExceptionGroup as group:
        raise _first(group) from None
    log.info("receiver_stopped", **asdict(receiver.counters))
    return end.code


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group, however deep: the rest follow from it."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _serve(
    mqtt: MqttFeed | None, http: HttpFeed | None, metrics: Metrics | None, until: Coroutine[None, None, None]
) -> None:
    """Everything that the network sees, for as long as ``until`` runs; the last commit is still to come."""
    async with contextlib.AsyncExitStack() as open_until_the_end:
        if metrics is not None:
            await open_until_the_end.enter_async_context(metrics.serve())
        if http is not None:
            await open_until_the_end.enter_async_context(http.serve())
        async with asyncio.TaskGroup() as tasks:
            if mqtt is not None:
                tasks.create_task(mqtt.run(), name="mqtt")
            await until
            if mqtt is not None:
                mqtt.stop()


class _End:
    """SIGTERM and SIGINT, from when it is made."""

    def __init__(self) -> None:
        self.code = DONE
        self.come = asyncio.Event()
        handlers = asyncio.get_running_loop()
        handlers.add_signal_handler(signal.SIGTERM, self.come.set)
        handlers.add_signal_handler(signal.SIGINT, self._interrupted)

    def _interrupted(self) -> None:
        self.code = INTERRUPTED
        self.come.set()


async def _until(end: _End, pipeline: Pipeline, clock: Clock, idle_s: float | None) -> None:
    """Wait for a signal, or until no frame has come for ``idle_s``."""
    while not end.come.is_set():
        left = None if idle_s is None else idle_s - (clock.monotonic_ns() - pipeline.heard_ns) / NS
        if left is not None and left <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await end.come.wait()
