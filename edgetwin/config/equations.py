"""A user's model, checked: names, expressions and numbers, without SymPy.

States x, inputs u, parameters p. Continuous: dx/dt = f(x, u, p);
discrete: x' = g(x, u, p, dt) for a step of ``dt`` seconds.
Measurement c is h_c(x, u, p).
"""

from __future__ import annotations

import hashlib
import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import msgspec

from edgetwin.config.expressions import CONSTANTS, FUNCTIONS, Expression, parse
from edgetwin.config.schema import Twin, UserMeasurement, UserModel, UserParameter, UserState
from edgetwin.errors import ConfigError

STATES_MAX, MEASUREMENTS_MAX = 12, 32
STEP = "dt"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EquationModel:
    """``dynamics`` are derivatives when ``continuous``, else next values; one for each of ``states``, in order.

    ``units`` of the measurements and inputs, as written; empty where none is known. ``filter``: ``ekf`` or ``ukf``.
    """

    name: str
    states: dict[str, UserState]
    inputs: dict[str, float]
    parameters: dict[str, float]
    dynamics: tuple[Expression, ...]
    continuous: bool
    process_noise: tuple[float, ...]
    measurements: dict[str, Expression]
    units: dict[str, str] = field(default_factory=dict)
    filter: str = "ekf"

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.states)

    @property
    def stds(self) -> tuple[float, ...]:
        """Standard deviation of each initial value; where none is given its size, at least 1."""
        return tuple(s.std or max(abs(s.initial), 1.0) for s in self.states.values())

    @property
    def channels(self) -> tuple[str, ...]:
        """Names a signal may have: measurements, then inputs."""
        return (*self.measurements, *self.inputs)

    def digest(self) -> str:
        """Changes with anything the generated code depends on."""
        parts = (
            self.name,
            [(name, s.min, s.max) for name, s in self.states.items()],
            self.stds,
            list(self.inputs),
            list(self.parameters),
            self.continuous,
            [e.text for e in self.dynamics],
            [(name, e.text) for name, e in self.measurements.items()],
            [q > 0 for q in self.process_noise],
            self.filter,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def equation_model(model: UserModel) -> EquationModel:
    """Check a model of the configuration. Raises ConfigError with a ``path`` below the model's entry."""
    _check_names(model)
    continuous = bool(model.derivatives) or not model.updates
    section = "derivatives" if continuous else "updates"
    if continuous and model.updates:
        raise ConfigError("derivatives and updates exclude each other", path="updates", hint="keep one of them")
    equations = model.derivatives or model.updates
    names = [*model.states, *model.inputs, *model.parameters]
    _check_keys(section, equations, model.states, "state")
    for state in model.states:
        if state not in equations:
            raise ConfigError(f"state {state} has no equation", path=section, hint=f"add {state}: …")
    _check_keys("process_noise", model.process_noise, model.states, "state")
    for state, std in model.process_noise.items():
        if not 0 <= std < float("inf"):
            raise ConfigError("must be 0 or more", path=f"process_noise.{state}", hint="a standard deviation")
    if not model.measurements:
        raise ConfigError("a model needs a measurement", path="measurements", hint="add a name and what it measures")
    allowed = names if continuous else [*names, STEP]
    return EquationModel(
        name=model.name,
        states=dict(model.states),
        inputs={name: i.initial for name, i in model.inputs.items()},
        parameters={name: parameter(p).value for name, p in model.parameters.items()},
        dynamics=tuple(_parse_at(f"{section}.{s}", equations[s], allowed) for s in model.states),
        continuous=continuous,
        process_noise=tuple(model.process_noise.get(s, 0.0) for s in model.states),
        measurements={m: _measurement(m, measurement(given), names, model) for m, given in model.measurements.items()},
        units=channel_units(model),
        filter=model.filter,
    )


def parameter(given: float | UserParameter) -> UserParameter:
    """A parameter as the model gives it; a plain number has no unit and no bounds."""
    return given if isinstance(given, UserParameter) else UserParameter(given)


def measurement(given: str | UserMeasurement) -> UserMeasurement:
    """A measurement as the model gives it; plain text is one without a unit."""
    return given if isinstance(given, UserMeasurement) else UserMeasurement(given)


def channel_units(model: UserModel) -> dict[str, str]:
    """Units of measurements and inputs; one that measures just a state has the state's, unless it gives its own."""
    units = {name: known.unit for name, known in model.inputs.items()}
    for name, given in model.measurements.items():
        known = measurement(given)
        state = model.states.get(known.expression.strip())
        units[name] = known.unit or (state.unit if state else "")
    return units


def of_twin(model: EquationModel, twin: Twin) -> EquationModel:
    """The model with the parameters, initial values and noise that the twin gives in place of the model's own."""

    def state(name: str, own: UserState) -> UserState:
        initial, std = twin.initial.get(name, own.initial), twin.initial_std.get(name, own.std)
        return msgspec.structs.replace(own, initial=initial, std=std)

    return replace(
        model,
        states={name: state(name, own) for name, own in model.states.items()},
        inputs={name: twin.initial.get(name, own) for name, own in model.inputs.items()},
        parameters={name: twin.parameters.get(name, own) for name, own in model.parameters.items()},
        process_noise=tuple(
            twin.process_noise.get(name, own) for name, own in zip(model.states, model.process_noise, strict=True)
        ),
    )


def with_noise_of(model: EquationModel, twins: Iterable[Twin]) -> EquationModel:
    """The model with noise on each state that has some in it or in one of ``twins``: what its code is made for."""
    made = [model.process_noise, *(of_twin(model, twin).process_noise for twin in twins)]
    return replace(model, process_noise=tuple(max(column) for column in zip(*made, strict=True)))


def _measurement(name: str, given: UserMeasurement, names: Collection[str], model: UserModel) -> Expression:
    path = f"measurements.{name}"
    expression = _parse_at(path, given.expression, names)
    if not expression.names & set(model.states):
        raise ConfigError("measures no state", path=path, hint=f"name one of {', '.join(model.states)}")
    return expression


def _check_names(model: UserModel) -> None:
    seen: dict[str, str] = {}
    for section, names in (("states", model.states), ("inputs", model.inputs), ("parameters", model.parameters)):
        for name in names:
            path = f"{section}.{name}"
            reserved = name in FUNCTIONS or name in (*CONSTANTS, STEP) or keyword.iskeyword(name)
            if reserved or not _NAME.fullmatch(name):
                raise ConfigError(f"{name!r} cannot name a quantity", path=path, hint=_hint(name))
            if name in seen:
                raise ConfigError(f"{name!r} is also in {seen[name]}", path=path, hint="rename one of them")
            seen[name] = section
    for name, given in model.parameters.items():
        _check_bounds(name, parameter(given))
    for name in model.measurements:
        if name in model.inputs:
            raise ConfigError(f"{name!r} is also an input", path=f"measurements.{name}", hint="rename one of them")
    if not model.states:
        raise ConfigError("a model needs a state", path="states", hint="add a name and {initial: …, unit: …}")
    if len(model.states) > STATES_MAX or len(model.measurements) > MEASUREMENTS_MAX:
        raise ConfigError(
            f"{len(model.states)} states and {len(model.measurements)} measurements",
            path="states",
            hint=f"at most {STATES_MAX} and {MEASUREMENTS_MAX}: split the asset into several twins",
        )
    for name, state in model.states.items():
        if state.min is not None and state.max is not None and not state.min < state.max:
            raise ConfigError("min must be below max", path=f"states.{name}", hint="swap or correct them")
        if outside(state.initial, state.min, state.max):
            raise ConfigError("initial is outside min and max", path=f"states.{name}", hint="correct one of them")


def _check_bounds(name: str, given: UserParameter) -> None:
    path = f"parameters.{name}"
    if given.min is not None and given.max is not None and not given.min < given.max:
        raise ConfigError("min must be below max", path=path, hint="swap or correct them")
    if outside(given.value, given.min, given.max):
        raise ConfigError("value is outside min and max", path=path, hint="correct one of them")


def outside(value: float, low: float | None, high: float | None) -> bool:
    """Whether ``value`` is beyond a bound that there is."""
    return not (low is None or low <= value) or not (high is None or value <= high)


def _hint(name: str) -> str:
    plain = _NAME.fullmatch(name) is not None
    return "it has a meaning in expressions: choose another" if plain else "letters, digits and _, no digit first"


def _check_keys(section: str, given: Collection[str], known: Collection[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{name!r} is not a {what}", path=f"{section}.{name}", hint=f"known: {', '.join(known)}")


def _parse_at(path: str, text: str, names: Collection[str]) -> Expression:
    try:
        return parse(text, names)
    except ConfigError as exc:
        raise ConfigError(exc.message, hint=exc.hint, path=path) from exc
