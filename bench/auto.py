"""Forecasts of the model ``auto`` beside exponential smoothing: one-step RMSE, and how often 95 % intervals hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.auto_series import SCORED_FROM, SERIES, Series, each, peers
from edgetwin.config.schema import Config, Signal, SimulatedSource, Twin
from edgetwin.engine import Engine
from edgetwin.records import Batch

RELATED = {
    "skab/anomaly-free/anomaly-free.csv.gz": (
        "Accelerometer1RMS",
        "Accelerometer2RMS",
        "Current",
        "Pressure",
        "Voltage",
    ),
    "tep/d00_te.csv.gz": ("xmeas7", "xmeas13", "xmeas16", "xmeas18", "xmeas19"),
    "batadal/dataset03_normal.csv.gz": ("L_T1", "L_T2", "L_T3", "L_T4", "L_T7"),
    "gas_turbine_emission/data.csv.gz": ("AT", "TIT", "TEY", "CDP", "NOX"),
    "wind_la_haute_borne/R80711_2014.csv.gz": ("P_avg", "Ws_avg", "Ot_avg"),
}
"""Files with several signals of one asset."""

TWO_SIDED_95 = 1.959964


def forecasts(t_ns: NDArray[np.int64], z: NDArray[np.float64], **twin: Any) -> tuple[NDArray[np.float64], ...]:
    """One-step predictions, their standard deviations and outcomes, by the engine itself; NaN where there is none."""
    signal = Signal(source="s", topic="t")
    config = Config(
        gateway="bench",
        sources=[SimulatedSource(name="s")],
        twins=[Twin(name="a", signals={"x": signal}, **twin)],
    )
    engine = Engine(config)
    slots = np.zeros(len(z), np.int32)
    trace = engine.ingest_traced(np.zeros(len(z), np.int32), Batch(slots, t_ns, z), int(t_ns[-1]))
    return trace.predicted, trace.std, trace.outcome


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """One record per series, the count of those not worse than the best smoother, and coverage on simulated series."""
    won, total = 0, 0
    for series in each(SERIES[:4] if quick else SERIES):
        t_ns, z = series.load()
        predicted, std, _ = forecasts(t_ns, z)
        scored = slice(series.first, None)
        error = _filled(predicted, z)[scored] - z[scored]
        theirs = peers(series)
        ours = float(np.sqrt(np.mean(error**2)))
        best = min(theirs, key=theirs.__getitem__)
        total += 1
        won += ours <= theirs[best]
        yield {
            "bench": "auto",
            "series": series.name,
            "samples": len(z),
            "rmse_auto": ours,
            **{f"rmse_{name}": value for name, value in theirs.items()},
            "rmse_naive": float(np.sqrt(np.mean(np.diff(z)[series.first - 1 :] ** 2))),
            "best_smoother": best,
            "ratio": ours / theirs[best],
            "coverage_95": float(np.mean(np.abs(error) <= TWO_SIDED_95 * std[scored])),
        }
    yield from relations()
    yield {"bench": "auto", "series": "all", "not_worse_than_best_smoother": int(won), "of": total}


def relations() -> Iterator[dict[str, Any]]:
    """Whether the innovation of one signal at an instant would foresee that of another: what sharing could gain.

    The partner is the one most correlated over the last 200 instants, the coefficient that of the same window; the gain
    is the fall in RMSE of the second signal once the first is known.
    """
    for path, columns in RELATED.items():
        innovations = []
        for column in columns:
            t_ns, z = Series(path, column, 0, "").load()
            predicted, std, _ = forecasts(t_ns, z)
            innovations.append((z - _filled(predicted, z)) / np.where(std > 0, std, 1.0))
        y = np.clip(np.nan_to_num(np.array(innovations)), -4, 4)
        plain, shared, strongest = [], [], []
        for k in range(SCORED_FROM, y.shape[1]):
            window = y[:, k - 200 : k]
            product = window @ window.T
            size = np.sqrt(np.maximum(np.diag(product), 1e-12))
            correlation = product / np.outer(size, size) - np.eye(len(columns))
            partner = np.argmax(np.abs(correlation), axis=1)
            slope = product[np.arange(len(columns)), partner] / size[partner] ** 2
            plain.append(y[:, k])
            shared.append(y[:, k] - slope * y[partner, k])
            strongest.append(np.abs(correlation).max(axis=1))
        yield {
            "bench": "auto",
            "relations": path.split("/")[0],
            "signals": len(columns),
            "strongest_correlation": float(np.mean(strongest)),
            "rmse_if_partner_is_known": float(np.mean(np.std(shared, axis=0) / np.std(plain, axis=0))),
        }


def _filled(predicted: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where there was no prediction (a repeat), the value before."""
    before = np.r_[z[0], z[:-1]]
    return np.where(np.isfinite(predicted), predicted, before)
