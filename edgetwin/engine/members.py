"""Members of an ensemble on their way: what :mod:`edgetwin.engine.whatif` does with each filter of a twin.

Every member is drawn from N(x, P) at the twin's last sample and lives up to the fork with the parameters the twin
believes in and its inputs held; from there on it has the scenario's inputs and parameters.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.forks import Part, Predictor
from edgetwin.engine.scenario import Distribution, Lognormal, Normal, Scenario, Triangular, Uniform
from edgetwin.engine.schedules import Segments, segments
from edgetwin.errors import EdgetwinError
from edgetwin.kernels import random
from edgetwin.kernels.bands import bands
from edgetwin.model.ensemble import EnsembleKernel

Vector = NDArray[np.float64]

SUBSTEPS_ALL, SUBSTEPS_LEAST, SUBSTEPS_MOST = 50_000_000, 16, 10_000
"""Sub-steps of all members together, and the least and most that one of them may take in a segment."""
BLOCK_TIMES, BLOCK_VALUES = 64, 2_000_000
"""Output times, and numbers, of all members in memory at once."""
MEMBERS_AT_A_TIME, TIMES_AT_A_TIME = 256, 16
"""What a thread does between two looks at whether to stop."""
STATE, PARAMETERS, NOISE = range(3)
"""Purposes of a member's random numbers."""


class SimulationStoppedError(EdgetwinError):
    """A run was told to stop before it was done."""


@dataclass(frozen=True, slots=True)
class Band:
    """One state or measurement over time, in ``unit``: float64[times] each, ``quantiles`` float64[quantiles, times].

    NaN where no member has a value.
    """

    unit: str
    mean: Vector
    std: Vector
    quantiles: Vector


class Team:
    """Threads that share a piece of work by ranges."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int, stop: threading.Event) -> None:
        self._pool, self._threads, self._stop = pool, threads, stop

    def share(self, work: Callable[[int, int], None], count: int, at_a_time: int) -> None:
        """Call ``work(first, last)`` on ranges of ``at_a_time`` or less that make up 0..count, and wait for all."""

        def do(begin: int, end: int) -> None:
            for first in range(begin, end, at_a_time):
                if self._stop.is_set():
                    raise SimulationStoppedError("the simulation was stopped")
                work(first, min(first + at_a_time, end))

        edges = [count * k // self._threads for k in range(self._threads + 1)]
        others = [self._pool.submit(do, begin, end) for begin, end in pairwise(edges[1:])]
        do(edges[0], edges[1])
        for other in others:
            other.result()


class Run:
    """The members of one part of a twin on their way."""

    def __init__(self, part: Part, number: int, scenario: Scenario, kernel: EnsembleKernel) -> None:
        self._part, self._scenario, self._kernel = part, scenario, kernel
        self._number = number
        self._seed = np.uint64(scenario.seed)
        self._state = np.empty((scenario.members, len(part.mean)))
        random.draw_correlated(self._seed, self._stream(STATE), part.mean, part.factor, self._state)
        np.clip(self._state, part.low, part.high, out=self._state)
        self._outputs = len(part.states) + len(part.measured)
        self._figures = np.zeros((2 + len(scenario.quantiles), self._outputs, 0))
        self.fate = np.zeros(scenario.members, np.int64)
        self._draws = np.zeros(scenario.members, np.int64)

    def _stream(self, purpose: int) -> np.uint64:
        return np.uint64(3 * self._number + purpose)

    def arrive(self, from_ns: int | None, team: Team) -> None:
        """From the last sample to the fork, as the twin has it."""
        part = self._part
        if from_ns is None or not 0 < part.t_ns < from_ns:
            return
        wait_s = np.array([(from_ns - part.t_ns) / NS])
        held = np.array([list(part.held.values())]).reshape(1, -1)
        way = Segments(wait_s, held, held, np.array([-1]), np.zeros(0))
        parameters = np.tile(part.values, (self._scenario.members, 1))
        nothing = np.empty((0, self._outputs, self._scenario.members))
        self._advance(way, parameters, nothing, SUBSTEPS_ALL // self._scenario.members, team)

    def live(self, offsets: Vector, team: Team) -> None:
        """Through the scenario, a block of output times after the other."""
        scenario, part = self._scenario, self._part
        parameters = self._drawn()
        way = segments(offsets, [scenario.inputs.get(name) for name in part.held], list(part.held.values()))
        last = np.flatnonzero(way.record >= 0)  # the segment that ends at each output time
        self._figures = np.empty((2 + len(scenario.quantiles), self._outputs, len(offsets)))
        rows = max(1, min(BLOCK_TIMES, len(offsets), BLOCK_VALUES // (self._outputs * scenario.members)))
        out = np.empty((rows, self._outputs, scenario.members))
        quantiles = np.array(scenario.quantiles, np.float64)
        substeps = SUBSTEPS_ALL // (scenario.members * len(way.width))
        for row in range(0, len(offsets), rows):
            until = min(row + rows, len(offsets))
            block = way.part(last[row - 1] + 1 if row else 0, last[until - 1] + 1, row)
            self._advance(block, parameters, out, substeps, team)
            team.share(self._describe(out[: until - row], quantiles, row), until - row, TIMES_AT_A_TIME)

    def _drawn(self) -> Vector:
        part, given = self._part, self._scenario.parameters
        parameters = np.empty((self._scenario.members, len(part.values)))
        random.draw_parameters(self._seed, self._stream(PARAMETERS), *_distributions(part, given), parameters)
        for name in part.squared & set(given):
            parameters[:, part.columns[name]] **= 2
        if not self._scenario.noise:
            parameters[:, part.noise] = 0.0
        return parameters

    def _advance(self, way: Segments, parameters: Vector, out: Vector, substeps: int, team: Team) -> None:
        limit = min(max(substeps, SUBSTEPS_LEAST), SUBSTEPS_MOST)
        chance = (self._seed, self._stream(NOISE), self._draws)
        where = (way.width, way.start, way.end, way.record, out)

        def carry(first: int, last: int) -> None:
            self._kernel(*chance, self._state, parameters, self.fate, limit, *where, first, last)

        team.share(carry, self._scenario.members, MEMBERS_AT_A_TIME)

    def _describe(self, out: Vector, quantiles: Vector, column: int) -> Callable[[int, int], None]:
        def describe(first: int, last: int) -> None:
            out[first:last].sort(axis=-1)
            bands(out[first:last], quantiles, self._figures, column + first)

        return describe

    def states(self) -> dict[str, Band]:
        """By name."""
        return {name: self._band(k, unit) for k, (name, unit) in enumerate(self._part.states)}

    def measurements(self) -> dict[str, Band]:
        """By name; without the measurement's noise."""
        n, states = len(self._part.states), self.states()
        own = {name: self._band(n + k, unit) for k, (name, unit) in enumerate(self._part.measured)}
        return own | {name: states[state] for name, state in self._part.same.items()}

    def _band(self, k: int, unit: str) -> Band:
        return Band(unit, self._figures[0, k], self._figures[1, k], self._figures[2:, k])


class Prediction:
    """What the filter itself foresees, its quantiles those of normal distributions (0 and 1: not finite)."""

    def __init__(self, part: Predictor, scenario: Scenario, from_ns: int, offsets: Vector, team: Team) -> None:
        self._part = part
        self.fate = np.zeros(scenario.members, np.int64)
        mean, std = self._moments = np.empty((2, len(part.states), len(offsets)))

        def tell(first: int, last: int) -> None:
            for k in range(first, last):
                mean[:, k], std[:, k] = part.at(from_ns + round(offsets[k] * NS))

        team.share(tell, len(offsets), TIMES_AT_A_TIME)
        self._scores = np.array([_normal_quantile(q) for q in scenario.quantiles])

    def states(self) -> dict[str, Band]:
        """By name."""
        bands = zip(self._part.states, *self._moments, strict=True)
        return {
            name: Band(unit, mean, std, mean + np.multiply.outer(self._scores, std))
            for (name, unit), mean, std in bands
        }

    def measurements(self) -> dict[str, Band]:
        """The model has none of its own."""
        return {}


def _normal_quantile(share: float) -> float:
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return NormalDist().inv_cdf(share)


def _distributions(part: Part, given: Mapping[str, Distribution]) -> tuple[NDArray[np.int64], Vector]:
    """The arguments of :func:`edgetwin.kernels.random.draw_parameters`."""
    kind = np.full(len(part.values), random.FIXED, np.int64)
    figures = np.zeros((len(part.values), 3))
    figures[:, 0] = part.values
    for name, value in given.items():
        k = part.columns[name]
        match value:
            case Normal(mean, std):
                kind[k], figures[k, :2] = random.NORMAL, (mean, std)
            case Uniform(low, high):
                kind[k], figures[k, :2] = random.UNIFORM, (low, high)
            case Lognormal(mean, std):
                variance = math.log1p((std / mean) ** 2)
                kind[k], figures[k, :2] = random.LOGNORMAL, (math.log(mean) - 0.5 * variance, math.sqrt(variance))
            case Triangular(low, mode, high):
                kind[k], figures[k] = random.TRIANGULAR, (low, mode, high)
            case number:
                figures[k, 0] = number
    return kind, figures
