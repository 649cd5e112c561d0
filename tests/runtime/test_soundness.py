"""Models are compiled, tried and judged before they run. One model serves nearly all, as compiling takes seconds."""

from __future__ import annotations

import pytest

from edgetwin.config.check import check
from edgetwin.errors import ModelError
from edgetwin.runtime import soundness
from tests.config.support import REPOSITORY, read

TEXT = """\
gateway: g
sources:
  - {name: plant, kind: mqtt, url: "mqtt://127.0.0.1:1883"}
  - {name: plc, kind: modbus, url: "modbus+tcp://127.0.0.1", every: 20s}
models:
  - name: tank
    states: {a: {initial: 1}, b: {initial: 1, unit: kg}}
    inputs: {u: {initial: 3}}
    parameters: {link: 1, stiff: 0, growth: 0, leak: 1, share: 1, other: 0, loss: 1}
    derivatives:
      a: link*(b - a) - stiff*(a - b)*(1 + a*a) + growth*a**2 - loss*a/(u - 1)
      b: -leak*b
    process_noise: {a: 1, b: 1}
    measurements: {m: share*a + other*b, b: b}
twins:
  - name: tank
    model: tank
    parameters: {link: 1}
    signals:
      m: {source: plant, topic: m}
"""


def found(text: str) -> list[str]:
    config = read(text)
    assert check(config, REPOSITORY) == []
    return [f"{f.severity} {f.error()}" for f in soundness.unsound(config)]


def of(text: str = TEXT, more: str = "", **parameters: float) -> list[str]:
    """Findings of a twin with other parameters, and more keys."""
    given = ", ".join(f"{name}: {value}" for name, value in parameters.items())
    changed = text.replace("{link: 1}\n", f"{{{given}}}\n{more}")
    assert changed != text
    return found(changed)


def test_a_sound_model_is_no_finding() -> None:
    assert found(TEXT) == []


def test_what_a_twin_does_not_tell_is_said_at_the_twin() -> None:
    assert of(link=0) == [
        "warning c.yaml:19:5: twins[0].signals: state b cannot be observed from m: it is what the equations say: bind a "
        "signal to b"
    ]
    assert of(link=0, leak=0)[0].startswith(
        "warning c.yaml:19:5: twins[0].signals: state b cannot be observed from m: what is not known of it at the start "
        "stays so: "
    )


def test_what_the_whole_model_does_not_tell_is_said_at_the_model() -> None:
    text = TEXT.replace("b: b}", "b: 2*b}").replace("share: 1", "share: 0")
    assert found(text.replace("      m: {", "      b: {")) == [
        "warning c.yaml:14:5: models[0].measurements: state a cannot be observed from m and b: it is what the equations say: "
        "add a measurement of it, or leave it out"
    ]


def test_a_combination_is_named_with_amounts_and_units() -> None:
    lines = of(link=0, leak=0, loss=0, other=4)
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning c.yaml:19:5: twins[0].signals: states a and b cannot be told apart by m: it is not seen when they move by "
        "1 in a and -0.25 kg in b: "
    )


def test_a_model_of_the_library_is_judged_at_its_twin() -> None:
    text = TEXT.replace("model: tank\n    parameters: {link: 1}", "model: library/tank").replace(
        "      m: {", "      flow: {"
    )
    assert found(text) == [
        "warning c.yaml:18:5: twins[0].signals: state level cannot be observed from flow: it is what the equations say: bind a "
        "signal to level or outflow"
    ]


def test_a_model_stiff_beyond_its_sub_steps_between_reports_is_an_error() -> None:
    assert of(stiff=3e5) == [
        "error c.yaml:11:7: models[0].derivatives: tank is too stiff: 1 s, as pass between two reports or polls, are 1.2e+06 "
        "of its fastest time constants; its sub-steps follow 2,000: put the fastest state at its equilibrium in the "
        "equations, or report more often"
    ]


def test_polls_count_as_intervals_too() -> None:
    assert of(stiff=90.0) == []
    polled = TEXT.replace("{source: plant, topic: m}", "{source: plc, register: {address: 0}}")
    lines = of(polled, stiff=90.0)
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning c.yaml:11:7: models[0].derivatives: tank is too stiff: 20 s, as pass between two reports or polls, are "
    )
    assert ", so that its states are not accurate: " in lines[0]
    assert of(polled, stiff=2000.0)[0].startswith("error c.yaml:11:7: models[0].derivatives: tank is too stiff: 20 s, ")


def test_stiff_in_silence_only_is_a_warning() -> None:
    lines = of(stiff=5000.0)
    assert len(lines) == 1
    assert lines[0].startswith("warning c.yaml:11:7: models[0].derivatives: tank is too stiff: 1 s, ")
    lines = of(stiff=300.0)
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning c.yaml:11:7: models[0].derivatives: tank is too stiff: 5 s, as pass until a silent "
    )
    assert of(more="    stale_after: 1s\n", stiff=300.0) == []


def test_divergence_and_undefined_starts() -> None:
    lines = of(growth=0.7, leak=0)
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning c.yaml:11:7: models[0].derivatives: tank diverges from its initial values within 5 s, as pass until"
    )
    lines = of(more="    initial: {u: 1}\n", link=1)
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning c.yaml:11:10: models[0].derivatives.a: derivatives.a of tank has no finite value or slope at the initial "
        "state and inputs: "
    )


def test_what_does_not_compile_is_an_error_at_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: object) -> None:
        raise ModelError("model tank: no", hint="mend it")

    monkeypatch.setattr(soundness, "compile_equations", refuse)
    assert found(TEXT) == ["error c.yaml:6:5: models[0]: does not compile: model tank: no: mend it"]


def test_sympy_refuses_what_is_not_real() -> None:
    lines = found(TEXT.replace("b: -leak*b", "b: -leak*b*log(0*u - 1)"))
    assert any(line.startswith("error c.yaml:6:5: models[0]: does not compile: ") for line in lines), lines


def test_a_model_without_a_twin_is_tried_too() -> None:
    text = TEXT.replace("model: tank\n    parameters: {link: 1}", "model: auto").replace("stiff: 0", "stiff: 3e+5")
    lines = found(text)
    assert len(lines) == 1
    assert lines[0].startswith("error c.yaml:11:7: models[0].derivatives: tank is too stiff")
