"""Many updates with intervals from nothing to an hour: ``python -m tests.model.endurance [--updates 10000000]``.

Runs each filter twice over the same random samples, checks the covariance as it goes and that both runs end in the
same bytes, and prints their digest. The suite runs it with fewer updates.
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

import numpy as np

from tests.model.rig import SECOND, T0, Rig, rig

CHUNK = 50_000
GAPS = np.array([0, 1, 1_000, 20_000_000, SECOND, 7 * SECOND, 300 * SECOND, 3600 * SECOND])


def saturating(kind: str, std: float = 3.0, linear: bool = False) -> dict[str, Any]:
    """Two states that stay bounded over any interval, and sensors of both."""
    return {
        "name": f"saturating_{kind}",
        "filter": kind,
        "states": {"x": {"initial": 1.0, "std": std}, "y": {"std": std}},
        "inputs": {"u": {}},
        "derivatives": {
            "x": "-0.02*x + 0.01*y + 0.01*u" if linear else "-0.02*tanh(x) + 0.01*y",
            "y": "-0.01*y + 0.005*u",
        },
        "process_noise": {"x": 0.02, "y": 0.01},
        "measurements": {"x": "x", "both": "x + y" if linear else "x + 0.5*sin(y)"},
    }


def is_sound(r: Rig, twin: int = 0) -> bool:
    """Finite, symmetric, and no eigenvalue below what rounding makes of zero."""
    P = r.covariance(twin)
    factors = [r.bank.rows[twin][f"d{i}"] for i in range(r.model.size)]
    if not (np.isfinite(P).all() and min(factors) >= 0 and np.array_equal(P, P.T)):
        return False
    scale = np.sqrt(np.maximum(np.diag(P), 1e-300))
    return bool(np.linalg.eigvalsh(P / np.outer(scale, scale)).min() >= -1e-12)


def run(model: dict[str, Any], updates: int, seed: int) -> str:
    """Digest of the row after ``updates`` samples. Raises ArithmeticError where the covariance is not sound."""
    r = rig(model)
    rng = np.random.default_rng(seed)
    slots = np.array([r.slots[0][name] for name in ("x", "both", "u")])
    t = T0
    for first in range(0, updates, CHUNK):
        n = min(CHUNK, updates - first)
        times = t + np.cumsum(rng.choice(GAPS, n, p=[0.2, 0.1, 0.1, 0.2, 0.3, 0.09, 0.009, 0.001]))
        r.feed(rng.choice(slots, n, p=[0.5, 0.45, 0.05]), times, rng.normal(0, 0.3, n))
        t = int(times[-1])
        if not is_sound(r):
            raise ArithmeticError(f"{model['name']}: covariance after {first + n} updates: {r.covariance()}")
    row = r.bank.rows[0]
    if row["resets"] or row["t"] != t:
        raise ArithmeticError(f"{model['name']}: {row['resets']} restarts, time {row['t']} of {t}")
    return hashlib.sha256(r.bank.rows.tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for model in (saturating("ekf", linear=True), saturating("ekf"), saturating("ukf")):
        digests = [run(model, args.updates, args.seed) for _ in range(2)]
        if digests[0] != digests[1]:
            raise SystemExit(f"{model['name']}: two runs differ")
        print(model["name"], "linear" if "tanh" not in str(model) else "nonlinear", args.updates, digests[0][:16])


if __name__ == "__main__":
    main()
