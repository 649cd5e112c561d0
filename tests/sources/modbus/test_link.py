"""The link in virtual time: turns, time-outs, breakers, settling on RTU, writes."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edgetwin.errors import EdgetwinError
from edgetwin.sources.modbus.frames import FramingError, LinkError, NoAnswerError, RefusalError, WrongAnswerError
from edgetwin.sources.modbus.link import Link
from edgetwin.sources.modbus.units import PAUSE_MAX_S, Unit
from tests.sources.modbus.hostile import Bus, value_of
from tests.sources.modbus.memory import URLS, Network
from tests.sources.modbus.virtual import VirtualClock, VirtualLoop, run_virtually

TIMEOUT_S = 0.5
KINDS = sorted(URLS)
RTU = ["rtu", "rtuovertcp"]


def virtually(
    bus: Bus, kind: str, act: Callable[[Link, VirtualLoop, Network], Awaitable[Any]], pipeline: int = 1
) -> Any:
    """Run ``act`` with a link to ``bus``."""
    loop = VirtualLoop()
    network = Network(bus, kind)

    async def main() -> Any:
        link = network.link(VirtualClock(loop), pipeline)
        try:
            return await act(link, loop, network)
        finally:
            link.close()

    return run_virtually(main(), loop)


def mooded(*moods: str) -> Callable[[int, bytes], str]:
    """One mood for each request, then honest."""
    left = list(moods)
    return lambda _unit, _pdu: left.pop(0) if left else "honest"


async def read(link: Link, address: int, count: int = 2, unit: int = 1, table: str = "holding") -> list[int]:
    words = await link.read(unit, table, address, count, timeout_s=TIMEOUT_S)
    assert words.values.tolist() == [value_of(unit, table, address + i) for i in range(count)]
    return words.values.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_reads_of_every_table_from_several_units(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        for unit in (1, 2):
            for table in ("holding", "input", "coil", "discrete"):
                await read(link, 10, 20, unit, table)
        assert link.connections == 1

    virtually(Bus(units=(1, 2)), kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_writes_are_echoed_and_read_back(kind: str) -> None:
    bus = Bus()

    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        for table, values in (("holding", [7]), ("holding", [1, 65535]), ("coil", [1]), ("coil", [1, 0, 1])):
            await link.write(1, table, 5, values, timeout_s=TIMEOUT_S)
            words = await link.read(1, table, 5, len(values), timeout_s=TIMEOUT_S)
            assert words.values.tolist() == values
        await link.write(1, "holding", 9, [3], timeout_s=TIMEOUT_S, single=False)
        await link.write(1, "holding", 9, [3], timeout_s=TIMEOUT_S)
        await link.write(1, "coil", 9, [1], timeout_s=TIMEOUT_S, single=False)

    virtually(bus, kind, act)
    assert [pdu[0] for _, pdu in bus.asked if pdu[0] > 4] == [6, 16, 5, 15, 16, 6, 15]


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_whose_echo_differs_is_not_done(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        with pytest.raises((WrongAnswerError, LinkError)):
            await link.write(1, "holding", 5, [7], timeout_s=TIMEOUT_S)
        await link.write(1, "holding", 5, [7], timeout_s=TIMEOUT_S)

    virtually(Bus(mood=mooded("wrong_echo")), kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_without_an_answer_says_that_it_may_have_been_done(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        with pytest.raises(NoAnswerError) as caught:
            await link.write(1, "holding", 5, [7], timeout_s=TIMEOUT_S)
        assert caught.value.sent
        link.close()
        network.down = True
        with pytest.raises(LinkError, match="cannot connect") as refused:
            await link.write(1, "holding", 5, [7], timeout_s=TIMEOUT_S)
        assert not refused.value.sent

    virtually(Bus(mood=mooded("silent")), kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_writes_go_before_reads_that_wait(kind: str) -> None:
    bus = Bus()

    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        async with asyncio.TaskGroup() as group:
            for address in range(6):
                group.create_task(read(link, address))
            await bus.seen.wait()
            group.create_task(link.write(1, "holding", 100, [1], timeout_s=TIMEOUT_S))

    virtually(bus, kind, act)
    assert [pdu[0] for _, pdu in bus.asked] == [3, 6, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_as_many_requests_are_under_way_as_allowed(kind: str) -> None:
    begun: list[float] = []
    bus = Bus(mood=lambda _unit, _pdu: begun.append(asyncio.get_running_loop().time()) or "late", late_s=lambda: 0.2)

    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        async with asyncio.TaskGroup() as group:
            for address in range(8):
                group.create_task(read(link, address))

    virtually(bus, kind, act, pipeline=4)
    assert max(begun[:4]) < 0.1
    assert min(begun[4:]) > 0.2


@pytest.mark.parametrize("kind", RTU)
def test_requests_on_one_line_never_overlap_and_keep_their_distance(kind: str) -> None:
    times: list[float] = []
    bus = Bus(units=(1, 2, 3), mood=lambda _unit, _pdu: times.append(asyncio.get_running_loop().time()) or "honest")

    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        async with asyncio.TaskGroup() as group:
            for address in range(9):
                group.create_task(read(link, address, unit=1 + address % 3))

    virtually(bus, kind, act)
    gap = 0.004 + (0.00175 if kind == "rtu" else 0.0)  # there and back, and the silence between frames
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(times))


# ---- faults


async def ask_after_a_late_answer(link: Link, loop: VirtualLoop, network: Network) -> int:
    """How many of 40 readings of other addresses have an answer, each of them of its own address."""
    with pytest.raises(NoAnswerError):
        await read(link, 200)
    good = 0
    for i in range(40):
        try:
            await read(link, 300 + i)  # which compares the values
            good += 1
        except LinkError:
            await asyncio.sleep(0.1)
    return good


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("late_s", [0.6, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("diagnostics", [True, False])
def test_a_late_answer_is_never_taken_for_another_address(kind: str, late_s: float, diagnostics: bool) -> None:
    bus = Bus(mood=mooded("late"), late_s=lambda: late_s, knows_diagnostics=diagnostics)
    assert virtually(bus, kind, ask_after_a_late_answer) >= 30


@pytest.mark.parametrize("kind", RTU)
@pytest.mark.parametrize("late_s", [0.6, 1.3, 2.3])
def test_nor_on_a_unit_that_ignores_diagnostics(kind: str, late_s: float) -> None:
    """It is probed by a reading of another length."""
    moods = ["late"]

    def mood(_unit: int, pdu: bytes) -> str:
        return "silent" if pdu[0] == 8 else moods.pop() if moods else "honest"

    assert virtually(Bus(mood=mood, late_s=lambda: late_s), kind, ask_after_a_late_answer) >= 25


@pytest.mark.parametrize("kind", RTU)
def test_a_write_is_not_repeated_to_settle_the_line(kind: str) -> None:
    moods = ["late"]
    bus = Bus(mood=lambda _u, pdu: "silent" if pdu[0] == 8 else moods.pop() if moods else "honest", late_s=lambda: 2.0)

    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        with pytest.raises(NoAnswerError):
            await read(link, 5, 1)
        while True:
            try:
                await link.write(1, "holding", 5, [7], timeout_s=TIMEOUT_S)
                break
            except LinkError as exc:
                assert not exc.sent
                await asyncio.sleep(0.1)

    virtually(bus, kind, act)
    assert [pdu[0] for _, pdu in bus.asked].count(6) == 1
    assert bus.memory[1, "holding", 5] == 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "mood", ["garbage", "lying_length", "flood", "partial", "wrong_unit", "close", "drip", "twice"]
)
def test_the_request_after_a_fault_is_answered(kind: str, mood: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        try:
            await read(link, 200, 20)
        except LinkError:
            pass
        else:
            assert mood in ("twice", "lying_length", "close", "wrong_unit") or kind == "udp", mood
        await asyncio.sleep(2 * TIMEOUT_S)
        for address in range(5):
            try:
                await read(link, address)
            except LinkError:  # what is left of it costs one more at most
                assert address == 0
                await asyncio.sleep(2 * TIMEOUT_S)

    virtually(Bus(mood=mooded(mood)), kind, act)


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
def test_a_flood_and_noise_fill_no_memory(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        for _ in range(20):
            with pytest.raises(EdgetwinError):
                await read(link, 0, 20)
            assert len(link._framing._buffer) <= 260  # type: ignore[attr-defined]
            await asyncio.sleep(2)

    virtually(Bus(mood=lambda _u, _p: "flood"), kind, act)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_all_that_was_under_way_ends_with_the_connection(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> list[Any]:
        await read(link, 0)
        reads = [link.read(1, "holding", a, 1, timeout_s=TIMEOUT_S) for a in range(4)]
        return await asyncio.gather(*reads, return_exceptions=True)

    bus = Bus(mood=mooded("honest", "late", "garbage", "late", "late"), late_s=lambda: 0.3)
    found = virtually(bus, kind, act, pipeline=4)
    assert [type(f) for f in found] == [FramingError] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_request_leaves_nothing_for_the_next(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        task = asyncio.get_running_loop().create_task(read(link, 200))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for address in range(300, 306):
            try:
                await read(link, address)
            except LinkError:
                assert address == 300

    virtually(Bus(mood=mooded("late"), late_s=lambda: 0.3), kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_keep_the_connection(kind: str) -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        for code in (1, 2, 3, 4, 5, 6, 11):
            with pytest.raises(RefusalError) as caught:
                await read(link, 7)
            assert caught.value.code == code
            await asyncio.sleep(60.0)
        await read(link, 7)
        assert link.connections == 1

    virtually(Bus(mood=mooded(*(f"exception_{c}" for c in (1, 2, 3, 4, 5, 6, 11)))), kind, act)


def test_connecting_again_pauses_ever_longer_and_with_jitter() -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> list[float]:
        network.down = True
        pauses = []
        for _ in range(40):
            with pytest.raises(LinkError):
                await read(link, 0)
            pauses.append(link.wait_ns(1) / 1e9)
            await asyncio.sleep(pauses[-1])
        network.down = False
        await read(link, 0)
        return pauses

    pauses = virtually(Bus(), "tcp", act)
    assert max(pauses[:3]) <= 2.0
    assert max(pauses) <= 10.0
    assert max(pauses[10:]) > 5.0
    assert len({round(p, 6) for p in pauses}) > 30


def test_a_broadcast_is_obeyed_by_all_and_answered_by_none() -> None:
    bus = Bus(units=(0,))
    bus.mood = lambda _unit, _pdu: "silent"

    async def act(link: Link, loop: VirtualLoop, network: Network) -> float:
        await link.write(0, "holding", 5, [7], timeout_s=TIMEOUT_S)
        bus.units, bus.mood = (1,), mooded()
        before = loop.time()
        await read(link, 6)
        return loop.time() - before

    assert virtually(bus, "rtu", act) >= 0.1  # they are given time to obey
    assert [unit for unit, _ in bus.asked] == [0, 1]


def test_the_instant_of_an_answer_is_the_middle_of_its_request() -> None:
    async def act(link: Link, loop: VirtualLoop, network: Network) -> None:
        await read(link, 0)
        begun = link._clock.wall_ns()
        words = await link.read(1, "holding", 0, 1, timeout_s=TIMEOUT_S)
        assert words.took_ns == pytest.approx(304e6, abs=1e3)
        assert words.at_ns - begun == pytest.approx(152e6, abs=1e3)

    virtually(Bus(mood=mooded("honest", "late"), late_s=lambda: 0.3), "tcp", act)


# ---- the breaker of a unit


def test_a_silent_unit_is_left_alone_ever_longer_and_comes_back_at_once() -> None:
    unit, now = Unit(random.Random(1)), 0
    pauses = []
    for _ in range(12):
        unit.failed(now, 1.0, silent=True)
        pauses.append(unit.wait_ns(now) / 1e9)
        now = unit.resume_ns
    assert pauses[0] <= 1.0
    assert all(0.5 * full <= p <= full for p, full in zip(pauses[1:], [2, 4, 8, 16] + [30] * 7, strict=True))
    assert max(pauses) <= PAUSE_MAX_S
    unit.answered()
    assert unit.wait_ns(now) == 0


def test_answers_that_cannot_be_read_are_forgiven_twice() -> None:
    unit = Unit(random.Random(1))
    for _ in range(2):
        unit.failed(0, 1.0, silent=False)
        assert unit.wait_ns(0) == 0
    unit.failed(0, 1.0, silent=False)
    assert unit.wait_ns(0) > 0
