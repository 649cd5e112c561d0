"""What a SunSpec device has: every point of its models that has a value."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgetwin.config.schema import SunSpec
from edgetwin.config.sunspec import HEADER_WORDS, Model, Placed, own_models, point_of
from edgetwin.errors import ConfigError
from edgetwin.sources.modbus.bindings import Binding
from edgetwin.sources.modbus.draft import FoundPoint
from edgetwin.sources.modbus.frames import RefusalError
from edgetwin.sources.modbus.plan import Limits, plan_blocks
from edgetwin.sources.modbus.sunspec import Reader, find_models, locate

MEASURED = 100
"""Models below describe the device and its network."""

_QUANTITIES = ("int16", "uint16", "int32", "uint32", "int64", "uint64", "acc32", "acc64", "float32", "float64")


async def points_with_values(read: Reader) -> list[FoundPoint]:
    """Points of the models known here, with their present values. PayloadError when the device is not SunSpec."""
    placed = await find_models(read)
    models = own_models()
    bindings: list[Binding] = []
    wanted: list[SunSpec] = []
    for p in placed:
        instance = [q for q in placed if q.id == p.id].index(p) + 1
        if p.id < MEASURED or p.id not in models:
            continue
        for point in _points(models[p.id], p, instance):
            try:
                register = await locate(point, models, placed, read, Limits().words_max)
            except ConfigError:
                continue  # beyond the end of the device's model
            bindings.append(Binding(len(wanted), register))
            wanted.append(point)
    values: dict[int, float] = {}
    for block in plan_blocks(bindings, Limits()):
        try:
            found = block.decode(await read(block.address, block.count))
        except RefusalError:
            continue
        values.update(zip(block.slots.tolist(), found.tolist(), strict=True))
    return [
        FoundPoint(point, values[i], point_of(models[point.model], point)[0].unit)
        for i, point in enumerate(wanted)
        if math.isfinite(values.get(i, math.nan))
    ]


def _points(model: Model, placed: Placed, instance: int) -> Iterator[SunSpec]:
    for point in model.points[HEADER_WORDS:]:
        if point.type in _QUANTITIES:
            yield SunSpec(model=model.id, point=point.name, instance=instance)
    for group in model.groups:
        room = HEADER_WORDS + placed.length - group.at
        for index in range(1, (room // group.words if group.repeats else 1) + 1):
            for point in group.points:
                if point.type in _QUANTITIES:
                    yield SunSpec(model=model.id, point=point.name, group=group.name, index=index, instance=instance)
