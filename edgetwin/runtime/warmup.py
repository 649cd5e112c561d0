"""Compile every kernel before the first sample needs it, and survive a damaged cache."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np
import structlog
from numpy.typing import NDArray

from edgetwin.codec.encoder import FrameEncoder
from edgetwin.engine import Engine
from edgetwin.engine.bank import Bank, SignalBank
from edgetwin.engine.forks import initial, is_simulated
from edgetwin.engine.health import Health
from edgetwin.engine.scenario import Scenario
from edgetwin.engine.whatif import Simulator
from edgetwin.kernels import modbus, mqtt, redelivery, registers
from edgetwin.kernels.jit import cache_directory
from edgetwin.kernels.sums import SUM, accumulate
from edgetwin.kernels.topics import Binding, TopicTable
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.records import Report
from edgetwin.runtime.process import own_command

log = structlog.get_logger()


async def compile_elsewhere(config: Path, engine: Engine) -> None:
    """Compile what ``engine`` needs in a process of its own, unless the cache has it; the daemon then only loads it.

    The compiler takes some 150 MB that a process never gives back. When the other process fails, this one compiles.
    """
    if _mark(engine).exists():
        return
    log.info("compiling_kernels", directory=str(cache_directory()))
    command = own_command("warmup", str(config))
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        child.terminate()
        raise
    if code:
        log.warning("compiling_kernels_failed", exit_status=code, consequence="compiling in this process")


def warm_ensembles(engine: Engine | None = None) -> None:
    """Compile the kernels of what-ifs for the models of ``engine``, or all built-in ones, by simulating each once.

    Only the process that fills the cache does this: a daemon loads them when the first what-if asks for them.
    """
    models = BUILTIN.values() if engine is None else [bank.model for bank in engine.banks]
    for model in filter(is_simulated, models):
        Simulator().run(initial(model), Scenario(horizon_s=1.0, step_s=1.0, members=1))


def mark_warm(engine: Engine | None) -> None:
    """Note in the cache that everything ``engine`` needs is there. Raises OSError when it cannot be written."""
    for name in [b.kernels.update.__module__ for b in _banks(engine)]:
        _mark_of([name]).touch()
    _mark(engine).touch()


def _mark(engine: Engine | None) -> Path:
    return _mark_of([b.kernels.update.__module__ for b in _banks(engine)])


def _mark_of(modules: list[str]) -> Path:
    """A file named by the generated modules and by the kernels' sources as they are now."""
    sources = sorted((Path(__file__).parent.parent / "kernels").glob("*.py"))
    text = repr(
        [sorted(modules), numba.__version__, [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sources]]
    )
    return cache_directory() / f"warm-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _banks(engine: Engine | None) -> Sequence[Bank]:
    if engine is not None:
        return engine.banks
    return [SignalBank(m, compile_model(m)) for m in BUILTIN.values()]


def warmup(engine: Engine | None = None) -> int:
    """Compile the wire, register, filter and codec kernels; returns the number of models.

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
    modbus.crc16(np.frombuffer(b"\0", np.uint8))
    choices, texts = np.zeros(1, registers.CHOICE), np.zeros(1, np.uint8)
    registers.decode(np.zeros(1, np.uint16), np.zeros(1, registers.PLAN), choices, texts, np.zeros(1))
    one = np.zeros(1, np.int32), np.ones(1, np.int64), np.zeros(1)
    accumulate(np.zeros(1, SUM), *one, 0)
    FrameEncoder("warmup").encode([Report(0, (("", "", ""),), np.zeros(1), np.zeros(1), np.zeros(1, np.uint8))], 0, 0)
    for bank in banks:
        compile_bank(bank)


def compile_bank(bank: Bank) -> None:
    """Run the kernels of a model once, on a row that nobody sees."""
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
    _compile_health(bank, rows)
    bank.extrapolate(rows, np.zeros(1, np.int64), 0)


def _compile_health(bank: Bank, rows: NDArray[np.void]) -> None:
    """By the same argument types as the engine uses; once, as it is the same for every model."""
    health = Health([bank])
    for c in range(bank.channels):
        health.add(0, c, 0, 0)
    health.feed(0, np.zeros(1, np.int32), np.zeros(1, np.int16), rows)
    health.judge(0)
    health.signal(0, 0)


def _compile_wire() -> None:
    """One scan and one look-up by the same argument types as the sources use."""
    table = TopicTable()
    table.add(b"t", [Binding(0)])
    packet = np.frombuffer(bytearray(b"\x30\x04\x00\x01t1"), np.uint8)
    out, fused = mqtt.make_output(4, 4), redelivery.make_fused()
    mqtt.scan(packet, len(packet), table.view, out, fused, 1, 1024, True)
    redelivery.note_fused(fused, out.ack, out.hash, 0, 0, 0, 0)
    redelivery.is_redelivery(fused, 1, 0, False)
