"""`edgetwin receive`: the cloud side. Decodes frames from a broker into CSV or Parquet files.

Exit code 0 after SIGTERM or `--idle-exit`, 130 after SIGINT, each with everything stored and acknowledged.
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
from edgetwin.config.durations import parse_duration
from edgetwin.errors import ConfigError
from edgetwin.receive.config import ReceiverConfig, load
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.receiver import Receiver
from edgetwin.runtime import logs, loop
from edgetwin.runtime.lock import state_lock

log = structlog.get_logger()

DONE, INTERRUPTED = 0, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help="the receiver's YAML file")
    parser.add_argument("--idle-exit", metavar="TIME", type=_duration, help="stop after so long without a frame, as 5s")


def run(args: argparse.Namespace) -> int:
    """Receive until told to stop."""
    path = Path(args.config)
    config = load(path)
    logs.configure(config.log.level, config.log.format)
    directory = path.parent / config.store.path
    with state_lock(directory):
        return loop.run(_receive(config, directory, path.parent, args.idle_exit))


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ConfigError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


async def _receive(config: ReceiverConfig, directory: Path, base: Path, idle_exit_s: float | None) -> int:
    clock = SystemClock()
    dead = DeadLetters(
        base / config.dead_letters if config.dead_letters else directory / "dead-letters",
        config.dead_letters_max,
        config.dead_letters_bytes_max,
    )
    with closing(Receiver(config.store, directory, clock, dead)) as receiver:
        feed = MqttFeed(
            config.source,
            receiver,
            clock,
            commit_every_s=config.store.commit_every,
            idle_exit_s=config.idle_exit if idle_exit_s is None else idle_exit_s,
            base=base,
        )

        code = DONE

        def interrupted() -> None:
            nonlocal code
            code = INTERRUPTED
            feed.stop()

        handlers = asyncio.get_running_loop()
        handlers.add_signal_handler(signal.SIGTERM, feed.stop)
        handlers.add_signal_handler(signal.SIGINT, interrupted)
        await feed.run()
        log.info("receiver_stopped", **asdict(receiver.counters))
    return code
