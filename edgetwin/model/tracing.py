"""Kernels that tell what each sample did: for replay and fitting, where the daemon needs only the end state.

They are generated around a model's own ``update`` and ``predict``, so a traced run takes the very steps of a plain one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from edgetwin.model.compiler import Kernels, load_module

_SOURCE = '''"""Traced kernels around those of {module}. Generated; edits are overwritten."""

import numpy as np

from {module} import predict, update
from edgetwin.kernels.jit import kernel

OUTCOMES = 9


@kernel
def update_traced(rows, slot_bank, slot_row, channels, bank, slot, t_ns, value, t_max, outcome, after, index, history):
    """As ``update``, and for the m samples of this bank their row afterwards; returns m.

    outcome uint8[n]: written at the samples of this bank. after: records[>= m], index int64[>= m]: the row of the
    k-th of them once it was judged, and its position in the batch.
    """
    counts = np.zeros((1, OUTCOMES), np.int64)
    m = 0
    for k in range(slot.shape[0]):
        where = slot[k]
        if slot_bank[where] == bank:
            one = slice(k, k + 1)
            update(rows, slot_bank, slot_row, bank, slot[one], t_ns[one], value[one], t_max, 0, counts, history)
            for o in range(OUTCOMES):
                if counts[0, o] > 0:
                    outcome[k] = o
                counts[0, o] = 0
            after[m] = rows[slot_row[where] // channels]
            index[m] = k
            m += 1
    return m


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
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    module = load_module(f"{name}_trace", digest, lambda: source)
    return Tracer(module.update_traced, module.predict_each)
