"""Checks of SunSpec points: models and points that exist, and their definition files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

from edgetwin.config.check_files import positive
from edgetwin.config.findings import Findings
from edgetwin.config.places import Path
from edgetwin.config.schema import ModbusSource, SunSpec
from edgetwin.config.sunspec import Model, Placed, own_models, read_model, register_of, sunspec_of

_ANYWHERE = 65_535


def check_sunspec(findings: Findings, base_dir: FilePath) -> None:
    """All files and points of the configuration."""
    models = {s.name: _models(findings, ("sources", i), s, base_dir) for i, s in _sources(findings)}
    for i, twin in enumerate(findings.config.twins):
        for name, signal in twin.signals.items():
            if signal.sunspec is not None and signal.source in models:
                wanted = sunspec_of(name, signal.sunspec)
                path: Path = ("twins", i, "signals", name, "sunspec")
                _check_point(findings, path, wanted, models[signal.source], written=isinstance(signal.sunspec, SunSpec))


def _sources(findings: Findings) -> list[tuple[int, ModbusSource]]:
    return [(i, s) for i, s in enumerate(findings.config.sources) if isinstance(s, ModbusSource)]


def _models(findings: Findings, path: Path, source: ModbusSource, base_dir: FilePath) -> Mapping[int, Model]:
    found: dict[int, Model] = {}
    for k, name in enumerate(source.sunspec_models):
        model = findings.attempt((*path, "sunspec_models", k), lambda name=name: read_model(base_dir / name))  # type: ignore[misc]
        if model is not None:
            found[model.id] = model
    return found


def _check_point(findings: Findings, path: Path, wanted: SunSpec, given: Mapping[int, Model], *, written: bool) -> None:
    model = given.get(wanted.model) or own_models().get(wanted.model)
    if model is None:
        message = f"SunSpec model {wanted.model} is unknown"
        hint = "give its JSON file in sunspec_models: of the source"
        findings.error((*path, "model") if written else path, message, hint)
        return
    placed = Placed(wanted.model, 0, _ANYWHERE)
    findings.attempt(path, lambda: register_of(model, wanted, placed))
    if wanted.every is not None:
        positive(findings, (*path, "every"), wanted.every)
