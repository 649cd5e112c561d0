"""``edgetwin simulate``: what-if from the command line, of a running gateway or of a configuration.

With a URL the gateway simulates its live twin. With a configuration the twin starts where the journal in its
``state_dir`` has it, at its last fused sample; without one, a twin with equations starts from their initial values.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetwin.config.schema import Config
    from edgetwin.engine import Engine

_SCHEDULE = "NAME=VALUE or NAME=WHEN:VALUE,WHEN:VALUE…; WHEN is a duration after the start"
_EPILOG = """NAME=VALUE fixes a parameter; NAME=normal:MEAN,STD, uniform:LOW,HIGH, lognormal:MEAN,STD (of the parameter
itself) and triangular:LOW,MODE,HIGH spread it over the members."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("where", metavar="CONFIG|URL", help="a YAML file, or the URL of a running gateway")
    parser.add_argument("twin", metavar="TWIN", help="name of the twin")
    parser.add_argument("--for", "--horizon", dest="horizon", required=True, metavar="1h", help="how far to look ahead")
    parser.add_argument("--step", metavar="10s", help="time between output times (default: a 100th of the horizon)")
    parser.add_argument(
        "--members", type=int, default=1000, metavar="N", help="members of the ensemble (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: 0)")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=…", help=f"held: {_SCHEDULE}")
    parser.add_argument("--ramp", action="append", default=[], metavar="NAME=…", help="as --input, straight between")
    parser.add_argument("--inputs", metavar="FILE", help="CSV: t (seconds or durations), then a column for each input")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=…", help="see below")
    parser.add_argument("--no-noise", action="store_true", help="leave out the process noise from the start on")
    parser.add_argument("--quantiles", metavar="0.05,0.5,0.95", help="shares of the members (default: 0.05 … 0.95)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, as the HTTP API gives it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every output time as CSV")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer. Raises ConfigError with the place in the scenario, or EdgetwinError."""
    import msgspec

    from edgetwin.cli.scenario import request
    from edgetwin.cli.simulation import rows, table, write_csv

    body = msgspec.json.encode(request(args))
    remote = args.where.startswith(("http://", "https://"))
    answer = _ask(args.where, args.twin, body) if remote else _simulate(Path(args.where), args.twin, body)
    found: dict[str, Any] = msgspec.json.decode(answer)
    if args.out is not None:
        write_csv(args.out, rows(found))
    if args.json:
        sys.stdout.write(msgspec.json.format(answer, indent=2).decode() + "\n")
    else:
        print("\n".join(table(found)))
    return 0


def _ask(base: str, twin: str, body: bytes) -> bytes:
    """The answer of a running gateway."""
    from urllib.parse import quote

    from edgetwin.cli.gateway import post

    status, answer = post(base, f"twins/{quote(twin, safe='')}/simulate", body)
    if status != 200:
        raise _refused(status, answer)
    return answer


def _refused(status: int, body: bytes) -> Exception:
    """The error that a problem document tells of: of the scenario, or of something else."""
    import msgspec

    from edgetwin.errors import ConfigError, EdgetwinError

    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return EdgetwinError(f"the gateway answered {status}", hint="is this the URL of edgetwin's HTTP API?")
    detail, hint = str(problem.get("detail", status)), str(problem.get("hint", ""))
    if status in (404, 422):
        return ConfigError(detail, hint=hint, path=str(problem.get("path", "")))
    return EdgetwinError(detail, hint=hint)


def _simulate(path: Path, twin: str, body: bytes) -> bytes:
    """The answer, computed here."""
    import os

    from edgetwin.config.hints import suggest
    from edgetwin.config.load import load
    from edgetwin.engine.forks import fork
    from edgetwin.engine.requests import read_scenario, seconds
    from edgetwin.engine.scenario import check
    from edgetwin.engine.whatif import Simulator
    from edgetwin.errors import ConfigError
    from edgetwin.http.simulate import encode

    config = load(path)
    engine = _engine(config, path.parent)
    try:
        copied = fork(engine, twin, None)
    except KeyError:
        hint = suggest(twin, engine.names()) or "templates have twins only in the state_dir of one that heard them"
        raise ConfigError(f"there is no twin {twin!r}", hint=hint) from None
    scenario = read_scenario(body, seconds)
    check(copied, scenario, config.limits.simulation_steps)
    return encode(Simulator(len(os.sched_getaffinity(0))).run(copied, scenario))


def _engine(config: Config, directory: Path) -> Engine:
    """The twins, as the journal has them. JournalError, ConfigError when its state cannot be used."""
    from edgetwin.clock import SystemClock
    from edgetwin.engine import Engine
    from edgetwin.journal.inspect import ReadOnlyJournal, holds_journal
    from edgetwin.runtime.checkpoint import FOLDER, restore

    engine = Engine(config)
    if config.state_dir is not None and holds_journal(place := directory / config.state_dir / FOLDER):
        journal = ReadOnlyJournal(place)
        restore(journal.state(), journal.positions(), engine, SystemClock().wall_ns())
    return engine
