"""SunSpec devices: the chain is walked, points found by name."""

from __future__ import annotations

import json
import math
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from structlog.testing import capture_logs

from edgetwin.config.schema import Signal, SunSpec, Twin
from edgetwin.config.sunspec import Placed, compact, own_models, point_of, register_of
from edgetwin.engine.twins import TwinInstance
from edgetwin.errors import ConfigError, PayloadError
from edgetwin.sources.modbus.bindings import Binding, make_block
from edgetwin.sources.modbus.frames import LinkError, RefusalError
from edgetwin.sources.modbus.sunspec import BASES, find_models, locate
from tests.conftest import free_port
from tests.sources.modbus.rig import Recorder, make, running, serving, simulated

CASES = Path(os.environ.get("EDGETWIN_DATA", "/nonexistent")) / "protocol_cases" / "sunspec"


def text(content: str, words: int) -> list[int]:
    return list(struct.unpack(f">{words}H", content.encode().ljust(2 * words, b"\0")))


def inverter(**points: int) -> list[int]:
    """Model 103 with these raw points; the others are not implemented."""
    model = own_models()[103]
    words = [0xFFFF] * sum(p.words for p in model.points)
    for p in model.points:
        if p.type in ("int16", "sunssf"):
            words[p.at] = 0x8000
        if p.name in points:
            words[p.at : p.at + p.words] = [points[p.name] >> 16 * i & 0xFFFF for i in range(p.words)][::-1]
    words[:2] = [103, len(words) - 2]
    return words


def strings(*amps: int) -> list[int]:
    """Model 160 (several DC inputs) with a module for each current, in units of 0.01 A."""
    model = own_models()[160]
    fixed = [0x8000] * model.groups[0].at
    for name, value in {"DCA_SF": 0xFFFE, "DCV_SF": 0, "DCW_SF": 0, "N": len(amps)}.items():
        fixed[point_of(model, SunSpec(model=160, point=name))[1]] = value
    module = model.groups[0]
    at = next(p.at for p in module.points if p.name == "DCA")
    for amp in amps:
        words = [0xFFFF] * module.words
        words[at] = amp
        fixed += words
    fixed[:2] = [160, len(fixed) - 2]
    return fixed


COMMON = [1, 66, *text("Acme", 16), *text("X-1", 16), *[0] * 34]
DEVICE = [
    *(0x5375, 0x6E53),
    *COMMON,
    *inverter(W=0xFFFF & -2305, W_SF=1, A=305, A_SF=0xFFFF, WH=123_456, WH_SF=0, St=4, Hz=5001),
    *strings(511, 622, 733),
    *inverter(W=7, W_SF=0),
    *(0xFFFF, 0),
]


class Memory:
    """A device that refuses what it does not have."""

    def __init__(self, words: list[int], base: int) -> None:
        self.words, self.base, self.reads = words, base, 0

    async def read(self, address: int, count: int) -> NDArray[np.uint16]:
        self.reads += 1
        first = address - self.base
        if first < 0 or first + count > len(self.words):
            raise RefusalError(2)
        return np.array(self.words[first : first + count], np.uint16)


async def value(point: SunSpec, words_max: int = 125, words: list[int] = DEVICE) -> float:
    memory = Memory(words, 40_000)
    register = await locate(point, own_models(), await find_models(memory.read), memory.read, words_max)
    binding = Binding(0, register)
    block = make_block("holding", binding.start, binding.end - binding.start, [binding])
    return float(block.decode(await memory.read(block.address, block.count))[0])


@pytest.mark.parametrize("base", BASES)
async def test_the_chain_is_found_at_every_base(base: int) -> None:
    found = await find_models(Memory(DEVICE, base).read)
    assert [p.id for p in found] == [1, 103, 160, 103]
    assert found[0] == Placed(1, base + 2, 66)
    assert found[1].address == base + 2 + 68


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([0x5375, 0x6E54], "no SunSpec device"),
        ([], "no SunSpec device"),
        ([0x5375, 0x6E53, 0, 0], "model 0 at 40002"),
        ([0x5375, 0x6E53, 1, 0] + [1, 0] * 300, "does not end"),
        ([0x5375, 0x6E53, 1, 60_000], "does not end"),
        ([0x5375, 0x6E53, 1, 66], "exception 2"),
    ],
)
async def test_broken_chains(words: list[int], message: str) -> None:
    memory = Memory(words, 40_000)
    with pytest.raises(PayloadError, match=message):
        await find_models(memory.read)
    assert memory.reads < 300


@settings(deadline=None)
@given(st.lists(st.integers(0, 0xFFFF), max_size=60))
async def test_any_chain_ends(words: list[int]) -> None:
    memory = Memory([0x5375, 0x6E53, *words], 0)
    try:
        found = await find_models(memory.read)
    except PayloadError:
        return
    assert all(p.address + 2 + p.length <= len(memory.words) for p in found)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (SunSpec(model=103, point="W"), -23050.0),
        (SunSpec(model=103, point="A"), 30.5),
        (SunSpec(model=103, point="WH"), 123_456.0),
        (SunSpec(model=103, point="St"), 4.0),
        (SunSpec(model=103, point="W", instance=2), 7.0),
        (SunSpec(model=160, group="module", index=1, point="DCA"), 5.11),
        (SunSpec(model=160, group="module", index=3, point="DCA"), 7.33),
    ],
)
async def test_points_by_name(point: SunSpec, expected: float) -> None:
    assert await value(point) == expected


@pytest.mark.parametrize("name", ["PF", "TmpCab", "Hz", "VAr", "AphA"])
async def test_what_is_not_implemented_is_no_value(name: str) -> None:
    """``Hz`` has a value, and its scale factor is not implemented."""
    assert math.isnan(await value(SunSpec(model=103, point=name)))


async def test_a_scale_factor_too_far_away_is_read_once() -> None:
    assert await value(SunSpec(model=103, point="A"), words_max=3) == 30.5
    with pytest.raises(ConfigError, match=r"scale factor at .* is not implemented"):
        await value(SunSpec(model=160, group="module", index=3, point="DCWH"), words_max=3)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (SunSpec(model=103, point="W", instance=3), "no SunSpec model 103 instance 3"),
        (SunSpec(model=802, point="SoC"), "has no SunSpec model 802"),
        (SunSpec(model=160, group="module", index=4, point="DCA"), "beyond the"),
        (SunSpec(model=103, point="Watt"), "has no point 'Watt'"),
        (SunSpec(model=160, point="DCA"), "group: module"),
        (SunSpec(model=1, point="Mn"), "is string, not a number"),
        (SunSpec(model=59_999, point="W"), "unknown"),
    ],
)
async def test_points_that_the_device_does_not_have(point: SunSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await value(point)


def sunspec_twin(**signals: Any) -> TwinInstance:
    made = {name: Signal(source="plc", sunspec=point) for name, point in signals.items()}
    return TwinInstance("inv", Twin(name="inv", signals=made), {}, {name: i for i, name in enumerate(made)})


async def test_a_source_polls_points_by_name_and_reports_those_that_are_missing() -> None:
    engine = Recorder(sunspec_twin(W=103, dc=SunSpec(model=160, group="module", index=2, point="DCA"), soc=802, Hz=103))
    port = free_port()
    source = make(port, engine)
    with capture_logs() as logs:
        async with serving(simulated(DEVICE), port), running(source):
            await engine.until_heard(0, 1, 3)
    assert engine.latest(0, 1) == [-23050.0, 6.22]
    assert math.isnan(engine.latest(3)[0])
    assert 2 not in engine.values
    (missing,) = [e for e in logs if e["event"] == "sunspec_point_missing"]
    assert missing["signal"] == "inv/soc"
    assert "inv/soc" in source.last_error
    (found,) = [e for e in logs if e["event"] == "sunspec_found"]
    assert found["models"] == [1, 103, 160, 103]


async def test_a_device_that_comes_later_is_found() -> None:
    engine = Recorder(sunspec_twin(W=103))
    port = free_port()
    source = make(port, engine)
    async with running(source):
        async with serving(simulated([1, 2, 3, 4]), port):
            await wait_for_error(source, "no SunSpec device")
        async with serving(simulated(DEVICE), port):
            await engine.until_heard(0)
    assert engine.latest(0) == [-23050.0]


async def wait_for_error(source: Any, words: str) -> None:
    while words not in source.last_error:
        with suppress(LinkError):  # until it is connected
            await source.link.read(1, "holding", 0, 1, timeout_s=5.0)


def test_every_model_that_comes_along_is_sound() -> None:
    models = own_models()
    assert {1, *range(101, 104), *range(111, 114), *range(120, 125), 160, *range(201, 205), *range(211, 215)} <= set(
        models
    )
    assert {701, 802, 803} <= set(models)
    for model in models.values():
        at = 0
        for point in model.points:
            assert point.at == at
            at += point.words
        names = [p.name for p in model.points]
        assert names[:2] == ["ID", "L"]
        assert len(set(names)) == len(names), model.id
        for point in model.points:
            if point.words and point.type in ("int16", "uint16", "acc32", "float32", "enum16"):
                placed = Placed(model.id, 100, 65_000)
                assert register_of(model, SunSpec(model=model.id, point=point.name), placed).address == 100 + point.at


@pytest.mark.skipif(not CASES.is_dir(), reason="EDGETWIN_DATA is not there")
@pytest.mark.parametrize("path", sorted(CASES.glob("*.json")), ids=lambda path: path.stem)
def test_definition_files_are_those_that_come_along(path: Path) -> None:
    definition = json.loads(path.read_text())
    model = compact(definition)
    own = own_models()[model.id]
    assert [(p.name, p.type, p.at, p.words, p.sf) for p in model.points] == [
        (p.name, p.type, p.at, p.words, p.sf) for p in own.points
    ]
    assert [(g.name, g.at, g.repeats) for g in model.groups] == [(g.name, g.at, g.repeats) for g in own.groups]
    size = sum(p["size"] for p in definition["group"]["points"])
    assert model.points[-1].at + model.points[-1].words == size


def test_records_survive_json() -> None:
    model = own_models()[160]
    assert msgspec.json.decode(msgspec.json.encode(model), type=type(model)) == model
