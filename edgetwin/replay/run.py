"""A replay from the files to the tables, wired in data order.

::

    files ─blocks─▶ engine.ingest_traced ─┬▶ scores.csv, summary.json
                                          └windows─┬▶ states.csv
                                                   └reports─▶ frames.etf

The clock stands at the time of the sample being judged, so nothing lies in its future. What falls on the very end of a
block waits for the next one, which may hold more of that instant: the output does not depend on how files are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from edgetwin.clock import NS, Clock, SystemClock
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.errors import SourceError
from edgetwin.records import Batch
from edgetwin.replay.feed import SAMPLES_MAX, Block, bind, merged
from edgetwin.replay.frames import Frames
from edgetwin.replay.reports import Reports
from edgetwin.replay.scores import Scores
from edgetwin.replay.states import States
from edgetwin.replay.summary import ReplaySummary, Tally, write_summary
from edgetwin.replay.tables import Table
from edgetwin.replay.window import Window

FILES = ("states.csv", "scores.csv", "alarms.csv", "frames.etf", "summary.json")
STATES_COLUMNS = ("t", "twin", "state", "mean", "std")
SCORES_COLUMNS = ("t", "twin", "signal", "value", "predicted", "std", "nis", "score")
ALARMS_COLUMNS = ("t", "twin", "alarm", "event")


@dataclass(frozen=True, slots=True)
class Result:
    """``summary`` is what ``summary.json`` holds; ``engine_s`` the time the engine took, by the machine's clock."""

    summary: ReplaySummary
    engine_s: float


def replay(
    config: Config,
    base: Path,
    out: Path,
    *,
    every_s: float | None = None,
    clock: Clock | None = None,
    samples_max: int = SAMPLES_MAX,
) -> Result:
    """Run the csv sources of ``config``, whose paths are relative to ``base``, and write FILES into ``out``.

    ``every_s`` puts ``states.csv`` on a grid. A file appears under its name when the run has succeeded, so what stands
    there is always whole. SourceError when a file cannot be read or written, ConfigError when one lacks a column.
    """
    engine = Engine(config)
    files = bind(config, engine, base)
    with _outputs(out) as opened:
        run = _Run(engine, opened, every_s, clock or SystemClock())
        for block in merged(files, samples_max):
            run.add(block)
        return run.finish()


class _Run:
    """One pass over the samples."""

    def __init__(self, engine: Engine, files: dict[str, IO[bytes]], every_s: float | None, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._engine_ns = 0
        self._start_ns: int | None = None
        every_ns = None if every_s is None else max(round(every_s * NS), 1)
        self._states = States(engine, Table(files["states.csv"], STATES_COLUMNS), every_ns)
        self._scores = Scores(engine, Table(files["scores.csv"], SCORES_COLUMNS))
        Table(files["alarms.csv"], ALARMS_COLUMNS)
        self._reports = Reports(engine)
        self._frames = Frames(engine, files["frames.etf"], self._reports.tick_ns)
        self._tally = Tally(engine)
        self._summary_file = files["summary.json"]
        _compile(engine)

    def add(self, block: Block) -> None:
        """Judge the samples of a block and write what they settle."""
        if self._start_ns is None:
            self._start_ns = int(block.now_ns[0])
        end_ns = int(block.now_ns[-1])
        before = [bank.rows.copy() for bank in self._engine.banks]
        begun = self._clock.monotonic_ns()
        trace = self._engine.ingest_traced(block.source, Batch(block.slot, block.t_ns, block.value), end_ns)
        self._engine_ns += self._clock.monotonic_ns() - begun
        windows = [
            Window(bank, self._engine.tracing.of(bank), rows, self._start_ns, block, one)
            for bank, rows, one in zip(self._engine.banks, before, trace.banks, strict=True)
        ]
        self._scores.add(block, trace)
        self._tally.add(block, trace)
        self._states.add(windows, block, self._start_ns, end_ns)
        for report in self._reports.due(windows, end_ns):
            self._frames.add(report)
        self._start_ns = end_ns

    def finish(self) -> Result:
        """Settle the last instant, and sum up."""
        if self._start_ns is not None:
            end_ns = self._start_ns + 1
            windows = [Window(b, self._engine.tracing.of(b), b.rows, self._start_ns) for b in self._engine.banks]
            self._states.add(windows, None, self._start_ns, end_ns)
            for report in self._reports.due(windows, end_ns, last=True):
                self._frames.add(report)
        self._frames.flush()
        summary = self._tally.summary(self._frames)
        write_summary(summary, self._summary_file)
        return Result(summary, self._engine_ns / NS)


def _compile(engine: Engine) -> None:
    """Have the engine's kernels ready before its time is taken."""
    nothing = np.zeros(0, np.int32)
    engine.ingest_traced(nothing, Batch(nothing, nothing.astype(np.int64), nothing.astype(np.float64)), 0)


@contextmanager
def _outputs(out: Path) -> Iterator[dict[str, IO[bytes]]]:
    """The files of ``out``, open under provisional names; put in place when all went well, else removed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        partial = {name: out / f".{name}.partial" for name in FILES}
        try:
            with ExitStack() as stack:
                yield {name: stack.enter_context(path.open("wb")) for name, path in partial.items()}
            for name, path in partial.items():
                path.replace(out / name)
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)
    except OSError as exc:
        raise SourceError(
            f"cannot write into {out}: {exc.strerror}", hint="name a directory that can be written"
        ) from exc
