"""Whether the models by equations can be run: each is compiled as the daemon would, tried, and judged.

Faults: equations that do not compile, and twins that diverge between two reports because their model is too stiff for
its sub-steps. Warnings: states that no signal tells, expressions without a finite value at the start, and models that
diverge when a signal falls silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgetwin.clock import NS
from edgetwin.config.equations import EquationModel, equation_model, of_twin, with_noise_of
from edgetwin.config.findings import Finding, Findings
from edgetwin.config.models import BUILTIN, user_model
from edgetwin.config.places import Path
from edgetwin.config.schema import Config, ModbusSource, Twin
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.errors import EdgetwinError
from edgetwin.model.compiler import compile_equations
from edgetwin.model.duals import linearised
from edgetwin.model.observability import Unobservable, points, unobservable
from edgetwin.runtime.warmup import compile_bank

SILENCE = 5.0
"""Seconds that a state is extrapolated at least before a twin without ``stale_after`` counts as stale."""

FOLLOWED = 2_000.0
"""Time constants that the generated code follows accurately: 10,000 sub-steps of a fifth."""

_START = 1_000_000_000 * NS


@dataclass(frozen=True, slots=True)
class _Use:
    """A model as one twin uses it; ``twin`` None for an entry of ``models`` that none uses."""

    place: Path
    twin_place: Path
    model: EquationModel
    twin: Twin
    used: bool

    def at(self, *below: str) -> Path:
        """A place in the model's entry; the twin's ``model`` when it comes from the library."""
        return (*self.place, *below) if self.place[0] == "models" else self.place


def unsound(config: Config) -> list[Finding]:
    """What is to be said of the models by equations, in the order of the file.

    The configuration has passed :func:`edgetwin.config.check.check`. Compiling takes seconds for a model that the cache
    does not hold.
    """
    findings = Findings(config)
    banks: dict[str, EquationBank | None] = {}
    told: set[tuple[object, ...]] = set()
    for use in _uses(config):
        name = use.model.name
        if name not in banks:
            banks[name] = _compiled(findings, use, config)
            if use.place[0] == "models":
                _observe_model(findings, use)
        bank = banks[name]
        key = (name, repr(use.model), tuple(use.twin.signals), use.twin.report.every, use.twin.stale_after)
        if bank is None or key in told:
            continue
        told.add(key)
        if _is_defined(findings, use):
            _try(findings, use, bank, config)
        if use.used:
            _observe_twin(findings, use)
    unique = dict.fromkeys(findings.found)
    return sorted(unique, key=lambda f: (f.line, f.column))


def _uses(config: Config) -> Iterator[_Use]:
    for j, twin in enumerate(config.twins):
        user = None if twin.model in BUILTIN else user_model(config, twin.model)
        if user is None:
            continue
        index = next((i for i, m in enumerate(config.models) if m.name == twin.model), None)
        place: Path = ("twins", j, "model") if index is None else ("models", index)
        yield _Use(place, ("twins", j), of_twin(equation_model(user), twin), twin, used=True)
    taken = {twin.model for twin in config.twins}
    for i, model in enumerate(config.models):
        if model.name not in taken:
            twin = Twin(name=model.name, model=model.name, signals={})
            yield _Use(("models", i), (), equation_model(model), twin, used=False)


def _compiled(findings: Findings, use: _Use, config: Config) -> EquationBank | None:
    """The bank of a model, its kernels compiled; None, with the reason noted, when they cannot be."""
    user = user_model(config, use.model.name)
    assert user is not None
    model = equation_model(user)
    try:
        kernels = compile_equations(with_noise_of(model, [t for t in config.twins if t.model == model.name]))
        bank = EquationBank(model, kernels)
        compile_bank(bank)
    except EdgetwinError as exc:
        findings.error(use.at(), f"does not compile: {exc.message}", exc.hint)
    except Exception as exc:  # SymPy and numba raise whatever they meet
        reason = str(exc).strip().splitlines() or [type(exc).__name__]
        findings.error(use.at(), f"does not compile: {reason[0]}", "simplify the equations, or run `edgetwin warmup`")
    else:
        return bank
    return None


# ---- observability


def _observe_model(findings: Findings, use: _Use) -> None:
    """With all that the model measures."""
    measured = list(use.model.measurements)
    for hidden in unobservable(use.model, measured, use.twin.report.every):
        message = _hidden(hidden, use.model, measured)
        findings.warning(use.at("measurements"), message, "add a measurement of it, or leave it out", key=True)


def _observe_twin(findings: Findings, use: _Use) -> None:
    """With what this twin has signals for; what not even the whole model tells is said at the model."""
    every = use.twin.report.every
    measured = [name for name in use.model.measurements if name in use.twin.signals]
    others = [name for name in use.model.measurements if name not in measured]
    known = use.place[0] == "models" and len(unobservable(use.model, list(use.model.measurements), every))
    found = unobservable(use.model, measured, every)
    if len(found) <= int(known):
        return
    hint = f"bind a signal to {' or '.join(others)}" if others else "use a model without it"
    for hidden in found:
        findings.warning((*use.twin_place, "signals"), _hidden(hidden, use.model, measured), hint, key=True)


def _hidden(found: Unobservable, model: EquationModel, measured: list[str]) -> str:
    by = " and ".join(measured)
    if len(found.states) == 1:
        known = "it is what the equations say" if found.fades else "what is not known of it at the start stays so"
        return f"state {found.states[0]} cannot be observed from {by}: {known}"
    parts = []
    for name, amount in zip(found.states, found.amounts, strict=True):
        unit = model.states[name].unit
        parts.append(f"{amount:.4g}{' ' + unit if unit else ''} in {name}")
    names = " and ".join(found.states)
    return f"states {names} cannot be told apart by {by}: it is not seen when they move by {' and '.join(parts)}"


# ---- a trial


def _is_defined(findings: Findings, use: _Use) -> bool:
    """Whether the equations have finite values and derivatives at the start."""
    model = use.model
    x = [state.initial for state in model.states.values()]
    values, slopes, gradients = linearised(model, x, model.inputs, use.twin.report.every)
    section = "derivatives" if model.continuous else "updates"
    named = [((section, name), [v, *row]) for name, v, row in zip(model.states, values, slopes, strict=True)]
    named += [(("measurements", name), list(row)) for name, row in zip(model.measurements, gradients, strict=True)]
    faulty = [place for place, numbers in named if not np.isfinite(numbers).all()]
    for place in faulty:
        message = f"{'.'.join(place)} of {model.name} has no finite value or slope at the initial state and inputs"
        hint = "correct initial, or guard it with max or where: until it has one the twin starts again at each sample"
        findings.warning(use.at(*place), message, hint)
    return not faulty


def _try(findings: Findings, use: _Use, bank: EquationBank, config: Config) -> None:
    """Foresee a twin from its start over the interval between its reports, and over a silence."""
    polled = [s.every for s in config.sources if isinstance(s, ModbusSource) and _feeds(s, use.twin)]
    usual = max([use.twin.report.every, *polled])
    silence = max(use.twin.stale_after or SILENCE, usual)
    place = use.at("derivatives" if use.model.continuous else "updates")
    for seconds, what, note in (
        (usual, "between two reports or polls", findings.error),
        (silence, "until a silent twin counts as stale", findings.warning),
    ):
        end = _foreseen(bank, use.twin, seconds)
        constants = _time_constants(use.model, end, seconds)
        stiff = constants > FOLLOWED
        if not end:
            hint = "correct the equations, initial values or bounds"
            message = f"{use.model.name} diverges from its initial values within {seconds:g} s, as pass {what}"
            note(place, *(_stiffness(use.model, constants, seconds, what) if stiff else (message, hint)))
            return
        if stiff:
            message, hint = _stiffness(use.model, constants, seconds, what)
            findings.warning(place, f"{message}, so that its states are not accurate", hint)
            return


def _feeds(source: ModbusSource, twin: Twin) -> bool:
    return any(signal.source == source.name for signal in twin.signals.values())


def _foreseen(bank: EquationBank, twin: Twin, seconds: float) -> list[float]:
    """The state after ``seconds``, by the kernel that the daemon runs; empty when it is not finite."""
    index = len(bank)
    bank.add(f"{twin.name} {index}", index, twin)
    row = bank.rows[index]
    row["t"], row["updates"] = _START, 1
    mean, std = bank.predict(np.array([index]), _START + round(seconds * NS))
    finite = bool(np.isfinite(mean).all() and np.isfinite(std).all())
    return [float(value) for value in mean[0]] if finite else []


def _time_constants(model: EquationModel, end: list[float], seconds: float) -> float:
    """How many of the fastest time constants pass, at the slower of the rates at the start and at ``end``.

    0 for models that take one step whatever the interval: discrete ones, and linear ones, whose step is exact.
    """
    start = [state.initial for state in model.states.values()]
    slopes = [linearised(model, x, inputs)[1] for x, inputs in points(model)]
    linear = all(np.array_equal(slope, slopes[0]) for slope in slopes)
    if not model.continuous or (linear and end):
        return 0.0
    return min(_rate(model, x) for x in (start, end) if x) * seconds


def _rate(model: EquationModel, x: list[float]) -> float:
    """The rate by which the generated code chooses its sub-steps, 1/s."""
    scale = np.array(model.stds)
    slopes = linearised(model, x, model.inputs)[1] * scale / scale[:, None]
    return float(np.abs(slopes).sum(axis=1).max(initial=0.0))


def _stiffness(model: EquationModel, constants: float, seconds: float, what: str) -> tuple[str, str]:
    message = (
        f"{model.name} is too stiff: {seconds:g} s, as pass {what}, are {constants:.3g} of its fastest time constants; "
        f"its sub-steps follow {FOLLOWED:,.0f}"
    )
    return message, "put the fastest state at its equilibrium in the equations, or report more often"
