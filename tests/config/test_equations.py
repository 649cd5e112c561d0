"""Checks of user models, with the place of every fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.config.check import check
from edgetwin.config.equations import MEASUREMENTS_MAX, STATES_MAX, equation_model
from edgetwin.config.schema import UserModel
from edgetwin.errors import ConfigError
from tests.config.support import MQTT, REPOSITORY, contract, read

OVEN: dict[str, Any] = {
    "name": "oven",
    "states": {"T": {"initial": 20.0, "unit": "degC"}, "W": {"initial": 20.0, "std": 3.0}},
    "inputs": {"heater": {}, "ambient": {"initial": 20.0}},
    "parameters": {"C": 12.0, "k": 0.8},
    "derivatives": {"T": "(heater - k*(T - W))/C", "W": "k*(T - W) - (W - ambient)"},
    "process_noise": {"T": 0.02},
    "measurements": {"temp": "T", "wall": "W"},
}


def model(**changes: Any) -> UserModel:
    """The oven with some sections replaced; None removes one."""
    merged = {k: v for k, v in (OVEN | changes).items() if v is not None}
    return msgspec.convert(merged, UserModel)


def test_the_oven() -> None:
    made = equation_model(model())
    assert made.continuous
    assert made.size == 2
    assert made.channels == ("temp", "wall", "heater", "ambient")
    assert made.process_noise == (0.02, 0.0)
    assert made.stds == (20.0, 3.0)
    assert made.inputs == {"heater": 0.0, "ambient": 20.0}
    assert [e.names for e in made.dynamics] == [{"heater", "k", "T", "W", "C"}, {"k", "T", "W", "ambient"}]


def test_updates_know_the_step() -> None:
    made = equation_model(model(derivatives=None, updates={"T": "T + dt*k*W", "W": "T"}))
    assert not made.continuous
    with pytest.raises(ConfigError, match="unknown name 'dt'"):
        equation_model(model(derivatives={"T": "dt", "W": "T"}))


@pytest.mark.parametrize(
    ("changes", "path", "message", "hint"),
    [
        ({"derivatives": {"T": "0"}}, "derivatives", "state W has no equation", "add W: …"),
        ({"derivatives": None}, "derivatives", "state T has no equation", "add T: …"),
        ({"derivatives": {"T": "0", "W": "0", "Z": "0"}}, "derivatives.Z", "'Z' is not a state", "known: T, W"),
        ({"updates": {"T": "T", "W": "W"}}, "updates", "derivatives and updates exclude each other", "keep one"),
        ({"derivatives": {"T": "0", "W": "wrm"}}, "derivatives.W", "unknown name 'wrm' (character 1)", ""),
        ({"derivatives": {"T": "0", "W": "W/"}}, "derivatives.W", "is not an expression", "numbers, names"),
        ({"measurements": {"temp": "T +* 1"}}, "measurements.temp", "is not an expression", "numbers"),
        ({"measurements": {"temp": "heater"}}, "measurements.temp", "measures no state", "name one of T, W"),
        ({"measurements": {"temp": "dt*T"}}, "measurements.temp", "unknown name 'dt'", ""),
        ({"measurements": {}}, "measurements", "a model needs a measurement", "add a name"),
        ({"measurements": {"heater": "T"}}, "measurements.heater", "'heater' is also an input", "rename one"),
        ({"states": {}, "derivatives": {}}, "states", "a model needs a state", "add a name"),
        ({"process_noise": {"T": -1.0}}, "process_noise.T", "must be 0 or more", "a standard deviation"),
        ({"process_noise": {"X": 1.0}}, "process_noise.X", "'X' is not a state", "known: T, W"),
        ({"parameters": {"C": 1.0, "k": 1.0, "T": 1.0}}, "parameters.T", "'T' is also in states", "rename one"),
        ({"inputs": {"heater": {}, "ambient": {}, "k": {}}}, "parameters.k", "'k' is also in inputs", "rename one"),
        ({"states": {"T": {"min": 5.0, "max": 5.0, "initial": 5.0}, "W": {}}}, "states.T", "min must be below max", "swap"),
        ({"states": {"T": {"min": 5.0}, "W": {}}}, "states.T", "initial is outside min and max", "correct one"),
        ({"states": {"T": {"max": -5.0}, "W": {}}}, "states.T", "initial is outside min and max", "correct one"),
    ],
)  # fmt: skip
def test_faults(changes: dict[str, Any], path: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        equation_model(model(**changes))
    assert caught.value.path == path
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["exp", "pi", "dt", "lambda", "in", "2x", "a b", "a-b", "é", "ﬁ", ""])
@pytest.mark.parametrize("section", ["states", "inputs", "parameters"])
def test_names_of_quantities(section: str, name: str) -> None:
    value: Any = 1.0 if section == "parameters" else {}
    with pytest.raises(ConfigError, match="cannot name a quantity") as caught:
        equation_model(model(**{section: OVEN[section] | {name: value}}))
    assert caught.value.hint


def test_sizes_are_bounded() -> None:
    states: dict[str, Any] = {f"s{i}": {} for i in range(STATES_MAX + 1)}
    with pytest.raises(ConfigError, match="13 states"):
        equation_model(model(states=states, derivatives=dict.fromkeys(states, "0")))
    many = {f"m{i}": "T" for i in range(MEASUREMENTS_MAX + 1)}
    with pytest.raises(ConfigError, match="33 measurements"):
        equation_model(model(measurements=many))


def test_the_digest_changes_with_what_the_code_depends_on() -> None:
    variants = [
        model(),
        model(name="other"),
        model(inputs={"heater": {}, "ambient": {}, "k": {}}, parameters={"C": 1.0}),  # k read from another place
        model(inputs={"heater": {}}, parameters={"ambient": 1.0, "C": 12.0, "k": 0.8}),
        model(inputs={"ambient": {}, "heater": {}}),
        model(process_noise={"W": 0.02}),
        model(states={"T": {"initial": 20.0, "min": 0.0}, "W": {}}),
        model(states={"T": {"initial": 20.0, "max": 300.0}, "W": {}}),
        model(derivatives={"T": "k*W", "W": "0"}),
        model(derivatives=None, updates=OVEN["derivatives"]),
        model(measurements={"temp": "W", "wall": "T"}),
    ]
    assert len({equation_model(m).digest() for m in variants}) == len(variants)
    # Numbers that stand in the row do not: twins that differ in them share their code.
    assert equation_model(model(parameters={"C": 1.0, "k": 2.0})).digest() == equation_model(model()).digest()
    assert equation_model(model(process_noise={"T": 7.0})).digest() == equation_model(model()).digest()


@given(st.dictionaries(st.sampled_from(["T", "W", "a.b", "x y", "x"]), st.text(max_size=30), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_model_or_a_config_error(texts: dict[str, str]) -> None:
    for changes in ({"derivatives": texts}, {"measurements": texts}, {"updates": texts, "derivatives": None}):
        try:
            equation_model(model(**changes))
        except ConfigError as exc:
            assert exc.path.split(".")[0] in ("derivatives", "updates", "measurements")


# ---- in a file

FILE = (
    MQTT.replace("twins:", "models:\n  - name: oven\n    states: {T: {}}\n    derivatives: {T: -k*T}\n"
    "    parameters: {k: 1}\n    measurements: {temp: T}\ntwins:")
    .replace("  - name: oven\n    signals", "  - name: oven\n    model: oven\n    signals")
)  # fmt: skip


def found(text: str) -> list[str]:
    return [str(f.error()) for f in check(read(text), REPOSITORY)]


def test_a_good_file() -> None:
    assert found(FILE) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("-k*T", "-k*Tt", "c.yaml:8:22: models[0].derivatives.T: unknown name 'Tt' (character 4): did you mean T?"),
        ("temp: T}", "temp: k}", "c.yaml:10:26: models[0].measurements.temp: measures no state: name one of T"),
        ("{temp: T}", "{a.b: T*}", "c.yaml:10:25: models[0].measurements['a.b']: "),
        ("{k: 1}", "{k: 1, 2x: 1}", "c.yaml:9:28: models[0].parameters.2x: '2x' cannot name a quantity"),
        ("name: oven\n    model: oven", "name: oven\n    model: ovn", "c.yaml:13:12: twins[0].model: model 'ovn' is unknown: did you mean oven?"),
        ("model: oven", "model: oven\n    parameters: {kk: 1}", "c.yaml:14:18: twins[0].parameters.kk: parameter of oven 'kk' is unknown: did you mean k?"),
        ("      temp:", "      tmp:", "c.yaml:15:7: twins[0].signals.tmp: measurement or input of oven 'tmp' is unknown: did you mean temp?"),
    ],
)  # fmt: skip
def test_faults_are_located(old: str, new: str, line: str) -> None:
    text = FILE.replace(old, new, 1)
    assert text != FILE
    assert any(f.startswith(line) for f in found(text)), found(text)


def test_the_contracts_oven() -> None:
    text = contract("factory.yaml").read_text()
    oven = next(m for m in read(text).models if m.name == "oven")
    assert equation_model(oven).channels == ("temp", "wall", "heater", "ambient")
