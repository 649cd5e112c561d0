"""Records that travel between stages. They own their arrays and never view live state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Outcome(IntEnum):
    """What became of a sample. The ledger has one column for each; the kernels use the integers."""

    FUSED = 0
    LATE_FUSED = 1
    GATED = 2
    DUPLICATE = 3
    LATE_DROPPED = 4
    OUT_OF_RANGE = 5
    INVALID = 6
    UNMATCHED = 7
    OVERFLOW = 8


OUTCOMES = tuple(o.name.lower() for o in Outcome)


class Quality(IntEnum):
    """How far an estimate can be trusted."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in the order in which they arrived.

    ``slot`` int32[n] signal slots of the engine; ``t_ns`` int64[n] measurement times in nanoseconds since
    the epoch; ``value`` float64[n] raw values, before scale and offset.
    """

    slot: NDArray[np.int32]
    t_ns: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True, slots=True)
class StateEstimate:
    """One reported state: posterior mean and standard deviation in ``unit``."""

    mean: float
    std: float
    unit: str


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """A device's clock minus the gateway's, less the shortest network delay (so it may be that much higher), and the
    mean variation of the delay; both in seconds."""

    offset_s: float
    jitter_s: float


@dataclass(frozen=True, slots=True)
class SignalHealth:
    """How well a twin has foreseen one signal lately; figures are NaN while too few samples have come.

    ``nis`` mean normalised innovation squared, which chance leaves within ``nis_low`` and ``nis_high``; ``bias`` mean
    innovation in its own standard deviations; ``whiteness`` correlation of an innovation with the one before;
    ``gate_rate`` share of samples rejected; ``samples`` that the figures stand on; ``finding`` what is wrong with the
    innovations (``ok``); ``fault`` what is wrong with the sensor or the process (``ok``); ``confidence`` 0 to 1 that it
    is. ``weighed`` is false while the sensor's samples are put aside.
    """

    nis: float
    nis_low: float
    nis_high: float
    bias: float
    whiteness: float
    gate_rate: float
    samples: int
    finding: str
    fault: str
    confidence: float
    weighed: bool


@dataclass(frozen=True, slots=True)
class SignalStatus:
    """The last sample of one signal and how well the twin foresaw it.

    ``value`` is scaled; ``at_ns`` its measurement time; ``nis`` the normalised innovation squared;
    ``noise`` the measurement standard deviation in use; ``fused`` and ``gated`` count samples; ``clock`` is that of
    the device when its samples bring a time; ``health`` is absent for inputs of a model.
    """

    value: float
    at_ns: int
    nis: float
    noise: float
    unit: str
    fused: int
    gated: int
    clock: ClockOffset | None = None
    health: SignalHealth | None = None


@dataclass(frozen=True, slots=True)
class TwinEstimate:
    """A twin at one instant; ``last_ns`` is the time of its last fused sample (0: none yet)."""

    twin: str
    model: str
    at_ns: int
    last_ns: int
    quality: Quality
    reason: str
    states: dict[str, StateEstimate]
    signals: dict[str, SignalStatus]


@dataclass(frozen=True, slots=True)
class Report:
    """Estimates of many states at one instant, as they go into a frame.

    ``columns[k]`` is (twin, state, unit) of row k; ``mean`` and ``std`` are float64[n];
    ``quality`` uint8[n] as in :class:`Quality`.
    """

    t_ns: int
    columns: tuple[tuple[str, str, str], ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    quality: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """An affine model of groups of columns over one interval: x_i(t + interval) = x_i + b_i + sum_j D_ij x_j.

    ``first`` int64[g]: the group's first column among those asked for, its others follow it; ``matrix``
    float32[g, n, n + 1] holds b and D side by side.
    """

    interval_ns: int
    first: NDArray[np.int64]
    matrix: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """For n columns: ``tolerance`` float64[n], the largest error of a mean in the unit of the column (0: none, to the
    bit; NaN: not known, the encoder takes a share of the deviation), and what models there are."""

    tolerance: NDArray[np.float64]
    dynamics: tuple[Dynamics, ...] = ()


SignalKey = tuple[str, str, str]
"""(twin, signal, unit)"""


@dataclass(frozen=True, slots=True, eq=False)
class SignalSummary:
    """The raw samples of many signals in the interval that ends at ``t_ns``; only signals that had one are in it.

    ``signals[k]`` is the signal of row k; ``count`` int64[n]; ``low``, ``high`` and ``mean`` float64[n], scaled;
    ``duration_s`` float64[n]: from the newest sample before the interval to the newest one in it.
    """

    t_ns: int
    signals: tuple[SignalKey, ...]
    count: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    duration_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.signals)


Scalar = None | bool | int | float | str


CORRECTION = "correction"
"""Kind of the events that amend reports: of no use without them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at ``t_ns`` (ns since the epoch) and that the cloud should know; ``data`` holds scalars.

    ``kind`` is a constant name in snake case. Events about a twin carry its name as ``twin``, events about one of its
    signals also ``signal``.
    """

    kind: str
    t_ns: int
    data: Mapping[str, Scalar] = field(default_factory=dict)
