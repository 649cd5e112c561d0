"""Memory that was freed is the system's again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from pathlib import Path
from edgetwin.runtime.memory import give_back_when_freed

def resident_mb():
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS")).split()[1]) / 1024

if sys.argv[1] == "on":
    give_back_when_freed()
bytearray(20_000_000)  # from now on glibc would keep blocks of this size
before = resident_mb()
burst = [(bytearray(1_000_000), object()) for _ in range(100)]
pinned = [pair[0] for pair in burst[::10]]
del burst
print(resident_mb() - before - len(pinned))
"""


def test_a_burst_leaves_nothing_behind() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    kept = {
        how: float(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)
        for how in ("on", "off")
    }
    assert kept["on"] < 5.0, kept
