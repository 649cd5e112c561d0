"""``edgetwin fit``: learn parameters and noise from recordings by maximum likelihood."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgetwin.cli.arguments import duration

if TYPE_CHECKING:
    from edgetwin.config.schema import Config
    from edgetwin.fit.run import Result
    from edgetwin.fit.search import Options

NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("config", type=Path, help="the YAML file; the recordings of its csv sources are fitted")
    add("--out", type=Path, required=True, metavar="FILE.yaml", help="what was fitted, for the key `fitted`")
    add("--twin", action="append", metavar="NAME", help="a twin to fit, may be repeated; all when absent")
    add("--parameters", type=_names, metavar="a,b", help="what to fit; all parameters when absent, or none")
    add("--noise", action="store_true", help="fit measurement and process noise too")
    add("--initial", action="store_true", help="fit the initial states too")
    add("--bounds", type=_bounds, action="append", default=[], metavar="a=LOW:HIGH", help="bounds of one quantity")
    add("--files", type=Path, nargs="+", default=[], metavar="FILE", help="recordings in place of the configured one")
    add("--from", dest="start", type=_time, metavar="TIME", help="first instant, ISO 8601 with a zone")
    add("--to", dest="end", type=_time, metavar="TIME", help="instant before which the data end")
    add("--gap", type=duration, metavar="1h", help="a longer silence starts a new stretch")
    add("--validate", type=_fraction, default=0.0, metavar="0.2", help="share at the end that judges and is not fitted")
    add("--starts", type=_count, default=2, metavar="N", help="climbs from different points (default 2)")
    add("--keep-outliers", action="store_true", help="fit samples beyond the gate too")


def run(args: argparse.Namespace) -> int:
    """Fit, write and tell. Raises ConfigError, SourceError, and FitError for data that do not allow a fit."""
    from edgetwin.config.check import replayable
    from edgetwin.config.load import load

    config = load(args.config)
    replayable(config, args.config.parent)
    indices = _twins(config, args.twin)

    from edgetwin.fit.overlay import write_overlay
    from edgetwin.fit.run import fit

    progress = _Progress(sys.stderr)
    results: list[Result] = []
    for index in indices:
        progress.twin = config.twins[index].name
        try:
            results.append(fit(config, index, args.config.parent, _options(args), progress))
        finally:
            progress.end()
        if results[-1].stop == "interrupted":
            break
    write_overlay(args.out, args.config.name, results)
    print("\n".join(line for result in results for line in _lines(result)))
    interrupted = results[-1].stop == "interrupted"
    if interrupted:
        print(f"interrupted: {args.out} holds the best found so far, not the maximum", file=sys.stderr)
    print(f"written  {args.out}")
    return 130 if interrupted else 0


def _twins(config: Config, names: list[str] | None) -> list[int]:
    from edgetwin.config.hints import suggest
    from edgetwin.errors import ConfigError

    known = [twin.name for twin in config.twins]
    for name in names or ():
        if name not in known:
            raise ConfigError(f"--twin: there is no twin {name!r}", hint=suggest(name, known))
    return [known.index(name) for name in dict.fromkeys(names or known)]


def _options(args: argparse.Namespace) -> Options:
    from edgetwin.fit.samples import Selection
    from edgetwin.fit.search import Options

    return Options(
        parameters=args.parameters,
        noise=args.noise,
        initial=args.initial,
        bounds=dict(args.bounds),
        starts=args.starts,
        set_aside=not args.keep_outliers,
        selection=Selection(tuple(args.files), args.start, args.end, args.gap, args.validate),
    )


class _Progress:
    """One line that changes on a terminal, a line for each step elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.twin = ""
        self._stream = stream
        self._in_place = stream.isatty()
        self._width = 0

    def __call__(self, what: str, iteration: int, value: float) -> None:
        text = f"{self.twin}: {what}, step {iteration}, log-likelihood {value:.6g}"
        if self._in_place:
            self._stream.write(f"\r{text.ljust(self._width)}")
            self._width = len(text)
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._in_place and self._width:
            self._stream.write("\n")
            self._width = 0


def _lines(result: Result) -> list[str]:
    from edgetwin.fit.overlay import describe, iso

    before, after = result.log_likelihood
    aside = f", {result.set_aside} set aside" if result.set_aside else ""
    lines = [
        f"twin     {result.twin}: model {result.model}, {result.samples} samples, stretches: {result.segments}{aside}",
        f"data     {', '.join(result.files)}, {iso(result.first_ns)} to {iso(result.last_ns)}",
        f"log L    {before:.6g} -> {after:.6g} ({result.iterations} steps, {result.evaluations} evaluations)",
    ]
    width = max(len(f.quantity.name) for f in result.fitted)
    lines += [f"fitted   {f.quantity.name:<{width}}  {describe(f)}" for f in result.fitted]
    where = "held out" if result.held_out else "fitted"
    for old, new in zip(result.before, result.after, strict=True):
        rmse, nis = f"{old.rmse:.5g} -> {new.rmse:.5g}", f"{old.nis:.4g} -> {new.nis:.4g}"
        lines.append(f"foresees {new.signal}: one-step RMSE {rmse}, mean NIS {nis} over {new.samples} samples {where}")
    return [*lines, *_correlations(result), *(f"warning  {warning}" for warning in result.warnings)]


def _correlations(result: Result) -> list[str]:
    """The lower triangle, of what has a standard error."""
    kept = [k for k, f in enumerate(result.fitted) if f.std == f.std]
    if len(kept) < 2:
        return []
    names = [result.fitted[k].quantity.name for k in kept]
    width = max(map(len, names))
    lines = ["correlation of the errors"]
    for row, k in enumerate(kept):
        cells = " ".join(f"{result.correlation[k, j]:+.2f}" for j in kept[: row + 1])
        lines.append(f"         {names[row]:<{width}}  {cells}")
    return lines


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == (NONE,) else names


def _bounds(text: str) -> tuple[str, tuple[float, float]]:
    name, _, span = text.rpartition("=")
    low, _, high = span.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = float("nan"), float("nan")
    if not name or not (-float("inf") < bounds[0] < bounds[1] < float("inf")):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LOW:HIGH")
    return name, bounds


def _time(text: str) -> int:
    from edgetwin.errors import PayloadError
    from edgetwin.http.times import parse_time

    try:
        return parse_time(text)
    except PayloadError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 up to 1")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)
