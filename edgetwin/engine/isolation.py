"""Sensor against process: bad sensors of twins with redundancy are found, put aside, and taken back when they are well.

A twin whose model has two or more measured signals is put on trial (edgetwin.engine.trials) when a signal is suspect or
its filter has started again. A sensor found guilty is de-weighted: its variance in the row is inflated, so that its
samples carry no weight but are still compared with what the others make of it. The twin goes on from the state of the
filter that was blind to it. When the sensor agrees again over RESTORE_SAMPLES samples its variance is as it was. A
sensor that is stuck or noisy is known without a trial.

A twin with ``lateness`` begins its history anew when a sensor is put aside or taken back: samples from before are then
late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine import health as state
from edgetwin.engine.bank import Bank
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.engine.events import EventLog
from edgetwin.engine.health import Health
from edgetwin.engine.packing import Pairs
from edgetwin.engine.trials import Decision, Trial, Verdict, blind_variance
from edgetwin.kernels import health as kernel
from edgetwin.model.ordering import COUNT, FORGOTTEN
from edgetwin.records import Batch

TRIALS_MAX = 32
"""Trials at one time; other suspects wait."""
RESTORE_SAMPLES = 100
CERTAIN = 0.999
_WITHOUT_TRIAL = {kernel.STUCK: state.SENSOR_STUCK, kernel.NOISY: state.SENSOR_NOISY}


@dataclass(frozen=True, slots=True)
class Redundant:
    """A row with several sensors: its twin's name and its measured signals as (channel, slot, name)."""

    number: int
    row: int
    twin: str
    signals: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class PutAside:
    """A de-weighted sensor: its variance and whether that is learned, as they were; what was added; what it has."""

    variance: float
    learned: int
    extra: float
    fault: str


class Isolation:
    """The trials and the de-weighted sensors of an engine."""

    def __init__(self, banks: Sequence[Bank], health: Health, events: EventLog) -> None:
        self._banks = banks
        self._health = health
        self._events = events
        self._of_slot: dict[int, Redundant] = {}
        self._trials: dict[tuple[int, int], Trial] = {}
        self._on_trial = np.zeros(16, np.bool_)
        self._settled: dict[tuple[int, int], Redundant] = {}
        self._resets: dict[int, NDArray[np.int32]] = {}
        self._aside: dict[int, PutAside] = {}
        self._told: dict[int, str] = {}
        self._doubted: dict[int, str] = {}
        self._names: list[tuple[str, str]] = []

    @property
    def trials(self) -> int:
        """How many run."""
        return len(self._trials)

    def add(self, twin: str, slots: dict[str, int], isolate: bool) -> None:
        """A new twin and its slots, which are the health's newest."""
        health = self._health
        rows: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
        for name, slot in slots.items():
            self._names.append((twin, name))
            number, row, c = int(health.bank_of[slot]), int(health.row_of[slot]), int(health.channel_of[slot])
            bank = self._banks[number]
            if isolate and isinstance(bank, EquationBank) and c < len(bank.model.measurements):
                rows.setdefault((number, row), []).append((c, slot, name))
        for (number, row), signals in rows.items():
            if len(signals) >= 2:
                redundant = Redundant(number, row, twin, tuple(sorted(signals)))
                self._of_slot |= {slot: redundant for _, slot, _ in signals}
        while len(self._on_trial) < len(self._names):
            self._on_trial = np.concatenate([self._on_trial, np.zeros_like(self._on_trial)])

    @property
    def names(self) -> list[tuple[str, str]]:
        """(twin, signal) of every slot."""
        return self._names

    def feed(self, batch: Batch, t_max: int) -> None:
        """Hand the samples of twins on trial to their trials; others are passed over at once."""
        if not self._trials:
            return
        hit = np.flatnonzero(self._on_trial[batch.slot])
        if not len(hit):
            return
        slot = batch.slot[hit]
        number, row = self._health.bank_of[slot], self._health.row_of[slot]
        for (bank, place), trial in self._trials.items():
            mine = np.flatnonzero((number == bank) & (row == place))
            if len(mine):
                channel = self._health.channel_of[slot[mine]]
                trial.feed(channel, batch.t_ns[hit[mine]], batch.value[hit[mine]], t_max)

    def act(self) -> None:
        """After a judgement: end trials, begin others, put sensors aside and take them back, and tell what has
        changed."""
        self._end_trials()
        self._take_back()
        self._put_aside_plainly()
        self._forget_settled()
        self._begin_trials()
        self._tell()

    def forget_trials(self) -> None:
        """Stop every trial: the clock was set."""
        self._trials.clear()
        self._on_trial[:] = False

    # ---- trials

    def _begin_trials(self) -> None:
        finding = self._health.finding
        suspect = np.flatnonzero(np.isin(finding, state.SUSPECT)).tolist() + self._restarted()
        for slot in suspect:
            if len(self._trials) >= TRIALS_MAX:
                return
            redundant = self._of_slot.get(slot)
            if redundant is None:
                continue
            key = (redundant.number, redundant.row)
            if key in self._trials or key in self._settled:
                continue
            bank = self._banks[redundant.number]
            channels = tuple(c for c, s, _ in redundant.signals if s not in self._aside)
            if not isinstance(bank, EquationBank) or len(channels) < 2 or not all(bank.model.process_noise):
                continue
            self.begin_trial(key, channels)

    def begin_trial(self, key: tuple[int, int], channels: tuple[int, ...]) -> Trial:
        """Put a row, given by bank and number, on trial; ``channels`` are those whose samples carry weight."""
        number, row = key
        bank = self._banks[number]
        assert isinstance(bank, EquationBank), "others are never on trial"
        self._trials[key] = Trial.of(bank, row, channels, self._health.columns(number))
        self._on_trial[_input_slots(self._health, key)] = True
        return self._trials[key]

    def _stop_trial(self, key: tuple[int, int]) -> None:
        if self._trials.pop(key, None) is not None:
            self._on_trial[_input_slots(self._health, key)] = False

    def _restarted(self) -> list[int]:
        """A slot of each row that has started again since the last call."""
        slots: list[int] = []
        for number, bank in enumerate(self._banks):
            counters = bank.rows["resets"].copy()
            told = self._resets.get(number, counters)
            self._resets[number] = counters
            rows = np.flatnonzero(counters[: len(told)] > told)
            if len(rows):
                health = self._health
                slots += np.flatnonzero((health.bank_of == number) & np.isin(health.row_of, rows)).tolist()
        return slots

    def _end_trials(self) -> None:
        fits = 1
        for key, trial in list(self._trials.items()):
            decision = trial.decide(may_fit=fits > 0)
            fits -= decision.fitted
            if decision.verdict is Verdict.OPEN:
                continue
            del self._trials[key]
            slots = _input_slots(self._health, key)
            self._on_trial[slots] = False
            redundant = next(self._of_slot[s] for s in slots.tolist() if s in self._of_slot)
            if decision.verdict is Verdict.SENSOR:
                self._convict(redundant, trial, decision)
            else:
                self._settled[key] = redundant
                if decision.verdict is Verdict.PROCESS:
                    self._process_changed(redundant, trial, decision)

    def _convict(self, redundant: Redundant, trial: Trial, decision: Decision) -> None:
        channel = trial.hypotheses[decision.index].channel
        slot = next(s for c, s, _ in redundant.signals if c == channel)
        health = self._health
        health.verdict[slot] = state.SENSOR_DRIFTS if trial.drifts(decision.index) else state.SENSOR_BIASED
        health.confidence[slot] = decision.confidence
        bank = trial.bank
        row, shadow = bank.rows[redundant.row], trial.rows[decision.index]
        for field in _estimate_fields(bank.size):
            row[field] = shadow[field]
        row["t"] = max(row["t"], shadow["t"])
        for c, s, _ in redundant.signals:
            row[f"rejects_of{c}"] = 0
            state.forget_innovations(health.slots[s : s + 1])
        row["rejects"], row["nis_mean"] = 0, 1.0
        self._put_aside(
            slot, redundant, float(shadow[f"r{channel}"] - row[f"r{channel}"]), state.VERDICTS[health.verdict[slot]]
        )
        self._tell_fault(slot, state.VERDICTS[health.verdict[slot]], decision.confidence)

    def _process_changed(self, redundant: Redundant, trial: Trial, decision: Decision) -> None:
        for _, slot, _ in redundant.signals:
            self._health.verdict[slot] = state.PROCESS
            self._health.confidence[slot] = decision.confidence
        at = trial.hypotheses[decision.index].state if decision.index >= 0 else -1
        model = trial.bank.model
        self._events.add(
            "process_change",
            int(trial.bank.rows[redundant.row]["t"]),
            twin=redundant.twin,
            state=list(model.states)[at] if at >= 0 else "",
            parameter=list(model.parameters)[decision.parameter] if decision.parameter >= 0 else "",
            confidence=round(decision.confidence, 3),
        )

    def _forget_settled(self) -> None:
        """A twin that is consistent again may be put on trial again."""
        for key, redundant in list(self._settled.items()):
            slots = [slot for _, slot, _ in redundant.signals]
            calm = ~np.isin(self._health.finding[slots], state.SUSPECT)
            if calm.all() and (self._health.slots["n"][slots] >= kernel.SAMPLES_LEAST).all():
                del self._settled[key]
                verdict = self._health.verdict[slots]
                self._health.verdict[slots] = np.where(verdict == state.PROCESS, state.NO_VERDICT, verdict)

    # ---- sensors put aside

    def _put_aside_plainly(self) -> None:
        for slot in np.flatnonzero(np.isin(self._health.finding, list(_WITHOUT_TRIAL))).tolist():
            redundant = self._of_slot.get(slot)
            finding = int(self._health.finding[slot])
            if redundant is None or slot in self._aside or self._doubted.get(slot) != state.KINDS[finding]:
                continue
            if sum(s not in self._aside for _, s, _ in redundant.signals) < 2:
                continue  # the last one is better than none
            c, row = self._health.channel_of[slot], self._banks[redundant.number].rows[redundant.row]
            noisy = finding == kernel.NOISY
            more = float((self._health.slots[slot]["nis"] - 1.0) * row[f"s{c}"])
            self._health.verdict[slot] = _WITHOUT_TRIAL[finding]
            self._health.confidence[slot] = CERTAIN
            self._put_aside(slot, redundant, more if noisy else blind_variance(row, int(c)), state.KINDS[finding])
            self._tell_fault(slot, state.KINDS[finding], CERTAIN)

    def _put_aside(self, slot: int, redundant: Redundant, extra: float, fault: str) -> None:
        c, row = self._health.channel_of[slot], self._banks[redundant.number].rows[redundant.row]
        self._aside[slot] = PutAside(float(row[f"r{c}"]), int(row[f"learn_of{c}"]), extra, fault)
        row[f"r{c}"] += extra
        row[f"learn_of{c}"] = 0
        h = self._health.slots[slot]
        h["extra"] = extra
        self._stop_trial((redundant.number, redundant.row))
        state.forget_innovations(self._health.slots[slot : slot + 1])
        _begin_history(self._banks[redundant.number], row)

    def _take_back(self) -> None:
        for slot, aside in list(self._aside.items()):
            h = self._health.slots[slot]
            redundant = self._of_slot[slot]
            c, row = self._health.channel_of[slot], self._banks[redundant.number].rows[redundant.row]
            row[f"learn_of{c}"] = 0  # noise that was frozen and is released must not learn from a sensor put aside
            if (
                h["n"] < RESTORE_SAMPLES
                or kernel.judge_innovations(h, kernel.MEMORY, 1.0) != kernel.OK
                or kernel.is_stuck(h)
            ):
                continue
            row[f"r{c}"], row[f"learn_of{c}"] = aside.variance, aside.learned
            h["extra"] = 0.0
            self._health.verdict[slot] = state.NO_VERDICT
            _begin_history(self._banks[redundant.number], row)
            del self._aside[slot]

    # ---- events

    def _tell(self) -> None:
        """Faults that stand by themselves, once they have been found twice in a row, and their end."""
        health = self._health
        found = {
            int(slot): state.KINDS[health.finding[slot]]
            for slot in np.flatnonzero(np.isin(health.finding, state.PLAIN_FAULTS) & (health.verdict == 0))
            if not (self._on_trial[slot] and health.finding[slot] == kernel.SPIKING)
        }
        for slot, fault in found.items():
            if self._doubted.get(slot) == fault and self._told.get(slot) != fault:
                self._tell_fault(slot, fault, CERTAIN)
        self._doubted = found
        for slot in [s for s in self._told if s not in found and s not in self._aside and not health.verdict[s]]:
            fault = self._told.pop(slot)
            twin, signal = self._names[slot]
            self._events.add("sensor_restored", int(health.slots[slot]["t"]), twin=twin, signal=signal, fault=fault)

    def _tell_fault(self, slot: int, fault: str, confidence: float) -> None:
        self._told[slot] = fault
        twin, signal = self._names[slot]
        t_ns = int(self._health.slots[slot]["t"])
        self._events.add(
            "sensor_fault", t_ns, twin=twin, signal=signal, fault=fault, confidence=round(float(confidence), 3)
        )

    # ---- persistence

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "aside": [[s, a.variance, a.learned, a.extra, a.fault] for s, a in self._aside.items()],
            "told": list(self._told.items()),
            "doubted": list(self._doubted.items()),
            "settled": list(self._settled),
            "resets": self._resets,
            "trials": [[*key, trial.channels, trial.dump()] for key, trial in self._trials.items()],
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what :meth:`dump` gave for the same slots and rows."""
        self._aside = {slot: PutAside(*aside) for slot, *aside in saved["aside"]}
        self._told, self._doubted = dict(saved["told"]), dict(saved["doubted"])
        of_row = {(redundant.number, redundant.row): redundant for redundant in self._of_slot.values()}
        self._settled = {(number, row): of_row[number, row] for number, row in saved["settled"]}
        self._resets = saved["resets"]
        for number, row, channels, trial in saved["trials"]:
            begun = self.begin_trial((number, row), tuple(channels))
            begun.resume(trial)

    def load(self, saved: dict[str, Any], health: dict[str, Any], slots: Pairs) -> None:
        """Put the sensors aside again; a variance that the configuration now fixes is taken from there. Trials begin
        anew. ``health`` is what :meth:`Health.dump` gave."""
        slot_of = dict(zip(slots[1].tolist(), slots[0].tolist(), strict=True))
        for before, variance, _, extra, fault in saved["aside"]:
            slot = slot_of.get(before, -1)
            redundant = self._of_slot.get(slot)
            if redundant is None:
                continue
            c, row = self._health.channel_of[slot], self._banks[redundant.number].rows[redundant.row]
            if row[f"learn_of{c}"]:
                row[f"r{c}"] = float(variance)
            kept = self._health.slots[slot].copy()
            self._put_aside(slot, redundant, float(extra), str(fault))
            self._health.slots[slot] = kept
            self._health.slots[slot]["extra"] = float(extra)
            self._health.verdict[slot] = health["verdict"][before]
            self._health.confidence[slot] = health["confidence"][before]
            self._told[slot] = str(fault)


def _input_slots(health: Health, key: tuple[int, int]) -> NDArray[np.int64]:
    """Every slot that feeds a row."""
    return np.flatnonzero((health.bank_of == key[0]) & (health.row_of == key[1]))


def _estimate_fields(size: int) -> list[str]:
    upper = [f"u{i}_{j}" for j in range(size) for i in range(j)]
    return [*(f"x{i}" for i in range(size)), *(f"d{i}" for i in range(size)), *upper]


def _begin_history(bank: Bank, row: np.void) -> None:
    """What came before belongs to another filter: it cannot be gone back to."""
    if row["history"] > 0:
        used = bank.history.used[row["history"] - 1]
        used[COUNT], used[FORGOTTEN] = 0, 1
