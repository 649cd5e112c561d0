"""A trial: which single fault explains what a twin of several sensors sees?

Structured residuals (Gertler, "Fault Detection and Diagnosis in Engineering Systems", 1998, chapter 7) by a bank of
filters (Willsky, "A survey of design methods for failure detection in dynamic systems", Automatica 12, 1976). Each
hypothesis is a copy of the twin's row, wide open at the start, that is blind to one fault: for a sensor, its
measurement noise is made so large that its samples carry no weight; for the process, the noise of one state is made so
large that an unknown input to it is followed. All are fed the same samples by the twin's own kernel. The filter that is
blind to the true fault is consistent with all else; the others are not. Where removing a sensor and freeing a state
explain the samples equally well the model holds no redundancy for this sensor, and nothing is concluded. Nor is it
where a changed parameter explains as much as a bad sensor (edgetwin.engine.parameter_fit).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine.equation_bank import EquationBank
from edgetwin.engine.health import blank, views
from edgetwin.engine.parameter_fit import Sample, explaining
from edgetwin.kernels import health as kernel
from edgetwin.model.ordering import History, make_history
from edgetwin.records import OUTCOMES

SAMPLES_LEAST = 40
"""Innovations of each channel that counts before a trial may end with a fault."""
SAMPLES_NONE = 120
"""The same before it may end with none of the hypotheses."""
SAMPLES_MAX = 400
"""Innovations of the most frequent channel after which a trial ends in any case."""
EFFECT = 0.6
"""Least size of what counts in a trial, of that in service: it stands on more samples (edgetwin.kernels.health)."""
SINGLY_MAX = 256
BLIND = 1e9
"""Factor on the variance of a sensor that is not to count."""
FREE = 1e4
"""Factor on the process noise of a state that is freed."""


class Verdict(Enum):
    """How a trial ends."""

    OPEN = "open"
    SENSOR = "sensor"
    PROCESS = "process"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a filter is blind to: the sensor of ``channel``, or an unknown input to ``state``; the other is -1."""

    channel: int = -1
    state: int = -1


@dataclass(frozen=True, slots=True)
class Decision:
    """``index`` of the hypothesis that holds, -1: none; ``confidence`` 0 to 1; ``parameter`` whose change would explain
    it, -1: none or several."""

    verdict: Verdict
    index: int = -1
    confidence: float = 0.0
    parameter: int = -1
    fitted: bool = False


@dataclass(slots=True)
class Trial:
    """The hypotheses about one row: ``rows`` one each, ``slots`` HEALTH[hypotheses * channels]; ``channels`` are the
    channels that count. ``seen`` are (t in ns, innovations float64[hypotheses]) of each blind sensor, for telling drift
    from bias."""

    bank: EquationBank
    row: int
    channels: tuple[int, ...]
    hypotheses: tuple[Hypothesis, ...]
    rows: NDArray[np.void]
    slots: NDArray[np.void]
    columns: NDArray[np.int64]
    place: NDArray[np.int32]
    begun: NDArray[np.void]
    no_history: History
    samples: list[Sample] = field(default_factory=list)
    seen: list[tuple[int, int, float]] = field(default_factory=list)
    fit_again: int = 0

    @classmethod
    def of(cls, bank: EquationBank, row: int, channels: tuple[int, ...], columns: NDArray[np.int64]) -> Trial:
        """Begin; ``channels`` are the measured ones whose samples carry weight."""
        model = bank.model
        hypotheses = (*(Hypothesis(channel=c) for c in channels), *(Hypothesis(state=i) for i in range(model.size)))
        count = len(hypotheses)
        rows = np.repeat(bank.rows[row : row + 1], count)
        open_wide(rows, model.size)
        rows["history"], rows["reject_max"] = 0, np.iinfo(np.int32).max
        for c in range(bank.channels):
            rows[f"learn_of{c}"] = 0
            rows[f"rejects_of{c}"] = 0
        begun = rows[:1].copy()
        begun["gate"] = np.inf  # what is fitted must not depend on what is rejected
        for k, hypothesis in enumerate(hypotheses):
            if hypothesis.channel >= 0:
                rows[f"r{hypothesis.channel}"][k] += blind_variance(rows[k], hypothesis.channel)
            else:
                rows[f"q{hypothesis.state}"][k] *= FREE
        slots = np.zeros(count * bank.channels, kernel.HEALTH)
        blank(slots)
        place = np.arange(count * bank.channels, dtype=np.int32)
        trial = cls(bank, row, channels, hypotheses, rows, slots, columns, place, begun, make_history(rows.dtype, 0, 1))
        trial._start_counters()
        return trial

    def feed(self, channel: NDArray[np.int32], t_ns: NDArray[np.int64], value: NDArray[np.float64], t_max: int) -> None:
        """Samples of this twin in order of arrival, ``channel`` int32[n] of its row."""
        for k in range(min(len(channel), SINGLY_MAX)):
            self._feed(channel[k : k + 1], t_ns[k : k + 1], value[k : k + 1], t_max)
        if len(channel) > SINGLY_MAX:
            self._feed(channel[SINGLY_MAX:], t_ns[SINGLY_MAX:], value[SINGLY_MAX:], t_max)

    def decide(self, *, may_fit: bool) -> Decision:
        """The end of the trial, or OPEN. Looking for parameters takes some milliseconds: OPEN when that may not be."""
        alarmed, deviation = self._judge()
        least, most = self._samples()
        consistent = np.flatnonzero(~alarmed).tolist()
        sensors = [k for k in consistent if self.hypotheses[k].channel >= 0]
        if least >= SAMPLES_LEAST and len(sensors) == 1 and len(consistent) == 1:
            if least >= self.fit_again:
                return self._convict(sensors[0], deviation, least) if may_fit else Decision(Verdict.OPEN)
        elif least >= SAMPLES_LEAST and not sensors and (consistent or least >= SAMPLES_NONE):
            return self._process(consistent, deviation) if may_fit else Decision(Verdict.OPEN)
        return Decision(Verdict.UNDECIDED if most >= SAMPLES_MAX else Verdict.OPEN)

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "rows": self.rows,
            "slots": self.slots,
            "begun": self.begun,
            "samples": self.samples,
            "seen": self.seen,
            "fit_again": self.fit_again,
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what :meth:`dump` gave for the same row and channels."""
        self.rows[:], self.slots[:], self.begun[:] = saved["rows"], saved["slots"], saved["begun"]
        self.samples = [(channel, t_ns, value) for channel, t_ns, value in saved["samples"]]
        self.seen = [(k, t_ns, y) for k, t_ns, y in saved["seen"]]
        self.fit_again = saved["fit_again"]

    def _convict(self, index: int, deviation: NDArray[np.float64], samples: int) -> Decision:
        """One sensor explains all; unless a parameter does as well, which more samples may tell apart."""
        if self._parameters():
            self.fit_again = samples + samples // 2
            return Decision(Verdict.OPEN, fitted=True)
        return Decision(Verdict.SENSOR, index, self._confidence(index, deviation), fitted=True)

    def _process(self, consistent: list[int], deviation: NDArray[np.float64]) -> Decision:
        """No sensor explains it."""
        index = consistent[0] if len(consistent) == 1 else -1
        confidence = self._confidence(consistent[0], deviation) if consistent else 0.0
        found = self._parameters()
        return Decision(Verdict.PROCESS, index, confidence, found[0] if len(found) == 1 else -1, fitted=True)

    def drifts(self, index: int) -> bool:
        """Whether the error of the sensor that hypothesis ``index`` puts aside grows, rather than stands."""
        points = [(1e-9 * t, y) for k, t, y in self.seen if k == index]
        if len(points) < SAMPLES_LEAST // 2:
            return False
        half = len(points) // 4  # the filter has found its feet
        t, y = np.array(points[half:]).T
        t -= t.mean()
        spread = float(t @ t)
        if not spread > 0:
            return False
        slope = float(t @ y) / spread
        left = y - y.mean() - slope * t
        error = np.sqrt(float(left @ left) / max(len(t) - 2, 1) / spread)
        return bool(abs(slope) > 6.0 * error) and abs(slope) * (t[-1] - t[0]) > 0.3 * abs(float(y.mean()))

    def _parameters(self) -> list[int]:
        """Parameters a change of which would explain the samples."""
        count = len(self.bank.model.parameters)
        return [k for k, _ in explaining(self.begun, self.samples, self.channels, count, self._feed_rows)]

    def _feed_rows(self, rows: NDArray[np.void], sample: Sample) -> None:
        """One sample into each of ``rows``."""
        c, t_ns, value = sample
        place = np.arange(len(rows), dtype=np.int32) * self.bank.channels + c
        self._update(rows, place, np.full(len(rows), t_ns), np.full(len(rows), value), t_ns)

    def _update(
        self,
        rows: NDArray[np.void],
        place: NDArray[np.int32],
        t_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        t_max: int,
    ) -> None:
        """Samples at ``place`` int32[n] of rows that are not the bank's."""
        self.bank.kernels.update(
            rows,
            np.zeros(len(place), np.int16),
            place,
            0,
            np.arange(len(place), dtype=np.int32),
            t_ns,
            value,
            t_max,
            0,
            np.zeros((1, len(OUTCOMES)), np.int64),
            self.no_history,
        )

    def _feed(
        self, channel: NDArray[np.int32], t_ns: NDArray[np.int64], value: NDArray[np.float64], t_max: int
    ) -> None:
        count, width = len(self.hypotheses), self.bank.channels
        slot = (np.arange(count, dtype=np.int32)[:, None] * width + channel).ravel()
        self._update(self.rows, slot, np.tile(t_ns, count), np.tile(value, count), t_max)
        row_of, channel_of = np.divmod(self.place, width)
        kernel.feed(
            self.slots,
            *views(self.rows),
            self.columns,
            row_of.astype(np.int32),
            channel_of.astype(np.int32),
            np.zeros(len(self.place), np.int16),
            0,
            slot,
            1.0 / SAMPLES_MAX,
            False,
        )
        if len(self.samples) < SAMPLES_MAX and len(channel) == 1:
            self.samples.append((int(channel[0]), int(t_ns[0]), float(value[0])))
        for k, hypothesis in enumerate(self.hypotheses):
            if hypothesis.channel in channel and len(self.seen) < SAMPLES_MAX * count:
                self.seen.append((k, int(t_ns[-1]), float(self.rows[f"y{hypothesis.channel}"][k])))

    def _start_counters(self) -> None:
        """What the row has counted before the trial is not news; samples count from the first."""
        longs = views(self.rows)[1]
        for k in range(len(self.hypotheses)):
            for c in range(self.bank.channels):
                h, column = self.slots[k * self.bank.channels + c], self.columns[c]
                h["fused"], h["gated"] = longs[k, column[kernel.FUSED]], longs[k, column[kernel.GATED]]

    def _judge(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Per hypothesis: whether what it can see is inconsistent, and the largest deviation of any of its figures."""
        alarmed = np.zeros(len(self.hypotheses), np.bool_)
        deviation = np.zeros(len(self.hypotheses))
        for k, hypothesis in enumerate(self.hypotheses):
            for c in self.channels:
                if c == hypothesis.channel:
                    continue
                h = self.slots[k * self.bank.channels + c]
                verdict = kernel.judge_innovations(h, SAMPLES_MAX, EFFECT)
                rejected = h["seen"] >= 10 and h["gate_rate"] > 0.2
                alarmed[k] |= verdict not in (kernel.OK, kernel.OVERREACTING, kernel.TOO_UNSURE) or rejected
                _, _, *figures = kernel.figures(h, SAMPLES_MAX)
                deviation[k] = max(deviation[k], abs(figures[0]), figures[1], figures[2], 10.0 * rejected)
        return alarmed, deviation

    def _samples(self) -> tuple[int, int]:
        """Least and most samples of any channel, under any hypothesis that sees it."""
        seen = self.slots["seen"].reshape(len(self.hypotheses), -1)[0, list(self.channels)]
        return int(seen.min()), int(seen.max())

    @staticmethod
    def _confidence(best: int, deviation: NDArray[np.float64]) -> float:
        """1 - exp(-(z₂² - z₁²)/2): the likelihood of the runner-up against that of the winner, by their largest
        deviations."""
        others = np.delete(deviation, best)
        if not len(others):
            return 0.0
        gap = 0.5 * (float(others.min()) ** 2 - float(deviation[best]) ** 2)
        return float(np.clip(1.0 - np.exp(-max(gap, 0.0)), 0.0, 0.999))


def open_wide(rows: NDArray[np.void], size: int) -> None:
    """Forget what rows believe of their accuracy: the initial variances, no correlation."""
    for i in range(size):
        rows[f"d{i}"] = rows[f"d0_{i}"]
        for j in range(i):
            rows[f"u{j}_{i}"] = 0.0


def blind_variance(row: np.void, c: int) -> float:
    """Variance to add to a sensor's noise so that its samples carry no weight."""
    return float(max(BLIND * row[f"r{c}"], 1e6 * row[f"s{c}"]))
