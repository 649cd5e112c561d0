"""What every sample of a batch did to its twin: the engine's answer where the end state alone is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine.bank import Bank
from edgetwin.model.tracing import Tracer, compile_tracer
from edgetwin.records import Batch


@dataclass(frozen=True, slots=True)
class BankTrace:
    """The samples of one bank: ``index`` int64[m] their positions in the batch, ``row`` int64[m] their rows in the
    bank, ``after`` records[m] each row once the batch was taken up to the sample."""

    index: NDArray[np.int64]
    row: NDArray[np.int64]
    after: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Trace:
    """Per sample of the batch, in its order; ``banks`` are in the order of the engine's.

    ``outcome`` uint8[n] as in Outcome. ``value`` float64[n] is scaled. ``predicted``, ``std`` and ``nis`` float64[n]
    are the one-step-ahead prediction of the measurement, its standard deviation (that of the innovation) and the
    normalised innovation squared; NaN where no prediction was made: the first sample of a signal, repeats, what is
    too late or out of range, and inputs of a model.
    """

    outcome: NDArray[np.uint8]
    value: NDArray[np.float64]
    predicted: NDArray[np.float64]
    std: NDArray[np.float64]
    nis: NDArray[np.float64]
    banks: tuple[BankTrace, ...]


class Tracing:
    """Runs traced kernels; they are compiled when first used."""

    def __init__(self) -> None:
        self._tracers: dict[str, Tracer] = {}

    def of(self, bank: Bank) -> Tracer:
        """The traced kernels of a bank."""
        if bank.name not in self._tracers:
            self._tracers[bank.name] = compile_tracer(bank.name, bank.kernels)
        return self._tracers[bank.name]

    def run(
        self,
        banks: Sequence[Bank],
        slot_bank: NDArray[np.int16],
        slot_place: NDArray[np.int32],
        source: NDArray[np.int32],
        batch: Batch,
        t_max: int,
        counts: NDArray[np.int64],
    ) -> Trace:
        """Fuse ``batch`` in order, count, and tell.

        ``slot_bank`` and ``slot_place`` say where each slot lives, ``source`` int32[n] the row of ``counts`` of each
        sample.
        """
        outcome = np.empty(len(batch), np.uint8)
        figures = np.empty((4, len(batch)))
        traces = []
        owner = slot_bank[batch.slot]
        for number, bank in enumerate(banks):
            m = int(np.count_nonzero(owner == number))
            after, index = np.empty(m, bank.rows.dtype), np.empty(m, np.int64)
            rewinds = bool((bank.rows["history"] > 0).any())
            judged = np.empty(m if rewinds else 0, bank.rows.dtype)
            self.of(bank).update(
                bank.rows,
                slot_bank,
                slot_place,
                bank.channels,
                number,
                batch.slot,
                batch.t_ns,
                batch.value,
                t_max,
                source,
                counts,
                bank.history,
                outcome,
                after,
                judged,
                index,
            )
            row, channel = np.divmod(slot_place[batch.slot[index]].astype(np.int64), bank.channels)
            own = judged if rewinds else after
            with np.errstate(over="ignore", invalid="ignore"):  # values that are invalid may be beyond all scales
                figures[:, index] = bank.innovations(own, channel, batch.value[index], outcome[index])
            traces.append(BankTrace(index, row, after))
        value, innovation, variance, nis = figures
        return Trace(outcome, value, value - innovation, np.sqrt(variance), nis, tuple(traces))
