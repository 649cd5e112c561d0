"""Random sequences of commands, faults, time and arming against one output; nothing may be written outside the gate.

python -m tests.control.hostile --runs 10000 [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
from dataclasses import replace

from edgetwin.clock import NS
from edgetwin.control.output import DAY_NS
from edgetwin.control.records import Command
from tests.control.rig import Device, Rig

VALUES = (0.0, 10.0, 30.0, 99.9, 100.0, 100.1, -1.0, math.nan, math.inf, -math.inf, 1e300)


class Witness(Device):
    """Checks each write against what is allowed, independently of the gate."""

    rig: Rig
    allowed: Command | None = None

    async def write(self, value: float) -> None:
        rig, out = self.rig, self.rig.output
        if value != out.spec.fallback or self.allowed is not None:
            command = self.allowed
            now = rig.clock.wall_ns()
            if value != out.spec.fallback:
                assert command is not None, f"{value} was written though nobody asked"
                assert value == command.value
                assert out.armed
                assert 0.0 <= value <= 100.0
                assert command.issued_ns - NS <= now < command.issued_ns + command.ttl_ns
                state = rig.outlook["T"]
                assert state.mean < 90 and state.std <= 2.0 and now - state.at_ns <= 10 * NS
                recent = [t for t in out.writes if now - t < DAY_NS]
                assert len(recent) <= out.spec.writes_per_day
                if len(recent) > 1:
                    assert recent[-1] - recent[-2] >= NS
        await super().write(value)


async def run_sequence(seed: int) -> int:
    """One sequence; how many values it brought to the device."""
    rng = random.Random(seed)
    device = Witness()
    rig = Rig(
        device=device,
        interlock="T < 90",
        max_std={"T": 2.0},
        every=1.0,
        rate=40.0,
        lease=5.0,
        writes_per_day=20,
        read_back={"within": 0.001},
    )
    device.rig = rig
    sent: list[Command] = []
    used: set[tuple[str, str]] = set()
    for _ in range(rng.randrange(5, 60)):
        match rng.randrange(8):
            case 0 | 1 | 2:
                fresh = rig.command(rng.choice(VALUES), commander=rng.choice(["a", "b"]))
                command = rng.choice([fresh, fresh, *sent[-3:]])
                if rng.random() < 0.2:
                    command = replace(command, issued_ns=command.issued_ns + rng.randrange(-9, 9) * NS)
                again = (command.commander, command.id) in used
                sent.append(command)
                device.allowed = None if again else command
                before = len(device.writes)
                decision, result = await rig.controller.submit(command)
                if decision.accepted:
                    used.add((command.commander, command.id))
                assert len(device.writes) == before or result is not None
                device.allowed = None
            case 3:
                rig.see(rng.uniform(50, 110), rng.choice([0.5, 0.5, 3.0]))
            case 4 | 5:
                await rig.pass_time(rng.choice([0.1, 1.0, 3.0]))
            case 6:
                device.ignores, device.dead, device.echoes_wrongly = (rng.random() < 0.1 for _ in range(3))
            case _:
                await rig.controller.arm("oven", "fan", rng.random() < 0.7, "operator")
    device.ignores = device.dead = device.echoes_wrongly = False
    await rig.pass_time(20, 1.0)
    assert rig.output.fallen
    return len(device.writes)


def main() -> int:
    """Many sequences; stops at the first that fails, with its seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args()
    written = 0
    for seed in range(args.seed, args.seed + args.runs):
        try:
            written += asyncio.run(run_sequence(seed))
        except BaseException:
            print(f"seed {seed} failed", file=sys.stderr)
            raise
    print(f"{args.runs} sequences from seed {args.seed}: {written} writes, none outside the gate")
    return 0


if __name__ == "__main__":
    sys.exit(main())
