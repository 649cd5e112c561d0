"""Ensembles against closed forms, against the filters' own predictions, and against themselves."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np
import pytest

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.schema import UserModel
from edgetwin.engine import Engine
from edgetwin.engine.forks import Fork, NoStateError, fork, initial
from edgetwin.engine.members import Band, SimulationStoppedError
from edgetwin.engine.scenario import Distribution, Lognormal, Normal, Scenario, Triangular, Uniform, check
from edgetwin.engine.schedules import Schedule
from edgetwin.engine.whatif import Ensemble, Simulator
from edgetwin.errors import ConfigError
from edgetwin.model.builtin import BUILTIN
from tests.engine.build import SECOND, T0, config, feed, twin

SIMULATOR = Simulator()
MEMBERS = 20_000

COOLING = {
    "name": "cooling",
    "states": {"x": {"initial": 50.0, "std": 1e-9}},
    "inputs": {"u": {"initial": 20.0}},
    "parameters": {"k": 0.02},
    "derivatives": {"x": "-k * (x - u)"},
    "measurements": {"x": "x", "half": "x / 2 + u"},
}
PAIR = {
    "name": "pair",
    "states": {"a": {"initial": 5.0, "std": 2.0}, "b": {"initial": -1.0, "std": 0.5}},
    "derivatives": {"a": "-0.3 * a + b", "b": "-0.05 * b - 0.2 * a"},
    "process_noise": {"a": 0.3, "b": 0.1},
    "measurements": {"a": "a"},
}
COUNTER = {
    "name": "counter",
    "states": {"n": {"initial": 0.0, "std": 1.0}},
    "inputs": {"u": {"initial": 1.0}},
    "updates": {"n": "0.9 * n + u * dt"},
    "process_noise": {"n": 0.5},
    "measurements": {"n": "n"},
}


def model_of(data: dict[str, Any], **changes: Any) -> EquationModel:
    import msgspec

    return equation_model(msgspec.convert({**data, **changes}, UserModel))


def engine_of(model: dict[str, Any], **extra: Any) -> Engine:
    name = next(iter(model["measurements"]))
    signals = {name: {"source": "plant", "topic": "t", "noise": 0.5, "unit": "K"}}
    return Engine(config([{"name": "m", "model": model["name"], "signals": signals, **extra}], models=[model]))


def run(forked: Fork, horizon_s: float, step_s: float, **scenario: Any) -> Ensemble:
    return SIMULATOR.run(forked, Scenario(horizon_s, step_s, **scenario))


def agrees(band: Band, k: int, mean: float, std: float, members: int = MEMBERS) -> None:
    """Within the sampling error of an ensemble, at four standard errors."""
    assert band.mean[k] == pytest.approx(mean, abs=4 * std / math.sqrt(members))
    assert band.std[k] == pytest.approx(std, rel=4 / math.sqrt(2 * members))


# ---- against the filters


@pytest.mark.parametrize("name", sorted({*BUILTIN} - {"auto"}))
def test_built_in_models_spread_as_their_filters_predict(name: str) -> None:
    parameters = {"process_noise": 0.1} | ({"time_constant": 30.0} if name == "first_order" else {})
    engine = Engine(config([twin(model=name, parameters=parameters)]))
    feed(engine, np.sin(np.arange(60) / 9))
    now_ns = T0 + 75 * SECOND
    ensemble = run(fork(engine, "m", now_ns), 40.0, 10.0, members=MEMBERS)
    assert (ensemble.excluded, ensemble.coarse) == (0, 0)
    for k, offset in enumerate(ensemble.offsets):
        expected = engine.estimate("m", now_ns + round(offset * SECOND), now_ns)
        assert list(expected.states) == list(ensemble.states)
        for state, band in ensemble.states.items():
            agrees(band, k, expected.states[state].mean, expected.states[state].std)
            assert band.unit == expected.states[state].unit


def test_auto_is_told_by_its_own_filter() -> None:
    engine = Engine(config([{**twin(model="auto"), "parameters": {}}]))
    feed(engine, 3 + np.sin(np.arange(60) / 9))
    now_ns = T0 + 75 * SECOND
    ensemble = run(fork(engine, "m", now_ns), 40.0, 10.0, quantiles=(0.0, 0.5, 0.975))
    for k, offset in enumerate(ensemble.offsets):
        expected = engine.estimate("m", now_ns + round(offset * SECOND), now_ns).states
        assert list(expected) == list(ensemble.states)
        for state, band in ensemble.states.items():
            mean, std = expected[state].mean, expected[state].std
            assert (band.mean[k], band.std[k]) == (mean, std)
            np.testing.assert_allclose(band.quantiles[1:, k], [mean, mean + 1.959964 * std], rtol=1e-6)
            assert band.quantiles[0, k] == -math.inf
    with pytest.raises(ConfigError, match="noise: the model auto has no other"):
        check(fork(engine, "m", now_ns), Scenario(1.0, 1.0, noise=False), 10_000)
    with pytest.raises(ConfigError, match=r"parameters\.q: the model auto has no parameter 'q' to set"):
        check(fork(engine, "m", now_ns), Scenario(1.0, 1.0, parameters={"q": 1.0}), 10_000)


@pytest.mark.parametrize("model", [PAIR, COUNTER], ids=["continuous", "discrete"])
def test_equations_spread_as_their_filter_predicts(model: dict[str, Any]) -> None:
    engine = engine_of(model)
    feed(engine, [1.0, 1.5, 0.5], T0 + np.array([0, 1, 2]) * SECOND)
    now_ns = T0 + 2 * SECOND
    horizon = 8.0
    ensemble = run(fork(engine, "m", now_ns), horizon, horizon, members=MEMBERS)  # one step, as the filter takes it
    for k, offset in enumerate(ensemble.offsets):
        expected = engine.estimate("m", now_ns + round(offset * SECOND), now_ns).states
        for state, band in ensemble.states.items():
            agrees(band, k, expected[state].mean, expected[state].std)


def test_the_wait_since_the_last_sample_is_lived_through() -> None:
    engine = engine_of(PAIR)
    feed(engine, [1.0, 1.5])
    now_ns = T0 + 9 * SECOND
    ensemble = run(fork(engine, "m", now_ns), 1.0, 1.0, members=MEMBERS)
    expected = engine.estimate("m", now_ns, now_ns).states
    for state, band in ensemble.states.items():
        agrees(band, 0, expected[state].mean, expected[state].std)
    at_once = run(fork(engine, "m", None), 1.0, 1.0, members=10)
    assert (ensemble.from_ns, at_once.from_ns) == (now_ns, T0 + SECOND)


# ---- against closed forms


def test_two_coupled_states_with_noise_follow_the_exact_moments() -> None:
    a = np.array([[-0.3, 1.0], [-0.2, -0.05]])
    q = np.diag([0.09, 0.01])
    big = np.zeros((4, 4))
    big[:2, :2], big[:2, 2:], big[2:, 2:] = -a, q, a.T
    scaled = np.eye(4)
    for _ in range(1000):  # exp(big * 4) by many small exact steps: Van Loan, IEEE Trans. Automatic Control 23(3), 1978
        scaled = scaled @ (np.eye(4) + big * 0.004 + (big * 0.004) @ (big * 0.004) / 2)
    transition = scaled[2:, 2:].T
    covariance = transition @ np.diag([4.0, 0.25]) @ transition.T + transition @ scaled[:2, 2:]
    mean = transition @ [5.0, -1.0]
    ensemble = run(initial(model_of(PAIR)), 4.0, 0.5, members=100_000)
    for k, name in enumerate("ab"):
        agrees(ensemble.states[name], -1, mean[k], math.sqrt(covariance[k, k]), 100_000)
        shares = ensemble.states[name].quantiles[:, -1]
        expected = mean[k] + math.sqrt(covariance[k, k]) * np.array([-1.6449, -0.6745, 0, 0.6745, 1.6449])
        np.testing.assert_allclose(shares, expected, atol=0.03 * math.sqrt(covariance[k, k]))


def cooled(t: float, k: float = 0.02) -> float:
    return 20 + 30 * math.exp(-k * t)


def test_a_step_of_an_input_between_two_output_times() -> None:
    forked = initial(model_of(COOLING))
    ensemble = run(forked, 100.0, 40.0, members=2, inputs={"u": Schedule((25.0, 90.0), (70.0, -10.0))})
    assert ensemble.offsets.tolist() == [0, 40, 80, 100]
    at_25 = cooled(25)
    expected = [50.0, *(70 + (at_25 - 70) * math.exp(-0.02 * (t - 25)) for t in (40, 80))]
    at_90 = 70 + (at_25 - 70) * math.exp(-0.02 * 65)
    expected.append(-10 + (at_90 + 10) * math.exp(-0.2))
    np.testing.assert_allclose(ensemble.states["x"].mean, expected, rtol=1e-6)
    inputs = np.array([20, 70, 70, -10])
    np.testing.assert_allclose(ensemble.measurements["half"].mean, np.array(expected) / 2 + inputs, rtol=1e-6)
    np.testing.assert_array_equal(ensemble.measurements["x"].mean, ensemble.states["x"].mean)


def test_a_ramp_of_an_input() -> None:
    slope = 0.5
    inputs = {"u": Schedule((0.0, 60.0), (20.0, 50.0), linear=True)}
    ensemble = run(initial(model_of(COOLING)), 60.0, 15.0, members=2, inputs=inputs)
    t = ensemble.offsets
    lag = slope / 0.02
    np.testing.assert_allclose(
        ensemble.states["x"].mean, 20 + slope * t - lag + (30 + lag) * np.exp(-0.02 * t), rtol=1e-5
    )


SPREAD: list[tuple[Distribution, list[float]]] = [
    (Uniform(0.01, 0.05), [0.014, 0.03, 0.046]),
    (Normal(0.03, 0.002), [0.03 - 0.002 * 1.2816, 0.03, 0.03 + 0.002 * 1.2816]),
    (Lognormal(0.03, 0.006), [0.03 / math.sqrt(1.04) * math.exp(z * math.sqrt(math.log(1.04))) for z in (-1.2816, 0, 1.2816)]),
    (Triangular(0.01, 0.02, 0.05), [0.01 + math.sqrt(0.1 * 4e-4), 0.05 - math.sqrt(0.5 * 12e-4), 0.05 - math.sqrt(0.1 * 12e-4)]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "shares"), SPREAD, ids=lambda v: type(v).__name__)
def test_a_spread_parameter_spreads_the_state(given: Distribution, shares: list[float]) -> None:
    """x falls with k, so its quantiles are those of k turned round."""
    ensemble = run(
        initial(model_of(COOLING)), 30.0, 30.0, members=MEMBERS, parameters={"k": given}, quantiles=(0.1, 0.5, 0.9)
    )
    expected = [cooled(30, k) for k in reversed(shares)]
    np.testing.assert_allclose(ensemble.states["x"].quantiles[:, -1], expected, atol=0.25)


def test_a_parameter_by_value_also_of_a_built_in_model() -> None:
    engine = Engine(config([twin(model="first_order", parameters={"process_noise": 0.1, "time_constant": 30.0})]))
    feed(engine, np.ones(20))
    forked = fork(engine, "m", None)
    quiet = run(forked, 50.0, 50.0, members=MEMBERS, parameters={"process_noise": 0.0})
    off = run(forked, 50.0, 50.0, members=MEMBERS, noise=False)
    loud = run(forked, 50.0, 50.0, members=MEMBERS, parameters={"process_noise": 0.4})
    for state in ("x", "x_target"):
        assert quiet.states[state].std[-1] == off.states[state].std[-1]
    target = loud.states["x_target"].std[-1] ** 2 - off.states["x_target"].std[-1] ** 2
    assert target == pytest.approx(0.4**2 * 50, rel=0.05)


def test_a_twin_of_several_built_in_filters_has_all_their_states() -> None:
    signals = {name: {"source": "plant", "topic": f"t/{name}", "noise": 0.5} for name in ("p", "q")}
    engine = Engine(config([{"name": "m", "model": "random_walk", "signals": signals}]))
    feed(engine, [1.0, 1.1, 0.9], slot=0)
    with pytest.raises(NoStateError):
        fork(engine, "m", None)
    feed(engine, [5.0, 5.2, 4.9], slot=1)
    ensemble = run(fork(engine, "m", None), 5.0, 5.0)
    assert list(ensemble.states) == ["p", "q"]
    ratio = (ensemble.states["p"].mean - 1.0) / (ensemble.states["q"].mean - 5.0)
    assert not np.allclose(ratio, 1.0)  # each filter has numbers of its own


# ---- reproducible


def figures(ensemble: Ensemble) -> bytes:
    bands = [*ensemble.states.values(), *ensemble.measurements.values()]
    return b"".join(a.tobytes() for b in bands for a in (b.mean, b.std, b.quantiles))


def test_threads_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    forked = initial(model_of(PAIR))
    scenario = Scenario(50.0, 0.25, members=1001, seed=7, quantiles=(0.01, 0.5))
    one = figures(SIMULATOR.run(forked, scenario))
    assert one == figures(SIMULATOR.run(forked, scenario))
    assert one == figures(Simulator(3).run(forked, scenario))
    monkeypatch.setattr("edgetwin.engine.members.BLOCK_TIMES", 3)
    monkeypatch.setattr("edgetwin.engine.members.MEMBERS_AT_A_TIME", 17)
    monkeypatch.setattr("edgetwin.engine.members.TIMES_AT_A_TIME", 1)
    assert one == figures(Simulator(2).run(forked, scenario))
    assert one != figures(SIMULATOR.run(forked, Scenario(50.0, 0.25, members=1001, seed=8, quantiles=(0.01, 0.5))))


def test_fewer_members_are_the_first_of_more() -> None:
    forked = initial(model_of(PAIR))
    few = run(forked, 5.0, 1.0, members=1)
    more = run(forked, 5.0, 1.0, members=2, quantiles=(0.0, 1.0))
    for name, band in few.states.items():
        both = more.states[name].quantiles
        assert ((band.mean == both[0]) | (band.mean == both[1])).all()


def test_scenarios_of_one_seed_differ_by_what_was_asked_only() -> None:
    """A linear system's answer to an input is the same for every member: so is then the difference of the means."""
    forked = initial(model_of(COOLING, process_noise={"x": 1.0}))
    still = run(forked, 40.0, 10.0, members=50)
    warm = run(forked, 40.0, 10.0, members=50, inputs={"u": Schedule.constant(30.0)})
    expected = 10 * (1 - np.exp(-0.02 * still.offsets))
    np.testing.assert_allclose(warm.states["x"].mean - still.states["x"].mean, expected, atol=1e-5)


# ---- faults and bounds


def test_members_that_blow_up_leave_and_are_counted() -> None:
    model = model_of(COOLING, name="burst", derivatives={"x": "k * x * x"}, parameters={"k": 0.0})
    parameters = {"k": Uniform(0.0, 0.01)}  # x = 50 / (1 - 50 k t): gone by 4 s for k above 0.005
    ensemble = run(initial(model), 4.0, 0.5, members=2000, parameters=parameters)
    assert ensemble.excluded == pytest.approx(1000, abs=150)
    assert np.isfinite(ensemble.states["x"].mean).all()
    assert ensemble.states["x"].quantiles[-1, 0] == pytest.approx(50)
    lost = run(initial(model), 4.0, 0.5, members=20, parameters={"k": 0.05})
    assert lost.excluded == 20
    assert np.isnan(lost.states["x"].mean[-1])


def test_bounds_of_states_hold_for_every_member() -> None:
    states = {"x": {"initial": 1.0, "std": 5.0, "min": 0.0, "max": 3.0}}
    model = model_of(COOLING, name="bounded", states=states, process_noise={"x": 2.0})
    ensemble = run(initial(model), 20.0, 1.0, quantiles=(0.0, 1.0))
    assert ensemble.states["x"].quantiles.min() == 0.0
    assert ensemble.states["x"].quantiles.max() == 3.0


def test_stiff_equations_are_told_when_steps_are_too_coarse() -> None:
    model = model_of(COOLING, name="stiff", parameters={"k": 1.0})
    fine = run(initial(model), 100.0, 1.0, members=10, parameters={"k": 5.0})
    assert fine.coarse == 0
    coarse = run(initial(model), 1e6, 1e6, members=10, parameters={"k": 5.0})
    assert coarse.coarse + coarse.excluded == 10


def test_a_run_that_is_told_to_stop_stops() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(SimulationStoppedError):
        SIMULATOR.run(initial(model_of(PAIR)), Scenario(1e4, 1.0, members=1000), stop)


def test_the_twin_is_not_touched() -> None:
    engine = engine_of(PAIR)
    feed(engine, [1.0, 1.5])
    before = [bank.rows.tobytes() for bank in engine.banks]
    run(fork(engine, "m", T0 + 5 * SECOND), 10.0, 1.0)
    assert [bank.rows.tobytes() for bank in engine.banks] == before


def test_a_random_linear_model_agrees_with_its_filter() -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    decay, gain, noise = rng.uniform(0.01, 0.5), rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.5)
    model = {
        **PAIR,
        "name": "drawn",
        "parameters": {"decay": decay, "gain": gain},
        "derivatives": {"a": "gain * b - decay * a", "b": "-0.1 * b - gain * a"},
        "process_noise": {"a": noise, "b": 0.1},
    }
    engine = engine_of(model)
    feed(engine, rng.normal(2, 1, 5))
    now_ns = T0 + 4 * SECOND
    ensemble = run(fork(engine, "m", now_ns), 10.0, 1.0, members=MEMBERS, seed=seed)
    for state, expected in engine.estimate("m", now_ns + 10 * SECOND, now_ns).states.items():
        band = ensemble.states[state]
        assert band.mean[-1] == pytest.approx(expected.mean, abs=6 * expected.std / math.sqrt(MEMBERS))
        assert band.std[-1] == pytest.approx(expected.std, rel=0.04)
