"""The source in virtual time: cadence, overruns, what refusals teach, and what a bad device costs the others."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from edgetwin.config.schema import Duration, Register
from edgetwin.config.schema import ModbusSource as Config
from edgetwin.sources.modbus import ModbusSource
from tests.sources.modbus.hostile import Bus, value_of
from tests.sources.modbus.memory import URLS, Network
from tests.sources.modbus.rig import Recorder, holding, twin
from tests.sources.modbus.runs import FixedLinks
from tests.sources.modbus.virtual import T0_NS, VirtualClock, VirtualLoop, run_virtually


class Rig:
    """A source on a bus; ``go`` runs it for a while."""

    def __init__(self, bus: Bus, *wanted: Register, kind: str = "tcp", **extra: Any) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.bus, self.wanted = bus, wanted
        self.engine = Recorder(twin(*wanted))
        config = Config(name="plc", url=URLS[kind], **{"every": 1.0, "timeout": 0.5, **extra})
        self.network = Network(bus, kind)
        links = FixedLinks(self.network, self.clock, 1, config.pipeline)
        self.source = ModbusSource(config, self.engine, self.clock, links=links)  # type: ignore[arg-type]

    def go(self, *acts: float | Callable[[], Awaitable[None] | None]) -> Rig:
        """Poll; each act is a length of time in seconds, or something to be done then."""

        async def main() -> None:
            task = asyncio.get_running_loop().create_task(self.source.run())
            for act in acts:
                if isinstance(act, float):
                    await asyncio.sleep(act)
                else:
                    act()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        run_virtually(main(), self.loop)
        for slot, values in self.engine.values.items():
            r = self.wanted[slot]
            assert set(values) == {float(value_of(r.unit or 1, r.table, r.address))}
        return self

    def times(self, slot: int) -> np.ndarray:
        """Seconds since the start."""
        return (np.array(self.engine.times[slot]) - T0_NS) / 1e9

    def asked(self) -> list[tuple[int, int]]:
        """Address and count of each request."""
        return [(int.from_bytes(p[1:3], "big"), int.from_bytes(p[3:5], "big")) for _, p in self.bus.asked]


def every(s: float) -> Duration:
    return Duration(s)


# ---- cadence


@pytest.mark.parametrize("kind", sorted(URLS))
def test_each_signal_keeps_its_own_rate_without_drift(kind: str) -> None:
    rates = (0.1, 0.25, 1.0, 2.5)
    rig = Rig(Bus(), *(holding(50 * i, every=every(e)) for i, e in enumerate(rates)), kind=kind).go(200.0)
    for slot, rate in enumerate(rates):
        steps = rig.times(slot)
        assert len(steps) == pytest.approx(200 / rate, abs=2)
        grid = (steps - steps[-1]) / rate
        assert np.abs(grid[1:] - np.round(grid[1:])).max() * rate < 0.05  # at worst behind three others
    assert rig.source.overruns == 0


def test_the_polls_of_a_device_are_spread_over_the_period() -> None:
    rig = Rig(Bus(), *(holding(200 * i) for i in range(20))).go(50.0)
    phases = np.sort([rig.times(slot)[-1] % 1.0 for slot in range(20)])
    gaps = np.diff(np.append(phases, phases[0] + 1.0))
    assert gaps.max() < 0.06  # 0.05 apart


def test_the_first_values_come_within_a_second_whatever_the_period() -> None:
    rig = Rig(Bus(), *(holding(200 * i) for i in range(20)), every=3600.0).go(1.1)
    assert len(rig.engine.values) == 20


def test_a_sample_is_of_the_middle_of_its_request() -> None:
    asked: list[float] = []
    bus = Bus(mood=lambda _u, _p: asked.append(asyncio.get_running_loop().time()) or "late", late_s=lambda: 0.2)
    rig = Rig(bus, holding(0)).go(10.0)
    assert rig.times(0) == pytest.approx(np.array(asked)[: len(rig.times(0))] + 0.1, abs=1e-6)


def test_polls_that_a_slow_device_makes_impossible_are_counted() -> None:
    rig = Rig(Bus(mood=lambda _u, _p: "late", late_s=lambda: 0.346), holding(0), every=0.1).go(100.0)
    assert len(rig.times(0)) == pytest.approx(100 / 0.4, abs=60)
    assert rig.source.overruns + len(rig.times(0)) == pytest.approx(1000, abs=5)


def test_pipelining_makes_up_for_a_slow_network() -> None:
    wanted = [holding(200 * i) for i in range(16)]
    slow = [Rig(Bus(mood=lambda _u, _p: "late", late_s=lambda: 0.2), *wanted, pipeline=n).go(20.0) for n in (1, 4)]
    assert slow[0].source.overruns > 50
    assert slow[1].source.overruns == 0
    assert all(len(slow[1].times(slot)) >= 19 for slot in range(16))


# ---- refusals


@pytest.mark.parametrize("kind", sorted(URLS))
def test_a_bad_register_is_found_left_out_and_asked_ever_more_rarely(kind: str) -> None:
    bus = Bus(illegal={(3, 37)})
    rig = Rig(bus, *(holding(a) for a in range(60)), kind=kind).go(1300.0)
    assert set(rig.engine.values) == set(range(60)) - {37}
    assert min(len(rig.times(s)) for s in rig.engine.values) >= 1295
    assert [b.binding.start for b in rig.source.refused()] == [37]
    alone = [r for r in rig.asked() if r == (37, 1)]
    assert 7 <= len(alone) <= 9  # after 10 s, 20 s, ... 640 s
    assert len(rig.asked()) < 1300 * 2 + 50
    assert rig.engine.invalid == len(alone)


def test_finding_it_takes_a_logarithm_of_requests_and_no_second_poll() -> None:
    bus = Bus(illegal={(3, 77)})
    rig = Rig(bus, *(holding(a) for a in range(120))).go(1.9)
    assert set(rig.engine.values) == set(range(120)) - {77}
    assert sum(1 for a, n in rig.asked() if a <= 77 < a + n) <= 8
    assert rig.times(0)[0] < 1.1


def test_a_register_that_comes_back_is_read_with_the_others_again() -> None:
    bus = Bus(illegal={(3, 3), (3, 5)})
    rig = Rig(bus, *(holding(a) for a in range(8)))
    rig.go(5.0, bus.illegal.clear, bus.asked.clear, 60.0)
    assert len(rig.engine.values) == 8
    assert rig.source.refused() == []
    assert rig.asked()[-1] == (0, 8)


def test_when_everything_is_refused_one_stands_for_all() -> None:
    bus = Bus(illegal={(3, a) for a in range(100)})
    rig = Rig(bus, *(holding(a) for a in range(100)))
    rig.go(30.0, bus.asked.clear, 300.0, lambda: bus.asked.clear() or bus.illegal.clear(), 4000.0)
    assert len(rig.engine.values) == 100  # and brings all back


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize("largest", [1, 7, 32, 100, 124])
def test_the_largest_block_of_a_device_is_learned(largest: int, code: int) -> None:
    bus = Bus(count_max=largest, illegal_code=code)
    rig = Rig(bus, *(holding(a) for a in range(125))).go(100.0)
    assert len(rig.engine.values) == 125
    assert rig.source.refused() == []
    fewest = math.ceil(125 / largest)
    assert max(n for _, n in rig.asked()[-3 * fewest :]) == largest
    assert len(rig.asked()) <= 150 * (fewest + 1) + 200


def test_a_hole_that_must_not_be_read_along_is_learned() -> None:
    bus = Bus(illegal={(3, 4), (3, 5)})
    wanted = [holding(a) for a in (0, 1, 2, 3, 6, 7, 8)]
    rig = Rig(bus, *wanted).go(20.0)
    assert len(rig.engine.values) == len(wanted)
    assert rig.source.refused() == []
    assert set(rig.asked()[-4:]) == {(0, 4), (6, 3)}


def test_a_busy_device_is_not_taken_apart() -> None:
    left = itertools.chain(["exception_6"] * 5, itertools.repeat("honest"))
    rig = Rig(Bus(mood=lambda _u, _p: next(left)), *(holding(a) for a in range(10))).go(20.0)
    assert set(rig.asked()) == {(0, 10)}
    assert rig.engine.invalid == 50
    assert len(rig.times(0)) >= 14


# ---- bad devices and their neighbours


MOODS = (
    "silent",
    "garbage",
    "flood",
    "lying_length",
    "drip",
    "partial",
    "close",
    "wrong_unit",
    "wrong_count",
    "twice",
    "late",
)


@pytest.mark.parametrize("kind", sorted(URLS))
@pytest.mark.parametrize("mood", MOODS)
@pytest.mark.parametrize("polls", [1, 20])
def test_recovery_within_two_polls(kind: str, mood: str, polls: int) -> None:
    bus, begun = Bus(late_s=lambda: 0.8), 5.0
    rig = Rig(bus, *(holding(a) for a in (0, 1, 100)), kind=kind)

    def set_mood(new: str) -> Callable[[], None]:
        return lambda: setattr(bus, "mood", lambda _u, pdu: new)

    rig.go(begun, set_mood(mood), float(polls), set_mood("honest"), 10.0)
    end = begun + polls
    for slot in range(3):
        first = next(t for t in rig.times(slot) if t >= end)
        slack = 2.8 if mood == "drip" and kind != "udp" and "rtu" in kind else 0.0  # the line is not free before
        assert first <= end + 2.0 + slack, (slot, first)


@pytest.mark.parametrize("kind", sorted(URLS))
def test_a_dead_unit_takes_little_from_those_on_its_bus(kind: str) -> None:
    bus = Bus(units=(1, 2, 3), dead={2})
    rig = Rig(bus, *(holding(0, unit=u, every=every(0.5)) for u in (1, 2, 3)), kind=kind)
    up: list[bool] = []
    rig.go(300.0, lambda: up.append(rig.source.up))
    for slot in (0, 2):
        assert len(rig.times(slot)) >= 560
    asked = [u for u, _ in bus.asked].count(2)
    assert 10 <= asked <= 30
    assert "unit 2: no answer" in rig.source.last_error
    assert up == [True]


@pytest.mark.parametrize("kind", sorted(URLS))
def test_it_is_back_within_the_longest_pause(kind: str) -> None:
    bus = Bus(units=(1, 2), dead={2})
    rig = Rig(bus, holding(0, unit=1), holding(0, unit=2), kind=kind).go(300.0, bus.dead.clear, 100.0)
    first = rig.times(1)[0]
    assert 300.0 < first <= 331.5
    assert np.diff(rig.times(1)).max() < 1.5  # and in full from then on


def test_a_device_that_drips_moves_no_other() -> None:
    loop_times = []
    for mood in ("honest", "drip"):
        bad = Bus(mood=lambda _u, _p, mood=mood: mood)  # type: ignore[misc]
        good = Rig(Bus(), holding(0, every=every(0.1)))
        other = ModbusSource(
            Config(name="bad", url=URLS["tcp"], every=0.1, timeout=0.5),
            Recorder(twin(holding(0), source="bad")),  # type: ignore[arg-type]
            good.clock,
            links=FixedLinks(Network(bad, "tcp"), good.clock, 2, 1),  # type: ignore[arg-type]
        )

        async def main(good: Rig = good, other: ModbusSource = other) -> None:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(s.run()) for s in (good.source, other)]
                await asyncio.sleep(60.0)
                for task in tasks:
                    task.cancel()

        run_virtually(main(), good.loop)
        loop_times.append(good.times(0))
    assert loop_times[0].tolist() == loop_times[1].tolist()


def test_a_twin_made_later_wakes_a_source_that_had_nothing_to_poll() -> None:
    rig = Rig(Bus())
    rig.wanted = (holding(0),)
    rig.go(5.0, lambda: rig.engine.listeners[0](twin(holding(0))), 5.0)
    assert len(rig.times(0)) == 5
    assert rig.times(0)[0] > 5.0


def test_a_source_that_is_started_again_goes_on() -> None:
    rig = Rig(Bus(mood=lambda _u, _p: "late", late_s=lambda: 0.3), holding(0))

    async def main() -> None:
        for _ in range(3):
            task = asyncio.get_running_loop().create_task(rig.source.run())
            await rig.bus.seen.wait()
            await asyncio.sleep(0.01)  # in mid-request
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            rig.bus.seen.clear()
        task = asyncio.get_running_loop().create_task(rig.source.run())
        await asyncio.sleep(5.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtually(main(), rig.loop)
    assert len(rig.times(0)) >= 4
