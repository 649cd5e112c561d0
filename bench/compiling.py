"""CPU seconds from equations to kernels that run: cold, with an empty cache, and cached. ``python -m bench compiling``.

Each figure is a process of its own. SymPy's import is in the cold one; what numba loads before any kernel is not, as
every start needs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

MODELS = ("library/tank", "library/battery", "library/vitals")

PROGRAM = """
import sys, time
import msgspec
from numba.core.registry import cpu_target
from edgetwin.config.equations import equation_model
from edgetwin.config.library import library_model
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.model.compiler import compile_equations
from edgetwin.runtime.warmup import compile_bank
model = equation_model(msgspec.structs.replace(library_model(sys.argv[1]), filter=sys.argv[2]))
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
start = time.process_time()
compile_bank(EquationBank(model, compile_equations(model)))
print(model.size, time.process_time() - start)
"""


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Extended and unscented, cold and cached."""
    for name in MODELS[:1] if quick else MODELS:
        for kind in ("ekf", "ukf"):
            with tempfile.TemporaryDirectory() as cache:
                (n, cold), (_, cached) = (_run(name, kind, cache) for _ in range(2))
            record: dict[str, Any] = {"bench": "compile", "model": name, "states": n, "filter": kind}
            yield record | {"cold_s": cold, "cached_s": cached}


def _run(name: str, kind: str, cache: str) -> tuple[int, float]:
    command = [sys.executable, "-c", PROGRAM, name, kind]
    environment = os.environ | {"EDGETWIN_CACHE": cache}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    return int(printed[0]), float(printed[1])
