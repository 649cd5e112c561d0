"""Generated kernels against FilterPy, over random sequences with irregular intervals."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise, van_loan_discretization
from filterpy.kalman import KalmanFilter

from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.model.layout import upper
from edgetwin.model.ordering import make_history
from edgetwin.model.structural import row_of

R, Q, TAU, SPREAD = 0.09, 0.04, 7.0, 50.0
START = 1_700_000_000 * 10**9


def rows_of(name: str, count: int = 1) -> np.ndarray:
    rows = np.zeros(count, row_of(BUILTIN[name]))
    rows["scale"], rows["lo"], rows["hi"] = 1.0, -np.inf, np.inf
    rows["gate"], rows["reject_max"] = 1e12, 5
    rows["r"], rows["q"], rows["tau"], rows["spread"] = R, Q, TAU, SPREAD
    return rows


def covariance(row: np.void, n: int) -> np.ndarray:
    u = np.eye(n)
    for i, j in upper(n):
        u[i, j] = row[f"u{i}_{j}"]
    return u @ np.diag([row[f"d{i}"] for i in range(n)]) @ u.T


def matrices(name: str, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """F and Q of a step by FilterPy's discretisation."""
    if name == "random_walk":
        return np.eye(1), np.array([[Q * dt]])
    if name == "constant_velocity":
        return np.array([[1, dt], [0, 1]]), Q_continuous_white_noise(2, dt, Q)
    if name == "constant_acceleration":
        return np.array([[1, dt, dt * dt / 2], [0, 1, dt], [0, 0, 1]]), Q_continuous_white_noise(3, dt, Q)
    if dt > 10 * TAU:  # van Loan's matrix holds exp(dt / TAU): over long steps nothing of Q is left beside that
        f, q = matrices(name, dt / 2)
        return f @ f, f @ q @ f.T + q
    return van_loan_discretization(np.array([[-1 / TAU, 1 / TAU], [0, 0]]), np.array([[0], [np.sqrt(Q)]]), dt)


MODELS = ["random_walk", "constant_velocity", "constant_acceleration", "first_order"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_matches_filterpy(name: str, seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    n = BUILTIN[name].size
    rows = rows_of(name)
    kernels = compile_model(BUILTIN[name])
    counts = np.zeros((1, 9), np.int64)
    steps = rng.choice([0, 1_000_000, 50_000_000, 700_000_000, 1_000_000_000, 20_000_000_000], 400)
    t = START + np.cumsum(steps)
    z = 20 + np.cumsum(rng.normal(0, 0.3, len(t))) + rng.normal(0, 0.3, len(t))
    oracle = KalmanFilter(dim_x=n, dim_z=1)
    oracle.H = np.eye(1, n)
    oracle.R = np.array([[R]])
    previous = 0
    for k in range(len(t)):
        kernels.update(
            rows, np.zeros(1, np.int16), np.zeros(1, np.int32), 0,
            np.zeros(1, np.int32), t[k : k + 1], z[k : k + 1], 2**62, 0, counts, make_history(rows.dtype, 0, 2),
        )  # fmt: skip
        if k == 0:
            oracle.x = np.zeros((n, 1))
            oracle.x[0, 0] = z[0]
            oracle.P = np.diag([R * SPREAD ** (2 * order) for order in BUILTIN[name].derivative])
            if name == "first_order":
                oracle.x[1, 0] = z[0]
                oracle.P = np.diag([R, R * SPREAD**2])
        else:
            if t[k] > previous:
                oracle.F, oracle.Q = matrices(name, (t[k] - previous) * 1e-9)
                oracle.predict()
            oracle.update(z[k])
        previous = t[k]
        x = np.array([rows[0][f"x{i}"] for i in range(n)])
        np.testing.assert_allclose(x, oracle.x[:, 0], rtol=1e-9, atol=1e-9)
        scale = np.sqrt(np.outer(np.diag(oracle.P), np.diag(oracle.P)))
        assert np.abs(covariance(rows[0], n) - oracle.P).max() <= 1e-9 * max(scale.max(), 1.0)
    assert counts[0].tolist() == [len(t), 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("name", MODELS)
def test_predict_matches_filterpy(name: str) -> None:
    n = BUILTIN[name].size
    rows = rows_of(name)
    kernels = compile_model(BUILTIN[name])
    rng = np.random.default_rng(4)
    t = START + np.arange(20) * 10**9
    kernels.update(
        rows, np.zeros(1, np.int16), np.zeros(1, np.int32), 0,
        np.zeros(20, np.int32), t, rng.normal(5, 1, 20), 2**62, 0, np.zeros((1, 9), np.int64), make_history(rows.dtype, 0, 2),
    )  # fmt: skip
    before = rows.copy()
    mean, variance = np.empty((1, n)), np.empty((1, n))
    for ahead in (0.0, 0.25, 3.0, 3600.0):
        kernels.predict(rows, np.zeros(1, np.int64), int(t[-1]) + int(ahead * 1e9), mean, variance)
        f, q = matrices(name, ahead) if ahead else (np.eye(n), np.zeros((n, n)))
        x = f @ np.array([rows[0][f"x{i}"] for i in range(n)])
        p = f @ covariance(rows[0], n) @ f.T + q
        np.testing.assert_allclose(mean[0], x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(variance[0], np.diag(p), rtol=1e-8)
    assert rows.tobytes() == before.tobytes()


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_covariance_stays_non_negative_at_extreme_ratios(name: str) -> None:
    """P/R of 1e14 to 1e42, FAULTS row 49: a factored filter cannot lose positivity."""
    kernels = compile_model(BUILTIN[name])
    n = BUILTIN[name].size
    for ratio in (1e14, 1e24, 1e42):
        rows = rows_of(name)
        rows["r"], rows["q"], rows["spread"] = 1.0, 1e-6, np.sqrt(ratio)
        rng = np.random.default_rng(5)
        t = START + np.cumsum(rng.choice([0, 1, 10**6, 10**9, 3600 * 10**9], 5000))
        kernels.update(
            rows, np.zeros(1, np.int16), np.zeros(1, np.int32), 0,
            np.zeros(5000, np.int32), t, rng.normal(0, 1, 5000), 2**62, 0, np.zeros((1, 9), np.int64), make_history(rows.dtype, 0, 2),
        )  # fmt: skip
        p = covariance(rows[0], n)
        assert all(rows[0][f"d{i}"] >= 0 for i in range(n))
        assert np.isfinite(p).all()
        assert np.linalg.eigvalsh(p).min() >= -1e-12 * np.trace(p)
