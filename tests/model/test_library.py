"""The library: each model against closed forms and published figures, and its intervals against simulated truth."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from scipy.linalg import expm

from edgetwin.config.library import library_names
from tests.model.plant import Scene, coverage
from tests.model.reference import ReferenceFilter, many, values_of
from tests.model.rig import SECOND, T0, rig

NAMES = [name.removeprefix("library/") for name in library_names()]


def response(
    name: str,
    seconds: Any,
    start: dict[str, float],
    inputs: dict[str, float],
    parameters: dict[str, float] | None = None,
) -> np.ndarray:
    """States float64[times, n] that the compiled model foresees from ``start``, inputs held."""
    r = rig(f"library/{name}", parameters=parameters or {})
    row = r.bank.rows[0]
    row["t"], row["updates"] = T0, 1
    for i, state in enumerate(r.model.states):
        row[f"x{i}"] = start.get(state, row[f"x{i}"])
    for k, known in enumerate(r.model.inputs):
        row[f"i{k}"] = inputs.get(known, row[f"i{k}"])
    return np.array([r.bank.predict(np.array([0]), T0 + round(s * SECOND))[0][0] for s in np.atleast_1d(seconds)])


def measured(
    name: str, states: dict[str, Any], inputs: dict[str, float] | None = None, **parameters: float
) -> dict[str, Any]:
    """Every measurement at some states."""
    model = rig(f"library/{name}").model
    x = [states.get(s, u.initial) for s, u in model.states.items()]
    values = values_of(model, x, model.inputs | (inputs or {}), model.parameters | parameters)
    like = np.broadcast(*map(np.asarray, x))
    return dict(zip(model.measurements, many(model.measurements.values(), values, np.empty(like.shape)), strict=True))


def slopes(name: str, states: dict[str, float], inputs: dict[str, float], **parameters: float) -> tuple[Any, Any]:
    """Derivatives and Jacobian at some states."""
    reference = ReferenceFilter(rig(f"library/{name}").model)
    reference.inputs |= inputs
    reference.parameters |= parameters
    x = np.array([states.get(s, u.initial) for s, u in reference.model.states.items()])
    return reference.gradient(reference.model.dynamics, x)


# ---- closed forms and published figures


def test_thermal_first_order_step() -> None:
    t = np.array([1.0, 100.0, 1225.0, 5000.0])
    found = response("thermal_first_order", t, {"temperature": 20}, {"power": 100})
    np.testing.assert_allclose(found[:, 0], 20 + 100 * 0.5 * (1 - np.exp(-t / 1225)), atol=5e-4)


def test_thermal_two_node_step_and_rest() -> None:
    t = np.array([10.0, 100.0, 1000.0, 20_000.0])
    found = response("thermal_two_node", t, {"core": 20, "case": 20}, {"power": 50})
    A = np.array([[-5 / 400, 5 / 400], [5 / 1500, -(5 + 1.25) / 1500]])
    rest = np.array([20 + 50 * (0.2 + 0.8), 20 + 50 * 0.8])
    np.testing.assert_allclose(found, [rest + expm(A * s) @ (20 - rest) for s in t], atol=1e-3)
    np.testing.assert_allclose(found[-1], rest, atol=0.02)


def test_building_at_rest_and_its_time_constants() -> None:
    found = response("building_rc", 60 * 86_400, {}, {"heating": 800, "solar": 100, "outdoor": 5})
    gain = 800 + 2 * 100
    np.testing.assert_allclose(found[0], [5 + gain * 0.025, 5 + gain * 0.02], atol=1e-2)
    _, A = slopes("building_rc", {}, {})
    slow, fast = np.sort(-1 / np.linalg.eigvals(A).real)[::-1]
    assert slow == pytest.approx((1e7 + 1e6) * 0.02, rel=0.05)  # the walls with the room behind them
    assert fast == pytest.approx(0.005 * 1e6 * 1e7 / 1.1e7, rel=0.05)


def test_tank_empties_as_torricelli_says() -> None:
    rate = 0.61 * 0.002 / 2 * np.sqrt(9.81 / 2)
    t = np.array([60.0, 300.0, 600.0])
    found = response("tank", t, {"level": 1.0, "flow": 0.0}, {"command": 0})
    np.testing.assert_allclose(found[:, 0], (1 - rate * t) ** 2, rtol=1e-6)
    assert 0 <= response("tank", 3 / rate, {"level": 1.0, "flow": 0.0}, {"command": 0})[0, 0] < 0.001


@pytest.mark.parametrize(("A", "a", "level", "published_s"), [(28e-4, 7.1e-6, 0.124, 62), (32e-4, 5.7e-6, 0.127, 90)])
def test_tank_has_the_time_constants_of_the_quadruple_tank(
    A: float, a: float, level: float, published_s: float
) -> None:
    """Johansson (2000): operating point P-, lower tanks."""
    _, J = slopes("tank", {"level": level}, {}, A=A, a=a, Cd=1.0)
    assert -1 / J[0, 0] == pytest.approx(published_s, rel=0.015)


def test_dc_motor_has_the_figures_of_its_data_sheet() -> None:
    free = response("dc_motor", 200, {"winding": 25}, {"voltage": 24}, {"alpha": 0.0})[0, 0]
    assert free * 60 / (2 * np.pi) == pytest.approx(7580, rel=2e-3)  # rpm without load
    current = measured("dc_motor", {"speed": free, "winding": 25}, {"voltage": 24})["current"]
    assert current == pytest.approx(0.137, rel=0.02)  # A without load
    _, J = slopes("dc_motor", {"winding": 25}, {"voltage": 24}, J=142e-7)
    assert -1 / J[0, 0] == pytest.approx(4.67e-3, rel=5e-3)  # mechanical time constant
    starting = measured("dc_motor", {"speed": 0, "winding": 25}, {"voltage": 24})["current"]
    assert starting == pytest.approx(80.2, rel=2e-3)


def test_dc_motor_warms_by_its_losses() -> None:
    hot = response("dc_motor", 11_000, {}, {"voltage": 24, "load": 0.1}, {"alpha": 0.0})[0]
    losses = ((24 - 0.0302 * hot[0]) / 0.299) ** 2 * 0.299
    assert hot[1] - 25 == pytest.approx(losses * (1.9 + 4.7), rel=1e-3)
    assert hot[2] - 25 == pytest.approx(losses * 4.7, rel=1e-3)


def test_induction_motor_rises_by_80_kelvin_at_rated_current() -> None:
    rated = {"current": 29, "running": 1, "ambient": 40}
    assert response("induction_motor", 50_000, {}, rated)[0, 0] - 40 == pytest.approx(80, abs=0.1)
    stopped = {"current": 0, "running": 0, "ambient": 40}
    hot = {"winding": 120, "frame": 75}
    after = response("induction_motor", [0, 3000], hot, stopped)
    cooled = response("induction_motor", [0, 3000], hot, stopped | {"running": 1})
    assert after[1, 1] > cooled[1, 1]  # without the fan it keeps its heat


def test_bearing_doubles_in_the_time_its_growth_says() -> None:
    found = response("bearing", [86_400, 5 * 86_400], {"log_level": 0, "growth": np.log(2)}, {})
    levels = measured("bearing", {"log_level": found[:, 0]})["vibration"] - 0.5
    np.testing.assert_allclose(levels, [2, 32], rtol=1e-9)


def test_battery_has_the_published_voltages_and_time_constant() -> None:
    """Chen and Rincon-Mora (2006), eq. (2): 4.10 V full, and the slow pair of 0.04984 ohm and 4475 F."""
    assert measured("battery", {"soc": 1.0})["voltage"] == pytest.approx(4.1029, abs=1e-4)
    tau = 0.04984 * 4475
    found = response("battery", [tau, 1800], {"soc": 0.9, "health": 1}, {"current": 0.85})
    assert found[0, 1] == pytest.approx(0.85 * 0.04984 * (1 - np.exp(-1)), rel=1e-5)
    np.testing.assert_allclose(found[:, 0], 0.9 - np.array([tau, 1800]) / 3600, rtol=1e-9)
    full = response("battery", 3600, {"soc": 0.9}, {"current": -0.85})
    assert full[0, 0] == 1.0  # and not more
    worn = response("battery", 1800, {"soc": 0.9, "health": 0.8}, {"current": 0.85})
    assert worn[0, 0] == pytest.approx(0.9 - 0.5 / 0.8, rel=1e-9)  # 1 C of the nominal capacity


def test_battery_finds_the_capacity_that_is_left() -> None:
    """Pulses of the nominal current out of a cell that has lost a quarter, from 85 % to 12 % charge, voltage to 5 mV."""
    print("seed 7")
    rng = np.random.default_rng(7)
    r = rig("library/battery", noise={"voltage": 0.005}, signals=["voltage", "current"], initial={"soc": 0.85})
    slots, lost, tau = r.slots[0], 0.75, 0.04984 * 4475
    soc, polarisation = 0.85, 0.0
    for k in range(0, 3780, 10):
        t, current = T0 + k * SECOND, 0.85 if (k // 300) % 2 == 0 else 0.0
        if k % 300 == 0:
            r.feed([slots["current"]], [t], [current])
        states = {"soc": soc, "polarisation": polarisation, "resistance": 0.13, "health": lost}
        voltage = measured("battery", states, {"current": current})["voltage"]
        r.feed([slots["voltage"]], [t], [voltage + rng.normal(0, 0.005)])
        mean, std = r.bank.predict(np.array([0]), t)
        error = mean[0] - [soc, polarisation, 0.13, lost]
        soc -= current * 10 / 3600 / (0.85 * lost)
        polarisation += (1 - np.exp(-10 / tau)) * (current * 0.04984 - polarisation)
    print(error, std[0])
    assert std[0, 3] < 0.02  # 0.1 at the start
    assert (np.abs(error) < 3 * std[0]).all()


def test_wind_turbine_has_the_published_optimum() -> None:
    """Heier's curve: largest power coefficient 0.48, at a tip speed ratio of 8.1 and no pitch."""
    ratios = np.linspace(4, 12, 801)
    power = 0.5e-6 * 1.225 * np.pi * 63**2 * 9**3
    coefficient = []
    for ratio in ratios:
        speed = ratio * 9 / 63
        (accelerated, _), _ = slopes("wind_turbine", {"rotor": speed, "wind": 9}, {"torque": 0, "pitch": 0})
        coefficient.append(accelerated * 43.785 * speed / power)
    assert max(coefficient) == pytest.approx(0.48, abs=1e-3)
    assert ratios[np.argmax(coefficient)] == pytest.approx(8.1, abs=0.05)
    (feathered, _), _ = slopes("wind_turbine", {"rotor": 1, "wind": 9}, {"torque": 0, "pitch": 20})
    assert feathered < 0.15 * max(coefficient) * power / 43.785


def test_gas_turbine_has_rowens_operating_points() -> None:
    v, _ = slopes("gas_turbine", {"fuel_flow": 1, "speed": 1, "egt": 510}, {"fuel": 1, "load": 1.001})
    np.testing.assert_allclose(v, 0, atol=1e-12)  # full load: fuel 1, torque 1, exhaust 950 degF
    v, _ = slopes("gas_turbine", {"fuel_flow": 0.23, "speed": 1}, {"fuel": 0.23, "load": 0})
    assert v[:2] == pytest.approx([0, 0], abs=1e-12)  # 23 % of the fuel turns it without load
    found = response("gas_turbine", 600, {}, {"fuel": 0.6, "load": 1.3 * (0.6 - 0.23)})
    assert found[0] == pytest.approx([0.6, 1.0, 510 - 388.9 * 0.4], rel=1e-4)


def test_road_link_conserves_vehicles() -> None:
    jammed = {"queue": 60, "inflow": 1200}
    found = response("road_link", 600, jammed, {"green": 0.45}, {"mean_inflow": 1200})
    assert found[0, 0] == pytest.approx(60 + (1200 - 0.45 * 1900) / 6, rel=1e-9)
    free = response("road_link", 3600, {"queue": 0, "inflow": 400}, {"green": 0.45}, {"mean_inflow": 400})
    assert free[0, 0] == pytest.approx(400 * 20 / 3600, rel=1e-6)  # what it holds is on its way
    assert measured("road_link", {"queue": free[0, 0], "inflow": 400})["outflow"] == pytest.approx(400, rel=1e-6)


def test_vitals_relax_and_answer_fever_and_pressure() -> None:
    t = np.array([60.0, 600.0])
    found = response("vitals", t, {"pressure": 60, "spo2": 90, "temperature": 37, "heart_rate": 75}, {})
    np.testing.assert_allclose(found[:, 2], 90 - 30 * np.exp(-t / 180), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], 96 - 6 * np.exp(-t / 120), rtol=1e-5)
    assert found[0, 0] > 80  # the heart makes up for the pressure
    fever = response("vitals", 40_000, {"temperature": 39}, {}, {"temperature_set": 39})
    assert fever[0, 0] == pytest.approx(75 + 2 * 8.5, rel=1e-6)


def test_glucose_returns_to_basal_and_falls_under_insulin() -> None:
    t = np.array([600.0, 1447.0])
    found = response("glucose", t, {"glucose": 181, "action": 0, "insulin": 10}, {})
    np.testing.assert_allclose(found[:, 0], 81 + 100 * np.exp(-0.028735 * t / 60), rtol=1e-5)
    rest = response("glucose", 86_400, {}, {"infusion": 10})[0]
    insulin = 10 + 10 / (0.0926 * 12)
    action = 5.035e-5 / 0.028344 * (insulin - 10)
    np.testing.assert_allclose(rest, [0.028735 * 81 / (0.028735 + action), 1000 * action, insulin], rtol=1e-4)


# ---- intervals


def steps(**choices: Any) -> Any:
    """Inputs that take one of some values every tenth sample."""
    return lambda k, x, rng: {n: rng.choice(v) for n, v in choices.items()} if k % 10 == 0 else {}


def torque(k: int, x: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The usual control below rated wind: torque by the square of the speed."""
    return {"torque": 0.5e-6 * 1.225 * np.pi * 63**5 * 0.48 / 8.1**3 * x["rotor"] ** 2}


SCENES = {
    "thermal_first_order": Scene(30, {"temperature": 0.3}, steps(power=[0, 100], ambient=[15, 25])),
    "thermal_two_node": Scene(10, {"case": 0.3}, steps(power=[0, 60], ambient=[15, 25])),
    "building_rc": Scene(300, {"indoor": 0.2}, steps(heating=[0, 1000], solar=[0, 300], outdoor=[-5, 10])),
    "tank": Scene(10, {"level": 0.01, "flow": 0.5}, steps(command=[0.3, 0.6]), every={"level": 3}),
    "dc_motor": Scene(1, {"speed": 2, "current": 0.5, "housing": 0.5}, steps(voltage=[18, 24], load=[0, 0.1])),
    "induction_motor": Scene(30, {"frame": 0.5}, steps(current=[0, 20, 35], running=[1], ambient=[20, 30])),
    "bearing": Scene(3600, {"log_vibration": 0.1}, fine=10),
    "battery": Scene(10, {"voltage": 0.01}, steps(current=[-0.4, 0.0, 0.85]), fine=10),
    "wind_turbine": Scene(1, {"rotor": 0.005, "anemometer": 1.5, "power": 0.05}, torque),
    "gas_turbine": Scene(1, {"speed": 0.001, "egt": 2}, steps(fuel=[0.5, 0.6], load=[0.4, 0.45])),
    "road_link": Scene(60, {"queue": 2, "outflow": 40}, steps(green=[0.15, 0.2])),
    "vitals": Scene(5, {"heart_rate": 1.5, "spo2": 0.8, "pressure": 4, "temperature": 0.1}, every={"temperature": 6}),
    "glucose": Scene(300, {"glucose": 4}, steps(infusion=[0, 10], meal=[0, 2])),
}


def test_every_model_has_a_scene() -> None:
    assert sorted(SCENES) == NAMES


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="hundreds of runs in plain Python take minutes")
@pytest.mark.parametrize("name", NAMES)
def test_intervals_of_95_percent_cover_the_truth(name: str) -> None:
    seeds = (11, 12, 13, 14)
    found = [coverage(f"library/{name}", SCENES[name], runs=200, seed=seed) for seed in seeds]
    for seed, shares in zip(seeds, found, strict=True):
        print(f"{name}, seed {seed}:", {state: round(100 * share, 1) for state, share in shares.items()})
    pooled = {state: sum(shares[state] for shares in found) / len(found) for state in found[0]}
    print(f"{name}, all:", {state: round(100 * share, 1) for state, share in pooled.items()})
    assert all(0.93 <= share <= 0.97 for share in pooled.values()), pooled
