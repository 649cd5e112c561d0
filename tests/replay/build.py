"""Recordings and configurations for tests."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgetwin.config.load import load
from edgetwin.config.schema import Config
from edgetwin.replay.run import replay

T0 = 1_700_000_000

ONE = """\
gateway: g
sources:
  - {name: file, kind: csv, path: file.csv}
twins:
  - name: m
    signals:
      x: {source: file, column: x}
"""

TWO = """\
gateway: g
sources:
  - {name: b, kind: csv, path: b.csv}
  - {name: a, kind: csv, path: a.csv.gz, time: when, time_unit: ms}
models:
  - name: lag
    states: {level: {initial: 0, std: 10, unit: m}}
    inputs: {flow: {unit: l/s}}
    parameters: {leak: 0.05}
    derivatives: {level: "0.1 * flow - leak * level"}
    process_noise: {level: 0.05}
    measurements: {deep: level, shallow: "level - 1"}
twins:
  - name: tank
    model: lag
    signals:
      deep: {source: a, column: deep, noise: 0.2}
      flow: {source: b, column: flow}
    report: {every: 3s}
  - name: pump
    model: auto
    lateness: 4s
    signals:
      speed: {source: b, column: speed, range: [-50, 50], unit: rpm}
      copy: {source: a, column: deep}
    report: {every: 2s}
  - name: other
    model: random_walk
    stale_after: 3s
    signals:
      speed: {source: b, column: speed, scale: 2, offset: 1}
"""


def write(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV; gzipped where the name says so."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_two(folder: Path, n: int = 240, seed: int = 1) -> None:
    """The files of TWO: gaps, spikes, repeats, late rows, text beside the values, a silence."""
    rng = np.random.default_rng(seed)
    rows_b = []
    t = float(T0)
    for k in range(n):
        t += float(rng.choice([0.0, 0.5, 1.0, 1.0, 1.0, 7.25])) + (60.0 if k == n // 2 else 0.0)
        late = float(rng.choice([0.0, 0.0, 0.0, 2.0, 9.0]))
        speed = "" if rng.random() < 0.1 else round(float(np.sin(k / 9) * 10 + rng.normal()), 3)
        speed = 900.0 if k == 50 else speed
        rows_b.append([f"{t - late:.3f}", "some, text", speed, round(float(rng.random()), 2) if k % 3 else "NaN"])
    write(folder / "b.csv", ["t", "note", "speed", "flow"], rows_b)
    rows_a = [
        [1000 * T0 + 1000 * k, round(float(rng.normal()) + (30 if k % 41 == 40 else 0), 4)] for k in range(n) if k % 6
    ]
    write(folder / "a.csv.gz", ["when", "deep"], rows_a)


def configured(folder: Path, text: str, name: str = "replay.yaml") -> Config:
    """The configuration ``text``, as a file of the folder."""
    path = folder / name
    path.write_text(text)
    return load(path, {})


def run(folder: Path, text: str, name: str = "out", **options: object) -> Path:
    """Replay a configuration and return the directory of the results."""
    out = folder / name
    replay(configured(folder, text), folder, out, **options)  # type: ignore[arg-type]
    return out


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
