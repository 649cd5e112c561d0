"""What a twin gives in place of its model's, and signals in other units than the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgetwin.config.check import check
from edgetwin.engine import Engine
from tests.config.support import MQTT, REPOSITORY, read
from tests.engine.build import SECOND, T0, config, feed

BODY = "library/thermal_first_order"


def engine(*twins: dict[str, Any]) -> Engine:
    """Twins m0, m1, … of a body that loses heat; signal 0 of each is its temperature."""
    specs = []
    for k, given in enumerate(twins):
        signal = {"source": "plant", "topic": f"t/{k}", "noise": 0.5, **given.pop("signal", {})}
        specs.append({"name": f"m{k}", "model": BODY, "signals": {"temperature": signal}, **given})
    return Engine(config(specs))


def test_a_twin_begins_where_it_says() -> None:
    made = engine({}, {"initial": {"temperature": 51, "ambient": 5}, "initial_std": {"temperature": 0.5}})
    for slot in range(2):
        feed(made, [50.0], slot=slot)
    plain, own = (made.estimate(f"m{k}", T0, T0).states["temperature"] for k in range(2))
    assert plain.mean == pytest.approx((20 / 20**2 + 50 / 0.5**2) / (1 / 20**2 + 1 / 0.5**2), rel=1e-12)
    assert own.mean == pytest.approx(50.5, rel=1e-12)  # as sure as the sensor
    assert own.std == pytest.approx(0.5 / np.sqrt(2), rel=1e-12)
    later = made.estimate("m1", T0 + 1225 * SECOND, T0).states["temperature"]
    assert later.mean == pytest.approx(5 + 45.5 * np.exp(-1), rel=1e-4)  # towards its own ambient


def test_a_twin_has_its_own_process_noise() -> None:
    made = engine({}, {"process_noise": {"temperature": 0.1}}, {"process_noise": {"temperature": 0}})
    for slot in range(3):
        feed(made, [20.0], slot=slot)
    now = T0 + 100 * SECOND
    grown = [made.estimate(f"m{k}", now, T0).states["temperature"].std ** 2 for k in range(3)]
    held = grown[2]
    assert grown[0] - held == pytest.approx(0.01**2 * 1225 / 2 * (1 - np.exp(-200 / 1225)), rel=1e-2)
    assert (grown[1] - held) / (grown[0] - held) == pytest.approx(100, rel=1e-9)


def test_a_sensor_in_degF_gives_what_one_in_degC_does() -> None:
    fahrenheit = {"noise": 0.9, "unit": "degF", "range": [32, 212], "scale": 0.1, "offset": 1}
    made = engine({"signal": {"unit": "degC", "range": [0, 100]}}, {"signal": fahrenheit})
    celsius = np.array([22.0, 24.0, 25.5, 120.0, 25.0])
    feed(made, celsius, slot=0)
    feed(made, (celsius * 1.8 + 32 - 1) / 0.1, slot=1)
    a, b = (made.estimate(f"m{k}", None, T0) for k in range(2))
    assert b.states["temperature"].mean == pytest.approx(a.states["temperature"].mean, rel=1e-12)
    assert b.states["temperature"].std == pytest.approx(a.states["temperature"].std, rel=1e-12)
    assert (b.signals["temperature"].unit, b.signals["temperature"].fused) == ("degC", 4)
    assert b.signals["temperature"].value == pytest.approx(25.0)
    assert b.signals["temperature"].noise == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("initial: {temperatur: 3}", "c.yaml:8:15: twins[0].initial.temperatur: state or input of library/thermal_first_order 'temperatur' is unknown: did you mean temperature?"),
        ("initial_std: {ambient: 3}", "c.yaml:8:19: twins[0].initial_std.ambient: state of library/thermal_first_order 'ambient' is unknown: "),
        ("process_noise: {heat: 3}", "c.yaml:8:21: twins[0].process_noise.heat: state of library/thermal_first_order 'heat' is unknown: "),
        ("initial: {ambient: 3, temperature: 4}", ""),
    ],
)  # fmt: skip
def test_overrides_are_of_what_there_is(given: str, line: str) -> None:
    text = MQTT.replace("  - name: oven", f"  - name: oven\n    model: {BODY}\n    {given}").replace(
        "temp:", "temperature:"
    )
    found = [str(f.error()) for f in check(read(text), REPOSITORY)]
    assert (not found) if not line else (len(found) == 1 and found[0].startswith(line)), found


@pytest.mark.parametrize("key", ["initial: {temp: 3}", "initial_std: {temp: 3}", "process_noise: {temp: 3}"])
def test_built_in_models_take_none(key: str) -> None:
    found = check(read(MQTT.replace("name: oven", f"name: oven\n    {key}")), REPOSITORY)
    name = key.split(":")[0]
    assert [f.message for f in found] == [f"{name} is for models by equations, not for auto"]


def test_bounds_of_the_model_hold_for_its_twins() -> None:
    text = MQTT.replace("twins:", """models:
  - name: body
    states: {T: {initial: 20, min: 0, max: 100}}
    parameters: {k: {value: 1, min: 0.5, max: 2}}
    derivatives: {T: -k*T}
    measurements: {temp: T}
twins:""").replace("name: oven", "name: oven\n    model: body\n    initial: {T: 101}\n    parameters: {k: 0.1}")  # fmt: skip
    lines = [str(f.error()) for f in check(read(text), REPOSITORY)]
    assert [line.split(": ", 1)[1] for line in lines] == [
        "twins[0].initial.T: must be at least 0 and at most 100: correct it, or the bounds in the model",
        "twins[0].parameters.k: must be at least 0.5 and at most 2: correct it, or the bounds in the model",
    ]
