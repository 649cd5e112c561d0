"""The model ``auto``: its filter against an independent one, what it learns, seasons, jumps, spikes and snapshots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from filterpy.common import van_loan_discretization
from filterpy.kalman import KalmanFilter

from edgetwin.engine import Engine
from edgetwin.kernels.seasons import AT, HARMONICS, LIVE, MEAN, RING, RINGS, halve, remember, search
from edgetwin.kernels.structural import noise_columns
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.model.ordering import make_history
from edgetwin.model.structural import make_past, row_of
from edgetwin.records import Batch
from tests.engine.build import SECOND, T0, config

AUTO = BUILTIN["auto"]
HOUR = 3600 * SECOND


def auto_twin(**extra: Any) -> dict[str, Any]:
    return {"name": "m", "model": "auto", "signals": {"x": {"source": "plant", "topic": "t"}}, **extra}


def engine_of(**extra: Any) -> Engine:
    return Engine(config([auto_twin(**extra)]))


def run(engine: Engine, t: np.ndarray, z: np.ndarray) -> Any:
    """The trace of a series of slot 0."""
    zeros = np.zeros(len(z), np.int32)
    return engine.ingest_traced(zeros, Batch(zeros, t.astype(np.int64), z), int(t.max()))


def regular(n: int, step: int = SECOND, start: int = T0) -> np.ndarray:
    return start + np.arange(n, dtype=np.int64) * step


def simulate(n: int, rng: np.random.Generator, q: float, r: float, fade: float, carry: float) -> np.ndarray:
    """A draw of the model at unit interval, by many Euler steps: independent of the kernel's closed form."""
    fine = 50
    level, trend, out = 0.0, 0.0, np.empty(n)
    shocks = rng.normal(0, math.sqrt(q / fine), (n, fine))
    for k in range(n):
        for w in shocks[k]:
            level += trend / fine + w
            trend += -trend / fade / fine + carry / fade * w
        out[k] = level + rng.normal(0, math.sqrt(r))
    return out


@pytest.mark.parametrize("fade", [5.0, 60.0, 4e3])
@pytest.mark.parametrize("carry", [-0.98, -0.4, 0.0, 2.5])
@pytest.mark.parametrize("dt", [1e-3, 1.0, 37.0])
def test_a_step_is_exact(fade: float, carry: float, dt: float) -> None:
    f, decay, c, v_trend, v_level = noise_columns(dt, 0.3, fade, carry)
    F, Q = van_loan_discretization(
        np.array([[0.0, 1.0], [0.0, -1.0 / fade]]), np.sqrt(0.3) * np.array([[1.0], [carry / fade]]), dt
    )
    np.testing.assert_allclose([[1.0, f], [0.0, decay]], F, rtol=1e-9, atol=1e-12)
    ours = v_trend * np.outer([c, 1], [c, 1]) + v_level * np.outer([1, 0], [1, 0])
    np.testing.assert_allclose(ours, Q, rtol=1e-6, atol=1e-10 * abs(Q).max())


@pytest.mark.parametrize("seed", [1, 2])
def test_with_noise_given_it_is_the_kalman_filter_of_the_model(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    q, r, fade, carry = 0.04, 0.09, 6.0, 1.5
    rows = np.zeros(1, row_of(AUTO))
    row = rows[0]
    row["scale"], row["lo"], row["hi"], row["gate"], row["reject_max"] = 1.0, -np.inf, np.inf, 1e12, 5
    row["r"], row["q"], row["fade"], row["carry"], row["tuned"], row["advantage"] = r, q, fade, carry, 1, -1e9
    kernels = compile_model(AUTO)
    history = make_history(rows.dtype, 0, 2)._replace(past=make_past(1))
    oracle = KalmanFilter(dim_x=2, dim_z=1)
    oracle.H, oracle.R = np.array([[1.0, 0.0]]), np.array([[r]])
    steps = rng.choice([0, 50_000_000, 700_000_000, SECOND, 20 * SECOND], 300)
    steps[1] = SECOND
    t = T0 + np.cumsum(steps)
    z = 20 + np.cumsum(rng.normal(0, 0.3, len(t)))
    previous = 0
    for k in range(len(t)):
        kernels.update(
            rows, np.zeros(1, np.int16), np.zeros(1, np.int32), 0, np.zeros(1, np.int32), t[k : k + 1], z[k : k + 1],
            2**62, 0, np.zeros((1, 9), np.int64), history,
        )  # fmt: skip
        if k == 0:
            oracle.x, oracle.P = np.array([[z[0]], [0.0]]), np.diag([r, 4.0 * r])
        else:
            if t[k] > previous:
                oracle.F, oracle.Q = van_loan_discretization(
                    np.array([[0.0, 1.0], [0.0, -1.0 / fade]]),
                    np.sqrt(q) * np.array([[1.0], [carry / fade]]),
                    (t[k] - previous) * 1e-9,
                )
                oracle.predict()
            oracle.update(z[k])
        previous = t[k]
        if k == 0:  # the kernel spreads the trend when it knows the first interval
            continue
        np.testing.assert_allclose([row["x0"], row["x1"]], oracle.x[:, 0], rtol=1e-6, atol=1e-6)
        u = np.array([[1.0, row["u0_1"]], [0.0, 1.0]])
        np.testing.assert_allclose(u @ np.diag([row["d0"], row["d1"]]) @ u.T, oracle.P, rtol=1e-5, atol=1e-9)


def test_a_same_answer_with_the_description_other_parts_use() -> None:
    """BUILTIN's expressions give the step of the kernel."""
    names: dict[str, Any] = {"dt": 3.0, "q": 0.2, "fade": 5.0, "carry": 0.5, "noise_columns": noise_columns}
    exec("\n".join(AUTO.prelude), names)
    Q = np.zeros((2, 2))
    for column in AUTO.noise:
        b = np.array([eval(column.entries.get(i, "0.0"), names) for i in range(2)])
        Q += eval(column.variance, names) * np.outer(b, b)
    _, exact = van_loan_discretization(
        np.array([[0.0, 1.0], [0.0, -0.2]]), np.sqrt(0.2) * np.array([[1.0], [0.1]]), 3.0
    )
    np.testing.assert_allclose(Q, exact, rtol=1e-9)


CASES = [(1.0, 0.5, 8.0, 2.0), (1.0, 4.0, 5.0, 0.0), (1.0, 0.1, 6.0, -0.9), (0.02, 1.0, 10.0, 1.0)]


@pytest.mark.parametrize(("q", "r", "fade", "carry"), CASES)
def test_forecasts_come_close_to_those_of_one_who_knows_and_intervals_hold(
    q: float, r: float, fade: float, carry: float
) -> None:
    rng = np.random.default_rng(7)
    n, skip = 3_000, 500
    z = 50 + simulate(n, rng, q, r, fade, carry)
    trace = run(engine_of(seasons="off"), regular(n), z)
    error = (trace.predicted - z)[skip:]
    rmse = float(np.sqrt(np.nanmean(error**2)))
    covered = float(np.mean(np.abs(error) <= 1.959964 * trace.std[skip:]))
    best = known_rmse(z, q, r, fade, carry, skip)
    print(f"rmse {rmse:.4f}, of one who knows {best:.4f}; coverage {covered:.3f}")
    assert rmse <= 1.03 * best
    assert 0.93 <= covered <= 0.97


def known_rmse(z: np.ndarray, q: float, r: float, fade: float, carry: float, skip: int) -> float:
    """One-step RMSE of FilterPy's filter with the true parameters."""
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.F, kf.Q = van_loan_discretization(
        np.array([[0.0, 1.0], [0.0, -1.0 / fade]]), np.sqrt(q) * np.array([[1.0], [carry / fade]]), 1.0
    )
    kf.H, kf.R, kf.x, kf.P = np.array([[1.0, 0.0]]), np.array([[r]]), np.array([[z[0]], [0.0]]), np.eye(2) * 10
    errors = []
    for value in z[1:]:
        kf.predict()
        errors.append(value - kf.x[0, 0])
        kf.update(value)
    return float(np.sqrt(np.mean(np.square(errors[skip - 1 :]))))


def daily(n: int, rng: np.random.Generator, noise: float, period_h: float = 24.0) -> tuple[np.ndarray, np.ndarray]:
    t = regular(n, HOUR)
    hours = t / HOUR
    shape = 5 * np.sin(2 * np.pi * hours / period_h) + 2 * np.cos(4 * np.pi * hours / period_h)
    return t, 30 + shape + 0.2 * np.cumsum(rng.normal(0, 1, n)) + rng.normal(0, noise, n)


@pytest.mark.parametrize("period", [24.0, 17.0])
def test_a_season_is_found_and_helps(period: float) -> None:
    rng = np.random.default_rng(3)
    t, z = daily(1_200, rng, 0.5, period)
    with_season, without = engine_of(), engine_of(seasons="off")
    scored = slice(400, None)
    rmse = [float(np.sqrt(np.nanmean((run(e, t, z).predicted - z)[scored] ** 2))) for e in (with_season, without)]
    seasons = with_season.noise("m").signals["x"].seasons
    print(rmse, seasons)
    assert abs(seasons[0].period_s / 3600 - period) < 0.03 * period
    assert abs(seasons[0].amplitude - 5.0) < 1.0
    assert rmse[0] < 0.8 * rmse[1]
    assert without.noise("m").signals["x"].seasons == ()


def test_a_season_survives_a_stretch_without_samples_and_irregular_sampling() -> None:
    rng = np.random.default_rng(4)
    t, z = daily(1_500, rng, 0.3)
    keep = rng.random(len(t)) < 0.7
    keep[900:1_000] = False  # four days
    t = t + rng.integers(-900, 900, len(t)) * SECOND
    engine = engine_of()
    trace = run(engine, t[keep], z[keep])
    assert engine.noise("m").signals["x"].seasons[0].period_s == pytest.approx(86_400, rel=0.02)
    after = np.flatnonzero(keep) >= 1_000
    rmse = float(np.sqrt(np.nanmean((trace.predicted - z[keep])[after] ** 2)))
    print(rmse)
    assert rmse < 1.5


def test_no_season_is_made_up() -> None:
    """Random walks and noise: at most one of 40 may be taken for a season and kept."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        z = np.cumsum(rng.normal(0, 1, 450)) if seed % 2 else rng.normal(0, 1, 450)
        engine = engine_of()
        run(engine, regular(len(z), HOUR), z + 100)
        found += len(engine.noise("m").signals["x"].seasons)
    assert found <= 1


def test_a_single_spike_is_kept_out_and_a_jump_is_followed() -> None:
    rng = np.random.default_rng(5)
    z = 20 + rng.normal(0, 0.1, 600)
    z[300] = 80.0
    z[450:] += 30.0
    engine = engine_of(seasons="off")
    trace = run(engine, regular(600), z)
    assert trace.outcome[300] == 2
    assert np.abs(trace.predicted[301:320] - 20).max() < 0.5
    assert np.abs(trace.predicted[453:] - 50).max() < 1.0


def test_a_sensor_that_often_errs_does_not_drag_the_level() -> None:
    rng = np.random.default_rng(6)
    z = 20 + rng.normal(0, 0.1, 2_000)
    spikes = rng.random(2_000) < 0.01
    spikes[1:] &= ~spikes[:-1]  # two in a row that agree are a jump
    z[spikes] += 15.0
    trace = run(engine_of(seasons="off"), regular(2_000), z)
    error = np.abs(trace.predicted - 20)[500:]
    assert float(np.sqrt(np.nanmean(error**2))) < 0.15


@pytest.mark.parametrize("value", [0.0, -3.0, 1e9, 1e-9])
def test_a_constant_signal_stays_finite(value: float) -> None:
    engine = engine_of()
    t = regular(1_000)
    z = np.full(1_000, value)
    z[::2] += abs(value) * 1e-12
    run(engine, t, z)
    row = engine.banks[0].rows[0]
    assert all(np.isfinite(row[n]).all() for n in row.dtype.names if n not in ("lo", "hi"))
    assert row["d0"] >= 0 and row["d1"] >= 0 and row["r"] > 0


def test_frozen_noise_does_not_move_and_the_state_does() -> None:
    rng = np.random.default_rng(8)
    engine = engine_of(seasons="off")
    z = 10 + np.cumsum(rng.normal(0, 1, 1_200))
    run(engine, regular(600), z[:600])
    engine.set_noise_learning("m", "frozen")
    before = engine.noise("m").signals["x"]
    level = float(engine.banks[0].rows[0]["x0"])
    run(engine, regular(600, start=T0 + 600 * SECOND), 3 * z[600:])
    assert engine.noise("m").signals["x"] == before
    assert engine.noise("m").learning == "frozen"
    assert engine.banks[0].rows[0]["x0"] != level
    engine.set_noise_learning("m", "on")
    run(engine, regular(100, start=T0 + 1_200 * SECOND), 3 * z[600:700])
    assert engine.noise("m").signals["x"] != before


def test_frozen_by_the_file_learns_first() -> None:
    rng = np.random.default_rng(9)
    engine = engine_of(noise_learning="frozen", seasons="off")
    z = 10 + rng.normal(0, 2, 1_000)
    run(engine, regular(400), z[:400])
    held = engine.noise("m").signals["x"]
    assert 1.4 < held.noise < 2.8
    run(engine, regular(600, start=T0 + 400 * SECOND), 5 * z[400:])
    assert engine.noise("m").signals["x"] == held


@pytest.mark.parametrize("cut", [100, 700, 1_000])
def test_a_restart_changes_nothing(cut: int) -> None:
    """Snapshot and restore at any place: the same forecasts, the past of the seasons included."""
    t, z = daily(1_400, np.random.default_rng(10), 0.5)
    whole = engine_of()
    expected = run(whole, t, z).predicted
    first = engine_of()
    run(first, t[:cut], z[:cut])
    first.set_noise_learning("m", "on")
    second = engine_of()
    assert second.restore(first.snapshot(), int(t[-1])) == 1
    np.testing.assert_array_equal(run(second, t[cut:], z[cut:]).predicted, expected[cut:])


def test_the_switch_survives_a_restart() -> None:
    first, second = engine_of(), engine_of()
    run(first, regular(400), np.random.default_rng(11).normal(5, 1, 400))
    first.set_noise_learning("m", "frozen")
    second.restore(first.snapshot(), T0 + 10**15)
    assert second.noise_learning("m") == "frozen"
    held = second.noise("m").signals["x"]
    run(second, regular(300, start=T0 + 400 * SECOND), np.random.default_rng(12).normal(5, 9, 300))
    assert second.noise("m").signals["x"] == held


def test_late_samples_end_in_the_same_state_across_a_search() -> None:
    """Out of order around the moment at which the past is searched and halved: every field, and the next search too."""
    t, z = daily(2 * LIVE + 120, np.random.default_rng(13), 0.5)
    rng = np.random.default_rng(14)
    order = np.argsort(np.arange(len(t)) + rng.uniform(0, 20, len(t)), kind="stable")
    blobs, pasts = [], []
    for sequence in (np.arange(len(t)), order):
        engine = engine_of(lateness=400 * 3600.0)
        for k in sequence:
            engine.ingest(0, Batch(np.zeros(1, np.int32), t[k : k + 1], z[k : k + 1]), int(t[-1]))
        blobs.append(engine.banks[0].rows.tobytes())
        pasts.append(live_past(engine))
        assert engine.banks[0].rows[0]["seasons"] == 1
    assert blobs[0] == blobs[1]
    assert pasts[0] == pasts[1]


def live_past(engine: Engine) -> list[bytes]:
    """What stands beside the one row: the live entries of its ring, and its tables."""
    ring, tables = engine.banks[0].past()
    return [ring[-engine.banks[0].rows[0]["live"] :].tobytes(), tables.tobytes()]


def test_the_past_is_bounded_and_keeps_its_span() -> None:
    rows, past = np.zeros(1, row_of(AUTO)), make_past(1)
    ring = past[RINGS, 0]
    row = rows[0]
    for k in range(5_000):
        if remember(row, past, 0, T0 + k * SECOND, float(k)):
            halve(row, ring)
        assert row["live"] <= LIVE
    head, live = int(row["head"]), int(row["live"])
    entries = ring[np.arange(head - live, head) % RING]
    assert (np.diff(entries[:, AT]) > 0).all()
    np.testing.assert_allclose(entries[:, MEAN], entries[:, AT], rtol=1e-5, atol=0.5)
    assert entries[0, AT] < 64 and entries[-1, AT] > 5_000 - 2 * row["decimation"]


def test_the_search_reads_amplitude_and_phase() -> None:
    rows, past = np.zeros(1, row_of(AUTO)), make_past(1)
    ring = past[RINGS, 0]
    row = rows[0]
    rng = np.random.default_rng(15)
    t = regular(LIVE, HOUR)
    theta = 2 * np.pi * (t % (24 * HOUR)) / (24 * HOUR)
    z = 3 * np.cos(theta) - 4 * np.sin(theta) + rng.normal(0, 0.3, LIVE)
    for k in range(LIVE):
        remember(row, past, 0, int(t[k]), float(z[k]))
    found = np.zeros((HARMONICS, 3))
    assert search(row, ring, found) == pytest.approx(86_400, rel=0.02)
    assert found[0, 0] == pytest.approx(3, abs=0.6) and found[0, 1] == pytest.approx(-4, abs=0.6)


def weekly(n: int, rng: np.random.Generator, days: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Hourly samples with an edge that stands at one hour of the day, on ``days`` days of the week; no smooth season."""
    t = regular(n, HOUR)
    hour, day = t // HOUR % 24, t // (24 * HOUR) % 7
    edge = 8.0 * ((hour == 7) & (day < days))
    return t, 30 + edge + 0.2 * np.cumsum(rng.normal(0, 1, n)) + rng.normal(0, 0.5, n)


@pytest.mark.parametrize("days", [7, 2])
def test_what_comes_again_each_day_or_each_week_is_foreseen(days: int) -> None:
    t, z = weekly(2_400, np.random.default_rng(16), days)
    scored = slice(1_200, None)
    rmse = [np.sqrt(np.nanmean((run(engine_of(seasons=s), t, z).predicted - z)[scored] ** 2)) for s in ("auto", "off")]
    print(rmse)
    assert rmse[0] < (0.5 if days == 7 else 0.9) * rmse[1]


@pytest.mark.parametrize("scale", [1e-30, 1e20, 1e39])
def test_any_magnitude_stays_finite(scale: float) -> None:
    """Tables and rings are float32: what they cannot hold must not spoil the filter."""
    t, z = weekly(1_500, np.random.default_rng(22))
    engine = engine_of()
    with np.errstate(over="ignore", invalid="ignore"):  # of the kernels as plain Python
        trace = run(engine, t, scale * z)
    row = engine.banks[0].rows[0]
    assert all(np.isfinite(row[n]).all() for n in row.dtype.names if n not in ("lo", "hi"))
    assert np.isfinite(engine.estimate("m", int(t[-1]) + 30 * HOUR, int(t[-1])).states["x"].mean)
    assert np.sqrt(np.nanmean((trace.predicted / scale - z)[400:] ** 2)) < 3.0


def test_of_what_does_not_come_again_nothing_is_foreseen() -> None:
    rng = np.random.default_rng(17)
    t, z = regular(2_400, HOUR), 30 + np.cumsum(rng.normal(0, 1, 2_400))
    scored = slice(400, None)
    rmse = [np.sqrt(np.nanmean((run(engine_of(seasons=s), t, z).predicted - z)[scored] ** 2)) for s in ("auto", "off")]
    print(rmse)
    assert rmse[0] < 1.01 * rmse[1]


def test_forecasts_of_days_ahead_know_what_comes_again() -> None:
    """The edge of the day after tomorrow, which harmonics have blurred, stands in the forecast; between, none does."""
    t, z = weekly(1_900, np.random.default_rng(18))
    engine = engine_of()
    run(engine, t, z)
    ahead = {
        hour: engine.estimate("m", int(t[-1]) + (48 + hour) * HOUR, int(t[-1])).states["x"].mean for hour in range(24)
    }
    at_edge = next(hour for hour in ahead if (t[-1] // HOUR + 48 + hour) % 24 == 7)
    others = np.array([value for hour, value in ahead.items() if hour != at_edge])
    print(ahead[at_edge], others.min(), others.max())
    assert ahead[at_edge] - others.max() > 4.0
    assert np.ptp(others) < 3.0


def test_a_sample_and_the_next_instant_agree_with_what_the_forecast_had() -> None:
    """The forecast of an instant is what the trace of the sample then says had been predicted."""
    t, z = weekly(1_900, np.random.default_rng(19))
    engine = engine_of()
    run(engine, t[:-1], z[:-1])
    foreseen = engine.estimate("m", int(t[-1]), int(t[-1])).states["x"].mean
    assert run(engine, t[-1:], z[-1:]).predicted[0] == pytest.approx(foreseen, abs=1e-6)


@pytest.mark.parametrize("cut", [250, 700])
def test_tables_follow_late_samples_and_restarts(cut: int) -> None:
    t, z = weekly(1_000, np.random.default_rng(20))
    order = np.argsort(np.arange(len(t)) + np.random.default_rng(21).uniform(0, 20, len(t)), kind="stable")
    engines = []
    for sequence in (np.arange(len(t)), order):
        engine = engine_of(lateness=400 * 3600.0)
        for part in np.array_split(sequence, [cut, cut + 9]):
            for k in part:
                engine.ingest(0, Batch(np.zeros(1, np.int32), t[k : k + 1], z[k : k + 1]), int(t[-1]))
            again = engine_of(lateness=400 * 3600.0)
            again.restore(engine.snapshot(), int(t[-1]))
            engine = again
        engines.append(engine)
    ordered, shuffled = engines
    assert ordered.banks[0].rows["changes"][0] > 700
    assert ordered.banks[0].rows.tobytes() == shuffled.banks[0].rows.tobytes()
    assert live_past(ordered) == live_past(shuffled)


def test_a_signal_at_rest_that_starts_is_followed_from_its_first_change() -> None:
    """What a constant taught of the ratio of noises must not outlive it."""
    z = np.r_[np.zeros(400), 30.0 * np.arange(200)]
    error = run(engine_of(seasons="off"), regular(600), z).predicted - z
    assert np.abs(error[430:]).max() < 60.0
