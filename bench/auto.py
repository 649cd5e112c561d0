"""Forecasts of the model ``auto`` beside exponential smoothing: one-step RMSE, and how often 95 % intervals hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.auto_learners import LEARNERS, learn
from bench.auto_series import HELD_OUT, SCORED_FROM, SERIES, Series, each, peers
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
    """Per series ``auto`` beside the smoothers and what each learner makes of it; then the same of each set, and
    relations."""
    for name, series in ("main", SERIES), ("held_out", HELD_OUT):
        yield from _set(name, series[:4] if quick else series)
    yield from relations()


def _set(name: str, of: tuple[Series, ...]) -> Iterator[dict[str, Any]]:
    ratios, coverage = [], []
    learners: dict[str, list[tuple[float, float, float]]] = {learner: [] for learner in LEARNERS}
    for series in each(of):
        t_ns, z = series.load()
        ours, covered, _ = _score(series, z, *forecasts(t_ns, z)[:2])
        theirs = peers(series)
        best = min(theirs, key=theirs.__getitem__)
        ratios.append(ours / theirs[best])
        coverage.append(covered)
        alone, alone_covered, _ = _score(series, z, *forecasts(t_ns, z, seasons="off")[:2])
        for learner, figures_of in learners.items():
            rmse, held, ns = _score(series, z, *learn(learner, t_ns, z))
            figures_of.append((rmse / alone, held, ns))
        yield {
            "bench": "auto",
            "set": name,
            "series": series.name,
            "samples": len(z),
            "rmse_auto": ours,
            **{f"rmse_{form}": value for form, value in theirs.items()},
            "rmse_naive": float(np.sqrt(np.mean(np.diff(z)[series.first - 1 :] ** 2))),
            "best_smoother": best,
            "ratio": ratios[-1],
            "coverage_95": covered,
            "coverage_95_without_seasons": alone_covered,
            **{f"{learner}_to_auto_without_seasons": f[-1][0] for learner, f in learners.items()},
        }
    if ratios:
        yield {
            "bench": "auto",
            "set": name,
            "series": "all",
            "not_worse_than_best_smoother": int(np.sum(np.array(ratios) <= 1)),
            "of": len(ratios),
            "ratio_geometric_mean": float(np.exp(np.mean(np.log(ratios)))),
            "coverage_95": float(np.mean(coverage)),
        }
        for learner, figures_of in learners.items():
            to_auto, held, ns = np.array(figures_of).T
            yield {
                "bench": "auto",
                "set": name,
                "learner": learner,
                "better_than_auto_without_seasons": int(np.sum(to_auto < 1)),
                "of": len(to_auto),
                "ratio_geometric_mean": float(np.exp(np.mean(np.log(to_auto)))),
                "coverage_95": float(np.mean(held)),
                "ns_per_sample": float(np.median(ns)),
            }


def _score(
    series: Series, z: NDArray[np.float64], predicted: NDArray[np.float64], std: NDArray[np.float64], ns: float = 0.0
) -> tuple[float, float, float]:
    """RMSE, share of the samples in their 95 % interval, and ``ns`` handed on."""
    scored = slice(series.first, None)
    error = _filled(predicted, z)[scored] - z[scored]
    covered = float(np.mean(np.abs(error) <= TWO_SIDED_95 * std[scored]))
    return float(np.sqrt(np.mean(error**2))), covered, ns


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
