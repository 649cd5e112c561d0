"""The recorded samples of one twin, in order of their times, in independent stretches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.findings import Findings
from edgetwin.config.origin import changed
from edgetwin.config.schema import Config, CsvSource
from edgetwin.engine import Engine, TwinInstance
from edgetwin.engine.bank import Bank
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.errors import FitError
from edgetwin.replay.feed import BoundFile, bind, merged


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch: the filter starts anew at its first sample.

    ``slot`` int32[n] as in the engine, ``t_ns`` int64[n] ascending, ``value`` float64[n] raw. The first ``train``
    samples are fitted; those behind are held out. ``file`` is where they come from.
    """

    file: str
    slot: NDArray[np.int32]
    t_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    train: int

    def __len__(self) -> int:
        return len(self.slot)

    def where(self, keep: NDArray[np.bool_]) -> Segment:
        """Only the samples at ``keep`` bool[n]."""
        train = int(np.count_nonzero(keep[: self.train]))
        return Segment(self.file, self.slot[keep], self.t_ns[keep], self.value[keep], train)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples: in ``files`` (none: those of the configuration) from ``from_ns`` up to, without, ``to_ns``; a
    silence longer than ``gap_s`` starts a new stretch; the last ``validate`` (0 to 1) of each is held out."""

    files: tuple[Path, ...] = ()
    from_ns: int | None = None
    to_ns: int | None = None
    gap_s: float | None = None
    validate: float = 0.0


def read_segments(findings: Findings, index: int, engine: Engine, base: Path, selection: Selection) -> list[Segment]:
    """The samples of twin ``index``; files of the configuration are relative to ``base``, others to where we are.

    ConfigError (located) when the twin is not bound to a recording, SourceError when one cannot be read, FitError when
    nothing of it is left.
    """
    config = findings.config
    instance = _instance(findings, index, engine)
    sources = _sources(findings, index, selection)
    made: list[Segment] = []
    for file in selection.files or (None,):
        replaced = config if file is None else _with_path(config, sources[0], file.absolute())
        name = str(file) if file is not None else ", ".join(str(_source(config, s).path) for s in sources)
        bound = [part for part in (_only(b, instance) for b in bind(replaced, engine, base)) if len(part.slots)]
        made += _segments(name, bound, selection)
    measured = np.array(_measured(engine, instance), np.int32)
    if not any(np.isin(segment.slot, measured).any() for segment in made):
        span = " between --from and --to" if selection.from_ns is not None or selection.to_ns is not None else ""
        files = ", ".join(map(str, selection.files)) or ", ".join(str(_source(config, s).path) for s in sources)
        raise FitError(f"no measurement of {instance.name} in {files}{span}", hint="check the columns and the times")
    return made


def _instance(findings: Findings, index: int, engine: Engine) -> TwinInstance:
    name = findings.config.twins[index].name
    for instance in engine.instances():
        if instance.name == name:
            return instance
    findings.error(("twins", index, "name"), f"{name} is a template", "fit a twin with a plain name")
    raise findings.found[-1].error()


def _sources(findings: Findings, index: int, selection: Selection) -> list[str]:
    """The csv sources that feed the twin."""
    config, twin = findings.config, findings.config.twins[index]
    csv = [source.name for source in config.sources if isinstance(source, CsvSource)]
    mine = [name for name in csv if any(signal.source == name for signal in twin.signals.values())]
    if not mine:
        hint = "bind its signals to the columns of a csv source"
        findings.error(("twins", index, "signals"), f"no recorded data for {twin.name}", hint, key=True)
        raise findings.found[-1].error()
    if selection.files and len(mine) > 1:
        message = f"{twin.name} is fed by several recordings: {', '.join(mine)}"
        findings.error(("twins", index, "signals"), message, "--files is for twins with one", key=True)
        raise findings.found[-1].error()
    return mine


def _source(config: Config, name: str) -> CsvSource:
    return next(s for s in config.sources if isinstance(s, CsvSource) and s.name == name)


def _with_path(config: Config, source: str, file: Path) -> Config:
    sources = [
        msgspec.structs.replace(s, path=str(file)) if s.name == source and isinstance(s, CsvSource) else s
        for s in config.sources
    ]
    return changed(config, sources=sources)


def _only(file: BoundFile, instance: TwinInstance) -> BoundFile:
    """The file with what it brings to one twin."""
    mine = np.isin(file.slots, np.array(list(instance.slots.values()), np.int32))
    return replace(file, place=file.place[mine], slots=file.slots[mine])


def bank_of(engine: Engine, instance: TwinInstance) -> Bank:
    """The bank that holds the twin's rows."""
    return next(b for b in engine.banks if any(name == instance.name for name, _ in b.keys))


def _measured(engine: Engine, instance: TwinInstance) -> list[int]:
    bank = bank_of(engine, instance)
    if isinstance(bank, EquationBank):
        return [slot for signal, slot in instance.slots.items() if signal in bank.model.measurements]
    return list(instance.slots.values())


def _segments(name: str, files: Sequence[BoundFile], selection: Selection) -> list[Segment]:
    blocks = list(merged(files))
    if not blocks:
        return []
    slot = np.concatenate([b.slot for b in blocks])
    t_ns = np.concatenate([b.t_ns for b in blocks])
    value = np.concatenate([b.value for b in blocks])
    order = np.lexsort((value, slot, t_ns))
    low = -np.inf if selection.from_ns is None else selection.from_ns
    high = np.inf if selection.to_ns is None else selection.to_ns
    order = order[(t_ns[order] >= low) & (t_ns[order] < high)]
    slot, t_ns, value = slot[order], t_ns[order], value[order]
    cuts = np.zeros(0, np.int64)
    if selection.gap_s is not None:
        cuts = np.flatnonzero(np.diff(t_ns) > selection.gap_s * NS) + 1
    pieces = zip(np.split(slot, cuts), np.split(t_ns, cuts), np.split(value, cuts), strict=True)
    return [Segment(name, s, t, v, round(len(s) * (1 - selection.validate))) for s, t, v in pieces if len(s)]
