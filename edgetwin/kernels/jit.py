"""How every kernel is compiled, and where compiled code is kept.

numba's cache does not see edits in other files, so its directory is keyed by release and numba version.
``EDGETWIN_CACHE`` (or systemd's ``CACHE_DIRECTORY``, or ``XDG_CACHE_HOME``) moves it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgetwin import __version__

F = TypeVar("F", bound=Callable[..., Any])


def cache_directory() -> Path:
    """The directory of compiled kernels and generated sources of this release on this kind of CPU."""
    root = os.environ.get("EDGETWIN_CACHE") or os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if root:
        base = Path(root)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetwin"
    return base / f"{__version__}-{platform.machine()}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_directory() / "numba"))

import numba  # noqa: E402  (reads NUMBA_CACHE_DIR when it is imported)

# Someone may have imported numba before the variable was set.
numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]  # type: ignore[attr-defined]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": False}


def kernel(function: F) -> F:
    """Compile ``function`` on first call; with ``NUMBA_DISABLE_JIT=1`` it stays plain Python."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Compile a leaf that kernels call; LLVM inlines it."""
    return numba.njit(inline="never", **_OPTIONS)(function)  # type: ignore[no-any-return]


def absorbed(function: F) -> F:
    """Compile a kernel that becomes part of its caller, however long it is."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)  # type: ignore[no-any-return]
