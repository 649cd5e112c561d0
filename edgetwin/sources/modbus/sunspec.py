"""Finding the models of a SunSpec device, and the registers of the points that signals ask for by name.

Source: SunSpec Device Information Model Specification V1.1 (holding register 40000, 50000 or 0 begins with
"SunS"; a chain of models follows, each with its number and length; number 0xFFFF ends it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetwin.config.registers import read_extent
from edgetwin.config.schema import Register, SunSpec
from edgetwin.config.sunspec import HEADER_WORDS, Model, Placed, register_of
from edgetwin.errors import ConfigError, PayloadError
from edgetwin.kernels.registers import SCALE_EXPONENT_MAX
from edgetwin.sources.modbus.frames import UNREACHED, RefusalError

BASES = (40_000, 50_000, 0)
MARK = (0x5375, 0x6E53)
"""``SunS``"""

END = 0xFFFF
MODELS_MAX = 256
_ADDRESSES = 65_536

Reader = Callable[[int, int], Awaitable[NDArray[np.uint16]]]
"""Holding registers of the device: address, count."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A point that a signal asks for, for its slot."""

    slot: int
    signal: str
    point: SunSpec


async def find_models(read: Reader) -> list[Placed]:
    """The chain of models. PayloadError when the device is not SunSpec, or its chain is broken."""
    base = await _find_base(read)
    found: list[Placed] = []
    address = base + len(MARK)
    while len(found) < MODELS_MAX:
        if address + HEADER_WORDS > _ADDRESSES:
            break
        number, length = (int(word) for word in await read(address, HEADER_WORDS))
        if number == END:
            return found
        if number == 0:
            raise PayloadError(f"the chain of SunSpec models is broken: model 0 at {address}")
        found.append(Placed(number, address, length))
        address += HEADER_WORDS + length
    raise PayloadError(f"the chain of SunSpec models that begins at {base} does not end")


async def _find_base(read: Reader) -> int:
    for base in BASES:
        try:
            words = await read(base, len(MARK))
        except RefusalError as exc:
            if exc.code in UNREACHED:
                raise
            continue
        if tuple(int(word) for word in words) == MARK:
            return base
    places = ", ".join(str(base) for base in BASES)
    raise PayloadError(f"no SunSpec device: none of the holding registers {places} begins with SunS")


async def locate(
    wanted: SunSpec, models: Mapping[int, Model], placed: Sequence[Placed], read: Reader, words_max: int
) -> Register:
    """The register of a point. ConfigError when the device does not have it.

    A scale factor that stands too far from its point for one request is read now, and taken as constant.
    """
    model = models.get(wanted.model)
    if model is None:
        raise ConfigError(f"SunSpec model {wanted.model} is unknown", hint="give its JSON file in sunspec_models:")
    instances = [p for p in placed if p.id == wanted.model]
    if len(instances) < wanted.instance:
        has = ", ".join(str(p.id) for p in placed)
        which = f"model {wanted.model}" + (f" instance {wanted.instance}" if wanted.instance > 1 else "")
        raise ConfigError(f"the device has no SunSpec {which}", hint=f"it has models {has}")
    register = register_of(model, wanted, instances[wanted.instance - 1])
    start, end = read_extent(register)
    if register.scale_from is None or end - start <= words_max:
        return register
    return msgspec.structs.replace(register, scale_from=None, scale=await _constant(register.scale_from, read))


async def _constant(address: int, read: Reader) -> float:
    exponent = int((await read(address, 1)).astype(np.int16)[0])
    if abs(exponent) > SCALE_EXPONENT_MAX:
        raise ConfigError(f"the scale factor at {address} is not implemented", hint="the device lacks this point")
    return float(f"1e{exponent}")
