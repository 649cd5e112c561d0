"""``edgetwin run``: the daemon."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", type=Path, help="the YAML file")


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM (0) or SIGINT (130). Raises EdgetwinError when the daemon cannot start."""
    from edgetwin.config.check import runnable
    from edgetwin.config.load import load
    from edgetwin.runtime import logs
    from edgetwin.runtime.loop import run as run_loop

    config = load(args.config)
    runnable(config, args.config.parent)
    logs.configure(config.log.level, config.log.format)

    from edgetwin.runtime.memory import give_back_when_freed

    give_back_when_freed()

    from edgetwin.runtime.daemon import Daemon

    async def main() -> int:
        daemon = Daemon(args.config, config)
        await daemon.run()
        return 130 if daemon.interrupted else 0

    return run_loop(main())
