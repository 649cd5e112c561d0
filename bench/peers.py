"""The same work by others: FilterPy, simdkalman and hand-written C, on filters of a given size."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.fleet import ROUNDS, T0, TWINS

_SOURCE = Path(__file__).with_name("kalman.c")


def best_of(rounds: int, run: Callable[[], object], updates: int) -> float:
    """Nanoseconds of this thread's CPU per update."""
    best = np.inf
    for _ in range(rounds):
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best / updates * 1e9


def matrices(n: int) -> tuple[Any, Any, Any]:
    """Transition, process noise and measured state of a chain of n first-order lags."""
    return np.eye(n) * 0.9 + np.eye(n, k=1) * 0.05, np.eye(n) * 1e-3, np.eye(1, n)


@cache
def filterpy(n: int, kind: str) -> float:
    """One twin; ``kind``: kf, ekf or ukf. F and Q are given, functions are linear: the filter's own cost."""
    from filterpy.kalman import ExtendedKalmanFilter, KalmanFilter, MerweScaledSigmaPoints, UnscentedKalmanFilter

    F, Q, H = matrices(n)
    if kind == "ukf":
        points = MerweScaledSigmaPoints(n, 1.0, 0.0, max(3.0 - n, 0.0))
        kf: Any = UnscentedKalmanFilter(n, 1, 1.0, lambda x: H @ x, lambda x, dt: F @ x, points)
    else:
        kf = ExtendedKalmanFilter(n, 1) if kind == "ekf" else KalmanFilter(dim_x=n, dim_z=1)
        kf.F, kf.H = F, H
    kf.Q = Q
    z = np.array([20.0])

    def run() -> None:
        for _ in range(1_000):
            kf.predict()
            if kind == "ekf":
                kf.update(z, lambda x: H, lambda x: H @ x)
            else:
                kf.update(z)

    return best_of(3, run, 1_000)


@cache
def simdkalman(n: int) -> float | None:
    """All twins at once, one sample each, in order; None when it is not installed."""
    try:
        from simdkalman.primitives import predict, update
    except ImportError:
        return None
    F, Q, H = (m[None] for m in matrices(n))
    r, z = np.ones((1, 1, 1)), np.full((TWINS, 1, 1), 20.0)
    mean, covariance = np.zeros((TWINS, n, 1)), np.tile(np.eye(n), (TWINS, 1, 1))

    def run() -> None:
        update(*predict(mean, covariance, F, Q), H, r, z)

    return best_of(5, run, TWINS)


class Native:
    """``kalman.c`` for n states; raises FileNotFoundError where there is no gcc."""

    def __init__(self, n: int) -> None:
        gcc = shutil.which("gcc")
        if gcc is None:
            raise FileNotFoundError("gcc")
        self.n = n
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kalman.so"
            subprocess.run([gcc, "-O2", "-shared", "-fPIC", f"-DN={n}", "-o", path, _SOURCE, "-lm"], check=True)
            self.library = ctypes.CDLL(str(path))
        self.twins = np.zeros((TWINS, self.library.twin_size() // 8))
        self.twins[:, n : n + n * n : n + 1] = 1e-4  # diagonal of P

    def linear(self) -> float:
        """Ours to compare with: linear models at regular intervals."""
        F, Q, H = matrices(self.n)
        model = np.concatenate([F.ravel(), Q.ravel(), H.ravel(), [0.01]])
        return self._run(self.library.linear_update, model, 20.0, 1.0)

    def tank(self) -> float:
        """The extended filter of library/tank over one short step of 50 ms; the level is measured."""
        self.twins[:, 0] = 1.0
        self.twins[:, -1] = np.array([T0]).view(np.float64)
        values = np.array([2.0, 0.61 * 0.002, 9.81, 40.0, 5.0, 0.5, 0.0005, 0.2, 1e-4])
        return self._run(self.library.tank_update, values, 1.0, 0.05)

    def _run(self, function: Any, model: Any, z: float, interval: float) -> float:
        rng, t, best = np.random.default_rng(0), np.full(TWINS, T0), np.inf
        for _ in range(ROUNDS):
            t = t + int(interval * 1e9)
            slot, values = rng.permutation(TWINS).astype(np.int32), z + rng.normal(0, 0.01, TWINS)
            arrays = [self.twins, model, slot, t, values]
            arguments = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
            start = time.thread_time()
            function(*arguments, ctypes.c_int64(TWINS))
            best = min(best, time.thread_time() - start)
        assert np.isfinite(self.twins[:, : self.n]).all()
        return best / TWINS * 1e9
