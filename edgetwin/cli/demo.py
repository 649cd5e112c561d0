"""`edgetwin demo [factory]`: the whole thing on one machine, nothing to set up."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgetwin.cli.arguments import duration
from edgetwin.errors import EdgetwinError
from edgetwin.runtime import logs

if TYPE_CHECKING:
    from edgetwin.demo.factory import Options

SCENARIOS = ("factory",)
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "scenario",
        nargs="?",
        choices=SCENARIOS,
        default="factory",
        help="what to simulate (default: factory)",
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where the configuration, the state and the log go")
    parser.add_argument(
        "--duration", type=duration, metavar="TIME", help="stop after this time, e.g. 10s (default: Ctrl-C)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="what is random in the plant (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 after its time or SIGTERM, 130 after Ctrl-C, 1 when a part failed or is missing."""
    logs.configure("warning")
    try:
        _require_extra()
        if args.dir is not None:
            return _play(args, args.dir)
        with tempfile.TemporaryDirectory(prefix="edgetwin-demo-") as directory:
            return _play(args, Path(directory))
    except EdgetwinError as exc:
        print(f"edgetwin demo: {exc}", file=sys.stderr)
        return 1


def _require_extra() -> None:
    try:
        import amqtt.broker  # noqa: F401
    except ImportError as exc:
        raise EdgetwinError(
            f"the demo's embedded broker is not installed ({exc})", hint="pip install 'edgetwin[demo]'"
        ) from exc


def _play(args: argparse.Namespace, directory: Path) -> int:
    from edgetwin.demo.factory import Options, run_factory

    options = Options(directory=directory, duration_s=args.duration, seed=args.seed)
    return asyncio.run(_until_stopped(run_factory, options))


async def _until_stopped(
    scenario: Callable[[Options, asyncio.Event, Callable[[str], None]], Awaitable[None]], options: Options
) -> int:
    stop, status = asyncio.Event(), 0

    def stop_with(code: int) -> None:
        nonlocal status
        status = code
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop_with, INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, stop_with, 0)
    await scenario(options, stop, lambda text: print(text, flush=True))
    return status
