"""The answer of a what-if for people and for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgetwin.config.durations import format_duration
from edgetwin.errors import EdgetwinError

LINES = 10
"""Output times in a table for people, besides the first."""


def rows(answer: dict[str, Any]) -> Iterator[list[Any]]:
    """A header and a row for each output time and each state or measurement; empty where no member has a value."""
    figures = _figures(answer)
    yield ["t", "name", "unit", *figures]
    for k, t in enumerate(answer["times"]):
        for name, band in _bands(answer).items():
            yield [t, name, band["unit"], *(band[figure][k] for figure in figures)]


def write_csv(path: Path, lines: Iterator[list[Any]]) -> None:
    """Raises EdgetwinError when the file cannot be written."""
    try:
        with path.open("w", newline="", encoding="utf-8") as f:
            csv.writer(f).writerows(lines)
    except OSError as exc:
        raise EdgetwinError(f"{path} cannot be written ({exc.strerror})") from exc


def table(answer: dict[str, Any]) -> list[str]:
    """Lines of text: what was asked, then each state and measurement at some of the output times."""
    figures, times = _figures(answer), answer["times"]
    start = answer["from"] or "the model's initial state"
    noise = "" if answer["noise"] else ", no process noise"
    lines = [f"{answer['twin']} from {start}: {answer['members']} members, seed {answer['seed']}{noise}"]
    for count, text in (("excluded", "left: not finite"), ("coarse", "were integrated coarsely: take shorter steps")):
        if answer[count]:
            lines.append(f"{answer[count]} members {text}")
    shown = sorted({round(k * (len(times) - 1) / LINES) for k in range(LINES + 1)})
    for name, band in _bands(answer).items():
        unit = f" [{band['unit']}]" if band["unit"] else ""
        lines += ["", f"{name}{unit}", "".join(f"{head:>12}" for head in ("after", *figures))]
        for k in shown:
            cells = [format_duration(round(times[k], 6)), *(_number(band[figure][k]) for figure in figures)]
            lines.append("".join(f"{cell:>12}" for cell in cells))
    return lines


def _bands(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """States, and the measurements that are not simply a state of that name."""
    bands: dict[str, dict[str, Any]] = dict(answer["states"])
    for name, band in answer["measurements"].items():
        if name not in bands:
            bands[name] = band
        elif band != bands[name]:
            bands[f"{name} (measured)"] = band
    return bands


def _figures(answer: dict[str, Any]) -> list[str]:
    first = next(iter(answer["states"].values()))
    return [figure for figure in first if figure != "unit"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
