"""A scenario as people write it, in JSON: read strictly, every fault with its place.

``{"horizon": "1h", "step": "10s", "members": 1000, "inputs": {name: value | [[when, value], …] | {"points": […],
"linear": true}}, "parameters": {name: value | {"normal": [mean, std]} | {"uniform": [low, high]} |
{"lognormal": [mean, std]} | {"triangular": [low, mode, high]} | {"value": …}}, "noise": true, "seed": 0,
"quantiles": […]}``. Durations are ``10s`` or seconds as a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from edgetwin.config.durations import parse_duration
from edgetwin.config.hints import suggest
from edgetwin.engine.scenario import QUANTILES, Distribution, Lognormal, Normal, Scenario, Triangular, Uniform
from edgetwin.engine.schedules import Schedule
from edgetwin.errors import ConfigError

T = TypeVar("T")
When = float | str
Points = list[tuple[When, float]]
STEPS_DEFAULT = 100
SEED_MAX = 2**53 - 1
"""Every JSON reader can hold whole numbers up to this one."""

_KINDS: dict[str, Callable[..., Distribution]] = {
    "normal": Normal,
    "uniform": Uniform,
    "lognormal": Lognormal,
    "triangular": Triangular,
}
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


class ScenarioRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole request; ``step`` is a hundredth of the horizon when absent."""

    horizon: When
    step: When | None = None
    members: int = 1000
    inputs: dict[str, Raw] = {}
    parameters: dict[str, Raw] = {}
    noise: bool = True
    seed: Annotated[int, Meta(ge=0, le=SEED_MAX)] = 0
    quantiles: tuple[float, ...] = QUANTILES


class ScheduleRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An input by points, held or ``linear`` in between."""

    points: Points
    linear: bool = False


class DistributionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter; exactly one of these, see :mod:`edgetwin.engine.scenario`."""

    value: float | None = None
    normal: tuple[float, float] | None = None
    uniform: tuple[float, float] | None = None
    lognormal: tuple[float, float] | None = None
    triangular: tuple[float, float, float] | None = None


def read_scenario(body: bytes, instant: Callable[[str], float]) -> Scenario:
    """The scenario in a JSON text; ``instant`` turns the text of a moment into seconds after the fork.

    ConfigError with the ``path`` in the request. msgspec.DecodeError when the text is not JSON.
    """
    request: ScenarioRequest = _decode(body, ScenarioRequest, "", ScenarioRequest)
    horizon_s = _at("horizon", seconds, request.horizon)
    return Scenario(
        horizon_s=horizon_s,
        step_s=horizon_s / STEPS_DEFAULT if request.step is None else _at("step", seconds, request.step),
        members=request.members,
        inputs={name: _schedule(f"inputs.{name}", raw, instant) for name, raw in request.inputs.items()},
        parameters=read_distributions(request.parameters),
        noise=request.noise,
        seed=request.seed,
        quantiles=request.quantiles,
    )


def read_distributions(parameters: Mapping[str, Raw]) -> dict[str, Distribution]:
    """Parameters by name, each a JSON text. ConfigError with the ``path`` below ``parameters``."""
    return {name: _distribution(f"parameters.{name}", raw) for name, raw in parameters.items()}


def seconds(when: When) -> float:
    """A length of time: seconds, or a text such as ``10min`` or ``+10min``."""
    return float(parse_duration(when.removeprefix("+"))) if isinstance(when, str) else when


def _schedule(path: str, raw: Raw, instant: Callable[[str], float]) -> Schedule:
    given = _decode(raw, float | Points | ScheduleRequest, path, ScheduleRequest)
    if isinstance(given, float):
        return Schedule.constant(given)
    points, linear = (given.points, given.linear) if isinstance(given, ScheduleRequest) else (given, False)
    if not points:
        raise ConfigError("has no points", path=path, hint="[[when, value], …], or leave the input out")
    place = f"{path}.points" if isinstance(given, ScheduleRequest) else path
    offsets = [_at(f"{place}[{k}][0]", _moment, when, instant) for k, (when, _) in enumerate(points)]
    return _at(place, Schedule, tuple(offsets), tuple(value for _, value in points), linear)


def _moment(when: When, instant: Callable[[str], float]) -> float:
    return instant(when) if isinstance(when, str) else when


def _distribution(path: str, raw: Raw) -> Distribution:
    given = _decode(raw, float | DistributionRequest, path, DistributionRequest)
    if isinstance(given, float):
        return given
    named = {kind: figures for kind in _KINDS if (figures := getattr(given, kind)) is not None}
    if given.value is not None and not named:
        return float(given.value)
    if given.value is None and len(named) == 1:
        ((kind, figures),) = named.items()
        return _KINDS[kind](*figures)
    message = f"needs one of value, {', '.join(_KINDS)}"
    raise ConfigError(message, path=path, hint='such as {"normal": [mean, std]}')


def _at(path: str, make: Callable[..., T], *args: Any) -> T:
    """What ``make`` gives; its ConfigError is placed at ``path``."""
    try:
        return make(*args)
    except ConfigError as exc:
        raise ConfigError(exc.message, hint=exc.hint, path=path + exc.path) from exc


def _decode(text: bytes | Raw, kind: Any, path: str, record: type[Struct]) -> Any:
    """``text`` as ``kind``, in which ``record`` is the only mapping."""
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError as exc:
        raise ConfigError("nests too deep", path=path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8", path=path) from exc
    except msgspec.ValidationError as exc:
        found = _PLACE.fullmatch(str(exc))
        assert found is not None
        what, place = found["what"], path + (found["path"] or "")
        unknown = _UNKNOWN.fullmatch(what)
        if unknown is None:
            raise ConfigError(what, path=place.removeprefix(".")) from exc
        place = f"{place}.{unknown[1]}".removeprefix(".")
        hint = suggest(unknown[1], record.__struct_fields__)
        raise ConfigError(f"unknown key {unknown[1]!r}", path=place, hint=hint) from exc
