"""Checks of units: those of a user's model among themselves, and those of signals against their model's."""

from __future__ import annotations

from edgetwin.config.dimensions import Known, Mismatch, known, mismatches, per_second, unit_of
from edgetwin.config.equations import STEP, EquationModel, channel_units, equation_model, measurement, parameter
from edgetwin.config.findings import Findings
from edgetwin.config.places import Path
from edgetwin.config.schema import Twin, UserModel
from edgetwin.config.units import conversion, parse_unit


def check_model_units(findings: Findings, path: Path, model: UserModel, equations: EquationModel) -> None:
    """The equations of one model: each derivative, next value and measurement has the unit that it should."""
    _check_known(findings, path, model)
    units = _units(model)
    section = "derivatives" if equations.continuous else "updates"
    for (name, state), expression in zip(model.states.items(), equations.dynamics, strict=True):
        of_state = known(state.unit)
        what = f"the derivative of {name}" if equations.continuous else f"the next {name}"
        result = per_second(of_state) if equations.continuous else of_state
        _note(findings, (*path, section, name), mismatches(expression, units, result, what))
    for name, expression in equations.measurements.items():
        given = measurement(model.measurements[name])
        place = (*path, "measurements", name)
        _note(findings, place, mismatches(expression, units, known(given.unit), name))
        measured = model.states.get(given.expression.strip())
        shift = conversion(measured.unit, given.unit) if measured else None
        if measured and shift and shift[1]:
            message = f"{name} should be {given.unit}, but {given.expression.strip()} is {measured.unit}"
            findings.error(place, message, "give it the unit of the state: signals in another one are converted")


def check_signal_units(findings: Findings, path: Path, twin: Twin, model: UserModel) -> None:
    """Each signal's unit can be converted to that of what it measures."""
    wanted, inside = channel_units(model), _units(model)
    for name, signal in twin.signals.items():
        place = (*path, "signals", name, "unit")
        if not signal.unit or name not in wanted:
            continue
        if wanted[name]:
            _check_conversion(findings, place, signal.unit, wanted[name], f"{name} of {model.name}")
        elif name in model.measurements:
            found, mine = unit_of(equation_model(model).measurements[name], inside), known(signal.unit)
            if found and mine and not found.scaled and mine.unit != found.unit:
                message = f"{signal.unit} is not the unit of {name} of {model.name}, which is {found}"
                findings.error(place, message, "give the measurement its unit: {expression: …, unit: …}")


def _check_conversion(findings: Findings, place: Path, mine: str, wanted: str, what: str) -> None:
    if conversion(mine, wanted) is not None:
        return
    unknown = [unit for unit in (mine, wanted) if parse_unit(unit) is None]
    if unknown:
        message = f"{mine} cannot be compared with {wanted}, the unit of {what}: {unknown[0]} is not known"
        findings.warning(place, message, f"write it as {wanted}")
    else:
        message = f"{mine} cannot be converted to {wanted}, the unit of {what}"
        findings.error(place, message, "correct the unit, or use scale: and offset: and give the model's unit")


def _units(model: UserModel) -> dict[str, Known]:
    """What each name of the equations is measured in."""
    units = {name: known(state.unit) for name, state in model.states.items()}
    units |= {name: known(given.unit) for name, given in model.inputs.items()}
    units |= {name: known(parameter(given).unit) for name, given in model.parameters.items()}
    return {STEP: known("s"), **units}


def _check_known(findings: Findings, path: Path, model: UserModel) -> None:
    """Note units that are not known: what is not understood is not checked."""
    for section, written in (
        ("states", {name: state.unit for name, state in model.states.items()}),
        ("inputs", {name: given.unit for name, given in model.inputs.items()}),
        ("parameters", {name: parameter(p).unit for name, p in model.parameters.items()}),
        ("measurements", {name: measurement(m).unit for name, m in model.measurements.items()}),
    ):
        for name, unit in written.items():
            if unit and parse_unit(unit) is None:
                hint = "see the section Units of docs/models.md; leave it out to have it neither checked nor converted"
                findings.warning((*path, section, name, "unit"), f"the unit {unit} is not known", hint)


def _note(findings: Findings, place: Path, found: list[Mismatch]) -> None:
    for mismatch in found:
        if mismatch.certain:
            findings.error(place, mismatch.message, mismatch.hint)
        else:
            findings.warning(place, mismatch.message, mismatch.hint)
