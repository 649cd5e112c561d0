"""What if: many members of a forked twin live through a scenario, and it is told how they are spread.

:func:`edgetwin.engine.forks.fork` copies what a twin believes; it is called where the engine lives. :class:`Simulator`
does the rest away from it, in any thread: its kernels do not hold the interpreter's lock. The answer depends on the
fork, the scenario and its seed alone: every number drawn is a function of the seed, the member and what it is for
(initial state, parameters, noise), so neither threads nor blocks matter, and two scenarios of one seed differ by what
was asked only.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import EquationModel
from edgetwin.engine.forks import Fork, Predictor
from edgetwin.engine.members import Band, Prediction, Run, Team
from edgetwin.engine.scenario import Scenario
from edgetwin.engine.schedules import output_offsets
from edgetwin.model.ensemble import LOST, EnsembleKernel, compile_ensemble
from edgetwin.model.spec import LinearModel

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What the members did. ``offsets`` float64[times] are seconds after ``from_ns``, the first 0.

    ``excluded`` members left because a state was no longer finite; ``coarse`` ones went through some step in fewer
    sub-steps than the equations ask for, which bounds the work.
    """

    twin: str
    from_ns: int | None
    scenario: Scenario
    offsets: Vector
    states: dict[str, Band]
    measurements: dict[str, Band]
    excluded: int
    coarse: int


class Simulator:
    """Runs scenarios on up to ``threads`` threads each; keeps the kernels it has compiled. Thread-safe."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = max(threads, 1)
        self._kernels: dict[str, EnsembleKernel] = {}
        self._lock = threading.Lock()

    def run(self, fork: Fork, scenario: Scenario, stop: threading.Event | None = None) -> Ensemble:
        """Simulate a scenario that :func:`edgetwin.engine.scenario.check` has passed.

        SimulationStoppedError once ``stop`` is set; ModelError when a kernel cannot be made.
        """
        offsets = output_offsets(scenario.horizon_s, scenario.step_s)
        with ThreadPoolExecutor(self._threads) as pool:
            team = Team(pool, self._threads, stop or threading.Event())
            runs: list[Run | Prediction] = []
            for number, part in enumerate(fork.parts):
                if isinstance(part, Predictor):
                    runs.append(Prediction(part, scenario, fork.from_ns or part.t_ns, offsets, team))
                    continue
                run = Run(part, number, scenario, self._kernel(part.model))
                run.arrive(fork.from_ns, team)
                run.live(offsets, team)
                runs.append(run)
        fate = np.array([run.fate for run in runs])
        lost = (fate == LOST).any(axis=0)
        return Ensemble(
            twin=fork.twin,
            from_ns=fork.from_ns,
            scenario=scenario,
            offsets=offsets,
            states={name: band for run in runs for name, band in run.states().items()},
            measurements={name: band for run in runs for name, band in run.measurements().items()},
            excluded=int(lost.sum()),
            coarse=int(((fate > 0).any(axis=0) & ~lost).sum()),
        )

    def _kernel(self, model: LinearModel | EquationModel) -> EnsembleKernel:
        key = model.name if isinstance(model, LinearModel) else model.digest()
        with self._lock:
            if key not in self._kernels:
                self._kernels[key] = compile_ensemble(model)
            return self._kernels[key]
