"""``edgetwin modbus probe``: find out what a Modbus device holds, and draft a configuration."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgetwin.sources.modbus.draft import FoundPoint
    from edgetwin.sources.modbus.survey import Span, Surveyor

TABLES = ("holding", "input", "coil", "discrete")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "find readable registers, guess what they hold and print a configuration; nothing is written"
    probe = commands.add_parser("probe", help=text, description=text.capitalize() + ".", allow_abbrev=False)
    probe.add_argument("url", metavar="URL", help="modbus+tcp://host[:502] and the other forms of a source's url")
    probe.add_argument("--unit", type=int, default=1, metavar="N", help="unit identifier (default: 1)")
    probe.add_argument("--range", default="0-999", metavar="FIRST-LAST", help="addresses to try (default: 0-999)")
    probe.add_argument("--table", action="append", choices=TABLES, help="only these tables (default: all four)")
    probe.add_argument("--readings", type=int, default=5, metavar="N", help="how often to read (default: 5)")
    probe.add_argument("--every", default="1s", metavar="1s", help="time between readings (default: 1s)")
    probe.add_argument("--timeout", default="1s", metavar="1s", help="how long to wait for an answer (default: 1s)")
    probe.add_argument("--rate", type=float, default=20.0, metavar="N", help="most requests a second (default: 20)")
    probe.add_argument("--requests", type=int, default=2000, metavar="N", help="most requests to search with")
    probe.add_argument("--out", type=Path, metavar="FILE", help="write the draft there instead of standard output")


def run(args: argparse.Namespace) -> int:
    """Progress goes to standard error. Raises ConfigError for the arguments, EdgetwinError when nothing answers."""
    from edgetwin.errors import EdgetwinError

    text = asyncio.run(_probe(args))
    if not text:
        message = f"unit {args.unit} gives none of the addresses {args.range}"
        raise EdgetwinError(message, hint="try another --range, --table or --unit")
    if args.out is not None:
        try:
            args.out.write_text(text, encoding="utf-8")
        except OSError as exc:
            sys.stdout.write(text)  # what took minutes is not thrown away
            raise EdgetwinError(f"{args.out} cannot be written ({exc.strerror})") from exc
        _say(f"written to {args.out}; try `edgetwin check {args.out}`")
    else:
        sys.stdout.write(text)
    return 0


async def _probe(args: argparse.Namespace) -> str:
    from edgetwin.clock import SystemClock
    from edgetwin.config.durations import parse_duration
    from edgetwin.config.schema import Duration, ModbusSource
    from edgetwin.errors import ConfigError
    from edgetwin.sources.modbus import Links
    from edgetwin.sources.modbus.draft import draft
    from edgetwin.sources.modbus.survey import Surveyor

    first, last = _range(args.range)
    if not 0 <= args.unit <= 255 or args.readings < 1 or not args.rate > 0 or args.requests < 1:
        raise ConfigError("--unit is 0 to 255; --readings, --rate and --requests are more than 0")
    timeout_s, every_s = parse_duration(args.timeout), parse_duration(args.every)
    clock = SystemClock()
    source = ModbusSource(name="device", url=args.url, unit=args.unit, timeout=Duration(timeout_s))
    link = Links(clock, Path()).link(source)
    surveyor = Surveyor(link, args.unit, clock, timeout_s=timeout_s, rate=args.rate, requests_max=args.requests)
    try:
        points = await _sunspec(surveyor) if args.table is None or "holding" in args.table else []
        spans: list[Span] = []
        for table in args.table or TABLES:
            found = await surveyor.find(table, first, last)
            spans += found
            where = ", ".join(f"{s.address}-{s.address + s.count - 1}" for s in found) or "nothing"
            _say(f"{table}: {where}")
        if surveyor.exhausted:
            _say(f"stopped searching after {surveyor.requests} requests; raise --requests or narrow --range")
        _say(f"reading {args.readings} times, every {args.every}")
        await surveyor.follow(spans, args.readings, every_s)
    finally:
        link.close()
    return draft(args.url, args.unit, spans, points)


async def _sunspec(surveyor: Surveyor) -> list[FoundPoint]:
    """The points of a SunSpec device that have a value."""
    from edgetwin.errors import PayloadError
    from edgetwin.sources.modbus.inventory import points_with_values

    try:
        points = await points_with_values(lambda address, count: surveyor.read("holding", address, count))
    except PayloadError as exc:
        _say(f"SunSpec: {exc.message}")
        return []
    _say(f"SunSpec: {len(points)} points have a value")
    return points


def _range(text: str) -> tuple[int, int]:
    from edgetwin.errors import ConfigError

    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    if found is None or not 0 <= int(found[1]) <= int(found[2]) <= 65_535:
        raise ConfigError(f"{text!r} is no range of addresses", hint="write FIRST-LAST, such as 0-999")
    return int(found[1]), int(found[2])


def _say(text: str) -> None:
    print(text, file=sys.stderr)
