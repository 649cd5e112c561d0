"""Our own commands in another process."""

from __future__ import annotations

import sys


def own_command(*words: str) -> tuple[str, ...]:
    """`edgetwin` with these words, of this interpreter's installation, whatever lies in the current directory (-P)."""
    return (sys.executable, "-P", "-m", "edgetwin.cli.main", *words)
