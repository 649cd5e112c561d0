"""What to ask of a what-if, and whether it can be asked of a twin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgetwin.config.hints import suggest
from edgetwin.engine.forks import Fork
from edgetwin.engine.schedules import Schedule
from edgetwin.errors import ConfigError

MEMBERS_MAX = 100_000
STEPS_MAX = 10_000
QUANTILES_MAX = 100
FIGURES_MAX = 1_000_000
"""Most numbers in an answer."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normally distributed over the members."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly distributed over the members."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lognormally distributed over the members: ``mean`` and ``std`` of the parameter itself, not of its logarithm."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Triangular:
    """From ``low`` to ``high`` over the members, most densely at ``mode``."""

    low: float
    mode: float
    high: float


Distribution = float | Normal | Uniform | Lognormal | Triangular


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to simulate: times in seconds, inputs and parameters by name, quantiles in [0, 1].

    ``noise``: whether process noise goes on acting from the fork on.
    """

    horizon_s: float
    step_s: float
    members: int = 1000
    inputs: Mapping[str, Schedule] = field(default_factory=dict)
    parameters: Mapping[str, Distribution] = field(default_factory=dict)
    noise: bool = True
    seed: int = 0
    quantiles: tuple[float, ...] = QUANTILES

    @property
    def steps(self) -> int:
        """Steps from the fork to the horizon, a last shorter one included; the scenario has been checked."""
        return math.ceil(self.horizon_s / self.step_s * (1 - 1e-12))


def check(fork: Fork, scenario: Scenario, member_steps_max: int) -> None:
    """Raise ConfigError, its ``path`` that in a request, for what the twin cannot do or what is too much.

    ``member_steps_max`` bounds members times steps times the filters of the twin.
    """
    _check_size(fork, scenario, member_steps_max)
    if not (fork.simulated or scenario.noise):
        hint = "leave it out; the prediction has the noise that the model has learned"
        raise ConfigError(f"the model {fork.model} has no other", path="noise", hint=hint)
    _check_names("inputs", scenario.inputs, "input", fork.inputs, fork)
    _check_names("parameters", scenario.parameters, "parameter", fork.parameters, fork)
    for name, value in scenario.parameters.items():
        _check_distribution(f"parameters.{name}", value)
        _check_support(f"parameters.{name}", value, fork.least.get(name))


def _check_size(fork: Fork, scenario: Scenario, member_steps_max: int) -> None:
    if not 0 < scenario.horizon_s < math.inf:
        raise ConfigError("must be more than 0", path="horizon", hint="such as 1h")
    if not 0 < scenario.step_s <= scenario.horizon_s:
        raise ConfigError("must be more than 0 and at most the horizon", path="step")
    if not scenario.horizon_s / scenario.step_s <= STEPS_MAX:
        raise ConfigError("makes too many steps", path="step", hint=f"at most {STEPS_MAX} up to the horizon")
    if not 1 <= scenario.members <= MEMBERS_MAX:
        raise ConfigError(f"must be from 1 to {MEMBERS_MAX}", path="members")
    if len(scenario.quantiles) > QUANTILES_MAX or not all(0 <= q <= 1 for q in scenario.quantiles):
        hint = "0.95 is the 95 % quantile"
        raise ConfigError(f"must be at most {QUANTILES_MAX} numbers from 0 to 1", path="quantiles", hint=hint)
    points = sum(len(s.offsets) for s in scenario.inputs.values())
    work = scenario.members * (scenario.steps + points) * len(fork.parts)
    if work > member_steps_max:
        hint = f"at most {member_steps_max}; take fewer members or longer steps"
        raise ConfigError(f"members times steps is {work}", path="members", hint=hint)
    figures = (scenario.steps + 1) * (2 + len(scenario.quantiles)) * len(fork.outputs)
    if figures > FIGURES_MAX:
        hint = f"at most {FIGURES_MAX}; take longer steps or fewer quantiles"
        raise ConfigError(f"the answer would hold {figures} numbers", path="step", hint=hint)


def _check_names(section: str, given: Mapping[str, object], what: str, known: Sequence[str], fork: Fork) -> None:
    for name in given:
        if name not in known:
            message = f"the model {fork.model} has no {what} {name!r}" + ("" if known else " to set")
            raise ConfigError(message, path=f"{section}.{name}", hint=suggest(name, known))


def _check_distribution(path: str, value: Distribution) -> None:
    match value:
        case Normal(mean, std):
            good, needs = math.isfinite(mean) and 0 <= std < math.inf, "normal needs a mean and a std of 0 or more"
        case Uniform(low, high):
            good, needs = -math.inf < low <= high < math.inf, "uniform needs a lowest and a highest value"
        case Lognormal(mean, std):
            good = 0 < mean < math.inf and 0 <= std < math.inf and math.isfinite((std / mean) ** 2)
            needs = "lognormal needs a mean above 0 and a std of 0 or more, both of the parameter itself"
        case Triangular(low, mode, high):
            good = -math.inf < low <= mode <= high < math.inf
            needs = "triangular needs a lowest, a most likely and a highest value"
        case number:
            good, needs = math.isfinite(number), "must be a finite number"
    if not good:
        raise ConfigError(needs, path=path)


def _check_support(path: str, value: Distribution, least: float | None) -> None:
    """No member may have less than ``least``."""
    match value:
        case Normal(mean, std):
            lowest = mean if std == 0 else -math.inf
        case Uniform(low, _) | Triangular(low, _, _):
            lowest = low
        case Lognormal():
            lowest = math.inf
        case number:
            lowest = number
    if least is not None and not lowest >= least:
        hint = "lognormal, uniform and triangular can keep to that"
        raise ConfigError(f"must not be able to fall below {least:g}", path=path, hint=hint)
