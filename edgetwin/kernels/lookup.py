"""Topics in an open-addressing hash table, and topic patterns, compiled.

``index`` int64[2**k]: 0 is free, else the upper half of the topic's hash (sign kept) over the number of its
entry plus one. ``entries`` int32[4 n]: offset and length of the topic in ``names`` uint8[:]; plan, or
IGNORED_OLD or IGNORED; slot (plans of one binding) or first index in the table of slots.
"""

from __future__ import annotations

from edgetwin.kernels.bits import Array, at, fold, word_at
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.text import is_utf8, same_bytes

ENTRY_WIDTH = 4
IGNORED = -1
IGNORED_OLD = -2

LEVEL_WIDTH = 2  # offset of the literal in the literals (-1: any non-empty level) and its length

_MULTIPLIER = 0x2D358DCCAA6C78A5
_LENGTH = 0x9E3779B97F
_LOW = 0xFFFFFFFF


@kernel
def hash_bytes(buf: Array, a: int, b: int, seed: int) -> int:
    """64-bit hash of ``buf`` uint8[:] in ``[a, b)``: multiply-and-fold of 8 bytes at a time (after wyhash, Wang Yi)."""
    size = b - a
    h = seed ^ (size * _LENGTH)
    if size < 8:
        w = 0
        while a < b:
            w = (w << 8) | at(buf, a)
            a += 1
        return fold(fold(h ^ w, _MULTIPLIER), _MULTIPLIER)
    while a < b - 8:
        h = fold(h ^ word_at(buf, a), _MULTIPLIER)
        a += 8
    return fold(fold(h ^ word_at(buf, b - 8), _MULTIPLIER), _MULTIPLIER)


@kernel
def find(buf: Array, a: int, b: int, seed: int, mask: int, index: Array, entries: Array, names: Array) -> int:
    """The entry of the topic ``buf[a:b]``, or -1; ``mask`` is the length of ``index`` less one."""
    h = hash_bytes(buf, a, b, seed)
    position = h & mask
    size = b - a
    while True:
        cell = at(index, position)
        if cell == 0:
            return -1
        if (cell >> 32) == (h >> 32):
            row = ((cell & _LOW) - 1) * ENTRY_WIDTH
            if at(entries, row + 1) == size and same_bytes(buf, a, names, at(entries, row), size):
                return (cell & _LOW) - 1
        position = (position + 1) & mask


@kernel
def insert(buf: Array, a: int, b: int, seed: int, entry: int, index: Array) -> None:
    """Put the topic ``buf[a:b]``, not yet in ``index``, there as number ``entry``. Room is the caller's."""
    h = hash_bytes(buf, a, b, seed)
    mask = len(index) - 1
    position = h & mask
    while at(index, position) != 0:
        position = (position + 1) & mask
    index[position] = ((h >> 32) << 32) | (entry + 1)


@kernel
def rebuild(entries: Array, count: int, names: Array, seed: int, index: Array, drop_old: bool) -> tuple[int, int]:
    """Fill the empty ``index`` from ``entries``; ``drop_old`` forgets IGNORED_OLD and ages IGNORED.

    Entries and names close ranks in place. Returns how many entries and bytes of names remain.
    """
    kept = 0
    used = 0
    for entry in range(count):
        row = entry * ENTRY_WIDTH
        offset, size = at(entries, row), at(entries, row + 1)
        plan, slot = at(entries, row + 2), at(entries, row + 3)
        if drop_old:
            if plan == IGNORED_OLD:
                continue
            if plan == IGNORED:
                plan = IGNORED_OLD
        for k in range(size):
            names[used + k] = names[offset + k]
        row = kept * ENTRY_WIDTH
        entries[row] = used
        entries[row + 1] = size
        entries[row + 2] = plan
        entries[row + 3] = slot
        insert(names, used, used + size, seed, kept, index)
        used += size
        kept += 1
    return kept, used


@kernel
def matches_any(buf: Array, a: int, b: int, count: int, patterns: Array, levels: Array, literals: Array) -> bool:
    """Whether the topic ``buf[a:b]`` is UTF-8 and has the levels of one of ``count`` patterns.

    ``patterns`` int32[count + 1]: first level of each pattern, then the end; ``levels`` int32[2 l].
    """
    for p in range(count):
        first, last = at(patterns, p), at(patterns, p + 1)
        i = a
        level = first
        while level < last:
            if level > first:
                if i >= b or at(buf, i) != 47:
                    break
                i += 1
            offset = at(levels, level * LEVEL_WIDTH)
            if offset < 0:
                start = i
                while i < b and at(buf, i) != 47:
                    i += 1
                if i == start:
                    break
            else:
                size = at(levels, level * LEVEL_WIDTH + 1)
                if i + size > b or not same_bytes(buf, i, literals, offset, size):
                    break
                i += size
            level += 1
        if level == last and i == b:
            return is_utf8(buf, a, b)
    return False
