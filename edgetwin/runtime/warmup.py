"""Compile every kernel before the first sample needs it, and survive a damaged cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np
import structlog

from edgetwin.engine import Engine
from edgetwin.engine.bank import Bank, SignalBank
from edgetwin.kernels import mqtt, registers
from edgetwin.kernels.jit import cache_directory
from edgetwin.kernels.topics import Binding, TopicTable
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model

log = structlog.get_logger()


def warmup(engine: Engine | None = None) -> int:
    """Compile the wire, register and filter kernels; returns the number of models.

    The models are those of ``engine``, or all built-in ones. numba raises odd errors on a cache file that was cut or
    altered; the cache holds nothing that cannot be made again, so it is deleted and the compilation repeated once.
    """
    banks: Sequence[Bank] = (
        engine.banks if engine is not None else [SignalBank(m, compile_model(m)) for m in BUILTIN.values()]
    )
    try:
        _compile(banks)
    except Exception as exc:  # numba's cache raises whatever unpickling raises
        log.warning("kernel_cache_rebuilt", directory=str(cache_directory()), error=repr(exc))
        shutil.rmtree(cache_directory() / "numba", ignore_errors=True)
        _compile(banks)
    return len(banks)


def _compile(banks: Sequence[Bank]) -> None:
    _compile_wire()
    registers.decode(np.zeros(1, np.uint16), np.zeros(1, registers.PLAN), np.zeros(1))
    for bank in banks:
        rows = np.zeros(1, bank.rows.dtype)
        bank.kernels.update(
            rows,
            np.zeros(1, np.int16),
            np.zeros(1, np.int32),
            0,
            np.zeros(1, np.int32),
            np.ones(1, np.int64),
            np.zeros(1),
            0,
            0,
            np.zeros((1, 9), np.int64),
            bank.history,
        )
        mean = np.zeros((1, bank.size))
        bank.kernels.predict(rows, np.zeros(1, np.int64), 0, mean, mean.copy())


def _compile_wire() -> None:
    """One scan and one look-up by the same argument types as the sources use."""
    table = TopicTable()
    table.add(b"t", [Binding(0)])
    packet = np.frombuffer(bytearray(b"\x30\x04\x00\x01t1"), np.uint8)
    mqtt.scan(packet, len(packet), table.view, mqtt.make_output(4, 4), 1, 1024, True)
