"""log L against joint Gaussian densities that know nothing of filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetwin.config.findings import Findings
from edgetwin.engine import Engine
from edgetwin.fit.filters import twin_filters
from edgetwin.fit.likelihood import Likelihood
from edgetwin.fit.quantities import bounded, chosen
from edgetwin.fit.samples import Segment, Selection, read_segments
from tests.fit.build import HEAD, LAG, lag, run, write
from tests.replay.build import T0, configured

SUM = (
    HEAD
    + """\
models:
  - name: sum
    states: {x: {initial: 0.5, std: 2}}
    inputs: {u: {initial: 0.25}}
    parameters: {b: 0.7}
    derivatives: {x: "b*u"}
    process_noise: {x: 0.3}
    measurements: {z: x, w: "1 - 2*x"}
twins:
  - name: m
    model: sum
    signals:
      z: {source: f, column: z, noise: 0.4}
      w: {source: f, column: w, noise: 0.9, scale: 0.5, offset: 0.1}
      u: {source: f, column: u}
"""
)

BUILTIN = (
    HEAD
    + """\
twins:
  - name: m
    model: MODEL
    parameters: {process_noise: 0.3}
    signals:
      z: {source: f, column: z, noise: 0.4}
"""
)


def likelihood(folder: Path, text: str) -> tuple[Likelihood, list[Segment]]:
    """All noise and all parameters of the first twin."""
    config = configured(folder, text)
    engine, findings = Engine(config), Findings(config)
    segments = read_segments(findings, 0, engine, folder, Selection())
    instance = next(iter(engine.instances()))
    quantities = bounded(chosen(findings, 0, None, noise=True, initial=False), {})
    return Likelihood(twin_filters(engine, instance), segments, quantities), segments


def gaussian(residual: np.ndarray, covariance: np.ndarray) -> float:
    _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * float(log_determinant + residual @ np.linalg.solve(covariance, residual))


def at(made: Likelihood, **change: float) -> np.ndarray:
    """The starting values, some of them replaced, as coordinates."""
    names = {name.replace(".", "_"): name for name in (q.name for q in made.quantities)}
    wanted = {names[k]: v for k, v in change.items()}
    return np.array([q.coordinate(wanted.get(q.name, q.value)) for q in made.quantities])


def test_equations_against_the_joint_density(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n = 60
    t = np.cumsum(rng.choice([0.5, 1.0, 3.0], n))
    z, w, u = rng.normal(0, 2, (3, n))
    z[rng.random(n) < 0.4], w[rng.random(n) < 0.5], u[rng.random(n) < 0.7] = np.nan, np.nan, np.nan
    write(tmp_path / "f.csv", {"t": T0 + t, "z": z, "w": w, "u": u})
    made, _ = likelihood(tmp_path, SUM)

    def joint(b: float, q: float, r_z: float, r_w: float) -> float:
        # x at each row: the initial value, the integral of b u, and a random walk. Before the first sample nothing moves.
        seen = np.flatnonzero(~np.isnan(np.stack([z, w, u])).all(axis=0))[0]
        held = np.zeros(n)
        level = 0.25
        for k in range(n):
            held[k] = level
            if not np.isnan(u[k]):
                level = u[k]
        held = np.concatenate([held[1:], [level]])  # what holds from each row on
        ages = t - t[seen]
        mean = 0.5 + np.concatenate([[0.0], np.cumsum(b * held[:-1] * np.diff(t))])
        mean -= mean[seen] - 0.5
        prior = 4 + q**2 * np.minimum.outer(ages, ages)
        rows = [(k, 1.0, 0.0, z[k], r_z) for k in range(n) if not np.isnan(z[k])]
        rows += [(k, -2.0, 1.0, 0.5 * w[k] + 0.1, r_w) for k in range(n) if not np.isnan(w[k])]
        k, h, c, value, r = (np.array(column) for column in zip(*rows, strict=True))
        k = k.astype(int)
        residual = value - (h * mean[k] + c)
        return gaussian(residual, np.outer(h, h) * prior[np.ix_(k, k)] + np.diag(r**2))

    seen_first = np.flatnonzero(~np.isnan(np.stack([z, w, u])).all(axis=0))[0]
    assert seen_first == 0
    cases = [(0.7, 0.3, 0.4, 0.9), (1.5, 0.02, 0.1, 2.0), (0.1, 3.0, 5.0, 0.05)]
    points = np.array([at(made, b=b, process_noise_x=q, noise_z=r, noise_w=v) for b, q, r, v in cases])
    expected = [joint(*case) for case in cases]
    np.testing.assert_allclose(made.evaluate(points), expected, rtol=1e-8)
    for point, value in zip(points, expected, strict=True):
        assert made.expand(point).value == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("model", ["random_walk", "constant_velocity"])
def test_built_in_models_against_the_joint_density(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n = 40
    t = np.cumsum(rng.choice([0.5, 1.0, 2.0], n))
    z = np.cumsum(rng.normal(0, 0.5, n))
    write(tmp_path / "f.csv", {"t": T0 + t, "z": z})
    text = BUILTIN.replace("MODEL", model)
    if model == "constant_velocity":
        text = text.replace("process_noise: 0.3", "process_noise: 0.3, initial_rate_std: 0.8")
    made, _ = likelihood(tmp_path, text)
    ages = t - t[0]
    low = np.minimum.outer(ages, ages)
    far = np.maximum.outer(ages, ages)
    for q, r, rate in [(0.3, 0.4, 0.8), (0.05, 1.0, 0.2)]:
        # Given z_0: x_0 ~ N(z_0, r²), and for the velocity N(0, rate²).
        prior = r**2 + q**2 * low
        change = {"process_noise": q, "noise_z": r}
        if model == "constant_velocity":
            prior = r**2 + rate**2 * np.outer(ages, ages) + q**2 * (low**2 * far / 2 - low**3 / 6)
            change["initial_rate_std"] = rate
        covariance = prior + r**2 * np.eye(n)
        expected = gaussian((z - z[0])[1:], covariance[1:, 1:])
        assert made.evaluate(at(made, **change)[None])[0] == pytest.approx(expected, rel=1e-8)


def test_the_gradient_is_that_of_log_l(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", lag(5, 200))
    made, _ = likelihood(tmp_path, LAG)
    point = at(made, a=0.07, b=0.6, process_noise_x=0.3, noise_z=0.45)
    expansion = made.expand(point)
    h = 1e-5
    for k in range(len(point)):
        up, down = made.evaluate(point + h * np.outer([1, -1], np.eye(len(point))[k]))
        assert expansion.gradient[k] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-3)
    assert np.array_equal(expansion.information, expansion.information.T)
    assert (np.linalg.eigvalsh(expansion.information) > 0).all()


def test_stretches_add_up(tmp_path: Path) -> None:
    first, second = lag(1, 200), lag(2, 300)
    totals = []
    for name, recording in (("one.csv", first), ("two.csv", second)):
        write(tmp_path / name, recording)
        write(tmp_path / "f.csv", recording)
        made, _ = likelihood(tmp_path, LAG)
        totals.append(made.evaluate(at(made)[None])[0])
    files = (tmp_path / "one.csv", tmp_path / "two.csv")
    result = run(tmp_path, LAG, selection={"files": files}, noise=True, set_aside=False)
    assert result.log_likelihood[0] == pytest.approx(sum(totals), rel=1e-12)
    assert (result.segments, result.samples, len(result.files)) == (2, 500, 2)
    # One file with a silence between the two is the same, when silences part stretches.
    shifted = {
        name: np.concatenate([column, second[name] + (10_000 if name == "t" else 0)]) for name, column in first.items()
    }
    write(tmp_path / "f.csv", shifted)
    parted = run(tmp_path, LAG, selection={"gap_s": 3600.0}, noise=True, set_aside=False)
    assert parted.log_likelihood[0] == pytest.approx(sum(totals), rel=1e-12)
    assert [f.value for f in parted.fitted] == pytest.approx([f.value for f in result.fitted], rel=1e-6)


def test_a_candidate_that_diverges_is_impossible_and_leaves_the_others_alone(tmp_path: Path) -> None:
    text = LAG.replace("b*u - a*x", "b*u - a*x + where(b > 100, b*x*x*x, 0)")
    write(tmp_path / "f.csv", lag(1, 100))
    made, _ = likelihood(tmp_path, text)
    alone = made.evaluate(at(made, b=0.2)[None])[0]
    both = made.evaluate(np.array([at(made, b=900.0), at(made, b=0.2)]))
    assert both[0] == -np.inf
    assert both[1] == pytest.approx(alone, rel=1e-12)
    assert np.isfinite(alone)
    assert made.expand(at(made, b=900.0)).value == -np.inf
