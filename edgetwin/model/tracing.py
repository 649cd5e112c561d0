"""Kernels that tell what each sample did: for replay and fitting, where the daemon needs only the end state.

They are generated around a model's own ``update`` and ``predict``, so a traced run takes the very steps of a plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgetwin.model.compiler import Kernels, written_module

_SOURCE = '''"""Traced kernels around those of {module}. Generated; edits are overwritten."""

import numpy as np

from {module} import predict, update
from edgetwin.kernels.jit import kernel

OUTCOMES = 9
DUPLICATE, INVALID = 3, 6


@kernel
def update_traced(
    rows, slot_bank, slot_place, channels, bank, slot, t_ns, value, t_max, source, counts, history,
    outcome, after, judged, index,
):
    """As ``update``, and for the m samples of this bank what became of them; returns m.

    source int32[n]: the ledger row of each sample. outcome uint8[n]: written at the samples of this bank. index
    int64[>= m], after and judged records[>= m]: of the k-th of them its position in the batch, the row once the batch
    was taken up to it, and the row right after its own fusion. These two differ only where a sample came late and
    others were fused again behind it; an empty ``judged`` is not written.
    """
    before, samples, used = history.before, history.samples, history.used
    known = np.zeros(OUTCOMES, np.int64)
    m = 0
    for k in range(slot.shape[0]):
        where = slot[k]
        if slot_bank[where] != bank:
            continue
        one = slice(k, k + 1)
        mine = counts[source[k]]
        for o in range(OUTCOMES):
            known[o] = mine[o]
        update(rows, slot_bank, slot_place, bank, slot[one], t_ns[one], value[one], t_max, source[k], counts, history)
        i, channel = slot_place[where] // channels, slot_place[where] % channels
        h = rows[i]["history"] - 1
        found = -1
        if h >= 0 and mine[INVALID] == known[INVALID] and mine[DUPLICATE] == known[DUPLICATE]:
            found = used[h, 0] - 1
            while found >= 0 and not same(samples[h, found], t_ns[k], channel, value[k]):
                found = found - 1 if samples[h, found]["t"] >= t_ns[k] else -1
        if found >= 0:
            outcome[k] = samples[h, found]["outcome"]
        else:
            for o in range(OUTCOMES):
                if mine[o] > known[o]:
                    outcome[k] = o
        after[m] = rows[i]
        if judged.shape[0] > 0:
            if found >= 0 and found + 1 < used[h, 0]:
                judged[m] = before[h, found + 1]
            else:
                judged[m] = rows[i]
        index[m] = k
        m += 1
    return m


@kernel
def same(entry, t, channel, raw):
    """Whether a remembered sample is this one."""
    return entry["t"] == t and entry["channel"] == channel and entry["raw"] == raw


@kernel
def predict_each(rows, index, t_ns, mean, variance):
    """As ``predict``, with an instant of its own for each row: index int64[m], t_ns int64[m], outputs [m, states]."""
    for k in range(index.shape[0]):
        one = slice(k, k + 1)
        predict(rows, index[one], t_ns[k], mean[one], variance[one])
'''


@dataclass(frozen=True, slots=True)
class Tracer:
    """The traced kernels of one model; their docstrings are in the generated source."""

    update: Callable[..., int]
    predict_each: Callable[..., None]


def compile_tracer(name: str, kernels: Kernels) -> Tracer:
    """The traced kernels of the model ``name``, compiled at their first call. ModelError when they do not load."""
    source = _SOURCE.format(module=kernels.update.__module__)
    module = written_module(f"{name}_trace", source)
    return Tracer(module.update_traced, module.predict_each)
