"""The options of ``edgetwin simulate`` as the scenario that the HTTP API takes."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetwin.errors import ConfigError

DISTRIBUTIONS = {"normal": 2, "uniform": 2, "lognormal": 2, "triangular": 3}
"""Names and how many figures each takes."""


def request(args: argparse.Namespace) -> dict[str, Any]:
    """The scenario. Raises ConfigError with the option in its ``path``."""
    inputs: dict[str, Any] = _file(Path(args.inputs)) if args.inputs else {}
    for option, read in (("--input", _held), ("--ramp", _ramp)):
        for text in getattr(args, option.removeprefix("--")):
            name, value = _assignment(option, text)
            inputs[name] = _read(option, text, read, value)
    scenario: dict[str, Any] = {
        "horizon": _when(args.horizon),
        "members": args.members,
        "seed": args.seed,
        "inputs": inputs,
    }
    scenario["parameters"] = {}
    for text in args.parameter:
        name, value = _assignment("--parameter", text)
        scenario["parameters"][name] = _read("--parameter", text, _parameter, value)
    if args.step is not None:
        scenario["step"] = _when(args.step)
    if args.no_noise:
        scenario["noise"] = False
    if args.quantiles is not None:
        scenario["quantiles"] = _read("--quantiles", args.quantiles, _numbers, args.quantiles)
    return scenario


def _assignment(option: str, text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise ConfigError(f"{text!r} is not NAME=…", path=option, hint="such as heater=75")
    return name, value


def _read(option: str, text: str, read: Callable[[str], Any], value: str) -> Any:
    try:
        return read(value)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is not understood", path=option, hint="edgetwin simulate --help") from exc


def _held(text: str) -> Any:
    return _points(text) if ":" in text else float(text)


def _ramp(text: str) -> Any:
    return {"points": _points(text), "linear": True}


def _points(text: str) -> list[list[Any]]:
    pairs = [point.partition(":") for point in text.split(",")]
    return [[_when(when), float(value)] for when, _, value in pairs]


def _when(text: str) -> float | str:
    """Seconds when it is a number, else a duration."""
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _parameter(text: str) -> Any:
    kind, colon, rest = text.partition(":")
    if not colon:
        return float(text)
    figures = _numbers(rest)
    if DISTRIBUTIONS.get(kind) != len(figures):
        raise ValueError(text)
    return {kind: figures}


def _file(path: Path) -> dict[str, Any]:
    """Inputs from a CSV file: ``t`` first, then a column for each input; an empty cell leaves its input as it is."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            lines = [line for line in csv.reader(f) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"cannot be read ({exc})", path="--inputs", file=str(path)) from exc
    if not lines or len(lines[0]) < 2 or lines[0][0].strip() != "t":
        raise ConfigError("needs a header: t, then the inputs", path="--inputs", file=str(path), line=1)
    names = [name.strip() for name in lines[0][1:]]
    inputs: dict[str, Any] = {name: [] for name in names}
    for number, (when, *cells) in enumerate(lines[1:], start=2):
        if len(cells) != len(names):
            raise ConfigError(f"has {1 + len(cells)} cells, not {1 + len(names)}", file=str(path), line=number)
        for name, cell in zip(names, cells, strict=True):
            if cell.strip():
                inputs[name].append([_when(when), _cell(cell, path, number, name)])
    return {name: points for name, points in inputs.items() if points}


def _cell(text: str, path: Path, line: int, name: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is not a number", path=name, file=str(path), line=line) from exc
