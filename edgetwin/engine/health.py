"""Filter health: is each twin as right as it says it is?

After every batch a kernel reads the innovations that the filters left in their rows (edgetwin.kernels.health). Once a
second of the engine's time the figures of the whole fleet are judged, and what is found joins the quality of the twin.
The figures belong to what has been seen, not to the state: a late sample does not rewind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.bank import Bank
from edgetwin.engine.growth import Growth
from edgetwin.engine.packing import Pairs
from edgetwin.kernels import health as kernel
from edgetwin.records import SignalHealth

KINDS = (
    "ok",
    "stuck",
    "dropout",
    "spiking",
    "noisy",
    "biased",
    "lagging",
    "overreacting",
    "too_sure",
    "too_unsure",
    "rejecting",
)
"""Names of the kernel's findings."""
REASONS = (
    "",
    "sensor stuck",
    "sensor silent",
    "sensor spikes",
    "sensor noisy",
    "biased",
    "lags",
    "overreacts",
    "too sure",
    "too unsure",
    "often rejected",
)
NO_VERDICT, SENSOR_BIASED, SENSOR_DRIFTS, SENSOR_STUCK, SENSOR_NOISY, PROCESS = range(6)
VERDICTS = ("", "biased", "drifting", "stuck", "noisy", "process_change")
FAULTS = ("ok", "sensor_or_process", "dropout", "spiking", *VERDICTS[1:])
"""What a signal's fault may be."""
_VERDICT_REASONS = (
    "",
    "sensor biased, not used",
    "sensor drifts, not used",
    "sensor stuck, not used",
    "sensor noisy, weighed less",
    "process changed",
)
PLAIN_FAULTS = (kernel.STUCK, kernel.DROPOUT, kernel.SPIKING, kernel.NOISY)
"""Findings that are faults of the sensor by themselves."""
SUSPECT = (kernel.BIASED, kernel.LAGGING, kernel.TOO_SURE, kernel.REJECTING)
"""Findings that may come from the sensor or from the process."""
JUDGE_EVERY_NS = NS


class Health:
    """Figures of every slot: ``slots`` HEALTH[n], ``finding`` uint8[n] indices into KINDS as judged last, ``verdict``
    uint8[n] and ``confidence`` float32[n] as found by isolation (edgetwin.engine.isolation)."""

    def __init__(self, banks: Sequence[Bank]) -> None:
        self._banks = banks
        self._columns: dict[int, NDArray[np.int64]] = {}
        self._used = 0
        self._twins = 0
        self._slots = np.zeros(16, kernel.HEALTH)
        self._numbers = np.zeros((3, 16), np.int32)
        self._judged = np.zeros(16, np.uint8)
        self._verdicts = np.zeros(16, np.uint8)
        self._confidences = np.zeros(16, np.float32)
        self._judged_ns = 0
        self.growth = Growth(banks)

    @property
    def slots(self) -> NDArray[np.void]:
        """HEALTH[slots]; live."""
        return self._slots[: self._used]

    @property
    def finding(self) -> NDArray[np.uint8]:
        """uint8[slots]; live."""
        return self._judged[: self._used]

    @property
    def verdict(self) -> NDArray[np.uint8]:
        """uint8[slots]; live."""
        return self._verdicts[: self._used]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """float32[slots] of the verdict; live."""
        return self._confidences[: self._used]

    @property
    def bank_of(self) -> NDArray[np.int32]:
        """int32[slots]: number of the bank of each slot."""
        return self._numbers[0, : self._used]

    @property
    def row_of(self) -> NDArray[np.int32]:
        """int32[slots]: row in its bank."""
        return self._numbers[1, : self._used]

    @property
    def channel_of(self) -> NDArray[np.int32]:
        """int32[slots]: channel of its row."""
        return self._numbers[2, : self._used]

    def add(self, number: int, place: int, twin: int, stale_ns: int) -> None:
        """The next slot: its bank's number, its place there, the index of its twin, and its stale limit (0:
        automatic)."""
        if self._used == len(self._slots):
            self._slots, self._judged, self._verdicts, self._confidences = (
                np.concatenate([a, np.zeros_like(a)])
                for a in (self._slots, self._judged, self._verdicts, self._confidences)
            )
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)], axis=1)
        slot = self._used
        self._used += 1
        self._twins = max(self._twins, twin + 1)
        blank(self._slots[slot : slot + 1])
        self._slots[slot]["twin"], self._slots[slot]["stale_ns"] = twin, stale_ns
        self._numbers[:, slot] = number, *divmod(place, self._banks[number].channels)

    def feed(
        self, number: int, slot: NDArray[np.int32], slot_bank: NDArray[np.int16], after: NDArray[np.void] | None = None
    ) -> None:
        """Take note of what a batch (``slot`` int32[n]) has done to the rows of a bank, or of the rows ``after`` each
        of its samples."""
        rows = self._banks[number].rows if after is None else after
        if not len(rows):
            return
        kernel.feed(
            self.slots,
            *views(rows),
            self.columns(number),
            self.row_of,
            self.channel_of,
            slot_bank,
            number,
            slot,
            kernel.GAIN_LEAST,
            after is not None,
        )

    def columns(self, number: int) -> NDArray[np.int64]:
        """int64[channels, COLUMNS] for the kernel."""
        if number not in self._columns:
            self._columns[number] = _columns(self._banks[number])
        return self._columns[number]

    def due(self, now_ns: int) -> bool:
        """Whether a second has passed since this was last true; a clock that goes back counts as well."""
        if 0 <= now_ns - self._judged_ns < JUDGE_EVERY_NS:
            return False
        self._judged_ns = now_ns
        return True

    def judge(self, now_ns: int) -> None:
        """Judge every signal, and once a minute the growth of every covariance."""
        kernel.judge(self.slots, np.zeros(self._twins, np.int64), self.finding)
        self.growth.look(now_ns)

    def shift(self, slots: NDArray[np.int64], ns: int) -> None:
        """Move the times of ``slots``: the clock that dated them was set."""
        stamps = self.slots["t"]
        stamps[slots] += np.where(stamps[slots] > 0, ns, 0)

    # ---- what is told

    def signal(self, slot: int, latest_ns: int) -> SignalHealth:
        """One signal of a twin whose newest sample is at ``latest_ns``, judged now."""
        h = self.slots[slot].copy()  # judging leaves a mark, and who only asks must leave none
        finding = int(kernel.judge_one(h, latest_ns))
        known = h["n"] >= kernel.SAMPLES_LEAST
        whiteness, _, *deviations = kernel.figures(h, kernel.MEMORY)
        n = min(max(int(h["n"]), 1), kernel.MEMORY)
        return SignalHealth(
            nis=float(h["nis"]) if known else math.nan,
            nis_low=float(kernel.nis_bound(n, -kernel.DEVIATIONS)) if known else math.nan,
            nis_high=float(kernel.nis_bound(n, kernel.DEVIATIONS)) if known else math.nan,
            bias=float(h["bias"]) if known else math.nan,
            whiteness=float(whiteness) if h["pairs"] >= kernel.SAMPLES_LEAST else math.nan,
            gate_rate=float(h["gate_rate"]) if h["seen"] else math.nan,
            samples=int(h["n"]),
            finding=KINDS[finding],
            fault=_fault(finding, int(self.verdict[slot])),
            confidence=self._confidence(slot, finding, max(abs(d) for d in deviations)),
            weighed=not h["extra"] > 0,
        )

    def fault(self, slot: int) -> str:
        """What the sensor or the process has, by the last judgement."""
        return _fault(int(self.finding[slot]), int(self.verdict[slot]))

    def _confidence(self, slot: int, finding: int, deviation: float) -> float:
        if _fault(finding, int(self.verdict[slot])) == "ok":
            return 0.0
        if self.verdict[slot]:
            return float(self.confidence[slot])
        if finding in (kernel.STUCK, kernel.DROPOUT):
            return 1.0 - math.exp(kernel.STUCK_LOG)
        return math.erf(deviation / math.sqrt(2.0))

    def reason(self, slot: int, judged: SignalHealth | None) -> str:
        """Why the twin's quality suffers from this signal, as ``judged`` now or, if it is not, last; empty when it
        does not."""
        finding = int(self.finding[slot]) if judged is None else KINDS.index(judged.finding)
        return _VERDICT_REASONS[self.verdict[slot]] or REASONS[finding]

    def doubtful(self, number: int) -> NDArray[np.bool_]:
        """bool[rows] of a bank: whether any of its signals or its covariance has something wrong, as judged last."""
        wrong = self.growth.unobserved(number)
        slots = np.flatnonzero(((self.finding > 0) | (self.verdict > 0)) & (self.bank_of == number))
        wrong[self.row_of[slots]] = True
        return wrong

    def counts(self) -> dict[str, int]:
        """Signals by finding, as judged last; ``unobserved``: rows with a state that no sensor holds."""
        by_finding = np.bincount(self.finding, minlength=len(KINDS)).tolist()
        unobserved = sum(int(self.growth.unobserved(number).sum()) for number in range(len(self._banks)))
        return dict(zip(KINDS, by_finding, strict=True)) | {"unobserved": unobserved}

    # ---- persistence

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "slots": self.slots,
            "finding": self.finding,
            "verdict": self.verdict,
            "confidence": self.confidence,
            "judged_ns": self._judged_ns,
            "growth": self.growth.dump(),
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what :meth:`dump` gave for the same slots and rows."""
        self.slots[:], self.finding[:] = saved["slots"], saved["finding"]
        self.verdict[:], self.confidence[:] = saved["verdict"], saved["confidence"]
        self._judged_ns = saved["judged_ns"]
        self.growth.resume(saved["growth"])

    def load(self, saved: dict[str, Any], slots: Pairs) -> None:
        """Take over what fits the rows as they have been restored; everything else is learned anew."""
        before_of = dict(zip(slots[0].tolist(), saved["slots"][slots[1]], strict=True))
        for slot in range(self._used):
            before = before_of.get(slot)
            number = int(self.bank_of[slot])
            longs = views(self._banks[number].rows[self.row_of[slot] :][:1])[1][0]
            column = self.columns(number)[self.channel_of[slot]]
            h = self.slots[slot]
            if (
                before is None
                or before["fused"] != longs[column[kernel.FUSED]]
                or before["t"] > longs[column[kernel.T]]
            ):
                h["fused"], h["gated"] = longs[column[kernel.FUSED]], longs[column[kernel.GATED]]
                continue
            kept = {name: h[name] for name in ("twin", "stale_ns")}
            self.slots[slot] = before
            h["extra"] = 0.0
            for name, value in kept.items():
                h[name] = value


def _fault(finding: int, verdict: int) -> str:
    if verdict and (verdict != PROCESS or finding not in PLAIN_FAULTS):
        return VERDICTS[verdict]
    if finding in PLAIN_FAULTS:
        return KINDS[finding]
    return "sensor_or_process" if finding in SUSPECT else "ok"


def blank(slots: NDArray[np.void]) -> None:
    """Make HEALTH records as of signals not heard yet."""
    slots[:] = np.zeros(1, kernel.HEALTH)[0]
    slots["rest"] = slots["last"] = np.nan


def forget_innovations(slots: NDArray[np.void]) -> None:
    """Begin the figures of the innovations anew, keeping runs and counters."""
    for name in ("bias", "nis", "pair", "up", "down", "n", "pairs", "gate_rate", "spike_rate", "gated_run", "sound"):
        slots[name] = 0
    slots["last"] = np.nan


def views(rows: NDArray[np.void]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows as float64[n, width] and int64[n, width]: the same bytes."""
    return rows.view(np.float64).reshape(len(rows), -1), rows.view(np.int64).reshape(len(rows), -1)


def _columns(bank: Bank) -> NDArray[np.int64]:
    fields = bank.rows.dtype.fields
    assert fields is not None
    table = np.full((bank.channels, kernel.COLUMNS), -1, np.int64)
    for c in range(bank.channels):
        names = bank.channel_fields(c)
        for k, name in enumerate(names):
            if name:
                table[c, k] = fields[name][1] // 8
    return table
