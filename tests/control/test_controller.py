"""Commands, leases, rules and faults against a device that can misbehave."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path
from typing import Any

import pytest

from edgetwin.control.audit import Audit
from edgetwin.control.output import make_output
from edgetwin.control.records import Result, State, Step
from edgetwin.errors import JournalError
from edgetwin.records import Quality
from tests.control.rig import STATES, AtOnce, Device, Rig, spec

QUICK = {"read_back": {"within": 0.01}}


async def test_a_command_is_written_verified_and_audited() -> None:
    rig = Rig()
    decision, result = await rig.controller.submit(rig.command(30.0))
    assert (decision.step, result) == (None, Result.WRITTEN)
    assert rig.device.writes == [30.0]
    assert rig.kinds() == ["decision", "intent", "result"]
    assert [kind for kind, _ in rig.events] == ["output_decision", "output_intent", "output_result"]


async def test_the_same_value_renews_the_lease_and_writes_nothing() -> None:
    rig = Rig(lease=10.0)
    await rig.controller.submit(rig.command(30.0))
    for _ in range(5):
        await rig.pass_time(8)
        _, result = await rig.controller.submit(rig.command(30.0))
        assert result is Result.RENEWED
    assert rig.device.writes == [30.0]
    await rig.pass_time(10.2)
    assert rig.device.writes == [30.0, 0.0]
    await rig.pass_time(60)
    assert rig.device.writes == [30.0, 0.0]  # once
    assert rig.controller.fallbacks == 1


@pytest.mark.parametrize(
    "fault", [{"ignores": True}, {"dead": True}, {"echoes_wrongly": True}], ids=["ignores", "dead", "wrong echo"]
)
async def test_a_write_that_is_not_verified_brings_the_fallback_and_an_alarm(fault: dict[str, bool]) -> None:
    rig = Rig(**QUICK)
    for name, value in fault.items():
        setattr(rig.device, name, value)
    _, result = await rig.controller.submit(rig.command(30.0))
    assert result is Result.FAILED
    assert rig.device.writes == {"ignores": [30.0, 0.0], "dead": [], "echoes_wrongly": [30.0, 0.0]}[next(iter(fault))]
    assert [data["priority"] for kind, data in rig.events if kind == "output_fallback"][:1] == ["high"]
    decision, _ = await rig.controller.submit(rig.command(30.0))
    assert decision.step is Step.ARMED  # until somebody has looked at it
    assert rig.output.fault in decision.reason


async def test_a_fallback_that_the_device_did_not_take_is_tried_until_it_has_it() -> None:
    rig = Rig(**QUICK)
    await rig.controller.submit(rig.command(30.0))
    rig.device.dead = True
    await rig.controller.submit(rig.command(40.0))
    await rig.pass_time(10)
    assert rig.device.holds == 30.0
    rig.device.dead = False
    await rig.pass_time(3)
    assert rig.device.holds == 0.0
    assert rig.kinds().count("fallback") == 2  # that it failed, and that it was done
    await rig.pass_time(10)
    assert rig.device.writes == [30.0, 0.0]


async def test_an_output_that_cannot_be_read_trusts_the_acknowledgement() -> None:
    rig = Rig()
    rig.device.unreadable = True
    _, result = await rig.controller.submit(rig.command(30.0))
    assert result is Result.WRITTEN


async def test_shadow_records_everything_but_the_write() -> None:
    rig = Rig(mode="shadow")
    decision, result = await rig.controller.submit(rig.command(30.0))
    assert (decision.step, decision.writes, result) == (Step.SHADOW, True, None)
    assert rig.device.writes == []
    assert rig.kinds() == ["decision"]
    assert rig.controller.counts["shadow"] == 1


async def test_a_failed_twin_brings_the_fallback() -> None:
    rig = Rig(interlock="T < 90")
    await rig.controller.submit(rig.command(30.0))
    rig.outlook = {"T": State(60.0, 0.5, rig.clock.wall_ns(), Quality.BAD)}
    await rig.pass_time(0.2)
    assert rig.device.writes == [30.0, 0.0]


async def test_disarming_brings_the_fallback() -> None:
    rig = Rig()
    await rig.controller.submit(rig.command(30.0))
    await rig.controller.arm("oven", "fan", False, "operator")
    assert rig.device.writes == [30.0, 0.0]
    decision, _ = await rig.controller.submit(rig.command(30.0))
    assert decision.step is Step.ARMED


async def test_nothing_is_written_that_cannot_be_audited(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    AtOnce(tmp_path).journal.close()  # as a disk that refuses
    with pytest.raises(JournalError):
        await rig.controller.submit(rig.command(30.0))
    assert rig.device.writes == []


async def test_a_write_that_failed_falls_back_though_that_cannot_be_audited() -> None:
    class Full(Audit):
        async def append(self, kind: str, t_ns: int, data: Any) -> None:
            if kind == "result":
                raise JournalError("the disk is full")
            await super().append(kind, t_ns, data)

    rig = Rig()
    rig.controller.audit = Full(None)
    rig.device.echoes_wrongly = True
    with pytest.raises(JournalError):
        await rig.controller.submit(rig.command(30.0))
    assert rig.device.holds == 0.0
    assert not rig.output.armed


@pytest.mark.parametrize("step_s", [-7200, 7200])
async def test_a_clock_that_is_set_makes_no_lease_longer_or_shorter(step_s: int) -> None:
    rig = Rig(lease=10.0, rate=10.0)
    rig.output.written, rig.output.written_ns = 0.0, rig.clock.wall_ns() - 10 * 10**9
    await rig.controller.submit(rig.command(30.0))
    await rig.pass_time(1)
    rig.clock.set(rig.clock.wall_ns() + step_s * 10**9)
    rig.controller.clock_stepped(step_s * 10**9)
    decision, _ = await rig.controller.submit(rig.command(41.0))
    assert decision.step is Step.RATE
    await rig.pass_time(8.9)
    assert rig.device.writes == [30.0]
    await rig.pass_time(0.2)
    assert rig.device.writes == [30.0, 0.0]


# ---- rules


async def test_a_rule_with_hysteresis() -> None:
    rig = Rig(lease=1.0)
    rig.rule(to=80.0, when="T > 80", clear="T < 70", **{"for": 1.0})
    trace = [(60, 1), (85, 0.5), (60, 0.2), (85, 1.5), (75, 3), (69, 1), (75, 2)]
    seen = []
    for t, seconds in trace:
        for _ in range(round(seconds * 10)):
            rig.see(t)
            await rig.pass_time(0.1)
        seen.append(rig.device.holds)
    assert seen == [0, 0, 0, 80, 80, 0, 0]
    assert rig.device.writes == [80.0, 0.0]


async def test_a_rule_whose_target_follows_a_state() -> None:
    rig = Rig()
    rig.rule(to="clip(2*(T - 50), 0, 100)", when="T > 55")
    for t in (60.0, 70.0, 200.0):
        rig.see(t)
        await rig.pass_time(0.1)
    assert rig.device.writes == [20.0, 40.0, 100.0]


async def test_a_rule_that_sees_nothing_lets_go() -> None:
    rig = Rig(lease=2.0)
    rig.rule(to=80.0, when="T > 80")
    rig.see(90)
    await rig.pass_time(0.1)
    rig.outlook = {"T": State(math.nan, math.nan, 0)}
    await rig.pass_time(3)
    assert rig.device.writes == [80.0, 0.0]


async def test_a_refused_rule_is_told_once() -> None:
    rig = Rig(armed=False)
    rig.rule(to=80.0, when="T > 80")
    for _ in range(50):
        rig.see(90)
        await rig.pass_time(0.1)
    assert rig.kinds() == ["decision"]


async def test_commanders_do_not_fight() -> None:
    rig = Rig(lease=5.0)
    rig.rule(to=80.0, when="T > 80")
    await rig.controller.submit(rig.command(30.0))
    rig.see(90)
    await rig.pass_time(1)
    assert rig.device.writes == [30.0]
    for _ in range(60):
        rig.see(90)
        await rig.pass_time(0.1)
    assert rig.device.writes == [30.0, 80.0]  # taken over as the lease ran out


async def test_a_fallback_that_is_cut_off_is_written_at_the_stop() -> None:
    """The rounds are cancelled when the daemon stops, whatever they wait for; nothing is accepted after that."""

    class Slow(Device):
        hangs = False

        async def write(self, value: float) -> None:
            if self.hangs:
                await asyncio.Event().wait()
            await super().write(value)

    device = Slow()
    rig = Rig(device=device, lease=1.0)
    await rig.controller.submit(rig.command(30.0))
    device.hangs = True
    rig.clock.advance(2 * 10**9)

    async def rounds() -> None:
        async with asyncio.TaskGroup() as tasks:
            rig.controller.look_after(tasks)

    running = asyncio.create_task(rounds())
    while not rig.output.fallen:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert device.holds == 30.0
    device.hangs = False
    await rig.controller.safe("the daemon stops")
    assert device.holds == 0.0
    decision, _ = await rig.controller.submit(rig.command(30.0))
    assert decision.step is Step.ARMED
    assert "the daemon stops" in decision.reason


# ---- crashes


class Killed(BaseException):
    """As SIGKILL."""


@pytest.mark.parametrize("at", range(8))
async def test_killed_at_any_step_the_device_ends_at_the_fallback(at: int, tmp_path: Path) -> None:
    """The next run reads before it writes, uses no id twice, and no value outlives its lease."""
    device, steps = Device(), iter(range(100))

    def crossing(*_: Any) -> None:
        if next(steps) == at:
            raise Killed

    class Mortal(Device):
        async def write(self, value: float) -> None:
            crossing()
            await device.write(value)
            crossing()

        async def read(self) -> float | None:
            crossing()
            return await device.read()

    class MortalAudit(Audit):
        async def append(self, kind: str, t_ns: int, data: Any) -> None:
            crossing()
            await super().append(kind, t_ns, data)
            crossing()

    first = Rig(tmp_path, Mortal())
    first.controller.audit = MortalAudit(AtOnce(tmp_path))
    command = first.command(30.0)
    died = False
    try:
        await first.controller.submit(command)
    except Killed:
        died = True
    assert died == (at < 8)
    second = Rig(tmp_path, device)
    second.controller.remember(second.audit.load())
    await second.pass_time(0.1)
    assert device.holds == 0.0
    before = list(device.writes)
    decision, _ = await second.controller.submit(command)
    if before[:1] == [30.0]:
        assert decision.step is Step.COMMAND
        assert device.writes == before


async def test_after_a_stop_under_control_the_next_run_falls_back(tmp_path: Path) -> None:
    first = Rig(tmp_path)
    await first.controller.submit(first.command(30.0))
    second = Rig(tmp_path, first.device)
    second.controller.remember(second.audit.load())
    await second.pass_time(0.1)
    assert first.device.writes == [30.0, 0.0]
    third = Rig(tmp_path, first.device)
    third.controller.remember(third.audit.load())
    await third.pass_time(0.1)
    assert first.device.writes == [30.0, 0.0]


async def test_a_fallback_that_failed_is_owed_by_the_next_run_too(tmp_path: Path) -> None:
    first = Rig(tmp_path, **QUICK)
    await first.controller.submit(first.command(30.0))
    first.device.dead = True
    await first.controller.safe("the daemon stops")
    for dead, holds in ((True, 30.0), (False, 0.0)):
        first.device.dead = dead
        rig = Rig(tmp_path, first.device, **QUICK)
        rig.controller.remember(rig.audit.load())
        await rig.pass_time(0.1)
        assert first.device.holds == holds


async def test_a_twin_that_appears_later_has_its_past(tmp_path: Path) -> None:
    """As those of templates do, which exist once they are heard."""
    first = Rig(tmp_path, writes_per_day=1)
    command = first.command(30.0)
    await first.controller.submit(command)
    second = Rig(tmp_path, first.device, writes_per_day=1)
    late = second.output
    del second.controller.outputs["oven", "fan"]
    second.controller.remember(second.audit.load())
    await second.pass_time(1)
    assert first.device.writes == [30.0]
    second.controller.add(late, first.device)
    await second.pass_time(0.1)
    assert first.device.writes == [30.0, 0.0]
    decision, _ = await second.controller.submit(command)
    assert decision.step is Step.RATE  # the write of the day is used up
    assert not late.is_new(command, second.clock.wall_ns())


async def test_a_device_that_hangs_keeps_no_other_from_its_fallback(tmp_path: Path) -> None:
    hanging = asyncio.Event()

    class Hangs(Device):
        async def read(self) -> float | None:
            await hanging.wait()
            return self.holds

    first = Rig(tmp_path)
    await first.controller.submit(first.command(30.0))
    second = Rig(tmp_path)
    second.controller.outputs.clear()
    second.controller.remember(second.audit.load())
    second.controller.add(make_output("oven", "lamp", spec(), STATES), Hangs())
    second.controller.add(second.output, first.device)
    async with asyncio.TaskGroup() as tasks:
        second.controller.look_after(tasks)
        async with asyncio.timeout(10):
            while first.device.holds:
                await asyncio.sleep(0)
        hanging.set()


# ---- hostile sequences


def test_random_hostile_sequences_never_write_outside_the_gate() -> None:
    """See tests/control/hostile.py for thousands of runs."""
    from tests.control.hostile import run_sequence

    seed = random.randrange(2**32)
    print("seed", seed)
    for k in range(60):
        asyncio.run(run_sequence(seed + k))
