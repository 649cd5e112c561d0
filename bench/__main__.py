"""``python -m bench [NAME ...] [--quick]``: figures as JSON lines, the machine first."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

BENCHES = (
    "compiling",
    "filters",
    "ingest",
    "journal",
    "daemon",
    "whatif",
    "modbus",
    "registers",
    "acting",
    "fit",
    "codec",
    "auto",
    "uplink",
    "health",
)


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "bench": "machine",
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="benches to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    args = parser.parse_args()
    print(json.dumps(machine()), flush=True)
    for name in args.names or BENCHES:
        for record in importlib.import_module(f"bench.{name}").figures(args.quick):
            print(
                json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()}),
                flush=True,
            )


if __name__ == "__main__":
    main()
