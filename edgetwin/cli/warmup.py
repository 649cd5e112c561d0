"""`edgetwin warmup`: compiles every kernel into the cache, so that the first start is quick."""

from __future__ import annotations

import argparse
import sys

from edgetwin.clock import NS, SystemClock
from edgetwin.errors import EdgetwinError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options; ``EDGETWIN_CACHE`` says where the cache is."""
    parser.epilog = "EDGETWIN_CACHE moves the cache; it must be the same for `warmup` and `run`."


def run(_args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 when a kernel does not compile or the cache cannot be written."""
    from edgetwin.kernels.jit import cache_directory
    from edgetwin.runtime.warmup import warmup

    clock = SystemClock()
    start = clock.monotonic_ns()
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
        warmup()
    except (EdgetwinError, OSError) as exc:
        print(f"edgetwin warmup: {exc}", file=sys.stderr)
        return 1
    print(f"kernels ready in {cache_directory()} after {(clock.monotonic_ns() - start) / NS:.1f} s")
    return 0
