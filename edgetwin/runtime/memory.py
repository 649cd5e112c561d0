"""Freed memory goes back to the system, which on a gateway has little of it."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
LARGE_BYTES = 262_144


def give_back_when_freed() -> None:
    """Tell glibc to map blocks of LARGE_BYTES and more by themselves, so that they leave with their owner, and to keep
    one arena (mallopt(3)). By default it raises that size up to 32 MiB, and what a burst took stays. Other C libraries
    are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, LARGE_BYTES)
