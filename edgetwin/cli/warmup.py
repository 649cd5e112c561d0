"""`edgetwin warmup`: compiles every kernel into the cache, so that the first start is quick."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgetwin.clock import NS, SystemClock
from edgetwin.errors import EdgetwinError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A configuration whose models are to be compiled; without one, all built-in models."""
    parser.add_argument(
        "config", nargs="?", type=Path, help="compile what this file needs (default: all built-in models)"
    )
    parser.epilog = "EDGETWIN_CACHE moves the cache; it must be the same for `warmup` and `run`."


def run(args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 when a kernel does not compile or the cache cannot be written."""
    from edgetwin.config.load import load
    from edgetwin.engine import Engine
    from edgetwin.kernels.jit import cache_directory
    from edgetwin.runtime.warmup import mark_warm, warm_ensembles, warmup

    clock = SystemClock()
    start = clock.monotonic_ns()
    engine = Engine(load(args.config)) if args.config else None
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
        warmup(engine)
        warm_ensembles(engine)
        mark_warm(engine)
    except (EdgetwinError, OSError) as exc:
        print(f"edgetwin warmup: {exc}", file=sys.stderr)
        return 1
    print(f"kernels ready in {cache_directory()} after {(clock.monotonic_ns() - start) / NS:.1f} s")
    return 0
