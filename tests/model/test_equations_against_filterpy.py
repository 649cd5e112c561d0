"""Generated extended and unscented Kalman filters against FilterPy's, over random sequences of several signals."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from edgetwin.engine.snapshot import load as restore
from edgetwin.records import Outcome
from tests.engine.build import states
from tests.model.reference import ReferenceFilter
from tests.model.rig import SECOND, T0, deviation, rig

compiled = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="plain Python raises where compiled code gives inf"
)

CHAIN = [f"n{i}" for i in range(6)]

MODELS: dict[str, dict[str, Any]] = {
    "leak": {  # 1 state, linear
        "states": {"h": {"initial": 1.0}},
        "inputs": {"u": {"initial": 0.5}},
        "parameters": {"k": 0.4},
        "derivatives": {"h": "u - k*h"},
        "process_noise": {"h": 0.1},
        "measurements": {"h": "h", "twice": "2*h + u"},
    },
    "drain": {  # 1 state, nonlinear, bounded
        "states": {"h": {"initial": 2.0, "std": 0.5, "min": 0.0, "max": 3.0}},
        "inputs": {"u": {"initial": 0.5}},
        "parameters": {"k": 0.4},
        "derivatives": {"h": "u - k*sqrt(max(h, 0.01))"},
        "process_noise": {"h": 0.1},
        "measurements": {"h": "h", "flow": "k*sqrt(max(h, 0.01))"},
    },
    "oscillator": {  # 2 states, nonlinear (van der Pol)
        "states": {"x": {"initial": 1.0}, "v": {"std": 2.0}},
        "inputs": {"u": {}},
        "parameters": {"mu": 0.8},
        "derivatives": {"x": "v", "v": "mu*(1 - x**2)*v - x + u"},
        "process_noise": {"v": 0.2},
        "measurements": {"x": "x", "v": "v", "energy": "x**2 + v**2"},
    },
    "vessel": {  # 3 states, nonlinear: an exothermic reaction
        "states": {"c": {"initial": 0.5, "std": 0.05, "min": 0.0}, "T": {"initial": 350.0, "std": 1.0}, "J": {"initial": 300.0, "std": 10.0}},
        "inputs": {"coolant": {"initial": 300.0}},
        "parameters": {"k": 7.2e10, "E": 8750.0, "q": 0.0166},
        "derivatives": {
            "c": "q*(1 - c) - k/60*exp(-E/T)*c",
            "T": "q*(350 - T) + 209*k/60*exp(-E/T)*c + 0.035*(J - T)",
            "J": "(coolant - J)/20",
        },
        "process_noise": {"c": 0.001, "T": 0.1, "J": 0.05},
        "measurements": {"T": "T", "J": "J", "glow": "log(T) + c*c"},
    },
    "rover": {  # 4 states, nonlinear
        "states": {"px": {}, "py": {}, "heading": {"std": 0.2}, "speed": {"initial": 1.0}},
        "inputs": {"steer": {}, "pull": {}},
        "parameters": {"drag": 0.3},
        "derivatives": {
            "px": "speed*cos(heading)",
            "py": "speed*sin(heading)",
            "heading": "speed*tan(clip(steer, -0.5, 0.5))",
            "speed": "pull - drag*speed*abs(speed)",
        },
        "process_noise": {"heading": 0.02, "speed": 0.05},
        "measurements": {"range": "sqrt((px - 40)**2 + (py + 30)**2)", "bearing": "atan2(py + 30, px - 40)", "speed": "speed"},
    },
    "wall": {  # 6 states, linear
        "states": {n: {"initial": 10.0 + i, "std": 4.0} for i, n in enumerate(CHAIN)},
        "inputs": {"inside": {"initial": 20.0}, "outside": {}},
        "parameters": {"a": 0.08},
        "derivatives": {
            n: f"a*({(['inside', *CHAIN])[i]} + {([*CHAIN, 'outside'])[i + 1]} - 2*{n})" for i, n in enumerate(CHAIN)
        },
        "process_noise": dict.fromkeys(CHAIN, 0.05),
        "measurements": {"first": "n0", "last": "n5", "mid": "(n2 + n3)/2"},
    },
    "sampled": {  # discrete, nonlinear
        "states": {"x": {"initial": 1.0}, "y": {}},
        "inputs": {"u": {}},
        "parameters": {"a": 0.9},
        "updates": {"x": "x + dt*y", "y": "a**dt*y + dt*(u - sin(x))"},
        "process_noise": {"y": 0.3},
        "measurements": {"x": "x", "cube": "x + 0.1*y**3"},
    },
    "swap": {  # discrete, a state that forgets itself, one without noise that follows the input
        "states": {"x": {"initial": 1.0}, "y": {"initial": 2.0}, "z": {}},
        "inputs": {"u": {}},
        "updates": {"x": "0.9*y", "y": "x - 0.1*y", "z": "2*u"},
        "process_noise": {"x": 0.2},
        "measurements": {"x": "x", "both": "y + z"},
    },
}  # fmt: skip
for _name, _model in MODELS.items():
    _model["name"] = _name


def sequence(names: list[str], inputs: list[str], rng: np.random.Generator, n: int) -> list[tuple[str, int, float]]:
    """(channel, t, standard normal): the first channels are heard more often, and gaps run from nothing to 10 s."""
    weights = 1.0 / np.arange(1, len(names) + 1)
    which = rng.choice(len(names), n, p=weights / weights.sum())
    gaps = rng.choice([0, 1_000, 20_000_000, 300_000_000, SECOND, 3 * SECOND, 10 * SECOND], n)
    t = T0 + np.cumsum(gaps)
    return [(names[k], int(s), float(rng.normal())) for k, s in zip(which, t, strict=True)]


# Linear models have the same code in both; the rest of the unscented ones only run in plain Python, as compiling takes
# longer than everything else.
CURVED = ["drain", "rover", "swap", *(["oscillator", "vessel", "sampled", "leak"] if numba.config.DISABLE_JIT else [])]
RUNS = [*((name, "ekf", seed, 150) for name in MODELS for seed in (1, 2)), *((name, "ukf", 3, 70) for name in CURVED)]


@pytest.mark.parametrize(("name", "kind", "seed", "samples"), RUNS)
def test_matches_filterpy(name: str, kind: str, seed: int, samples: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    r = rig(MODELS[name] | {"filter": kind})
    reference = ReferenceFilter(r.model)
    previous = None
    fused = 0
    for channel, t, draw in sequence(list(r.model.channels), list(r.model.inputs), rng, samples):
        if previous is not None and t > previous:
            reference.advance((t - previous) * 1e-9)
        previous = t
        if channel in r.model.inputs:
            value = r.model.inputs[channel] + 0.2 * round(draw)  # steps
            reference.inputs[channel] = value
        else:
            h = r.model.measurements[channel]
            value = float(reference.gradient([h], reference.kf.x)[0][0]) + 0.3 * draw
            reference.update(h, value, 0.3)
        before = r.engine.ledger.counts[0, Outcome.FUSED]
        r.feed([r.slots[0][channel]], [t], [value])
        fused += int(r.engine.ledger.counts[0, Outcome.FUSED] - before)
        assert deviation(r, reference) < 1e-8, (channel, t)
    assert fused + r.engine.ledger.counts[0, Outcome.DUPLICATE] == samples
    assert fused > samples // 2


@pytest.mark.parametrize("kind", ["ekf", "ukf"])
@pytest.mark.parametrize("name", ["oscillator", "rover", "swap", "leak"])
def test_predict_matches_filterpy_and_leaves_no_trace(name: str, kind: str) -> None:
    r = rig(MODELS[name] | {"filter": kind})
    reference = ReferenceFilter(r.model)
    channel = next(iter(r.model.measurements))
    reference.update(r.model.measurements[channel], 1.2, 0.3)
    r.feed([r.slots[0][channel]], [T0], [1.2])
    before = r.bank.rows.tobytes()
    reference.advance(2.5)
    mean, std = r.bank.predict(np.array([0]), T0 + 5 * SECOND // 2)
    np.testing.assert_allclose(mean[0], reference.kf.x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std[0], np.sqrt(np.diag(reference.kf.P)), rtol=1e-8, atol=1e-9)
    assert r.bank.rows.tobytes() == before


@compiled
@pytest.mark.parametrize("kind", ["ekf", "ukf"])
def test_bounds_hold_and_covariance_is_sound(kind: str) -> None:
    print("seed 5")
    rng = np.random.default_rng(5)
    r = rig(MODELS["drain"] | {"filter": kind})
    for k in range(120):
        channel = ["h", "flow", "u"][k % 3]
        r.feed([r.slots[0][channel]], [T0 + k * SECOND], [rng.choice([-50.0, 0.0, 2.0, 50.0])])
        mean, std = r.bank.predict(np.array([0]), T0 + (k + 100) * SECOND)
        assert 0.0 <= r.mean()[0, 0] <= 3.0
        assert 0.0 <= mean[0, 0] <= 3.0
        assert std[0, 0] > 0.0


@compiled
@pytest.mark.parametrize("kind", ["ekf", "ukf"])
@pytest.mark.parametrize("name", ["oscillator", "vessel", "leak", "swap"])
def test_covariance_is_symmetric_and_never_negative(name: str, kind: str) -> None:
    """Exact and careless sensors in turn, from no time to an hour apart."""
    print("seed 6")
    rng = np.random.default_rng(6)
    names = list(MODELS[name]["measurements"])
    noise = {m: 10.0 ** (6 * (k % 2) - 9) for k, m in enumerate(names)}
    r = rig(MODELS[name] | {"filter": kind}, noise=noise)
    t = T0
    for channel, _, draw in sequence(names, [], rng, 60):
        t += int(rng.choice([0, 1, SECOND, 60 * SECOND]))
        r.feed([r.slots[0][channel]], [t], [1.0 + 0.1 * draw])
        P = r.covariance()
        assert np.isfinite(P).all()
        np.testing.assert_allclose(P, P.T, rtol=1e-12, atol=1e-30)
        assert all(r.bank.rows[0][f"d{i}"] >= 0 for i in range(r.model.size))
        assert np.linalg.eigvalsh(P).min() >= -1e-12 * np.trace(P)


@pytest.mark.parametrize("kind", ["ekf", "ukf"])
def test_twins_together_or_alone_are_the_same_bit_for_bit(kind: str) -> None:
    print("seed 7")
    rng = np.random.default_rng(7)
    names = [*MODELS["rover"]["measurements"], "steer"]
    together, alone = (rig(MODELS["rover"] | {"filter": kind}, twins=3) for _ in range(2))
    samples = sequence(names, [], rng, 90)
    twin = rng.integers(0, 3, len(samples))
    slot = [together.slots[k][c] for k, (c, _, _) in zip(twin, samples, strict=True)]
    t, z = [t for _, t, _ in samples], [0.3 * draw for _, _, draw in samples]
    together.feed(slot, t, z)
    for k in np.argsort(twin, kind="stable"):  # one twin after the other, one sample at a time
        alone.feed([slot[k]], [t[k]], [z[k]])
    assert together.bank.rows.tobytes() == alone.bank.rows.tobytes()
    assert states(together.engine) == states(alone.engine)


@pytest.mark.parametrize("kind", ["ekf", "ukf"])
def test_a_restored_engine_goes_on_exactly(kind: str) -> None:
    print("seed 8")
    rng = np.random.default_rng(8)
    samples = sequence([*MODELS["oscillator"]["measurements"], "u"], [], rng, 80)
    straight, first, second = (rig(MODELS["oscillator"] | {"filter": kind}) for _ in range(3))
    for r, part in ((straight, samples), (first, samples[:40])):
        r.feed([r.slots[0][c] for c, _, _ in part], [t for _, t, _ in part], [z for _, _, z in part])
    assert restore(second.engine, first.engine.snapshot(), 2**62) == 1
    rest = samples[40:]
    second.feed([second.slots[0][c] for c, _, _ in rest], [t for _, t, _ in rest], [z for _, _, z in rest])
    assert second.bank.rows.tobytes() == straight.bank.rows.tobytes()
    assert states(second.engine) == states(straight.engine)
