"""What types cannot say: whether the parts of a configuration fit together.

Nothing is connected to and nothing is compiled; of files, only those that must be read at the start are looked at. The
findings are in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path as FilePath

from edgetwin.config.check_connections import check_connections
from edgetwin.config.check_files import positive
from edgetwin.config.check_outputs import check_control
from edgetwin.config.check_registers import check_read_twice
from edgetwin.config.check_sunspec import check_sunspec
from edgetwin.config.check_twins import check_twin
from edgetwin.config.check_units import check_model_units
from edgetwin.config.equations import equation_model
from edgetwin.config.findings import Finding, Findings
from edgetwin.config.models import BUILTIN
from edgetwin.config.schema import Config, CsvSource
from edgetwin.errors import ConfigError

__all__ = ["Finding", "check", "hinders", "replayable", "replays", "runnable"]


def check(config: Config, base_dir: FilePath) -> list[Finding]:
    """Every fault, everything this release cannot run yet and every warning.

    Where there are warnings only, the daemon or `edgetwin replay` can run it; see :func:`hinders`.
    ``base_dir`` is the directory of the configuration file, from which files it names are found.
    """
    findings = _findings(config, base_dir)
    if not replays(config):
        _refuse_recordings(findings)
    return findings.in_order()


def runnable(config: Config, base_dir: FilePath) -> None:
    """Return when the daemon can run the configuration; else raise the first finding as ConfigError."""
    findings = _findings(config, base_dir)
    _refuse_recordings(findings)
    for finding in filter(hinders, findings.in_order()):
        raise finding.error()


def replayable(config: Config, base_dir: FilePath) -> None:
    """Return when `edgetwin replay` can run the csv sources of the configuration; else raise the first finding."""
    findings = _findings(config, base_dir)
    if not any(isinstance(source, CsvSource) for source in config.sources):
        findings.error(("sources",), "there is no csv source to replay", "add one with kind: csv", key=True)
    for finding in filter(hinders, findings.in_order()):
        raise finding.error()


def hinders(finding: Finding) -> bool:
    """Whether a configuration with this finding cannot be run."""
    return finding.severity != "warning"


def replays(config: Config) -> bool:
    """Whether the configuration is for `edgetwin replay`: all its sources are recordings."""
    return all(isinstance(source, CsvSource) for source in config.sources)


def _findings(config: Config, base_dir: FilePath) -> Findings:
    """What is at fault whatever the command."""
    findings = Findings(config)
    _check_names(findings)
    _check_models(findings)
    positive(findings, ("journal", "every"), config.journal.every)
    check_connections(findings, base_dir)
    for i, twin in enumerate(config.twins):
        check_twin(findings, ("twins", i), twin)
    check_read_twice(findings)
    check_sunspec(findings, base_dir)
    check_control(findings, base_dir)
    _check_limits(findings)
    return findings


def _refuse_recordings(findings: Findings) -> None:
    for i, source in enumerate(findings.config.sources):
        if isinstance(source, CsvSource):
            findings.error(
                ("sources", i), "a csv source is not for the daemon", "run it with `edgetwin replay`, or remove it"
            )


def _check_names(findings: Findings) -> None:
    config = findings.config
    _distinct(findings, "sources", "source", [s.name for s in config.sources])
    _distinct(findings, "models", "model", [m.name for m in config.models])
    _distinct(findings, "twins", "twin", [t.name for t in config.twins])
    for i, model in enumerate(config.models):
        if model.name in BUILTIN:
            findings.error(("models", i, "name"), f"{model.name} is a built-in model", "choose another name")


def _check_models(findings: Findings) -> None:
    """Names, expressions and units of user models; :mod:`edgetwin.engine.soundness` compiles them."""
    for i, model in enumerate(findings.config.models):
        try:
            made = equation_model(model)
        except ConfigError as exc:
            findings.error(("models", i, *exc.path.split(".", 1)), exc.message, exc.hint)
        else:
            check_model_units(findings, ("models", i), model, made)


def _distinct(findings: Findings, section: str, what: str, names: Iterable[str]) -> None:
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in first:
            place = (section, i, "name")
            message = f"a {what} {findings.shown(place, name)} exists already: {section}[{first[name]}]"
            findings.error(place, message, "give each its own name")
        first.setdefault(name, i)


def _check_limits(findings: Findings) -> None:
    config = findings.config
    plain = sum(1 for twin in config.twins if "{" not in twin.name)
    if plain > config.limits.twins:
        message = f"{plain} twins are listed, more than limits.twins ({config.limits.twins})"
        findings.error(("limits", "twins"), message, f"raise it to at least {plain}")
    topics = {s.topic for t in config.twins for s in t.signals.values() if s.topic and "{" not in s.topic}
    if len(topics) > config.limits.topics:
        message = f"{len(topics)} topics are listed, more than limits.topics ({config.limits.topics})"
        findings.error(("limits", "topics"), message, f"raise it to at least {len(topics)}")
