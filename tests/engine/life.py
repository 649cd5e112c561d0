"""A gateway's life as a list of calls: many models and everything that can happen to them.

:func:`life` draws one from a seed; the calls name twins and signals, so that any engine can be given them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.records import Batch, Outcome
from tests.engine.build import SECOND, T0, config

SOURCES = [
    {"name": "plant", "kind": "mqtt", "url": "mqtt://127.0.0.1"},
    {"name": "field", "kind": "mqtt", "url": "mqtt://127.0.0.1", "clock": "corrected"},
]
UPLINK = {"kind": "mqtt", "url": "mqtt://127.0.0.1", "every": 7.0}
ROOM = {
    "name": "room",
    "states": {"air": {"initial": 20.0, "std": 5.0}, "wall": {"initial": 20.0, "std": 5.0}},
    "inputs": {"heat": {"initial": 0.0}},
    "parameters": {"c": 300.0},
    "derivatives": {"air": "(wall - air) / c + heat", "wall": "(air - wall) / 3000"},
    "process_noise": {"air": 0.01, "wall": 0.01},
    "measurements": {"air": "air", "wall": "wall", "both": "air + wall"},
}
PEND = {
    "name": "pend",
    "states": {"a": {"initial": 0.1, "std": 1.0}, "w": {"initial": 0.0, "std": 1.0}},
    "derivatives": {"a": "w", "w": "-0.3 * sin(a) - 0.05 * w"},
    "process_noise": {"a": 0.01, "w": 0.02},
    "measurements": {"angle": "a"},
}


def _signals(source: str, *names: str, **extra: Any) -> dict[str, Any]:
    return {name: {"source": source, "topic": f"t/{source}/{name}", **extra} for name in names}


TWINS: list[dict[str, Any]] = [
    {"name": "pair", "model": "auto", "lateness": 8.0, "signals": _signals("plant", "p", "q")},
    {
        "name": "cart",
        "model": "constant_velocity",
        "gate_rejects": 3,
        "signals": _signals("plant", "x", noise=0.5, range=[-400.0, 400.0]),
        "report": {"every": 2.0, "summary_every": 3.0},
    },
    {"name": "logger", "model": "random_walk", "signals": _signals("field", "v", value="$.v", time="$.t")},
    {"name": "fridge-{n}", "model": "auto", "signals": _signals("plant", "in", "out")},
    {"name": "pump-{n}", "model": "constant_velocity", "lateness": 5.0, "signals": _signals("plant", "flow")},
    {
        "name": "nodes",
        "model": "library/thermal_two_node",
        "signals": _signals("plant", "core", "case", noise=0.3) | _signals("plant", "power", "ambient"),
    },
    {"name": "room", "model": "room", "lateness": 6.0, "signals": _signals("plant", "air", "wall", "both", "heat")},
    {"name": "pend", "model": "pend", "lateness": 3.0, "signals": _signals("plant", "angle")},
]
TEMPLATES = {twin["name"]: twin for twin in TWINS if "{" in twin["name"]}


def plant(twins: list[dict[str, Any]] | None = None, **extra: Any) -> Config:
    """The configuration of a life."""
    return config(twins or TWINS, **{"sources": SOURCES, "models": [ROOM, PEND], "uplink": UPLINK} | extra)


class Call(NamedTuple):
    """What happens at ``now_ns``: the name of a method and its arguments, in terms that do not depend on an engine."""

    what: str
    now_ns: int
    args: tuple[Any, ...] = ()


def life(seed: int, steps: int) -> Iterator[Call]:
    """Calls of ``steps`` seconds and a bit."""
    rng = np.random.default_rng(seed)
    onset, ends = int(rng.integers(40, max(41, steps // 2))), int(rng.integers(steps // 2, 2 * steps))
    bad = {"core": rng.choice(["biased", "stuck", "noisy", "none"]), "air": rng.choice(["biased", "none"])}
    heard: list[tuple[str, str]] = []
    now = T0
    held = 0.0
    for k in range(steps):
        now += SECOND
        faulty = onset <= k < ends
        if rng.random() < 0.05 and len(heard) < 8:
            name, number = rng.choice(list(TEMPLATES)), str(len(heard))
            heard.append((str(name), number))
            yield Call("hear", now, (str(name), {"n": number}))
        samples: list[tuple[str, str, int, float]] = []
        wave = 20 + 5 * np.sin(k / 20) + 300 * (rng.random() < 0.01)
        for twin, signal in (("pair", "p"), ("pair", "q"), ("cart", "x"), ("pend", "angle")):
            level = wave if twin == "pair" else (2.0 * k * (1 if k % 90 < 60 else -3) if twin == "cart" else 0.2)
            samples.append((twin, signal, now, level + rng.normal(0, 0.5)))
        core = 20 + rng.normal(0, 0.3)
        if faulty and bad["core"] == "biased":
            core += 5
        elif faulty and bad["core"] == "stuck":
            core = held
        elif faulty and bad["core"] == "noisy":
            core += rng.normal(0, 3)
        held = core
        samples += [("nodes", "core", now, core), ("nodes", "case", now, 20 + rng.normal(0, 0.3))]
        air = 20 + rng.normal(0, 0.2) + (4 if faulty and bad["air"] == "biased" else 0)
        samples += [("room", "air", now, air), ("room", "wall", now, 20 + rng.normal(0, 0.2))]
        samples += [("room", "both", now, 40 + rng.normal(0, 0.4))]
        if k % 50 == 0:
            samples += [("nodes", "power", now, 0.0), ("nodes", "ambient", now, 20.0), ("room", "heat", now, 0.0)]
        for template, number in heard:
            if rng.random() < 0.7:
                twin = template.replace("{n}", number)
                samples += [(twin, s, now, 5 + rng.normal()) for s in TEMPLATES[template]["signals"]]
        samples = [_spoilt(sample, rng, now) for sample in samples if rng.random() < 0.97]
        samples += [samples[int(i)] for i in rng.integers(0, len(samples), 2)]  # heard twice
        order = rng.permutation(len(samples)) if rng.random() < 0.3 else np.arange(len(samples))
        for part in np.array_split(order, int(rng.integers(1, 4))):
            yield Call("ingest", now + int(rng.integers(0, SECOND // 4)), ("plant", [samples[i] for i in part]))
        stamp = now + 3 * SECOND if rng.random() < 0.95 else now + 40 * 86_400 * SECOND
        yield Call("ingest", now, ("field", [("logger", "v", stamp - int(rng.integers(0, SECOND)), rng.normal())]))
        if rng.random() < 0.1:
            outcome = rng.choice([Outcome.UNMATCHED, Outcome.INVALID, Outcome.OVERFLOW])
            yield Call("count", now, (str(rng.choice(["plant", "field"])), Outcome(outcome), int(rng.integers(1, 5))))
        if rng.random() < 0.8:
            yield Call("gather", now + SECOND // 2, (bool(rng.random() < 0.01),))
        if rng.random() < 0.15:
            yield Call("gathered", now)
        if rng.random() < 0.03:
            yield Call("tell", now, ("something", {"number": k, "text": "\udcff", "share": 0.1}))
        if rng.random() < 0.04:
            twin = str(rng.choice(["pair", "room", "cart", "nodes"]))
            yield Call("set_noise_learning", now, (twin, str(rng.choice(["frozen", "on"]))))
        if rng.random() < 0.02:
            yield Call("trust_clock", now, (bool(rng.random() < 0.5),))
        if rng.random() < 0.01:
            step = int(rng.integers(-20, 3_600)) * SECOND
            now += step
            yield Call("clock_stepped", now, (step, bool(rng.random() < 0.7)))


def _spoilt(sample: tuple[str, str, int, float], rng: np.random.Generator, now: int) -> tuple[str, str, int, float]:
    """A sample as it sometimes comes: late, from the future, no number, out of range."""
    twin, signal, t_ns, value = sample
    chance = rng.random()
    if chance < 0.06:
        return twin, signal, t_ns - int(rng.integers(1, 12)) * SECOND + 7, value
    if chance < 0.065:
        return twin, signal, now + 86_400 * SECOND, value
    if chance < 0.07:
        return twin, signal, t_ns, float("nan")
    return (twin, signal, t_ns, 1e9) if chance < 0.075 else sample


def give(engine: Engine, call: Call) -> Any:
    """Make one call; what came of it. Samples, counts and settings of what the engine does not have are left out, but
    samples count as unmatched if their source is there."""
    now, args = call.now_ns, call.args
    match call.what:
        case "ingest":
            if args[0] not in engine.sources:
                return None
            source = engine.source_index(args[0])
            slots = {(twin.name, signal): slot for twin in engine.instances() for signal, slot in twin.slots.items()}
            rows = [(slots[s[:2]], *s[2:]) for s in args[1] if s[:2] in slots]
            if len(args[1]) > len(rows):
                engine.count(source, Outcome.UNMATCHED, len(args[1]) - len(rows))
            slot, t_ns, value = zip(*rows, strict=True) if rows else ((), (), ())
            batch = Batch(np.array(slot, np.int32), np.array(t_ns, np.int64), np.array(value, np.float64))
            engine.ingest(source, batch, now)
        case "hear":
            template = next((twin for twin in engine.config.twins if twin.name == args[0]), None)
            if template is not None:
                engine.hear(template, args[1])
        case "count":
            if args[0] in engine.sources:
                engine.count(engine.source_index(args[0]), args[1], args[2])
        case "gather":
            return engine.gather(now, last=args[0])
        case "gathered":
            frame = engine.gathering.dump()
            engine.gathered()
            return frame
        case "tell":
            engine.tell(args[0], now, **args[1])
        case "set_noise_learning":
            if engine.has(args[0]):
                engine.set_noise_learning(*args)
        case "clock_stepped":
            engine.clock_stepped(args[0], shift=args[1])
        case "trust_clock":
            engine.trust_clock(*args)
        case _:
            raise AssertionError(call)
    return None
