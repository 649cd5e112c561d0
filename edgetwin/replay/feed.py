"""The csv sources of a configuration as one stream of samples in the order of a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.findings import Findings
from edgetwin.config.schema import Config, CsvSource
from edgetwin.engine import Engine
from edgetwin.errors import ConfigError
from edgetwin.sources.formats import open_recording
from edgetwin.sources.recording import Recording, Rows

SAMPLES_MAX = 65_536
"""Samples in one block; what is held in memory is a small multiple of it, whatever the files."""

_ROWS_LEAST = 256


@dataclass(frozen=True, slots=True)
class Block:
    """Samples in the order in which the clock reaches them.

    ``source`` int32[n] and ``slot`` int32[n] as in the engine, ``t_ns`` int64[n] as recorded, ``now_ns`` int64[n] the
    clock: the latest time its file has shown so far, ``value`` float64[n] raw.
    """

    source: NDArray[np.int32]
    slot: NDArray[np.int32]
    t_ns: NDArray[np.int64]
    now_ns: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.slot)

    def part(self, start: int, stop: int) -> Block:
        """Samples ``start`` to ``stop`` (exclusive)."""
        cut = slice(start, stop)
        return Block(self.source[cut], self.slot[cut], self.t_ns[cut], self.now_ns[cut], self.value[cut])


@dataclass(frozen=True, slots=True)
class BoundFile:
    """One file and the slots that its columns feed, in the order of the configuration."""

    source: int
    recording: Recording
    config: CsvSource
    columns: tuple[str, ...]
    place: NDArray[np.int64]
    slots: NDArray[np.int32]

    def blocks(self, rows_max: int) -> Iterator[Block]:
        """Its samples, those of a row in the order of the configuration. SourceError where it cannot be read."""
        clock = np.int64(np.iinfo(np.int64).min)
        for rows in self.recording.read(self.config.time, self.config.time_unit, self.columns, rows_max):
            block = self._block(rows, clock)
            if len(block):
                yield block
            if len(rows.t_ns):
                clock = max(clock, rows.t_ns.max())

    def _block(self, rows: Rows, clock: np.int64) -> Block:
        cells = rows.values[:, self.place]
        row, binding = np.nonzero(~np.isnan(cells))
        now = np.maximum(np.maximum.accumulate(rows.t_ns), clock)
        source = np.full(len(row), self.source, np.int32)
        return Block(source, self.slots[binding], rows.t_ns[row], now[row], cells[row, binding])


def bind(config: Config, engine: Engine, base: Path) -> list[BoundFile]:
    """Open the files that signals are bound to; paths are relative to ``base``.

    SourceError when a file cannot be opened, ConfigError (located) when it lacks a column.
    """
    findings = Findings(config)
    bound = []
    for i, source in enumerate(config.sources):
        if not isinstance(source, CsvSource):
            continue
        bindings = [
            (str(signal.column), slot_of[name], ("twins", t, "signals", name, "column"))
            for t, twin in enumerate(config.twins)
            for slot_of in [next(x.slots for x in engine.instances() if x.name == twin.name)]
            for name, signal in twin.signals.items()
            if signal.source == source.name
        ]
        if not bindings:
            continue
        recording = open_recording(base / source.path)
        places = [(source.time, ("sources", i, "time")), *((c, path) for c, _, path in bindings)]
        for column, path in places:
            if recording.names.count(column) != 1:
                _refuse(findings, path, column, source, recording.names)
        columns = tuple(dict.fromkeys(column for column, _, _ in bindings))
        place = np.array([columns.index(column) for column, _, _ in bindings], np.int64)
        slots = np.array([slot for _, slot, _ in bindings], np.int32)
        bound.append(BoundFile(i, recording, source, columns, place, slots))
    return bound


def _refuse(
    findings: Findings, path: tuple[str | int, ...], column: str, source: CsvSource, names: Sequence[str]
) -> None:
    if column in names:
        findings.error(path, f"{source.path} has several columns {findings.shown(path, column)}", "rename one of them")
    else:
        findings.unknown(path, f"column of {source.path}", column, list(names))
    error: ConfigError = findings.found[-1].error()
    raise error


def merged(files: Sequence[BoundFile], samples_max: int = SAMPLES_MAX) -> Iterator[Block]:
    """All samples by the clock, those of one instant in the order of the sources and, within one, of the file.

    A file's rows keep their order: one that is older than a row before it comes when the clock has reached the latter.
    """
    cells = sum(len(file.slots) for file in files)
    rows_max = max(samples_max // max(cells, 1), min(_ROWS_LEAST, samples_max))
    streams = [file.blocks(rows_max) for file in files]
    heads: list[Block | None] = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        _, last = min((int(head.now_ns[-1]), k) for k, head in enumerate(heads) if head is not None)
        block = _take(heads, last)
        for start in range(0, len(block), samples_max):
            yield block.part(start, start + samples_max)
        for k, head in enumerate(heads):
            if head is not None and not len(head):
                heads[k] = next(streams[k], None)


def _take(heads: list[Block | None], last: int) -> Block:
    """Everything no later, by (clock, source), than the end of head ``last``; nothing earlier can still come."""
    pivot = heads[last]
    assert pivot is not None
    horizon = pivot.now_ns[-1]
    parts = []
    for k, head in enumerate(heads):
        if head is None:
            continue
        cut = int(np.searchsorted(head.now_ns, horizon, side="right" if k <= last else "left"))
        parts.append(head.part(0, cut))
        heads[k] = head.part(cut, len(head))
    if len(parts) == 1:
        return parts[0]
    now = np.concatenate([part.now_ns for part in parts])
    order = np.argsort(now, kind="stable")
    return Block(
        np.concatenate([part.source for part in parts])[order],
        np.concatenate([part.slot for part in parts])[order],
        np.concatenate([part.t_ns for part in parts])[order],
        now[order],
        np.concatenate([part.value for part in parts])[order],
    )
