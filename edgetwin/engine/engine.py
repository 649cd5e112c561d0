"""The twin engine: batches in, estimates out.

Samples of one signal are fused in the order in which they come. The rule for time stamps, applied by the
kernel: later than the state: extrapolate, then update; equal: update without extrapolation; older by no
more than the twin's ``lateness``: the twin goes back and fuses it as if it had come in order (LATE_FUSED);
older: LATE_DROPPED; same time and same value as the last sample of the signal: DUPLICATE; before 1970 or
beyond ``now + limits.future``: INVALID.

State depends on the configuration and on the calls that change it, in their order, and on nothing else. Those calls can
be written down and made again (edgetwin.engine.inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.equations import equation_model, with_noise_of
from edgetwin.config.models import model_names, user_model
from edgetwin.config.schema import Config, Twin
from edgetwin.engine import snapshot
from edgetwin.engine.aggregates import Aggregates
from edgetwin.engine.bank import GENERAL_REASONS, REASONS, Bank, SignalBank, row_status
from edgetwin.engine.clocks import DeviceClocks
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.engine.events import EventLog, Restarts
from edgetwin.engine.foresight import Foresight, RowsOf
from edgetwin.engine.gathering import Gathering
from edgetwin.engine.health import Health
from edgetwin.engine.inputs import InputLog, Numbering, recorded
from edgetwin.engine.isolation import Isolation
from edgetwin.engine.ledger import Ledger
from edgetwin.engine.noise import Learning, TwinNoise, twin_noise
from edgetwin.engine.relations import Relation, Relations
from edgetwin.engine.reporting import Reporter
from edgetwin.engine.trace import Trace, Tracing
from edgetwin.engine.twins import TwinInstance, is_template, substitute
from edgetwin.errors import ConfigError
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_equations, compile_model
from edgetwin.records import (
    Batch,
    Event,
    Foreseen,
    Outcome,
    Quality,
    Report,
    Scalar,
    SignalStatus,
    SignalSummary,
    StateEstimate,
    TwinEstimate,
)

I64_MAX = 2**63 - 1
NIS_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Engine:
    """All twins of one gateway. Not thread-safe: every call is made on the event loop.

    While ``inputs`` is a log, the calls that change the engine are entered into it. ``numbering`` is how the numbers in
    logs are read that follow on the snapshot restored last (None: as they are). ``noise_learning_set`` are the twins
    that were told by :meth:`set_noise_learning`, and what they were told last.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.inputs: InputLog | None = None
        self.numbering: Numbering | None = None
        self.sources = tuple(s.name for s in config.sources)
        self.ledger = Ledger(len(self.sources))
        self.banks: list[Bank] = []
        self._bank_of_model: dict[str, int] = {}
        self._twins: dict[str, TwinInstance] = {}
        self._listeners: list[Callable[[TwinInstance], None]] = []
        self._slot_bank: NDArray[np.int16] = np.zeros(16, np.int16)
        self._slot_row: NDArray[np.int32] = np.zeros(16, np.int32)
        self._slots = 0
        self._future_ns = round(config.limits.future * NS)
        self.events = EventLog()
        self.clocks = DeviceClocks(config, self.events)
        self.aggregates = Aggregates()
        self._foresight = Foresight()
        self.health = Health(self.banks)
        self.isolation = Isolation(self.banks, self.health, self.events)
        self.restarts = Restarts()
        self.reporter = Reporter()
        self.gathering = Gathering()
        self.relations: dict[str, Relations] = {}
        self.noise_learning_set: dict[str, Learning] = {}
        self.tracing = Tracing()
        for twin in config.twins:
            self._bank(twin.model)  # templates too: a kernel must not be compiled when the first machine speaks
            if not is_template(twin):
                self._add(twin, twin.name, {})

    # ---- twins

    def source_index(self, name: str) -> int:
        """Row of the ledger that belongs to a source; ValueError when there is none of that name."""
        return self.sources.index(name)

    def instances(self) -> Iterable[TwinInstance]:
        """The twins that exist, oldest first."""
        return self._twins.values()

    def names(self) -> list[str]:
        """Names of the twins that exist, oldest first."""
        return list(self._twins)

    def has(self, twin: str) -> bool:
        """Whether a twin of that name exists."""
        return twin in self._twins

    @property
    def slot_names(self) -> list[tuple[str, str]]:
        """(twin, signal) of every slot."""
        return self.isolation.names

    def on_twin(self, listener: Callable[[TwinInstance], None]) -> None:
        """Call ``listener`` for every twin that exists and for each one made later."""
        self._listeners.append(listener)
        for instance in list(self._twins.values()):
            listener(instance)

    def hear(self, template: Twin, captures: dict[str, str]) -> TwinInstance | None:
        """The twin that ``template`` makes of these placeholder values, made now if it is new.

        None when ``limits.twins`` is reached or the name belongs to a twin of another template.
        """
        name = substitute(template.name, captures)
        known = self._twins.get(name)
        if known is not None:
            return known if known.spec is template else None
        if self.full:
            return None
        if self.inputs is not None:
            self.inputs.call("hear", template.name, captures, list(template.signals))
        return self._add(template, name, dict(captures))

    @property
    def full(self) -> bool:
        """Whether ``limits.twins`` is reached."""
        return len(self._twins) >= self.config.limits.twins

    def _add(self, spec: Twin, name: str, captures: dict[str, str]) -> TwinInstance:
        bank_index = self._bank(spec.model)
        places = self.banks[bank_index].add(name, len(self._twins), spec)
        slots = {signal: self._slot(bank_index, place, len(self._twins), spec) for signal, place in places.items()}
        self.clocks.add(name, slots, spec.signals)
        self.aggregates.add(name, slots, spec)
        self.isolation.add(name, slots, spec.isolate)
        instance = TwinInstance(name, spec, captures, slots)
        self._twins[name] = instance
        for listener in self._listeners:
            listener(instance)
        return instance

    def _bank(self, model_name: str) -> int:
        if model_name not in self._bank_of_model:
            self._bank_of_model[model_name] = len(self.banks)
            self.banks.append(self._new_bank(model_name))
        return self._bank_of_model[model_name]

    def _new_bank(self, name: str) -> Bank:
        builtin = BUILTIN.get(name)
        if builtin is not None:
            return SignalBank(builtin, compile_model(builtin))
        user = user_model(self.config, name)
        if user is None:
            raise ConfigError(
                f"there is no model {name!r}", hint=f"use one of {', '.join(model_names(self.config, name))}"
            )
        equations = equation_model(user)
        twins = [twin for twin in self.config.twins if twin.model == name]
        return EquationBank(equations, compile_equations(with_noise_of(equations, twins)))

    def _slot(self, bank: int, place: int, twin: int, spec: Twin) -> int:
        if self._slots == len(self._slot_row):
            self._slot_bank = np.concatenate([self._slot_bank, np.zeros_like(self._slot_bank)])
            self._slot_row = np.concatenate([self._slot_row, np.zeros_like(self._slot_row)])
        slot = self._slots
        self._slots += 1
        self._slot_bank[slot] = bank
        self._slot_row[slot] = place
        self.health.add(bank, place, twin, round((spec.stale_after or 0) * NS))
        return slot

    # ---- noise

    def place(self, slot: int) -> tuple[Bank, int]:
        """The bank that a slot feeds, and its place there."""
        return self._place(slot)

    def noise(self, name: str) -> TwinNoise:
        """What a twin has learned of noise, dynamics, seasons and relations. KeyError for an unknown twin."""
        return twin_noise(self, name)

    def noise_learning(self, name: str) -> Learning:
        """Whether a twin learns noise: as set last, else as configured. KeyError for an unknown twin."""
        return self.noise_learning_set.get(name) or self._twins[name].spec.noise_learning

    @recorded
    def set_noise_learning(self, name: str, learning: Learning) -> None:
        """Let a twin learn noise, or hold what it has learned; kept in snapshots. KeyError for an unknown twin."""
        instance = self._twins[name]
        self.noise_learning_set[name] = learning
        self._hold_noise(instance)

    def hold_restored_noise(self) -> None:
        """Let what each twin is told about learning hold for restored rows too."""
        for instance in self._twins.values():
            self._hold_noise(instance)

    def _hold_noise(self, instance: TwinInstance) -> None:
        frozen = self.noise_learning(instance.name) == "frozen"
        for slot in instance.slots.values():
            bank, place = self._place(slot)
            bank.hold_noise(place, frozen)

    def relations_of(self, bank: Bank, rows: list[int], names: list[str]) -> list[Relation]:
        """How rows of one twin are related, by what reports have seen of their innovations."""
        relations = self.relations.get(bank.name)
        return relations.of(rows, names) if relations is not None else []

    def _look_at_relations(self) -> None:
        for bank in self.banks:
            if isinstance(bank, SignalBank):
                if bank.name not in self.relations:
                    self.relations[bank.name] = Relations(bank)
                self.relations[bank.name].look()

    # ---- samples

    def ingest(self, source: int, batch: Batch, now_ns: int) -> None:
        """Fuse a batch; each of its samples is received and given one outcome.

        Stamps of devices are judged first, and replaced in the batch's own array where they cannot be taken.
        """
        if self.inputs is not None:
            self.inputs.samples(source, batch, now_ns)
        self.ledger.received[source] += len(batch)
        self.clocks.judge(source, batch, now_ns)
        self.aggregates.enter(batch, now_ns + self._future_ns)
        for index, bank in enumerate(self.banks):
            bank.kernels.update(
                bank.rows,
                self._slot_bank,
                self._slot_row,
                index,
                batch.slot,
                batch.t_ns,
                batch.value,
                now_ns + self._future_ns,
                source,
                self.ledger.counts,
                bank.history,
            )
            self.health.feed(index, batch.slot, self._slot_bank)
        self.isolation.feed(batch, now_ns + self._future_ns)
        if self.health.due(now_ns):
            self.health.judge(now_ns)
            self.isolation.act()

    def ingest_traced(self, source: NDArray[np.int32], batch: Batch, now_ns: int) -> Trace:
        """As :meth:`ingest`, for samples of several sources (int32[n], one for each), and tells what each one did.

        The health of filters and sensors is judged but nothing is put aside: the states are those of the samples alone,
        however they are cut into batches. For recorded files: it is not entered into ``inputs``.
        """
        self.ledger.received += np.bincount(source, minlength=len(self.sources))
        t_max = min(now_ns + self._future_ns, I64_MAX)
        trace = self.tracing.run(self.banks, self._slot_bank, self._slot_row, source, batch, t_max, self.ledger.counts)
        for number, one in enumerate(trace.banks):
            self.health.feed(number, batch.slot, self._slot_bank, one.after)
        if self.health.due(now_ns):
            self.health.judge(now_ns)
        return trace

    @recorded
    def count(self, source: int, outcome: Outcome, n: int = 1) -> None:
        """Enter ``n`` samples that never reached a filter."""
        self.ledger.received[source] += n
        self.ledger.counts[source, outcome] += n

    @recorded
    def clock_stepped(self, step_ns: int, *, shift: bool) -> None:
        """The gateway's clock was set: it jumped by ``step_ns``.

        With ``shift`` everything that the old clock dated moves along, as if the clock had always been right: no
        filter sees the step. Without, the time between is taken to have passed. Twins of whose signals some are
        dated by devices move only backwards: forwards, the devices have dated them already.
        """
        self.clocks.start_again()
        self.aggregates.start_again()
        self.reporter.start_again()
        self.isolation.forget_trials()
        if not shift:
            return
        slots = np.arange(self._slots)
        on_gateway = self.clocks.on_gateway(slots)
        for number, bank in enumerate(self.banks):
            mine = np.flatnonzero(self._slot_bank[: self._slots] == number)
            row = self._slot_row[mine] // bank.channels
            own = np.bincount(row, on_gateway[mine], len(bank))
            moved = own == np.bincount(row, minlength=len(bank)) if step_ns > 0 else own > 0
            bank.shift(np.flatnonzero(moved), step_ns)
            self.health.shift(mine[moved[row]], step_ns)

    @recorded
    def trust_clock(self, trusted: bool) -> None:
        """Whether the gateway's clock is right; stamps of devices are judged by it only then."""
        self.clocks.trusted = trusted

    # ---- estimates

    def estimate(self, twin: str, at_ns: int | None, now_ns: int) -> TwinEstimate:
        """A twin at ``at_ns``, or at its last fused sample when None; its quality is as of ``now_ns``.

        Raises KeyError for an unknown twin. An instant before the last fused sample gives the state at that
        sample.
        """
        instance = self._twins[twin]
        places = {name: self._place(slot) for name, slot in instance.slots.items()}
        last_ns = max(int(bank.rows[place // bank.channels]["t"]) for bank, place in places.values())
        at = last_ns if at_ns is None else at_ns
        states: dict[str, StateEstimate] = {}
        signals: dict[str, SignalStatus] = {}
        worst, reason = Quality.GOOD, ""
        seen: set[tuple[str, int]] = set()
        for name, (bank, place) in places.items():
            status = bank.signal(place, instance.spec.signals[name].unit)
            slot = instance.slots[name]
            health = self.health.signal(slot, last_ns) if bank.channel_fields(place % bank.channels)[0] else None
            signals[name] = replace(status, clock=self.clocks.offset(slot), health=health)
            row = place // bank.channels
            if (bank.name, row) in seen:
                continue
            seen.add((bank.name, row))
            mean, std = bank.predict(np.array([row]), at)
            for k, (_, state, unit) in enumerate(bank.columns[row]):
                states[state] = StateEstimate(float(mean[0, k]), float(std[0, k]), unit)
            judged = row_status(bank.rows[row : row + 1], now_ns)
            if judged.quality[0] > worst:
                what = f"{name}: " if bank.channels == 1 else ""
                worst, reason = Quality(int(judged.quality[0])), what + REASONS[judged.reason[0]]
        if worst == Quality.GOOD or reason.endswith(GENERAL_REASONS):
            doubt = self._doubt(instance, places, signals)
            worst, reason = (Quality.UNCERTAIN, doubt) if doubt else (worst, reason)
        return TwinEstimate(twin, instance.spec.model, at, last_ns, worst, reason, states, signals)

    def _doubt(
        self, instance: TwinInstance, places: dict[str, tuple[Bank, int]], signals: dict[str, SignalStatus]
    ) -> str:
        """What is wrong with the health of a twin; empty when nothing is."""
        for name, slot in instance.slots.items():
            if reason := self.health.reason(slot, signals[name].health):
                return f"{name}: {reason}"
        for bank, place in places.values():
            row = place // bank.channels
            for k in self.health.growth.states(self.banks.index(bank), row):
                return f"{bank.columns[row][k][1]}: unobserved"
        return ""

    def instance(self, twin: str) -> TwinInstance:
        """The twin of that name; KeyError when there is none."""
        return self._twins[twin]

    def rows_of(self, twin: str) -> list[tuple[Bank, int]]:
        """The filters of a twin as (bank, row), in the order of its signals. KeyError for an unknown twin."""
        places = [self._place(slot) for slot in self._twins[twin].slots.values()]
        return list(dict.fromkeys((bank, place // bank.channels) for bank, place in places))

    def _place(self, slot: int) -> tuple[Bank, int]:
        return self.banks[self._slot_bank[slot]], int(self._slot_row[slot])

    def quality_of_twins(self, now_ns: int) -> NDArray[np.uint8]:
        """uint8[twins]: the worst quality among each twin's signals, in the order of :meth:`names`."""
        worst = np.zeros(len(self._twins), np.uint8)
        for number, bank in enumerate(self.banks):
            np.maximum.at(worst, bank.rows["twin"], self.quality_of_rows(number, now_ns))
        return worst

    def quality_of_rows(self, number: int, now_ns: int) -> NDArray[np.uint8]:
        """uint8[rows] of a bank: Quality of each filter, its health included."""
        doubtful = self.health.doubtful(number).astype(np.uint8)
        quality: NDArray[np.uint8] = np.maximum(
            self.banks[number].status(now_ns).quality, doubtful * np.uint8(Quality.UNCERTAIN)
        )
        return quality

    def quality_counts(self, now_ns: int) -> NDArray[np.int64]:
        """int64[3]: twins by Quality."""
        return np.bincount(self.quality_of_twins(now_ns), minlength=len(Quality))

    def nis_histogram(self) -> tuple[tuple[float, ...], NDArray[np.int64], float]:
        """Fleet histogram of each signal's mean NIS (1 when its filter is consistent): bounds, counts, sum.

        ``counts`` int64[len(bounds) + 1] are per bucket, the last above every bound.
        """
        live = [bank.rows["nis_mean"][bank.rows["updates"] > 1] for bank in self.banks]
        values = np.concatenate(live) if live else np.zeros(0)
        bucket = np.searchsorted(NIS_BOUNDS, values, side="left")
        return NIS_BOUNDS, np.bincount(bucket, minlength=len(NIS_BOUNDS) + 1), float(values.sum())

    # ---- reports and persistence

    @recorded
    def tell(self, kind: str, t_ns: int, /, **data: Scalar) -> None:
        """Enter an event from outside of the engine; see :class:`edgetwin.records.Event`."""
        self.events.add(kind, t_ns, **data)

    @recorded
    def look(self) -> None:
        """Enter into ``events`` what the filters went through since the last call."""
        self.restarts.look(self.banks, self.events)

    @recorded
    def report(self, now_ns: int) -> list[Report]:
        """The reports that are due at ``now_ns``: one for each cadence whose interval has passed.

        What the filters went through since the last call is entered into ``events``.
        """
        self.look()
        self._look_at_relations()
        return self.reporter.report(self.banks, list(self._twins.values()), now_ns, self.events, self.quality_of_rows)

    @recorded
    def summaries(self, now_ns: int, *, all_of_it: bool = False) -> list[SignalSummary]:
        """Of the raw samples, what is due at ``now_ns``; see :meth:`edgetwin.engine.aggregates.Aggregates.take`."""
        return self.aggregates.take(now_ns, all_of_it=all_of_it)

    @recorded
    def gather(self, now_ns: int, *, last: bool = False) -> list[Event]:
        """Put what is due at ``now_ns`` into ``gathering``: reports, summaries (with ``last``, at a stop, of all) and
        events, which are given as well. Without an uplink there are only the events, and nothing is gathered."""
        if self.config.uplink is None:
            self.look()
            return self.events.take()
        reports, events = self.report(now_ns), self.events.take()
        self.gathering.add(now_ns, reports, events, self.summaries(now_ns, all_of_it=last))
        return events

    @recorded
    def gathered(self) -> None:
        """What was gathered has gone into a frame."""
        self.gathering.clear()

    def foresee(self, columns: Sequence[tuple[str, str, str]], rows_of: RowsOf = lambda bank: bank.rows) -> Foreseen:
        """What is known of columns (twin, state, unit) of reports: tolerances, and the models of their twins.

        ``rows_of`` gives the rows of a bank to judge by, if not those of now.
        """
        return self._foresight.look(columns, self.banks, list(self._twins.values()), rows_of)

    def snapshot(self) -> bytes:
        """Everything the engine would need to go on after a restart as if nothing had happened."""
        return snapshot.dump(self)

    def restore(self, blob: bytes, now_ns: int) -> int:
        """Take over the state of a snapshot; returns how many filters were restored. For an engine that is new.

        With the same configuration it goes on to the bit. With another one, or when states are dated beyond ``now_ns +
        limits.future``, which are left out, signals are matched by twin, signal and model, what the configuration says
        wins, and histories, trials and relations begin anew. Raises JournalError when the snapshot cannot be read.
        """
        return snapshot.load(self, blob, now_ns + self._future_ns)
