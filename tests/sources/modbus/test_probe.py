"""Probing an unknown device: addresses found by bisection, types and orders guessed, a draft that can be run."""

from __future__ import annotations

import asyncio
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.simulator import DataType, SimData, SimDevice

from edgetwin.cli.main import main
from edgetwin.clock import SystemClock
from edgetwin.config.check import check
from edgetwin.config.load import load
from edgetwin.errors import SourceError
from edgetwin.sources.modbus.draft import draft
from edgetwin.sources.modbus.frames import RefusalError
from edgetwin.sources.modbus.guess import guess, word_order
from edgetwin.sources.modbus.link import Words
from edgetwin.sources.modbus.survey import Span, Surveyor
from tests.config.support import read as read_config
from tests.conftest import free_port
from tests.sources.modbus.rig import HOST, serving
from tests.sources.modbus.test_sunspec import DEVICE


class Given:
    """A link to a device that gives ``addresses`` (each holding its own number) and at most ``longest`` at a time."""

    def __init__(self, addresses: set[int], longest: int = 125, code: int = 2) -> None:
        self.addresses, self.longest, self.code = addresses, longest, code

    async def read(self, _unit: int, _table: str, address: int, count: int, *, timeout_s: float) -> Words:
        assert timeout_s > 0
        if count > self.longest or not set(range(address, address + count)) <= self.addresses:
            raise RefusalError(self.code)
        return Words(np.arange(address, address + count, dtype=np.uint16), 0, 0)


def surveyor(link: Any, requests_max: int = 10_000) -> Surveyor:
    return Surveyor(link, 1, SystemClock(), timeout_s=1.0, rate=1e9, requests_max=requests_max)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 400), max_size=60), st.integers(1, 64), st.integers(0, 100))
async def test_exactly_the_addresses_that_are_given_are_found(addresses: set[int], longest: int, first: int) -> None:
    spans = await surveyor(Given(addresses, longest)).find("holding", first, 350)
    found = [a for s in spans for a in range(s.address, s.address + s.count)]
    assert found == sorted(a for a in addresses if first <= a <= 350)
    assert all(a.address + a.count < b.address for a, b in pairwise(spans))


async def test_the_search_is_bounded() -> None:
    limited = surveyor(Given(set(range(1, 1000, 2))), requests_max=100)
    await limited.find("holding", 0, 999)
    assert limited.exhausted
    assert limited.requests == 100


async def test_a_table_the_device_does_not_have_costs_one_request() -> None:
    limited = surveyor(Given(set(), code=1))
    assert await limited.find("input", 0, 999) == []
    assert limited.requests == 1


async def test_a_unit_behind_a_gateway_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(SourceError, match="gateway"):
        await surveyor(Given(set(), code=11)).find("holding", 0, 999)


async def test_requests_are_paced() -> None:
    class Clock:
        now_ns = 0

        def monotonic_ns(self) -> int:
            return self.now_ns

    clock: Any = Clock()
    paced = Surveyor(Given({0}), 1, clock, timeout_s=1.0, rate=20.0, requests_max=9)  # type: ignore[arg-type]
    await paced.read("holding", 0, 1)
    waiting = asyncio.create_task(paced.read("holding", 0, 1))
    await asyncio.sleep(0)
    assert paced.requests == 1
    clock.now_ns = 50_000_000
    await waiting
    assert paced.requests == 2


# ---- guesses


def floats(order: str, *values: float) -> list[int]:
    words: list[int] = []
    for value in values:
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        pair = [low, high] if order in ("CDAB", "DCBA") else [high, low]
        words += [w >> 8 | (w & 0xFF) << 8 for w in pair] if order in ("BADC", "DCBA") else pair
    return words


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize("seed", range(5))
def test_floats_of_a_meter_and_their_order(order: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = np.array([230.4, 12.7, 2890.1, 49.98, 0.92, 21.5])
    rows = [floats(order, *(level * (1 + 1e-3 * rng.standard_normal(6)))) for _ in range(5)]
    readings = np.array(rows, np.uint16)
    assert word_order([readings]) == order, seed
    found = guess("input", 100, readings, order)
    assert [(g.register.address, g.register.type, g.register.order) for g in found] == [
        (100 + 2 * i, "float32", order) for i in range(6)
    ]
    assert all(g.confidence > 0.8 for g in found)


def test_integers_counters_and_texts_are_told_apart() -> None:
    rows = []
    for k in range(5):
        energy = 1_234_567 + 3 * k
        rows.append(
            [230 + k % 2, 0xFFF0 + k, *struct.unpack(">3H", b"AC-10\0"), energy >> 16, energy & 0xFFFF, 0x8000, 55]
        )
    found = guess("holding", 0, np.array(rows, np.uint16), "ABCD")
    assert [(g.register.address, g.register.type) for g in found] == [
        (0, "uint16"), (1, "int16"), (2, "string"), (5, "uint32"), (7, "uint16"), (8, "uint16"),
    ]  # fmt: skip
    assert found[2].text == "AC-10"
    assert found[3].value == 1_234_579
    assert found[1].value == -12
    assert found[4].confidence < found[5].confidence < found[0].confidence


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 12), st.data())
def test_any_readings_are_covered_once_and_the_draft_is_accepted(rows: int, n: int, data: Any) -> None:
    row = st.lists(st.integers(0, 0xFFFF) | st.integers(0x2020, 0x7A7A), min_size=n, max_size=n)
    first = data.draw(row)
    readings = [np.array(data.draw(st.just(first) | row), np.uint16) for _ in range(rows)]
    order = word_order([np.stack(readings)])
    found = guess("input", 7, np.stack(readings), order)
    at = 7
    for g in found:
        assert g.register.address == at
        assert 0 < g.confidence <= 1
        at += g.register.length or (2 if "32" in g.register.type else 1)
    assert at == 7 + n
    config = read_config(draft("modbus+tcp://h", 3, [Span("input", 7, n, readings)], []))
    assert check(config, Path()) == []
    assert config.sources[0].unit == 3  # type: ignore[union-attr]


def test_nothing_found_is_no_draft() -> None:
    assert draft("modbus+tcp://h", 1, [Span("holding", 0, 5)], []) == ""


# ---- the command


async def probe(port: int, *options: str) -> int:
    url = f"modbus+tcp://{HOST}:{port}"
    words = ["modbus", "probe", url, "--rate", "2000", "--readings", "2", "--every", "1ms", "--timeout", "5s", *options]
    return await asyncio.to_thread(main, words)


async def test_a_device_is_probed_and_its_draft_can_be_checked(tmp_path: Path, capsys: Any) -> None:
    registers = [
        SimData(10, values=floats("CDAB", 230.5, 12.25, 50.0), datatype=DataType.REGISTERS),
        SimData(300, values=[21, 22], datatype=DataType.REGISTERS),
        SimData(40_000, values=DEVICE, datatype=DataType.REGISTERS),
    ]
    port, out = free_port(), tmp_path / "draft.yaml"
    async with serving(SimDevice(1, registers), port):
        assert await probe(port, "--range", "0-399", "--table", "holding", "--out", str(out)) == 0
    told = capsys.readouterr().err
    assert "holding: 10-15, 300-301" in told
    assert "points have a value" in told
    config = load(out)
    assert check(config, tmp_path) == []
    signals = config.twins[0].signals
    for address in (10, 12, 14):
        register = signals[f"holding_{address}"].register
        assert register is not None
        assert (register.type, register.order) == ("float32", "CDAB")
    assert "m103_W" in signals
    assert "m103_2_W" in signals
    assert "m160_module2_DCA" in signals
    assert "m103_PF" not in signals
    assert main(["check", str(out)]) == 0


async def test_a_device_without_these_addresses_is_an_error(capsys: Any) -> None:
    port = free_port()
    async with serving(SimDevice(1, [SimData(500, values=[1], datatype=DataType.REGISTERS)]), port):
        assert await probe(port, "--range", "0-20") == 1
    assert "gives none of the addresses" in capsys.readouterr().err


async def test_a_draft_that_cannot_be_written_is_printed(tmp_path: Path, capsys: Any) -> None:
    port = free_port()
    async with serving(SimDevice(1, [SimData(5, values=[1, 2], datatype=DataType.REGISTERS)]), port):
        assert await probe(port, "--range", "0-20", "--out", str(tmp_path / "none" / "draft.yaml")) == 1
    told = capsys.readouterr()
    assert "draft.yaml cannot be written (No such file or directory)" in told.err
    assert f"modbus+tcp://{HOST}:{port}" in told.out


async def test_nobody_there_is_an_error(capsys: Any) -> None:
    assert await probe(free_port()) == 1
    assert "cannot connect" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--range", "9-1"], ["--range", "0-70000"], ["--rate", "0"], ["--unit", "256"]])
def test_options_that_cannot_be(options: list[str], capsys: Any) -> None:
    assert main(["modbus", "probe", "modbus+tcp://127.0.0.1:9", *options]) == 2
    assert capsys.readouterr().err
