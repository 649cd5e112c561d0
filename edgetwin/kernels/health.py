"""How well filters foresee their samples: figures per signal, fed from what any filter leaves in its row.

One kernel serves every model: it sees rows as ``floats`` float64[n, width] and ``longs`` int64[n, width], two views of
the same bytes, and finds the fields of a channel by a table of column numbers. With y the innovation, s its variance
and u = y / sqrt(s), a consistent filter has u white and of unit variance (Bar-Shalom, Li, Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, section 5.4). Kept, with exponentially fading memory of about MEMORY
samples: mean u (``bias``), mean u² (``nis``), mean u_k u_(k-1) (``pair``), and the share of gated samples; and two
cumulative sums of u (Page, "Continuous inspection schemes", Biometrika 41, 1954).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import inlined, kernel

HEALTH = np.dtype(
    [
        *((name, "f8") for name in ("z", "rest", "extra")),
        *((name, "i8") for name in ("t", "fused", "gated", "stale_ns")),
        *((name, "f4") for name in ("bias", "nis", "pair", "last", "up", "down")),
        *((name, "f4") for name in ("gate_rate", "spike_rate", "interval", "run_mean")),
        *((name, "i4") for name in ("n", "pairs", "seen", "runs", "run", "gated_run", "sound", "twin")),
    ],
    align=True,
)
"""One signal, 128 bytes.

``z``, ``t`` last sample and its time in ns; ``rest`` the value at which it once stood still for long (NaN: none);
``extra`` variance by which its noise is inflated in the row; ``fused``, ``gated`` the row's counters when last seen;
``stale_ns`` as configured; ``last`` the last u (NaN: not to be paired); ``up``, ``down`` cumulative sums; ``interval``
mean s between samples; ``run_mean`` mean length of runs of one value; counts: ``n`` innovations, ``pairs``, ``seen``
samples, ``runs`` ended, ``run`` length of this one, ``gated_run`` gated in a row, ``sound`` the ``n`` at which it was
last found consistent (0: never); ``twin`` index.
"""

Y, S, Z, T, FUSED, GATED = range(6)
COLUMNS = 6

WARMUP = 10
"""Samples fused before a signal's innovations count: a filter that learns knows nothing before."""
GAIN_LEAST = 0.02
MEMORY = 99
"""Samples a mean with GAIN_LEAST is worth: (2 - gain) / gain."""
GATE_GAIN_LEAST = 0.005
CLIP = 6.0
CUSUM_SLACK = 0.5
CUSUM_LIMIT = 12.0
"""One false alarm in 500,000 samples (Siegmund, "Sequential Analysis", 1985, eq. 2.56); a shift of one σ in about
24."""
CUSUM_MAX = 36.0
SAMPLES_LEAST = 30
GATE_SAMPLES_LEAST = 100
DEVIATIONS = 4.5
"""Beyond how many standard deviations a figure is no longer chance."""
RUNS_LEAST = 20
STUCK_LOG = math.log(1e-6)
MATURE = 1 << 20
REJECTED_LEAST = 0.05
SPIKES_LEAST = 0.02

OK, STUCK, DROPOUT, SPIKING, NOISY, BIASED, LAGGING, OVERREACTING, TOO_SURE, TOO_UNSURE, REJECTING = range(11)


@kernel
def feed(
    health: NDArray[np.void],
    floats: NDArray[np.float64],
    longs: NDArray[np.int64],
    columns: NDArray[np.int64],
    row_of: NDArray[np.int32],
    channel_of: NDArray[np.int32],
    slot_bank: NDArray[np.int16],
    bank: int,
    slot: NDArray[np.int32],
    gain_least: float,
    direct: bool,
) -> None:
    """Take note of what a batch has done to the rows of one bank.

    health HEALTH[slots]. floats, longs: see the module. columns int64[channels, COLUMNS]: where a channel's fields are,
    -1: it is an input. row_of, channel_of int32[slots]; slot_bank int16[slots]. slot int32[n]: the batch; samples of
    other banks are passed over. When ``direct`` rows belong to the bank's samples one by one, else a slot that comes
    twice is seen as its last sample left it. gain_least: that of the fading means.
    """
    m = 0
    for k in range(slot.shape[0]):
        where = slot[k]
        if slot_bank[where] == bank:
            i = m if direct else row_of[where]
            c = channel_of[where]
            fused, gated, t = longs[i, columns[c, FUSED]], longs[i, columns[c, GATED]], longs[i, columns[c, T]]
            measured = columns[c, Y] >= 0
            y, s = (floats[i, columns[c, Y]], floats[i, columns[c, S]]) if measured else (0.0, 0.0)
            note(health[where], measured, fused, gated, t, floats[i, columns[c, Z]], y, s, gain_least)
            m += 1


@kernel
def note(
    h: np.void,
    measured: bool,
    fused: int,
    gated: int,
    t: int,
    z: float,
    y: float,
    s: float,
    gain_least: float,
) -> None:
    """One signal, after its row has taken samples. Scalars: arrays handed on would count references each time."""
    new_fused = fused - h["fused"]
    new_gated = gated - h["gated"]
    if new_fused == 0 and new_gated == 0:
        return
    h["fused"] = fused
    h["gated"] = gated
    if not (t > h["t"]) or new_fused < 0 or new_gated < 0:
        return  # a late sample has changed the past; the newest one has been counted
    new = new_fused + new_gated
    if h["t"] > 0:
        interval = 1e-9 * (t - h["t"])
        if new > 1:
            interval /= new
        h["interval"] += 0.05 * (interval - h["interval"]) if h["interval"] > 0.0 else interval
    h["t"] = t
    if not measured:
        return  # an input stands still as long as it likes
    note_value(h, z)
    note_gate(h, new_fused, new_gated)
    variance = s - h["extra"]
    if new_gated > 0 or fused <= WARMUP or y == 0.0 or not (variance > 0.0):
        h["last"] = math.nan  # y is 0 when the filter was started from the sample: nothing was foreseen
        return
    note_innovation(h, min(max(y / math.sqrt(variance), -CLIP), CLIP), new_fused == 1, gain_least)


@kernel
def note_value(h: np.void, z: float) -> None:
    """Runs of one value."""
    h["seen"] = min(h["seen"] + 1, MATURE)
    if z == h["z"]:
        h["run"] = min(h["run"] + 1, MATURE)
        return
    if h["run"] > 0:
        if is_stuck(h):
            h["rest"] = h["z"]
        else:
            h["runs"] = min(h["runs"] + 1, MATURE)
            gain = 1.0 / h["runs"] if h["runs"] < 50 else 0.02
            h["run_mean"] += gain * (h["run"] - h["run_mean"])
    h["run"] = 1
    h["z"] = z


@kernel
def is_stuck(h: np.void) -> bool:
    """Whether a run as long as this one has, with runs of this signal's mean length, a probability below 1e-6."""
    if h["runs"] < RUNS_LEAST or h["run"] < 12 or h["z"] == h["rest"]:
        return False
    same = min(max(1.0 - 1.0 / h["run_mean"], 0.3), 0.9999)
    chance: float = h["run"] * math.log(same)
    return chance < STUCK_LOG


@kernel
def note_gate(h: np.void, new_fused: int, new_gated: int) -> None:
    """Share of gated samples, and of those that stand alone or in pairs."""
    new = new_fused + new_gated
    gain = min(1.0, new / h["seen"]) if h["seen"] < 200 else min(1.0, new * GATE_GAIN_LEAST)
    if new_gated == 0 and h["gated_run"] == 0:
        h["gate_rate"] -= gain * h["gate_rate"]
        h["spike_rate"] -= gain * h["spike_rate"]
        return
    spike = 0.0
    h["gated_run"] += new_gated
    if new_fused > 0 and h["gated_run"] > 0:
        if h["gated_run"] <= 2:
            spike = h["gated_run"] / new
        h["gated_run"] = 0
    h["gate_rate"] += gain * (new_gated / new - h["gate_rate"])
    h["spike_rate"] += gain * (min(spike, 1.0) - h["spike_rate"])


@inlined
def gain_of(n: int, least: float) -> float:
    """1 / n, at least ``least``; without dividing when it is settled."""
    return 1.0 / n if n * least < 1.0 else least


@kernel
def note_innovation(h: np.void, u: float, single: bool, gain_least: float) -> None:
    """A normalised innovation; ``single`` when it follows the one before."""
    n = h["n"] + 1
    if n == MATURE:
        n //= 2
        h["sound"] = max(h["sound"] - n, 1) if h["sound"] > 0 else 0
    h["n"] = n
    gain = gain_of(n, gain_least)
    h["bias"] += gain * (u - h["bias"])
    h["nis"] += gain * (u * u - h["nis"])
    if single and not math.isnan(h["last"]):
        pairs = min(h["pairs"] + 1, MATURE)
        h["pairs"] = pairs
        h["pair"] += gain_of(pairs, gain_least) * (u * h["last"] - h["pair"])
    h["last"] = u
    h["up"] = min(max(h["up"] + u - CUSUM_SLACK, 0.0), CUSUM_MAX)
    h["down"] = min(max(h["down"] - u - CUSUM_SLACK, 0.0), CUSUM_MAX)


@inlined
def nis_bound(n: int, deviations: float) -> float:
    """Mean of n squares of standard normals that is ``deviations`` away from what is expected.

    The cube root of χ²/n is almost normal (Wilson, Hilferty, Proceedings of the National Academy of Sciences 17, 1931).
    """
    v = 2.0 / (9.0 * n)
    root = max(1.0 - v + deviations * math.sqrt(v), 0.0)
    return root * root * root


@inlined
def nis_deviation(nis: float, n: int) -> float:
    """How many standard deviations a mean of n squares is away: the inverse of nis_bound."""
    v = 2.0 / (9.0 * n)
    root: float = max(nis, 0.0) ** (1.0 / 3.0)
    return (root - (1.0 - v)) / math.sqrt(v)


@kernel
def figures(h: np.void, memory: int) -> tuple[float, float, float, float, float]:
    """(correlation of neighbours, spread, deviations of bias, correlation and NIS from what is expected).

    ``memory``: most samples a mean is worth. ``spread`` is the factor on the variance of the mean of u by the variance
    and the correlation that u has, never below 1. The mean is judged by it: wrong noise does not look like bias.
    """
    n = min(max(h["n"], 1), memory)
    variance = max(h["nis"] - h["bias"] * h["bias"], 1e-6)
    whiteness, of_whiteness = 0.0, 0.0
    if h["pairs"] >= SAMPLES_LEAST:
        whiteness = min(max((h["pair"] - h["bias"] * h["bias"]) / variance, -0.95), 0.95)
        of_whiteness = whiteness * math.sqrt(min(h["pairs"], memory))
    spread = max(variance, 1.0) * (1.0 + max(whiteness, 0.0)) / (1.0 - max(whiteness, 0.0))
    return whiteness, spread, h["bias"] * math.sqrt(n / spread), of_whiteness, nis_deviation(h["nis"], n)


@kernel
def judge_innovations(h: np.void, memory: int, effect: float) -> int:
    """What is wrong with the innovations of one signal, OK when nothing is beyond chance and large.

    ``effect`` scales the least size of what counts: 1 for a mean u of 0.5, a correlation of 0.3, a NIS of 2.
    """
    if h["n"] < SAMPLES_LEAST:
        return OK
    whiteness, spread, of_bias, of_whiteness, of_nis = figures(h, memory)
    if abs(of_bias) > DEVIATIONS and abs(h["bias"]) > 0.5 * effect:
        return BIASED
    if of_whiteness > DEVIATIONS and whiteness > 0.3 * effect:
        return LAGGING
    if of_nis > DEVIATIONS and h["nis"] > 1.0 + effect:
        return TOO_SURE
    if max(h["up"], h["down"]) > CUSUM_LIMIT * spread:
        return BIASED
    if of_whiteness < -DEVIATIONS and whiteness < -0.3 * effect:
        return OVERREACTING
    if of_nis < -DEVIATIONS and h["nis"] < 0.3:
        return TOO_UNSURE
    return OK


@kernel
def is_white(h: np.void) -> bool:
    """Whether innovations are large by chance alone: neither of one sign nor like their neighbours."""
    whiteness, _, of_bias, _, _ = figures(h, MEMORY)
    return h["pairs"] >= SAMPLES_LEAST and abs(whiteness) < 0.15 and abs(of_bias) < 3.0


@kernel
def judge(health: NDArray[np.void], latest: NDArray[np.int64], finding: NDArray[np.uint8]) -> None:
    """What is wrong with each signal.

    health HEALTH[slots]; latest int64[twins]: scratch, the newest sample of each twin; finding uint8[slots]: written.
    """
    for k in range(health.shape[0]):
        twin = health[k]["twin"]
        latest[twin] = max(latest[twin], health[k]["t"])
    for k in range(health.shape[0]):
        h = health[k]
        finding[k] = judge_one(h, latest[h["twin"]])


@kernel
def judge_one(h: np.void, latest: int) -> int:
    """As judge, for one signal of a twin whose newest sample is ``latest``."""
    if h["seen"] == 0:
        return OK
    limit = h["stale_ns"]
    if limit <= 0:
        limit = np.int64(min(1e10 * h["interval"], 3e16)) + 5_000_000_000
    if h["seen"] >= 3 and latest - h["t"] > limit:
        return DROPOUT
    if is_stuck(h):
        return STUCK
    verdict = judge_innovations(h, MEMORY, 1.0)
    if verdict == OK and h["n"] >= MEMORY:
        h["sound"] = h["n"]
    if verdict == TOO_SURE and h["sound"] > 0 and h["n"] - h["sound"] > MEMORY and is_white(h):
        return NOISY
    if verdict == OK and h["seen"] >= GATE_SAMPLES_LEAST:
        if h["spike_rate"] > SPIKES_LEAST and h["spike_rate"] > 0.5 * h["gate_rate"]:
            return SPIKING
        if h["gate_rate"] > REJECTED_LEAST:
            return REJECTING
    return verdict
