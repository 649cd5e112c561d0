"""Units as text, their conversion, and the units of a model's equations."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.check import check, hinders
from edgetwin.config.conversions import in_unit
from edgetwin.config.library import library_model, library_names
from edgetwin.config.models import user_model
from edgetwin.config.schema import Signal
from edgetwin.config.unit_table import PLAIN, PREFIXED
from edgetwin.config.units import conversion, parse_unit, unit_text
from tests.config.support import REPOSITORY, read

# ---- text


@pytest.mark.parametrize(
    ("text", "dimension", "size"),
    [
        ("m3/h", "m3 s-1", 1 / 3600),
        ("m³/h", "m3 s-1", 1 / 3600),
        ("m^3 h-1", "m3 s-1", 1 / 3600),
        ("kW/K", "kg m2 s-3 K-1", 1e3),
        ("W/(m2 K)", "kg s-3 K-1", 1),
        ("W/m2/K", "kg s-3 K-1", 1),
        ("N·m", "kg m2 s-2", 1),
        ("Nm", "kg m2 s-2", 1),
        ("mN*m", "kg m2 s-2", 1e-3),
        ("mg/dL/min", "kg m-3 s-1", 1e-6 / 1e-4 / 60),
        ("1e-3/min", "s-1", 1e-3 / 60),
        ("1e6 kg m2", "kg m2", 1e6),
        ("µm/s", "m s-1", 1e-6),
        ("kWh", "kg m2 s-2", 3.6e6),
        ("min", "s", 60),
        ("cd", "cd", 1),
        ("ft2", "m2", 0.3048**2),
        ("psi", "kg m-1 s-2", 0.45359237 * 9.80665 / 0.0254**2),
        ("%", "1", 0.01),
        ("rpm", "s-1", 2 * math.pi / 60),
    ],
)  # fmt: skip
def test_units_are_read(text: str, dimension: str, size: float) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert (str(unit), unit.size) == (dimension, pytest.approx(size, rel=1e-12))


@pytest.mark.parametrize("text", ["", " ", "florps", "J/kg K", "m/", "/s", "(m", "m)", "m^x", "kkg", "m3.5", "1e999", "m" * 101, "dgeC", "m^", "0 m"])  # fmt: skip
def test_what_is_unknown_or_ambiguous_is_none(text: str) -> None:
    assert parse_unit(text) is None


_SYMBOLS = [*PLAIN, *PREFIXED]


@given(st.text(max_size=20) | st.lists(st.sampled_from([*_SYMBOLS, "/", "*", "(", ")", "^2", "3", " "])).map(" ".join))
def test_any_text_is_a_unit_or_none(text: str) -> None:
    unit = parse_unit(text)
    assert unit is None or 0 < unit.size < math.inf


@given(st.sampled_from(_SYMBOLS), st.sampled_from(_SYMBOLS), st.floats(-1e6, 1e6))
def test_a_conversion_and_its_inverse_leave_the_value(a: str, b: str, value: float) -> None:
    there, back = conversion(a, b), conversion(b, a)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        there_value = there[0] * value + there[1]
        assert back[0] * there_value + back[1] == pytest.approx(value, rel=1e-9, abs=1e-9 * (abs(back[1]) + 1))


@pytest.mark.parametrize(
    ("source", "value", "target", "expected"),
    [
        ("degF", 212, "degC", 100),
        ("°F", -40, "°C", -40),
        ("K", 273.15, "degC", 0),
        ("degC", 20, "K", 293.15),
        ("degF", 32, "K", 273.15),
        ("mK", 300_000, "degC", 26.85),
        ("bar", 1.5, "kPa", 150),
        ("rpm", 60, "rad/s", 2 * math.pi),
        ("L/min", 100, "m3/h", 6),
        ("mmol/L", 2, "mol/m3", 2),
        ("%", 50, "1", 0.5),
        ("deg", 180, "rad", math.pi),
        ("W/(m2 K)", 3, "kW/m2/degF", 3e-3 * 5 / 9),
    ],
)  # fmt: skip
def test_conversions(source: str, value: float, target: str, expected: float) -> None:
    found = conversion(source, target)
    assert found is not None
    assert found[0] * value + found[1] == pytest.approx(expected, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [("Hz", "rad/s"), ("rpm", "Hz"), ("kPa", "K"), ("deg", "%"), ("florps", "m"), ("mol", "kg")])  # fmt: skip
def test_different_kinds_are_not_converted(a: str, b: str) -> None:
    assert conversion(a, b) is None


def test_a_known_unit_is_named_as_usual() -> None:
    for text in ("kW", "ohm", "W/K", "m3/h"):
        unit = parse_unit(text)
        assert unit is not None
        assert unit_text(unit) == text
    odd = parse_unit("7 kg/s")
    assert odd is not None
    assert unit_text(odd) == "7 kg s-1"


# ---- signals


def test_a_signal_is_converted_with_its_noise_and_range() -> None:
    signal = Signal(source="s", scale=0.1, offset=32, noise=0.9, range=(-40, 212), unit="degF")
    made = in_unit(signal, "degC")
    rng = random.Random(5)
    print("seed 5")
    for _ in range(20):
        raw = rng.uniform(-1000, 3000)
        assert made.scale * raw + made.offset == pytest.approx((0.1 * raw + 32 - 32) / 1.8, abs=1e-9)
    assert made.noise == pytest.approx(0.5)
    assert made.range == pytest.approx((-40, 100))
    assert made.unit == "degC"
    assert in_unit(signal, "kPa") is signal
    assert in_unit(signal, "") is signal
    assert in_unit(signal, "degF") is signal


# ---- equations

OVEN = """\
gateway: g
sources:
  - {name: plant, kind: mqtt, url: "mqtt://127.0.0.1:1883"}
models:
  - name: oven
    states:
      T: {initial: 20, unit: degC}
      x: {initial: 1, unit: m}
    inputs: {heater: {unit: kW}, angle: {unit: deg}}
    parameters: {C: {value: 12, unit: kJ/K}, k: {value: 0.8, unit: kW/K}, tau: {value: 9, unit: s}, free: 3}
    derivatives:
      T: (heater - k*(T - 20)) / C
      x: x/tau
    measurements:
      temp: T
twins:
  - name: oven
    model: oven
    signals:
      temp: {source: plant, topic: plant/oven/temp}
"""


def found(text: str) -> list[str]:
    return [f"{f.severity} {f.error()}" for f in check(read(text), REPOSITORY)]


def test_units_that_agree_are_no_finding() -> None:
    assert found(OVEN) == []


@pytest.mark.parametrize(
    "expression",
    [
        "x/tau", "x/300", "free*x", "x*free/tau", "(3 - x)/tau", "x*exp(-x/x)/tau", "where(T > 20, x/tau, 0)", "sqrt(x*x)/tau",
        "x**2/x/tau", "(x**4)**(1/4)/tau", "pi*x/tau", "min(x, 3)/tau", "clip(x, 0, 5)/tau", "x*sin(angle*pi/180)/tau",
        "abs(x)*sign(T)/tau", "x/tau*(T/T)**free", "0", "pow(x, 1)/tau", "x*atan2(x, 3)/tau", "-x/tau",
    ],
)  # fmt: skip
def test_what_may_be_meant_is_no_error(expression: str) -> None:
    lines = found(OVEN.replace("x: x/tau", f'x: "{expression}"'))
    assert not [line for line in lines if line.startswith("error")], lines


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("x/tau/tau", "the derivative of x should be m/s, but 'x / tau / tau' is m s-2: correct the expression or the units"),
        ("x*x", "the derivative of x should be m/s, but 'x * x' is m2: correct the expression or the units"),
        ("(x + T)/tau", "'x' is m, but 'T' is degC: correct the expression or the units"),
        ("x/tau + heater/C", "'x / tau' is m s-1, but 'heater / C' is s-1 K: "),
        ("x*exp(T)/tau", "the argument of exp must be a plain number, but 'T' is degC: "),
        ("x*T**x/tau", "an exponent must be a plain number, but 'x' is m: "),
        ("x*sin(angle)/tau", "the argument of sin must be rad, but 'angle' is deg: 1 deg is 0.0174533 rad: "),
        ("min(x, T)/tau", "'x' is m, but 'T' is degC: "),
        ("where(x > T, x, x)/tau", "'x' is m, but 'T' is degC: "),
        ("where(x > 0, x, T)/tau", "'x' is m, but 'T' is degC: "),
        ("where(not x > T and x > 0, x, x)/tau", "'x' is m, but 'T' is degC: "),
        ("sqrt(x)/tau", "the derivative of x should be m/s, but 'sqrt(x) / tau' is m1/2 s-1: "),
    ],
)  # fmt: skip
def test_a_mismatch_is_an_error_at_its_expression_with_both_units(expression: str, message: str) -> None:
    lines = found(OVEN.replace("x: x/tau", f'x: "{expression}"'))
    assert len(lines) == 1
    assert lines[0].startswith(f"error c.yaml:13:10: models[0].derivatives.x: {message}"), lines


def test_sizes_are_compared_where_no_number_converts_them() -> None:
    lines = found(OVEN.replace("unit: kW/K}", "unit: W/K}"))
    assert lines == [
        "error c.yaml:12:10: models[0].derivatives.T: 'heater' is kW, but 'k * (T - 20)' is W: 1 W is 0.001 kW: give both "
        "the same unit (signals are converted to it)"
    ]
    assert found(OVEN.replace("unit: kW/K}", "unit: W/K}").replace("- k*", "- 0.001*k*")) == []


@pytest.mark.parametrize(("expression", "quoted"), [("(3 - x)/300", "(3 - x) / 300"), ("-x", "-x")])
def test_a_number_that_may_have_a_unit_makes_it_a_warning(expression: str, quoted: str) -> None:
    text = OVEN.replace("x: x/tau", f"x: {expression}")
    lines = found(text)
    assert len(lines) == 1
    assert lines[0].startswith(f"warning c.yaml:13:10: models[0].derivatives.x: the derivative of x should be m/s, but '{quoted}' is m: a number counts")  # fmt: skip
    assert not any(map(hinders, check(read(text), REPOSITORY)))


def test_next_values_and_steps() -> None:
    text = OVEN.replace("derivatives", "updates").replace("T: (heater", "T: T + dt*(heater").replace("x: x/tau", "x: x + dt*x/tau")  # fmt: skip
    assert found(text) == []
    assert "the next x should be m, but 'x * dt' is m s" in found(text.replace("x + dt*x/tau", "x*dt"))[0]


def test_units_of_measurements() -> None:
    assert found(OVEN.replace("temp: T", "temp: {expression: T, unit: degC}")) == []
    lines = found(OVEN.replace("temp: T", "temp: {expression: T, unit: K}"))
    assert lines == [
        "error c.yaml:15:13: models[0].measurements.temp: temp should be K, but T is degC: give it the unit of the state: "
        "signals in another one are converted"
    ]
    lines = found(OVEN.replace("temp: T", "temp: {expression: k*T, unit: degC}"))
    assert "temp should be degC, but 'k * T' is kW" in lines[0]


def test_unknown_units_are_warned_of_and_not_checked() -> None:
    lines = found(OVEN.replace("unit: kW/K", "unit: flops"))
    assert lines == [
        "warning c.yaml:10:68: models[0].parameters.k.unit: the unit flops is not known: see the section Units of "
        "docs/models.md; leave it out to have it neither checked nor converted"
    ]


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("K", ""),
        ("degF", ""),
        ("kPa", "error c.yaml:20:59: twins[0].signals.temp.unit: kPa cannot be converted to degC, the unit of temp of oven: "),
        ("grad", "warning c.yaml:20:59: twins[0].signals.temp.unit: grad cannot be compared with degC, the unit of temp of oven: grad is not known: write it as degC"),
    ],
)  # fmt: skip
def test_units_of_signals(unit: str, message: str) -> None:
    lines = found(OVEN.replace("plant/oven/temp}", f"plant/oven/temp, unit: {unit}}}"))
    assert (not lines) if not message else (len(lines) == 1 and lines[0].startswith(message)), lines


def test_a_measurement_without_unit_of_its_own_still_has_a_kind() -> None:
    text = OVEN.replace("temp: T", "temp: k*T").replace("plant/oven/temp}", "plant/oven/temp, unit: degC}")
    assert "degC is not the unit of temp of oven, which is kW" in found(text)[0]
    assert found(text.replace("temp, unit: degC}\n", "temp, unit: kW}\n")) == []


@pytest.mark.parametrize("name", library_names())
def test_every_quantity_of_the_library_has_a_unit_that_agrees(name: str) -> None:
    model = library_model(name)
    assert model is not None
    copy = (REPOSITORY / "edgetwin" / f"{name}.yaml").read_text()
    entry = "\n".join("    " + line for line in copy.splitlines())
    start, rest = OVEN.split("  - name: oven\n    states", 1)
    twin = rest[rest.index("twins:") :]
    text = f"{start}  -\n{entry}\n{twin.replace('model: oven', 'model: random_walk')}"
    config = read(text)
    assert [str(f.error()) for f in check(config, REPOSITORY)] == []
    mine = user_model(config, config.models[0].name)
    assert mine is not None
    assert all(parse_unit(s.unit) for s in mine.states.values())
    assert all(parse_unit(i.unit) for i in mine.inputs.values())
    assert all(not isinstance(p, float) and parse_unit(p.unit) for p in mine.parameters.values())
