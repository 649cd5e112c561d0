"""`edgetwin receive`: the cloud side. Decodes frames from a broker into CSV or Parquet files.

Exit code 0 after SIGTERM or `idle_exit`, 130 after SIGINT, both with everything stored and acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import structlog

from edgetwin.clock import SystemClock
from edgetwin.receive.config import ReceiverConfig, load
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.receiver import Receiver
from edgetwin.runtime import logs, loop
from edgetwin.runtime.lock import state_lock

log = structlog.get_logger()

DONE, INTERRUPTED = 0, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help="the receiver's YAML file")


def run(args: argparse.Namespace) -> int:
    """Receive until told to stop."""
    path = Path(args.config)
    config = load(path)
    logs.configure(config.log.level, config.log.format)
    directory = path.parent / config.store.path
    with state_lock(directory):
        return loop.run(_receive(config, directory, path.parent))


async def _receive(config: ReceiverConfig, directory: Path, base: Path) -> int:
    clock = SystemClock()
    exit_code = DONE
    with closing(Receiver(config.store, directory, clock)) as receiver:
        feed = MqttFeed(
            config.source,
            receiver,
            clock,
            commit_every_s=config.store.commit_every,
            idle_exit_s=config.idle_exit,
            base=base,
        )

        def interrupted() -> None:
            nonlocal exit_code
            exit_code = INTERRUPTED
            feed.stop()

        handlers = asyncio.get_running_loop()
        handlers.add_signal_handler(signal.SIGTERM, feed.stop)
        handlers.add_signal_handler(signal.SIGINT, interrupted)
        await feed.run()
        log.info("receiver_stopped", **asdict(receiver.counters))
    return exit_code
