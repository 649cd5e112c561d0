"""The filters of one twin as banks of candidates: each row of a bank has its own values of what is fitted.

A twin with equations is one filter; one with a built-in model is a filter for each signal, with the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine import Engine, TwinInstance
from edgetwin.engine.bank import Bank, SignalBank
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.errors import FitError
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.samples import Segment, bank_of
from edgetwin.model.candidates import compile_candidates

CELLS_MAX = 1 << 15
"""Innovations computed in one call, all candidates together: what is held, and how long an interrupt waits."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Innovations of successive samples: ``channel`` int32[n]; ``y`` and ``s`` float64[n, K], NaN where none was made;
    ``first`` is the place of the first of them in the filter's samples."""

    first: int
    channel: NDArray[np.int32]
    y: NDArray[np.float64]
    s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the row that a fitted quantity sets: to ``factor`` times it, or to the square of that."""

    name: str
    squared: bool = False
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: ``row`` records[1] as configured, ``channel_of`` the channel of each slot, ``signals`` the measured
    signals by channel; ``fields`` are the row's fields that each fitted quantity sets;
    ``rate_std`` is the twin's ``initial_rate_std``, 0 where none is given."""

    row: NDArray[np.void]
    channel_of: Mapping[int, int]
    signals: Mapping[int, str]
    fields: Mapping[str, tuple[Field, ...]]
    innovations: Callable[..., None]
    rate_std: float = 0.0

    def samples(self, segment: Segment) -> Segment:
        """The samples of the segment that are for this filter, their slots replaced by channels."""
        keep = np.isin(segment.slot, np.array(list(self.channel_of), np.int32))
        mine = segment.where(keep)
        table = np.zeros(max(self.channel_of) + 1, np.int32)
        table[list(self.channel_of)] = list(self.channel_of.values())
        return Segment(mine.file, table[mine.slot], mine.t_ns, mine.value, mine.train)

    def rows(self, quantities: Sequence[Quantity], values: NDArray[np.float64]) -> NDArray[np.void]:
        """A row for each candidate: values float64[K, quantities]. Nothing is learned, as all is known."""
        rows = np.repeat(self.row, len(values))
        for name in ("learn", *(f"learn_of{c}" for c in self.signals)):
            if name in (rows.dtype.names or ()):
                rows[name] = 0
        for k, quantity in enumerate(quantities):
            for field in self.fields.get(quantity.name, ()):
                set_to = field.factor * values[:, k]
                rows[field.name] = set_to**2 if field.squared else set_to
        self._set_spread(rows, quantities, values)
        return rows

    def _set_spread(self, rows: NDArray[np.void], quantities: Sequence[Quantity], values: NDArray[np.float64]) -> None:
        """Rows of built-in models hold ``initial_rate_std`` in units of the measurement noise."""
        rate: float | NDArray[np.float64] = self.rate_std
        for k, quantity in enumerate(quantities):
            if quantity.name == "initial_rate_std":
                rate = values[:, k]
        if not np.isscalar(rate) or rate:
            rows["spread"] = rate / np.sqrt(rows["r"])

    def run(self, rows: NDArray[np.void], samples: Segment, stop: int, *, strict: bool) -> Iterator[Piece]:
        """Take the first ``stop`` samples through ``rows``, piece by piece; see edgetwin.model.candidates."""
        step = max(CELLS_MAX // len(rows), 64)
        for first in range(0, stop, step):
            cut = slice(first, min(first + step, stop))
            channel = samples.slot[cut]
            y, s = np.empty((len(channel), len(rows))), np.empty((len(channel), len(rows)))
            self.innovations(rows, channel, samples.t_ns[cut], samples.value[cut], strict, y, s)
            yield Piece(first, channel, y, s)


def twin_filters(engine: Engine, instance: TwinInstance) -> list[Filter]:
    """The filters of a twin. FitError when its model has no likelihood that is known here."""
    bank = bank_of(engine, instance)
    if isinstance(bank, EquationBank):
        return [_of_equations(bank, instance)]
    if isinstance(bank, SignalBank):
        return [_of_signal(bank, instance, signal) for signal in instance.slots]
    raise FitError(f"{instance.name}: twins of model {instance.spec.model} cannot be fitted")


def _of_equations(bank: EquationBank, instance: TwinInstance) -> Filter:
    model = bank.model
    channels = {signal: c for c, signal in enumerate(model.channels)}
    row = _row(bank, (instance.name, ""))
    fields: dict[str, tuple[Field, ...]] = {name: (Field(f"p{k}"),) for k, name in enumerate(model.parameters)}
    for i, name in enumerate(model.states):
        fields[f"process_noise.{name}"] = (Field(f"q{i}", squared=True),)
        fields[f"initial.{name}"] = (Field(f"x{i}"), Field(f"x0_{i}"))
    for c, name in enumerate(model.measurements):
        if name in instance.slots:
            # Noise is in the unit of the signal, the row in that of the model: its scale tells one from the other.
            factor = float(row[f"scale{c}"][0]) / instance.spec.signals[name].scale
            fields[f"noise.{name}"] = (Field(f"r{c}", squared=True, factor=abs(factor)),)
    return Filter(
        row,
        {slot: channels[signal] for signal, slot in instance.slots.items()},
        {c: name for c, name in enumerate(model.measurements) if name in instance.slots},
        fields,
        compile_candidates(bank.name, bank.kernels, len(model.measurements)),
    )


def _of_signal(bank: SignalBank, instance: TwinInstance, signal: str) -> Filter:
    return Filter(
        _row(bank, (instance.name, signal)),
        {instance.slots[signal]: 0},
        {0: signal},
        {
            "process_noise": (Field("q", squared=True),),
            "time_constant": (Field("tau"),),
            f"noise.{signal}": (Field("r", squared=True),),
        },
        compile_candidates(bank.name, bank.kernels, None),
        instance.spec.parameters.get("initial_rate_std", 0.0),
    )


def _row(bank: Bank, key: tuple[str, str]) -> NDArray[np.void]:
    """The row as configured. Samples are in order here, so it needs no history."""
    row: NDArray[np.void] = bank.rows[[bank.keys.index(key)]].copy()
    row["history"] = 0
    return row
