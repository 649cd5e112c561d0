"""A twin as it is, copied out of the engine for others to simulate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import EquationModel
from edgetwin.engine.bank import Bank, SignalBank
from edgetwin.engine.engine import Engine
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.errors import EdgetwinError, ModelError
from edgetwin.model.builtin import AUTO
from edgetwin.model.ensemble import measured_states
from edgetwin.model.layout import upper
from edgetwin.model.spec import LinearModel

Vector = NDArray[np.float64]

TIME_CONSTANT_LEAST_S = 1e-9


class NoStateError(EdgetwinError):
    """A twin of a built-in model that has not heard anything yet: it has no state to start from."""


@dataclass(frozen=True, slots=True)
class Part:
    """One filter of a twin: what it believes at ``t_ns`` (0: no sample yet, the model's initial state).

    ``mean`` float64[n]; ``factor`` L float64[n, n] with P = L Lᵀ; ``low`` and ``high`` float64[n] bounds of the states;
    ``held`` the inputs by name; ``values`` float64[p] the kernel's parameters (edgetwin.model.ensemble). Of these
    ``columns`` are those a scenario may set, by name; ``squared`` names are standard deviations where the kernel has
    variances; ``least`` is the lowest value of those that have one; ``noise`` are the columns of the process noise.
    ``states`` and ``measured`` are (name, unit) of the kernel's outputs, ``same`` maps a measurement to the state it
    is.
    """

    model: LinearModel | EquationModel
    t_ns: int
    mean: Vector
    factor: Vector
    low: Vector
    high: Vector
    held: dict[str, float]
    values: Vector
    columns: dict[str, int]
    squared: frozenset[str]
    least: dict[str, float]
    noise: tuple[int, ...]
    states: tuple[tuple[str, str], ...]
    measured: tuple[tuple[str, str], ...]
    same: dict[str, str]


@dataclass(frozen=True, slots=True)
class Predictor:
    """One filter of a twin whose model is not simulated: its own prediction, which is exact, tells what comes.

    ``row`` is a copy of the filter's row[1], ``predict`` its kernel (edgetwin.model.codegen), ``states`` are (name,
    unit).
    """

    t_ns: int
    row: NDArray[np.void]
    predict: Callable[..., None]
    states: tuple[tuple[str, str], ...]

    def at(self, t_ns: int) -> tuple[Vector, Vector]:
        """Means and standard deviations float64[states] at ``t_ns``."""
        mean, variance = np.empty((2, 1, len(self.states)))
        self.predict(self.row, np.zeros(1, np.int64), t_ns, mean, variance)
        return mean[0], np.sqrt(variance[0])


@dataclass(frozen=True, slots=True)
class Fork:
    """A twin at ``from_ns`` (None: at no time in particular), to be simulated from there."""

    twin: str
    model: str
    from_ns: int | None
    parts: tuple[Part | Predictor, ...]

    @property
    def simulated(self) -> bool:
        """Whether members live through the model's equations; if not, its filter's own prediction is the answer."""
        return isinstance(self.parts[0], Part)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        part = self.parts[0]
        return list(part.held) if isinstance(part, Part) else []

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that a scenario may set."""
        part = self.parts[0]
        return list(part.columns) if isinstance(part, Part) else []

    @property
    def least(self) -> dict[str, float]:
        """The lowest value of parameters that have one."""
        part = self.parts[0]
        return part.least if isinstance(part, Part) else {}

    @property
    def outputs(self) -> list[str]:
        """Names of the states and measurements in an answer."""
        return [name for part in self.parts for name in _outputs(part)]


def _outputs(part: Part | Predictor) -> list[str]:
    states = [state for state, _ in part.states]
    return [*states, *(m for m, _ in part.measured), *part.same] if isinstance(part, Part) else states


def fork(engine: Engine, twin: str, now_ns: int | None) -> Fork:
    """Copy a twin; it is simulated from ``now_ns``, or from its last fused sample when that is later or None.

    A twin of a user's model that has not heard anything yet is taken in its initial state. KeyError for an unknown
    twin, NoStateError for one of a built-in model without a sample.
    """
    spec = engine.instance(twin).spec
    units = {name: signal.unit for name, signal in spec.signals.items()}
    parts = tuple(_part(bank, row, units) for bank, row in engine.rows_of(twin))
    last_ns = max(part.t_ns for part in parts)
    from_ns = max(now_ns, last_ns) if now_ns is not None else (last_ns or None)
    return Fork(twin, spec.model, from_ns, parts)


def _part(bank: Bank, index: int, units: dict[str, str]) -> Part | Predictor:
    match bank:
        case SignalBank():
            return _signal_part(bank, index)
        case EquationBank():
            return _equation_part(bank, index, units)
    raise ModelError(f"the model {bank.name} cannot be simulated", hint="of built-in and equation models it can")


def initial(model: LinearModel | EquationModel) -> Fork:
    """A twin that has the parameters of its model and has heard nothing; of a built-in one, with made-up figures."""
    if isinstance(model, LinearModel):
        states = tuple((f"x{suffix}", "") for suffix in model.suffixes)
        part = _linear(model, 0, np.zeros(model.size), np.eye(model.size), np.array([1.0, 1.0, 1.0]), states)
    else:
        values = np.array([*model.parameters.values(), *(q**2 for q in model.process_noise)], np.float64)
        mean = np.array([s.initial for s in model.states.values()], np.float64)
        part = _equations(model, 0, mean, np.diag(model.stds), values, dict(model.inputs), {})
    return Fork("", model.name, None, (part,))


def is_simulated(model: LinearModel | EquationModel) -> bool:
    """Whether there is an ensemble kernel of a model; ``auto`` adapts itself, so its filter is asked instead."""
    return model.name != AUTO.name


def _signal_part(bank: SignalBank, index: int) -> Part | Predictor:
    row, n = bank.rows[index], bank.size
    if row["updates"] == 0:
        raise NoStateError("the twin has not heard every signal yet", hint="wait for a sample")
    states = tuple((state, unit) for _, state, unit in bank.columns[index])
    if not is_simulated(bank.model):
        return Predictor(int(row["t"]), bank.rows[index : index + 1].copy(), bank.kernels.predict, states)
    values = np.array([row["q"], row["tau"], row["dt_mean"]], np.float64)
    return _linear(bank.model, int(row["t"]), _numbered(row, "x", n), _factor(row, n), values, states)


def _equation_part(bank: EquationBank, index: int, units: dict[str, str]) -> Part:
    row, model, n = bank.rows[index], bank.model, bank.size
    values = np.concatenate([_numbered(row, "p", len(model.parameters)), _numbered(row, "q", n)])
    held = dict(zip(model.inputs, _numbered(row, "i", len(model.inputs)).tolist(), strict=True))
    return _equations(model, int(row["t"]), _numbered(row, "x", n), _factor(row, n), values, held, units)


def _linear(
    model: LinearModel, t_ns: int, mean: Vector, factor: Vector, values: Vector, states: tuple[tuple[str, str], ...]
) -> Part:
    return Part(
        model=model,
        t_ns=t_ns,
        mean=mean,
        factor=factor,
        low=np.full(model.size, -np.inf),
        high=np.full(model.size, np.inf),
        held={},
        values=values,
        columns={"process_noise": 0} | ({"time_constant": 1} if "time_constant" in model.required else {}),
        squared=frozenset({"process_noise"}),
        least={"process_noise": 0.0, "time_constant": TIME_CONSTANT_LEAST_S},
        noise=(0,),
        states=states,
        measured=(),
        same={},
    )


def _equations(
    model: EquationModel,
    t_ns: int,
    mean: Vector,
    factor: Vector,
    values: Vector,
    held: dict[str, float],
    units: dict[str, str],
) -> Part:
    same, p = measured_states(model), len(model.parameters)
    bounds = [(s.min, s.max) for s in model.states.values()]
    return Part(
        model=model,
        t_ns=t_ns,
        mean=mean,
        factor=factor,
        low=np.array([-np.inf if low is None else low for low, _ in bounds]),
        high=np.array([np.inf if high is None else high for _, high in bounds]),
        held=held,
        values=values,
        columns={name: k for k, name in enumerate(model.parameters)},
        squared=frozenset(),
        least={},
        noise=tuple(range(p, p + model.size)),
        states=tuple((name, state.unit) for name, state in model.states.items()),
        measured=tuple((m, model.units.get(m) or units.get(m, "")) for m in model.measurements if m not in same),
        same=same,
    )


def _numbered(row: np.void, letter: str, count: int) -> Vector:
    return np.array([row[f"{letter}{k}"] for k in range(count)], np.float64)


def _factor(row: np.void, n: int) -> Vector:
    """U sqrt(D)."""
    unit = np.eye(n)
    for i, j in upper(n):
        unit[i, j] = row[f"u{i}_{j}"]
    return unit * np.sqrt(_numbered(row, "d", n))
