"""SunSpec models: what points they have, and the register of each once its model has been found in a device.

Source: SunSpec Device Information Model Specification V1.1 (types, "not implemented" values, scale factors; models in
JSON). The models that come along are in ``sunspec_models.json``, made from the Alliance's own files
(https://github.com/sunspec/models, Apache License 2.0) by ``python -m edgetwin.config.sunspec DIRECTORY``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from edgetwin.config.schema import Register, SunSpec
from edgetwin.errors import ConfigError

HEADER_WORDS = 2
"""Model number and length, which come before the points that count in the length."""

_VENDORS = 60_000
"""Models from here on are vendors' own; their files are for ``sunspec_models``."""

_TYPES: dict[str, tuple[str, tuple[float, ...]]] = {
    "int16": ("int16", (0x8000,)),
    "uint16": ("uint16", (0xFFFF,)),
    "count": ("uint16", (0xFFFF,)),
    "acc16": ("uint16", ()),
    "enum16": ("uint16", (0xFFFF,)),
    "bitfield16": ("uint16", (0xFFFF,)),
    "sunssf": ("int16", (0x8000,)),
    "int32": ("int32", (0x8000_0000,)),
    "uint32": ("uint32", (0xFFFF_FFFF,)),
    "acc32": ("uint32", ()),
    "enum32": ("uint32", (0xFFFF_FFFF,)),
    "bitfield32": ("uint32", (0xFFFF_FFFF,)),
    "int64": ("int64", (0x8000_0000_0000_0000,)),
    "uint64": ("uint64", (0xFFFF_FFFF_FFFF_FFFF,)),
    "acc64": ("uint64", ()),
    "bitfield64": ("uint64", (0xFFFF_FFFF_FFFF_FFFF,)),
    "float32": ("float32", ()),
    "float64": ("float64", ()),
}
"""Type of the register and what means "not implemented"; for floats that is NaN. An accumulator that is
not implemented is 0, which a new meter shows too: it is passed on."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """``words`` registers from ``at``; scaled by 10^``sf``, a number or the point that holds it ("": not)."""

    name: str
    type: str
    at: int
    words: int
    sf: str | int = ""
    unit: str = ""


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Points that come once, or ``repeats`` as often as the model is long. ``at`` is that of the first repetition."""

    name: str
    at: int
    words: int
    repeats: bool
    points: list[Point]


class Model(msgspec.Struct, frozen=True, array_like=True):
    """``at`` of points and groups counts from the model's number."""

    id: int
    label: str
    points: list[Point]
    groups: list[Group]


@dataclass(frozen=True, slots=True)
class Placed:
    """A model in a device: ``length`` registers after the two of its header, which stands at ``address``."""

    id: int
    address: int
    length: int


def sunspec_of(signal: str, given: int | SunSpec) -> SunSpec:
    """The whole record of what a signal asks for."""
    made = SunSpec(model=given) if isinstance(given, int) else given
    return made if made.point else msgspec.structs.replace(made, point=signal)


@cache
def own_models() -> Mapping[int, Model]:
    """The models that come along, by number."""
    data = (files("edgetwin") / "config" / "sunspec_models.json").read_bytes()
    return {model.id: model for model in msgspec.json.decode(data, type=_Table).models}


def models_with(paths: Sequence[str], base: Path) -> Mapping[int, Model]:
    """Those that come along and those in the JSON files ``paths``, which go first. ConfigError names the file."""
    return {**own_models(), **{model.id: model for model in (read_model(base / path) for path in paths)}}


def read_model(path: Path) -> Model:
    """A model from a JSON file in the Alliance's form. ConfigError when it is none."""
    try:
        return compact(msgspec.json.decode(path.read_bytes()))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not JSON"
        raise ConfigError(f"{path.name} cannot be read: {reason}", hint="give a SunSpec model file") from exc
    except (KeyError, TypeError, AttributeError, IndexError) as exc:
        hint = "its form is that of json/ in https://github.com/sunspec/models"
        raise ConfigError(f"{path.name} is not a SunSpec model", hint=hint) from exc


def compact(definition: Any) -> Model:
    """A model of the Alliance's form; groups whose place depends on what the device holds are left out."""
    top = definition["group"]
    points, at = _points(top["points"], 0)
    groups: list[Group] = []
    for group in top.get("groups", []):
        inner, words = _points(group["points"], 0)
        repeats = group.get("count", 1) != 1
        if group.get("groups"):
            break
        groups.append(Group(group["name"], at, words, repeats, inner))
        if repeats:
            break
        at += words
    number = next(p["value"] for p in top["points"] if p["name"] == "ID")
    return Model(int(number), str(top.get("label", top["name"])), points, groups)


def _points(given: Any, at: int) -> tuple[list[Point], int]:
    points: list[Point] = []
    for p in given:
        words = int(p["size"])
        points.append(Point(p["name"], p["type"], at, words, p.get("sf", ""), p.get("units", "")))
        at += words
    return points, at


def point_of(model: Model, wanted: SunSpec) -> tuple[Point, int]:
    """The point and where it stands, from the model's number. ConfigError when the model has no such point."""
    points, at = model.points, 0
    if wanted.group:
        group = next((g for g in model.groups if g.name == wanted.group), None)
        if group is None:
            names = ", ".join(g.name for g in model.groups) or "none that can be read"
            raise ConfigError(f"model {model.id} has no group {wanted.group!r}", hint=f"it has {names}")
        if wanted.index > 1 and not group.repeats:
            raise ConfigError(f"group {wanted.group} of model {model.id} comes once", hint="remove index")
        points, at = group.points, group.at + (wanted.index - 1) * group.words
    for point in points:
        if point.name == wanted.point:
            return point, at + point.at
    holder = next((g.name for g in model.groups if any(p.name == wanted.point for p in g.points)), "")
    hint = f"it stands in group: {holder}" if holder and not wanted.group else f"it has {_names(points)}"
    raise ConfigError(f"model {model.id} has no point {wanted.point!r}", hint=hint)


def _names(points: Sequence[Point]) -> str:
    return ", ".join(p.name for p in points if p.type in _TYPES and p.name not in ("ID", "L") and p.type != "sunssf")


def register_of(model: Model, wanted: SunSpec, placed: Placed) -> Register:
    """The register of a point in a device. ConfigError when the point is not a number, or beyond the model's end."""
    point, at = point_of(model, wanted)
    if point.type not in _TYPES:
        raise ConfigError(f"{point.name} of model {model.id} is {point.type}, not a number", hint="name another point")
    if at + point.words > HEADER_WORDS + placed.length:
        message = f"{point.name} of model {model.id} is beyond the {placed.length} registers that the device has of it"
        raise ConfigError(message, hint="the device does not have this point")
    kind, invalid = _TYPES[point.type]
    scale, scale_from = 1.0, None
    if isinstance(point.sf, int):
        scale = float(f"1e{point.sf}")
    elif point.sf:
        scale_from = placed.address + _scale_at(model, wanted, point.sf)
    return Register(
        address=placed.address + at,
        type=kind,  # type: ignore[arg-type]
        invalid=list(invalid),
        scale=scale,
        scale_from=scale_from,
        unit=wanted.unit,
        every=wanted.every,
    )


def _scale_at(model: Model, wanted: SunSpec, name: str) -> int:
    """Where a scale factor stands: in the same group, or at the top of the model."""
    if wanted.group:
        try:
            return point_of(model, msgspec.structs.replace(wanted, point=name))[1]
        except ConfigError:
            pass
    return point_of(model, SunSpec(model=model.id, point=name))[1]


class _Table(msgspec.Struct, frozen=True):
    source: str
    licence: str
    models: list[Model]


def main(directory: Path) -> None:
    """Write the table from the ``model_*.json`` of a directory to standard output."""
    found = [read_model(path) for path in directory.glob("model_*.json")]
    models = sorted((m for m in found if m.id < _VENDORS), key=lambda m: m.id)
    source = "SunSpec Alliance, https://github.com/sunspec/models"
    table = msgspec.json.encode(_Table(source, "Apache-2.0", models)).decode()
    print(table.replace("[[", "[\n[", 1).replace("]]],[", "]]],\n[").replace(",[]],[", ",[]],\n["))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
