"""Fits of recordings whose truth is known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.errors import ConfigError, EdgetwinError, FitError
from edgetwin.fit.filters import twin_filters
from edgetwin.fit.overlay import number, overlay, write_overlay
from edgetwin.fit.run import Result
from tests.fit.build import HEAD, LAG, LAG_TRUTH, TANK, TANK_TRUTH, lag, run, tank, values, write
from tests.replay.build import T0, configured
from tests.replay.build import run as replay


def scores(result: Result, truth: dict[str, float]) -> dict[str, float]:
    """Errors over standard errors, in the coordinates of the search."""
    made = {}
    for f in result.fitted:
        q = f.quantity
        made[q.name] = (q.coordinate(f.value) - q.coordinate(truth[q.name])) * q.slope(f.value) / f.std
    return made


def test_a_linear_model_is_recovered_within_its_standard_errors(tmp_path: Path) -> None:
    """Over many recordings the errors have the spread that the standard errors foretell."""
    found: dict[str, list[float]] = {}
    for seed in range(40):
        write(tmp_path / "f.csv", lag(seed))
        result = run(tmp_path, LAG, noise=True, starts=1, set_aside=False)
        assert result.stop == "converged"
        assert result.warnings == (), f"seed {seed}"
        for name, score in scores(result, LAG_TRUTH).items():
            found.setdefault(name, []).append(score)
            assert abs(score) < 4.5, f"seed {seed}: {name} is {score:.1f} standard errors off"
    assert found.keys() == LAG_TRUTH.keys()
    for name, errors in found.items():
        # 40 standard normals: root mean square 1 ± 0.11, mean 0 ± 0.16.
        assert 0.6 < np.sqrt(np.mean(np.square(errors))) < 1.45, f"{name}: {errors}"
        assert abs(np.mean(errors)) < 0.65, f"{name}: {errors}"


def test_a_nonlinear_model_of_the_library_is_recovered(tmp_path: Path) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(5):
        write(tmp_path / "f.csv", tank(seed, 300))
        result = run(tmp_path, TANK, parameters=("a", "q_max", "noise.level"))
        for name, score in scores(result, TANK_TRUTH).items():
            found.setdefault(name, []).append(score)
            assert abs(score) < 4, f"seed {seed}: {name} is {score:.1f} standard errors off"
        low, high = result.fitted[0].interval
        assert low < result.fitted[0].value < high
    assert all(0.3 < np.sqrt(np.mean(np.square(errors))) < 1.8 for errors in found.values()), found


def test_the_maximum_is_one(tmp_path: Path) -> None:
    """No point around the result is more likely, and a search from elsewhere ends at the same point."""
    write(tmp_path / "f.csv", lag(3))
    result = run(tmp_path, LAG, noise=True)
    near = LAG.replace("{a: 0.1, b: 1.0}", "{a: 0.03, b: 0.3}").replace("noise: 0.2", "noise: 2")
    other = run(tmp_path, near, noise=True, starts=3)
    assert other.log_likelihood[1] == pytest.approx(result.log_likelihood[1], abs=1e-4)
    for a, b in zip(result.fitted, other.fitted, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-3)
        assert a.std == pytest.approx(b.std, rel=1e-2)
    assert result.log_likelihood[1] > result.log_likelihood[0]


def test_noise_left_to_be_learned_is_fitted(tmp_path: Path) -> None:
    """A random walk seen through noise: its local level, for which the truth is known."""
    rng = np.random.default_rng(8)
    n = 1500
    z = np.cumsum(rng.normal(0, 0.3, n)) + rng.normal(0, 1.0, n)
    write(tmp_path / "f.csv", {"t": T0 + 1.0 * np.arange(n), "z": z})
    text = HEAD + "twins:\n  - {name: m, model: random_walk, signals: {z: {source: f, column: z}}}\n"
    result = run(tmp_path, text)
    truth = {"process_noise": 0.3, "noise.z": 1.0}
    assert all(abs(score) < 4 for score in scores(result, truth).values())
    assert all(np.isnan(f.before) for f in result.fitted)
    assert 0.9 < result.after[0].nis < 1.1


def test_what_cannot_be_told_apart_is_named(tmp_path: Path) -> None:
    text = LAG.replace("b: 1.0}", "b: 1.0, k: 2.0}").replace("b*u - a*x", "k*b*u - a*x")
    write(tmp_path / "f.csv", lag(1))
    result = run(tmp_path, text, noise=True)
    (warning,) = result.warnings
    assert "b +0.71, k -0.71" in warning or "k +0.71, b -0.71" in warning
    found = values(result)
    assert np.isnan(found["b"][1])
    assert np.isnan(found["k"][1])
    # What is identified is found nevertheless.
    assert found["b"][0] * found["k"][0] == pytest.approx(LAG_TRUTH["b"], rel=0.15)
    assert abs(found["a"][0] - LAG_TRUTH["a"]) < 4 * found["a"][1]


def test_what_has_no_effect_is_named(tmp_path: Path) -> None:
    recording = lag(1)
    recording["u"][:] = 0
    write(tmp_path / "f.csv", recording)
    result = run(tmp_path, LAG, noise=True)
    assert [w for w in result.warnings if w.startswith("b is not identified by these data (the likelihood is flat)")]
    assert values(result)["b"][0] == pytest.approx(1.0, rel=0.5)


def test_bounds_hold_and_are_told(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", lag(1))
    given = run(tmp_path, LAG, noise=True, bounds={"a": (0.08, 0.3)})
    assert values(given)["a"][0] == pytest.approx(0.08)
    assert np.isnan(values(given)["a"][1])
    assert "a ends at its lower bound 0.08: the likelihood rises beyond it" in given.warnings
    declared = LAG.replace("{a: 0.1, b: 1.0}", "{a: {value: 0.1, min: 0.08, max: 0.3}, b: 1.0}")
    model = run(tmp_path, declared, noise=True)
    assert [f.value for f in model.fitted] == pytest.approx([f.value for f in given.fitted], rel=1e-6)
    free = run(tmp_path, LAG, noise=True)
    assert free.log_likelihood[1] > given.log_likelihood[1] + 1


def test_a_bound_below_zero_is_searched_in_plain_coordinates(tmp_path: Path) -> None:
    recording = lag(2)
    recording["u"] *= -1  # so that b is negative
    write(tmp_path / "f.csv", recording)
    result = run(tmp_path, LAG, noise=True, bounds={"b": (-5, 5)})
    value, std = values(result)["b"]
    assert abs(value + LAG_TRUTH["b"]) < 4 * std


def test_process_noise_that_is_not_there_goes_to_zero(tmp_path: Path) -> None:
    recording = lag(1, truth={**LAG_TRUTH, "process_noise.x": 1e-9})
    write(tmp_path / "f.csv", recording)
    result = run(tmp_path, LAG, noise=True)
    assert any("process_noise.x" in w for w in result.warnings)
    assert values(result)["process_noise.x"][0] < 0.01


def test_initial_states(tmp_path: Path) -> None:
    recording = lag(4)
    recording["z"] += 3.0 * np.exp(-LAG_TRUTH["a"] * np.arange(800))
    write(tmp_path / "f.csv", recording)
    text = LAG.replace("std: 5", "std: 0.001").replace("process_noise: {x: 0.5}", "process_noise: {x: 0.2}")
    result = run(tmp_path, text, noise=True, initial=True)
    value, std = values(result)["initial.x"]
    assert abs(value - 3.0) < 4 * std
    assert std < 0.6


def test_outliers_are_set_aside(tmp_path: Path) -> None:
    recording = lag(6)
    clean = recording["z"].copy()
    hit = np.arange(17, 800, 53)
    recording["z"][hit] += 40 * np.where(hit % 2, 1, -1)
    write(tmp_path / "f.csv", recording)
    result = run(tmp_path, LAG, noise=True)
    assert result.set_aside == len(hit)
    everything = run(tmp_path, LAG, noise=True, set_aside=False)
    assert everything.set_aside == 0
    assert values(everything)["noise.z"][0] > 5 * LAG_TRUTH["noise.z"]
    recording["z"] = np.where(np.isin(np.arange(800), hit), np.nan, clean)
    write(tmp_path / "f.csv", recording)
    absent = run(tmp_path, LAG, noise=True)
    assert [f.value for f in result.fitted] == pytest.approx([f.value for f in absent.fitted], rel=1e-3)


def test_held_out_samples_judge_and_are_not_fitted(tmp_path: Path) -> None:
    recording = lag(7)
    write(tmp_path / "f.csv", recording)
    result = run(tmp_path, LAG, noise=True, selection={"validate": 0.25})
    assert (result.samples, result.held_out) == (600, True)
    before, after = result.before[0], result.after[0]
    assert (before.samples, after.samples) == (200, 200)
    assert after.rmse < before.rmse
    assert abs(after.nis - 1) < abs(before.nis - 1)
    # Nonsense in the part held out changes no fitted value.
    recording["z"][600:] = 1e3
    write(tmp_path / "f.csv", recording)
    other = run(tmp_path, LAG, noise=True, selection={"validate": 0.25}, set_aside=False)
    plain = run(tmp_path, LAG, noise=True, selection={"validate": 0.25}, set_aside=False)
    assert [f.value for f in other.fitted] == [f.value for f in plain.fitted]
    assert [f.value for f in other.fitted] == pytest.approx([f.value for f in result.fitted], rel=1e-6)


def test_the_span_of_time(tmp_path: Path) -> None:
    recording = lag(7)
    write(tmp_path / "f.csv", recording)
    span = {"from_ns": (T0 + 100) * 10**9, "to_ns": (T0 + 400) * 10**9}
    result = run(tmp_path, LAG, noise=True, selection=span)
    assert (result.samples, result.first_ns, result.last_ns) == (300, span["from_ns"], span["to_ns"] - 10**9)


def test_late_rows_are_taken_in_order(tmp_path: Path) -> None:
    recording = lag(7, 300)
    write(tmp_path / "f.csv", recording)
    straight = run(tmp_path, LAG, noise=True)
    order = np.random.default_rng(1).permutation(300)
    write(tmp_path / "f.csv", {name: column[order] for name, column in recording.items()})
    assert [f.value for f in run(tmp_path, LAG, noise=True).fitted] == [f.value for f in straight.fitted]


def test_an_interrupt_gives_the_best_so_far(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", lag(1))
    full = run(tmp_path, LAG, noise=True)
    reached = []

    def interrupt(what: str, iteration: int, value: float) -> None:
        reached.append(value)
        if iteration == 3:
            raise KeyboardInterrupt

    result = run(tmp_path, LAG, interrupt, noise=True)
    assert result.stop == "interrupted"
    assert result.log_likelihood[1] == max(reached)
    assert result.log_likelihood[0] < result.log_likelihood[1] < full.log_likelihood[1]
    assert all(np.isnan(f.std) for f in result.fitted)
    assert "INTERRUPTED" in overlay("c.yaml", [result])


def test_the_file_is_merged_and_foresees_as_was_said(tmp_path: Path) -> None:
    """The values end up in the very fields that candidates set, and a replay has the RMSE of the result."""
    write(tmp_path / "f.csv", lag(1))
    result = run(tmp_path, LAG, noise=True, initial=True)
    write_overlay(tmp_path / "m.fit.yaml", "c.yaml", [result])
    text = "fitted: [m.fit.yaml]\n" + LAG
    engine, before = (Engine(configured(tmp_path, text)) for _ in range(2))
    (f,) = twin_filters(before, next(iter(before.instances())))
    found = np.array([[x.value for x in result.fitted]])
    assert_same(engine.banks[0].rows[0], f.rows([x.quantity for x in result.fitted], found)[0])
    replay(tmp_path, text)
    summary = msgspec.json.decode((tmp_path / "out" / "summary.json").read_bytes())
    figures = summary["twins"]["m"]["signals"]["z"]
    assert figures["rmse"] == pytest.approx(result.after[0].rmse, rel=1e-6)
    assert figures["mean_nis"] == pytest.approx(result.after[0].nis, rel=1e-6)


@pytest.mark.parametrize("stage", ["climb 2", "without", "standard errors"])
def test_an_interrupt_at_any_stage_keeps_what_was_reached(stage: str, tmp_path: Path) -> None:
    recording = lag(1)
    recording["z"][100:700:60] += 30
    write(tmp_path / "f.csv", recording)
    reached: list[str] = []

    def interrupt(what: str, iteration: int, value: float) -> None:
        reached.append(what)
        if what.startswith(stage):
            raise KeyboardInterrupt

    result = run(tmp_path, LAG, interrupt, noise=True)
    assert reached[-1].startswith(stage)
    assert np.isfinite(result.log_likelihood[1])
    assert all(np.isnan(f.std) for f in result.fitted)
    if stage == "standard errors":
        assert result.stop == "converged"
        assert "interrupted before the standard errors were known" in result.warnings
    else:
        assert result.stop == "interrupted"


@pytest.mark.parametrize("model", ["constant_velocity", "first_order"])
def test_the_file_of_a_built_in_model(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    z = np.cumsum(np.cumsum(rng.normal(0, 0.01, 300))) + rng.normal(0, 0.1, 300)
    write(tmp_path / "f.csv", {"t": T0 + 1.0 * np.arange(300), "z": z})
    given = {"constant_velocity": "initial_rate_std: 0.1", "first_order": "time_constant: 5"}[model]
    signals = "signals: {z: {source: f, column: z}}"
    text = HEAD + f"twins:\n  - {{name: m, model: {model}, parameters: {{{given}}}, {signals}}}\n"
    result = run(tmp_path, text)
    write_overlay(tmp_path / "m.fit.yaml", "c.yaml", [result])
    before = Engine(configured(tmp_path, text))
    engine = Engine(configured(tmp_path, "fitted: [m.fit.yaml]\n" + text))
    (f,) = twin_filters(before, next(iter(before.instances())))
    found = np.array([[x.value for x in result.fitted]])
    assert_same(engine.banks[0].rows[0], f.rows([x.quantity for x in result.fitted], found)[0])


def assert_same(row: np.void, other: np.void) -> None:
    """Equal in all fields to the digits that a file has."""
    for name in row.dtype.names or ():
        assert row[name] == pytest.approx(other[name], rel=1e-8, nan_ok=True), name


@pytest.mark.parametrize("value", [1e-5, 1.5e-7, 1e22, 3.0, 0.1, 123456.789, -2e-9])
def test_numbers_are_read_back_as_numbers(value: float) -> None:
    import yaml

    assert yaml.safe_load(number(value)) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (LAG, {"parameters": ("speed",)}, "c.yaml:14:12: twins[0].model: m has no 'speed' to fit: known: "),
        (LAG, {"parameters": ()}, "c.yaml:14:12: twins[0].model: nothing to fit of m: name some of a, b, "),
        (LAG, {"bounds": {"x": (0, 1)}}, "--bounds: 'x' is not fitted: fitted: a, b"),
        (LAG, {"bounds": {"a": (0.2, 1)}}, "a starts at 0.1, outside its bounds 0.2 to 1"),
        (LAG, {"noise": True, "bounds": {"noise.z": (-1, 1)}}, "bounds of noise.z: -1 to 1"),
        (LAG, {"selection": {"from_ns": 2 * T0 * 10**9}}, "no measurement of m in f.csv between --from and --to"),
        (LAG, {"selection": {"to_ns": (T0 + 5) * 10**9}}, "m: 5 samples that can be foreseen are too few for 2 quantities: at least 10"),
        (LAG.replace("b*u - a*x", "b*u + a*x*x*x + 1"), {}, "m: the likelihood is not finite at the starting values"),
        (LAG.replace("column: z", "column: nil"), {}, "twins[0].signals.z.column: column of f.csv 'nil' is unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_told(text: str, options: dict, message: str, tmp_path: Path) -> None:
    write(tmp_path / "f.csv", lag(1, 100))
    with pytest.raises(EdgetwinError) as caught:
        run(tmp_path, text, **options)
    assert message in str(caught.value)
    assert isinstance(caught.value, ConfigError | FitError)


def test_a_twin_without_a_recording(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", lag(1, 100))
    live = '  - {name: live, kind: mqtt, url: "mqtt://127.0.0.1"}\ntwins:\n'
    text = LAG.replace("models:", live[: live.index("twins:")] + "models:", 1) + (
        "  - {name: far, signals: {x: {source: live, topic: far}}}\n"
        '  - {name: "many-{n}", signals: {x: {source: live, topic: "many/{n}"}}}\n'
    )
    with pytest.raises(ConfigError, match=r"c\.yaml:19:17: twins\[1\]\.signals: no recorded data for far"):
        run(tmp_path, text, twin=1)
    with pytest.raises(ConfigError, match=r"twins\[2\]\.name: many-\{n\} is a template"):
        run(tmp_path, text, twin=2)
