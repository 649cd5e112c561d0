"""Bytes of text: comparison, white space, JSON strings and UTF-8, compiled.

``buf`` is uint8[:] throughout; nothing at or after the bound ``b`` is read.
"""

from __future__ import annotations

from edgetwin.kernels.bits import Array, at, ordinary_run, word_at
from edgetwin.kernels.jit import kernel


@kernel
def same_bytes(buf: Array, a: int, other: Array, o: int, size: int) -> bool:
    """``buf[a : a + size]`` equals ``other[o : o + size]``; both lie inside their arrays."""
    if size >= 8:
        k = 0
        while k < size - 8:
            if word_at(buf, a + k) != word_at(other, o + k):
                return False
            k += 8
        return word_at(buf, a + size - 8) == word_at(other, o + size - 8)
    k = 0
    while k < size:
        if at(buf, a + k) != at(other, o + k):
            return False
        k += 1
    return True


@kernel
def skip_space(buf: Array, i: int, b: int) -> int:
    """First index from ``i`` that is not JSON white space."""
    while i < b:
        c = at(buf, i)
        if c > 32 or not (c == 32 or c == 10 or c == 13 or c == 9):
            break
        i += 1
    return i


@kernel
def skip_string(buf: Array, i: int, b: int) -> tuple[int, bool]:
    """(index after the closing quote, any escape) of a string whose inside begins at ``i``; -1 if malformed."""
    escaped = False
    while True:
        i = ordinary_run(buf, i, b)
        if i >= b:
            return -1, escaped
        c = at(buf, i)
        if c == 34:
            return i + 1, escaped
        if c == 92:
            escaped = True
            i = _skip_escape(buf, i + 1, b)
        elif c >= 128:
            i = skip_utf8(buf, i, b, c)
        elif c >= 32:
            i += 1
        else:
            return -1, escaped
        if i < 0:
            return -1, escaped


@kernel
def _skip_escape(buf: Array, i: int, b: int) -> int:
    """The index after the escape whose letter is at ``i``; -1 if there is none such. Surrogates may stand alone."""
    if i >= b:
        return -1
    c = at(buf, i)
    if c == 117:
        if i + 5 > b:
            return -1
        for k in range(i + 1, i + 5):
            h = at(buf, k)
            if not ((48 <= h <= 57) or (97 <= h | 32 <= 102)):
                return -1
        return i + 5
    if c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116:
        return i + 1
    return -1


@kernel
def skip_utf8(buf: Array, i: int, b: int, c: int) -> int:
    """The index after the multi-byte character at ``i`` (Unicode 15, table 3-7); -1 if it is ill-formed."""
    low, high = 0x80, 0xBF
    if 0xC2 <= c <= 0xDF:
        size = 2
    elif 0xE0 <= c <= 0xEF:
        size = 3
        if c == 0xE0:
            low = 0xA0
        elif c == 0xED:
            high = 0x9F
    elif 0xF0 <= c <= 0xF4:
        size = 4
        if c == 0xF0:
            low = 0x90
        elif c == 0xF4:
            high = 0x8F
    else:
        return -1
    if i + size > b:
        return -1
    second = at(buf, i + 1)
    if second < low or second > high:
        return -1
    for k in range(i + 2, i + size):
        if at(buf, k) & 0xC0 != 0x80:
            return -1
    return i + size


@kernel
def is_utf8(buf: Array, a: int, b: int) -> bool:
    """Whether ``buf[a:b]`` is well-formed UTF-8."""
    while 0 <= a < b:
        c = at(buf, a)
        a = a + 1 if c < 128 else skip_utf8(buf, a, b, c)
    return a >= 0
