"""What can be fitted of a twin, what was asked for, and the coordinates in which it is searched.

A quantity that is positive, and whose lower bound is, is searched in its logarithm; any other in units of its scale.
So a step of 1 is a factor e or one scale, whatever the quantity measures, and standard deviations stay positive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import equation_model, of_twin, parameter
from edgetwin.config.findings import Findings
from edgetwin.config.hints import suggest
from edgetwin.config.models import BUILTIN, user_model
from edgetwin.config.places import quoted
from edgetwin.config.schema import Config, Twin, UserModel
from edgetwin.errors import ConfigError

Kind = Literal["parameter", "noise", "process_noise", "initial"]
Bounds = Mapping[str, tuple[float, float]]

PARAMETER_SPAN, NOISE_SPAN = 1e3, 1e6
"""Factors by which a quantity without bounds may move from its start, either way."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a twin: ``key`` names it within its ``kind``, ``name`` to people.

    ``value`` is what the configuration says, NaN where it leaves it to be learned; ``declared`` whether a bound comes
    from the model or the user.
    """

    name: str
    kind: Kind
    key: str
    value: float
    low: float = -math.inf
    high: float = math.inf
    declared: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether it is searched in its logarithm."""
        return self.low > 0

    @property
    def scale(self) -> float:
        """Unit of its coordinate when that is not the logarithm."""
        return max(abs(self.value), 1.0)

    def coordinate(self, value: float) -> float:
        """From the value to where it is searched."""
        return math.log(value) if self.logarithmic else value / self.scale

    def natural(self, coordinate: NDArray[np.float64]) -> NDArray[np.float64]:
        """From coordinates to values."""
        made: NDArray[np.float64] = np.exp(coordinate) if self.logarithmic else coordinate * self.scale
        return made

    def slope(self, value: float) -> float:
        """Change of the value with its coordinate."""
        return value if self.logarithmic else self.scale


def available(config: Config, twin: Twin) -> list[Quantity]:
    """Everything of a twin that can be fitted, without the bounds that are chosen by :func:`bounded`."""
    user = user_model(config, twin.model)
    return _of_equations(twin, user) if user else _of_builtin(twin)


def _of_builtin(twin: Twin) -> list[Quantity]:
    """The process noise is one of the parameters there."""
    made = []
    for name in BUILTIN[twin.model].parameters:
        kind: Kind = "process_noise" if name == "process_noise" else "parameter"
        made.append(Quantity(name, kind, name, twin.parameters.get(name, math.nan)))
    return made + _noise(twin, list(twin.signals))


def _of_equations(twin: Twin, user: UserModel) -> list[Quantity]:
    model = of_twin(equation_model(user), twin)
    made = []
    for name, value in model.parameters.items():
        known = parameter(user.parameters[name])
        made.append(_declare(Quantity(name, "parameter", name, value), known.min, known.max))
    for name, std in zip(model.states, model.process_noise, strict=True):
        if std > 0:
            made.append(Quantity(f"process_noise.{name}", "process_noise", name, std))
    for name, state in model.states.items():
        made.append(_declare(Quantity(f"initial.{name}", "initial", name, state.initial), state.min, state.max))
    return made + _noise(twin, [name for name in twin.signals if name in model.measurements])


def _noise(twin: Twin, signals: Sequence[str]) -> list[Quantity]:
    return [Quantity(f"noise.{s}", "noise", s, twin.signals[s].noise or math.nan) for s in signals]


def _declare(quantity: Quantity, low: float | None, high: float | None) -> Quantity:
    if low is None and high is None:
        return quantity
    return replace(
        quantity,
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
        declared=True,
    )


def chosen(
    findings: Findings, index: int, parameters: Sequence[str] | None, *, noise: bool, initial: bool
) -> list[Quantity]:
    """The quantities of twin ``index`` that are to be fitted.

    ``parameters`` names them; None: all parameters of the model. ``noise`` and ``initial`` add all of those. Noise that
    the configuration leaves to be learned is always among them. ConfigError (located) for an unknown name, or when
    nothing is left to fit.
    """
    twin = findings.config.twins[index]
    known = available(findings.config, twin)
    names = [q.name for q in known]
    for name in parameters or ():
        if name not in names:
            findings.error(("twins", index, "model"), f"{twin.name} has no {quoted(name)} to fit", suggest(name, names))
            raise _last(findings)
    kept = [q for q in known if _wanted(q, parameters, noise, initial)]
    if not kept:
        path = ("twins", index, "model")
        findings.error(path, f"nothing to fit of {twin.name}", f"name some of {', '.join(names)}, or add --noise")
        raise _last(findings)
    return kept


def _wanted(quantity: Quantity, parameters: Sequence[str] | None, noise: bool, initial: bool) -> bool:
    match quantity.kind:
        case "parameter":
            asked = not math.isnan(quantity.value) if parameters is None else False
        case "initial":
            asked = initial
        case _:
            asked = noise or math.isnan(quantity.value)
    return asked or (parameters is not None and quantity.name in parameters)


def _last(findings: Findings) -> ConfigError:
    return findings.found[-1].error()


def bounded(quantities: Iterable[Quantity], bounds: Bounds) -> list[Quantity]:
    """The quantities, each with its value known, with the bounds of the user, else of the model, else a wide span.

    ConfigError when bounds are for none of them, are upside down, or leave the starting value outside.
    """
    made = list(quantities)
    for name in bounds:
        if name not in [q.name for q in made]:
            raise ConfigError(f"--bounds: {name!r} is not fitted", hint=f"fitted: {', '.join(q.name for q in made)}")
    return [_bounded(q, bounds.get(q.name)) for q in made]


def _bounded(quantity: Quantity, given: tuple[float, float] | None) -> Quantity:
    low, high = given or (quantity.low, quantity.high)
    declared = quantity.declared or given is not None
    positive = quantity.kind in ("noise", "process_noise") or (quantity.kind == "parameter" and quantity.value > 0)
    if not declared:
        low = min(low, quantity.value)
    span = PARAMETER_SPAN if quantity.kind == "parameter" else NOISE_SPAN
    if positive and (math.isinf(low) or low == 0):
        low = min(quantity.value, high) / span
    if math.isinf(low):
        low = quantity.value - span * quantity.scale
    if math.isinf(high):
        high = quantity.value * span if positive else quantity.value + span * quantity.scale
    if not low < high or (positive and quantity.kind != "parameter" and not low > 0):
        raise ConfigError(f"bounds of {quantity.name}: {low:g} to {high:g}", hint="the first must be the lower one")
    if not low <= quantity.value <= high:
        raise ConfigError(
            f"{quantity.name} starts at {quantity.value:g}, outside its bounds {low:g} to {high:g}",
            hint="move the bounds, or the value in the configuration",
        )
    return replace(quantity, low=low, high=high, declared=declared)
