"""The simulated factory: plausible values, and the three troubles when they are due."""

from __future__ import annotations

from statistics import mean, pstdev

from edgetwin.demo.plant import (
    DRIFT_C_PER_S,
    DRIFTING,
    FAILING,
    FAULT_RAMP_S,
    OVENS,
    PRESSES,
    PUMPS,
    STUCK,
    Plant,
)


def test_the_seed_fixes_everything() -> None:
    one, two, other = Plant(3), Plant(3), Plant(4)
    for plant in (one, two, other):
        plant.step(5.0)
    assert one.oven(0) == two.oven(0)
    assert one.oven(0) != other.oven(0)


def test_values_are_plausible_for_an_hour() -> None:
    plant = Plant(1)
    for _ in range(360):
        plant.step(10.0)
        for i, name in enumerate(OVENS):
            reading = plant.oven(i)
            assert 0 <= reading.power <= 41
            assert name == DRIFTING.machine or 140 < reading.temp < 240
        for i, name in enumerate(PUMPS):
            pump = plant.pump(i)
            assert 1 < pump.pressure < 9
            assert 5 < pump.flow < 90
            assert name == FAILING.machine or 0.5 < pump.vibration < 5
        for i in range(len(PRESSES)):
            press = plant.press(i)
            assert 0 <= press.force < 405
            assert 30 < press.oil < 80


def test_the_thermometer_drifts_and_power_does_not() -> None:
    i = OVENS.index(DRIFTING.machine)
    plant = Plant(1)
    plant.step(DRIFTING.after_s)
    before = plant.oven(i)
    plant.step(300.0)
    after = plant.oven(i)
    assert abs(after.temp - before.temp - 300.0 * DRIFT_C_PER_S) < 3.0
    assert abs(after.power - before.power) < 0.5


def test_the_flow_meter_sticks() -> None:
    i = PUMPS.index(STUCK.machine)
    plant = Plant(1)
    plant.step(STUCK.after_s - 1.0)
    before = [plant.pump(i).flow for _ in range(5)]
    assert len(set(before)) == 5  # noise
    plant.step(1.5)
    flows, pressures = [], []
    for _ in range(60):
        plant.step(1.0)
        flows.append(plant.pump(i).flow)
        pressures.append(plant.pump(i).pressure)
    assert len(set(flows)) == 1
    assert pstdev(pressures) > 0.05


def test_the_bearing_fails() -> None:
    i = PUMPS.index(FAILING.machine)
    plant = Plant(1)

    def average(seconds: int) -> tuple[float, float]:
        readings = []
        for _ in range(seconds):
            plant.step(1.0)
            readings.append(plant.pump(i))
        return mean(r.vibration for r in readings), mean(r.pressure for r in readings)

    vibration, pressure = average(int(FAILING.after_s))
    average(int(FAULT_RAMP_S) + 5)
    worn_vibration, worn_pressure = average(60)
    assert worn_vibration > 3.5 * vibration
    assert worn_pressure < 0.85 * pressure


def test_strokes_only_grow() -> None:
    plant = Plant(1)
    last = [plant.press(i).strokes for i in range(len(PRESSES))]
    first = list(last)
    for _ in range(100):
        plant.step(1.0)
        now = [plant.press(i).strokes for i in range(len(PRESSES))]
        assert all(b - a in (0, 1) for a, b in zip(last, now, strict=True))
        last = now
    assert all(b > a + 5 for a, b in zip(first, last, strict=True))
