"""Random runs of a source and of writes against a hostile bus in virtual time, each from its seed.

A run is a stretch of faults of every kind and then one of honesty. What must hold: every sample is the value of its own
register; every write reported as done has reached its register; every register that the device has comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass, field

import structlog

from edgetwin.config.schema import ModbusSource as Config
from edgetwin.config.schema import Register
from edgetwin.errors import EdgetwinError
from edgetwin.sources.modbus import ModbusSource
from tests.sources.modbus.hostile import DRIP_S, FAULTS, WRITE_FAULTS, Bus, value_of
from tests.sources.modbus.memory import URLS, Network
from tests.sources.modbus.rig import Recorder, twin
from tests.sources.modbus.virtual import VirtualClock, VirtualLoop, run_virtually

EVERY_S = 1.0
TIMEOUT_S = 0.4
HOSTILE_S = 15.0
LOST_S = 300.0
"""A register that is not read again by then is lost."""

WRITTEN = 5000
"""Where writes go; nobody polls there."""


class FixedLinks:
    """The one link of a run."""

    def __init__(self, network: Network, clock: VirtualClock, seed: int, pipeline: int) -> None:
        self.one = network.link(clock, pipeline, seed)

    def link(self, _config: Config) -> object:
        return self.one


@dataclass
class Result:
    """What a run showed."""

    seed: int
    samples: int = 0
    wrong: list[str] = field(default_factory=list)
    faults: int = 0
    writes: int = 0
    recovery_s: float = 0.0
    alone: bool = False


class Run:
    """One seed's bus, link, source and writer."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.kind = rng.choice(list(URLS))
        self.result = Result(seed)
        self.rate = rng.choice((0.1, 0.3, 0.6, 1.0))
        self.hostile = True
        units = tuple(range(1, rng.choice((1, 1, 2, 3)) + 1))
        self.result.alone = len(units) == 1
        self.bus = Bus(units=units, mood=self._mood, rng=rng)
        self.bus.late_s = lambda: rng.uniform(0.1, 8.0) * TIMEOUT_S
        self.bus.knows_diagnostics = "rtu" not in self.kind or rng.random() < 0.7
        self.bus.count_max = rng.choice((2000, 10, 4))
        self.registers = self._registers(units)
        self.engine = Recorder(twin(*self.registers))
        pipeline = rng.choice((1, 4)) if "rtu" not in self.kind else 1
        config = Config(
            name="plc", url=URLS[self.kind], every=EVERY_S, timeout=TIMEOUT_S, pipeline=pipeline,
            gap_max=rng.choice((0, 8)), align=rng.choice((1, 1, 2)),
        )  # fmt: skip
        links = FixedLinks(Network(self.bus, self.kind), self.clock, seed, pipeline)
        self.source = ModbusSource(config, self.engine, self.clock, links=links)  # type: ignore[arg-type]

    def _registers(self, units: tuple[int, ...]) -> list[Register]:
        rng = self.rng
        found: dict[tuple[int, str, int], Register] = {}
        for _ in range(rng.randrange(2, 14)):
            unit, table = rng.choice(units), rng.choice(("holding", "holding", "input", "coil"))
            address = rng.choice((rng.randrange(30), rng.randrange(400)))
            kind = "bit" if table == "coil" else "uint16"
            found[unit, table, address] = Register(table=table, address=address, type=kind, unit=unit)
        return list(found.values())

    def _mood(self, _unit: int, pdu: bytes) -> str:
        if not self.hostile or self.rng.random() >= self.rate:
            return "honest"
        self.result.faults += 1
        if pdu[0] in (5, 6, 15, 16):
            return self.rng.choice(WRITE_FAULTS)
        mood = self.rng.choice(FAULTS)
        return "garbage" if mood == "flip" and "rtu" not in self.kind else mood

    async def go(self) -> Result:
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(self.source.run())
            writing = group.create_task(self._write())
            await asyncio.sleep(HOSTILE_S)
            self.hostile = False
            await asyncio.sleep(600 * DRIP_S if self._dripping() else 8.0 * TIMEOUT_S)
            await self._recover()
            writing.cancel()
            polling.cancel()
        self._check_samples()
        return self.result

    def _dripping(self) -> bool:
        """A line keeps what an earlier fault has set going."""
        return "rtu" in self.kind and self.rng.random() < 0.2

    async def _write(self) -> None:
        """Values that tell themselves apart, one after the other; what was acknowledged must be there."""
        rng, link = self.rng, self.source.link
        for i in range(10**6):
            await asyncio.sleep(rng.uniform(0.1, 3.0))
            unit, address = rng.choice(self.bus.units), WRITTEN + 4 * rng.randrange(3)
            values = [rng.randrange(65536) for _ in range(rng.randrange(1, 4))]
            self.result.writes += 1
            with contextlib.suppress(EdgetwinError):
                await link.write(unit, "holding", address, values, timeout_s=TIMEOUT_S)
                held = [self.bus.value(unit, "holding", address + k) for k in range(len(values))]
                if held != values:
                    self.result.wrong.append(f"write {i} of {values} at {address}: {held}")

    async def _recover(self) -> None:
        """Every register is read again, and how long that took."""
        start_s = self.loop.time()
        slots = range(len(self.registers))
        self.result.alone &= not self.source.refused()
        before = {slot: len(self.engine.values.get(slot, ())) for slot in slots}
        while self.loop.time() - start_s < LOST_S:
            if all(len(self.engine.values.get(s, ())) > n for s, n in before.items()):
                break
            await asyncio.sleep(0.05)
        else:
            missing = [
                (r := self.registers[s]).table + f" {r.address} of {r.unit}"
                for s, n in before.items()
                if len(self.engine.values.get(s, ())) == n
            ]
            self.result.wrong.append(f"not read again: {missing}; {self.source.last_error}")
        self.result.recovery_s = self.loop.time() - start_s

    def _check_samples(self) -> None:
        for slot, values in self.engine.values.items():
            r = self.registers[slot]
            assert r.unit is not None
            true = float(value_of(r.unit, r.table, r.address))
            self.result.samples += len(values)
            wrong = [v for v in values if v != true]
            if wrong:
                self.result.wrong.append(f"{r.table} {r.address} of unit {r.unit} is {true}, got {wrong}")


def run(seed: int) -> tuple[Run, Result]:
    """The run of a seed."""
    one = Run(seed)
    return one, run_virtually(one.go(), one.loop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begun, totals, worst = time.monotonic(), Result(0), 0.0
    for seed in range(args.seed, args.seed + args.runs):
        one, result = run(seed)
        totals.samples += result.samples
        totals.faults += result.faults
        totals.writes += result.writes
        if result.alone:
            worst = max(worst, result.recovery_s)
        if result.wrong:
            totals.wrong += result.wrong
            print(f"seed {seed} ({one.kind}): {'; '.join(result.wrong)}", flush=True)
    print(
        f"{args.runs} runs, {totals.faults} faults, {totals.samples} samples, {totals.writes} writes,"
        f" {len(totals.wrong)} wrong; slowest recovery of a lone unit {worst:.2f} s at polls of {EVERY_S:g} s;"
        f" {time.monotonic() - begun:.0f} s"
    )
    raise SystemExit(bool(totals.wrong))


if __name__ == "__main__":
    main()
