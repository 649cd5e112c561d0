"""``edgetwin replay``: recorded files through the twins, as fast as the machine goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgetwin.cli.arguments import duration

if TYPE_CHECKING:
    from edgetwin.replay.run import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", type=Path, help="the YAML file; its csv sources are run")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the results")
    parser.add_argument("--every", type=_period, metavar="1s", help="states.csv on a grid, not at the sample times")


def run(args: argparse.Namespace) -> int:
    """Replay and print a summary. Raises ConfigError, or SourceError when a file cannot be read or written."""
    from edgetwin.config.check import replayable
    from edgetwin.config.load import load

    config = load(args.config)
    replayable(config, args.config.parent)

    from edgetwin.clock import NS, SystemClock
    from edgetwin.replay.run import replay

    clock = SystemClock()
    begun = clock.monotonic_ns()
    result = replay(config, args.config.parent, args.out, every_s=args.every, clock=clock)
    print("\n".join(_lines(result, (clock.monotonic_ns() - begun) / NS, args.out)))
    return 0


def _period(text: str) -> float:
    seconds = duration(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("must be longer than 0")
    return seconds


def _lines(result: Result, wall_s: float, out: Path) -> list[str]:
    """What a person wants to know at once; the wall time stands here and in no file."""
    summary = result.summary
    days = summary.duration_s / 86_400
    rate = summary.samples / max(result.engine_s, 1e-9)
    lines = [
        f"{summary.samples} samples over {days:.4g} days in {wall_s:.2f} s "
        f"(engine {result.engine_s:.3f} s, {rate:,.0f} samples/s)"
    ]
    for source, counts in summary.sources.items():
        outcomes = [f"{n} {name}" for name, n in counts.items() if n and name != "received"]
        lines.append(f"source   {source}: {', '.join(outcomes) or 'no samples'}")
    for name, twin in summary.twins.items():
        for signal, figures in twin.signals.items():
            text = "no prediction"
            if figures.rmse is not None and figures.coverage_95 is not None:
                unit = f" {figures.unit}" if figures.unit else ""
                text = f"one-step RMSE {figures.rmse:.4g}{unit}, {figures.coverage_95:.1%} inside the 95 % interval"
            lines.append(f"signal   {name}.{signal}: {text}, noise {figures.noise:.4g}, {figures.gated} gated")
    frames = summary.frames
    lines.append(f"frames   {frames.frames} of {frames.values} values, {frames.bytes} bytes")
    return [*lines, f"results  {out}"]
