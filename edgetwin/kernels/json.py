"""A validating one-pass JSON scanner that reads the leaves a trie of paths asks for.

Grammar: RFC 8259, UTF-8 checked, control characters in strings refused. Containers nest up to
``DEPTH_MAX``; deeper documents, escaped keys where keys matter, escapes in a string that is to be read,
and a second value at an inner node of the trie are left to Python (PUNT). The last of duplicate keys wins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edgetwin.kernels.bits import Array, at
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.numbers import (
    INVALID,
    OK,
    PUNT,
    is_false,
    is_true,
    parse_number,
    scan_decimal,
    to_double,
)
from edgetwin.kernels.paths import EDGE_WIDTH, LEAF_WIDTH, NODE_WIDTH, VALUE
from edgetwin.kernels.text import same_bytes, skip_space, skip_string
from edgetwin.kernels.times import ISO, parse_time, to_ns

DEPTH_MAX = 64
MALFORMED = 4
ABSENT = 5

_STACK_WIDTH = 3  # trie node of the container, 1 for an object, index of the current element


class Trie(NamedTuple):
    """The rows of :class:`edgetwin.kernels.paths.Plans` that the scanner walks; int32 but ``keys`` uint8."""

    nodes: Array
    edges: Array
    leaves: Array
    keys: Array


class Scratch(NamedTuple):
    """Working space of the scanner, overwritten by each document.

    ``status`` int64[leaves], ``ns`` int64[leaves] and ``value`` float64[leaves] are its result for each leaf
    of the plan; ``seen`` int64[nodes] marks inner nodes by the number of the document; ``stack``
    int64[3 * DEPTH_MAX + 1] ends in the count of documents.
    """

    status: Array
    ns: Array
    value: Array
    seen: Array
    stack: Array


def make_scratch(leaves: int, nodes: int) -> Scratch:
    """Working space for plans of at most ``leaves`` leaves in a table of ``nodes`` trie nodes."""
    return Scratch(
        np.zeros(leaves, np.int64),
        np.zeros(leaves, np.int64),
        np.zeros(leaves, np.float64),
        np.zeros(nodes, np.int64),
        np.zeros(_STACK_WIDTH * DEPTH_MAX + 1, np.int64),
    )


@kernel
def read_document(buf: Array, a: int, b: int, root: int, leaves: int, trie: Trie, scratch: Scratch) -> int:
    """Scan the document ``buf`` uint8[:] in ``[a, b)`` for the plan with trie ``root`` and ``leaves`` leaves.

    Returns OK (each leaf's status in ``scratch`` is OK, ABSENT or INVALID), MALFORMED or PUNT (``scratch``
    then means nothing).
    """
    nodes, edges, keys = trie.nodes, trie.edges, trie.keys
    seen, stack = scratch.seen, scratch.stack
    for leaf in range(leaves):
        scratch.status[leaf] = ABSENT
    stamp = at(stack, _STACK_WIDTH * DEPTH_MAX) + 1
    stack[_STACK_WIDTH * DEPTH_MAX] = stamp
    depth = 0
    parent = -1
    in_object = False
    index = 0
    node = root
    i = a
    while True:
        # A value is to begin here; `node` is its place in the trie, -1 where nothing is asked for.
        i = skip_space(buf, i, b)
        if i >= b:
            return MALFORMED
        c = at(buf, i)
        wanted = 0
        if node >= 0:
            wanted = at(nodes, node * NODE_WIDTH + 3)
            if at(nodes, node * NODE_WIDTH + 1) > 0:
                if at(seen, node) == stamp:
                    return PUNT
                seen[node] = stamp
        opened = False
        if c == 123 or c == 91:
            if wanted > 0:
                _refuse(node, nodes, scratch)
            if depth == DEPTH_MAX:
                return PUNT
            stack[depth * _STACK_WIDTH] = parent
            stack[depth * _STACK_WIDTH + 1] = in_object
            stack[depth * _STACK_WIDTH + 2] = index
            depth += 1
            parent = node
            in_object = c == 123
            index = 0
            i = skip_space(buf, i + 1, b)
            if i >= b:
                return MALFORMED
            opened = at(buf, i) != c + 2
        elif wanted > 0:
            i = _read_leaf(buf, i, b, node, nodes, trie.leaves, scratch)
            if i < 0:
                return -i
        else:
            i = _skip_scalar(buf, i, b, c)
            if i < 0:
                return MALFORMED
        if not opened:
            # A value has ended, or an empty container is about to: close what closes here.
            while True:
                i = skip_space(buf, i, b)
                if depth == 0:
                    return OK if i == b else MALFORMED
                if i >= b:
                    return MALFORMED
                c = at(buf, i)
                i += 1
                if c == 44:
                    index += 1
                    break
                if c != (125 if in_object else 93):
                    return MALFORMED
                depth -= 1
                parent = at(stack, depth * _STACK_WIDTH)
                in_object = at(stack, depth * _STACK_WIDTH + 1) != 0
                index = at(stack, depth * _STACK_WIDTH + 2)
        if in_object:
            i = skip_space(buf, i, b)
            if i >= b or at(buf, i) != 34:
                return MALFORMED
            first = i + 1
            i, escaped = skip_string(buf, first, b)
            if i < 0:
                return MALFORMED
            node = -1
            if parent >= 0:
                if escaped:
                    return PUNT
                node = _child_of_key(buf, first, i - 1 - first, parent, nodes, edges, keys)
            i = skip_space(buf, i, b)
            if i >= b or at(buf, i) != 58:
                return MALFORMED
            i += 1
        elif parent >= 0:
            node = _child_of_index(index, parent, nodes, edges)
        else:
            node = -1


@kernel
def _refuse(node: int, nodes: Array, scratch: Scratch) -> None:
    """The leaves of ``node`` are present and cannot be used."""
    first = at(nodes, node * NODE_WIDTH + 2)
    for leaf in range(first, first + at(nodes, node * NODE_WIDTH + 3)):
        scratch.status[leaf] = INVALID


@kernel
def _read_leaf(buf: Array, i: int, b: int, node: int, nodes: Array, leaves: Array, scratch: Scratch) -> int:
    """Read the scalar at ``i`` for the leaves of ``node``: the index after it, or minus MALFORMED or PUNT."""
    c = at(buf, i)
    first = at(nodes, node * NODE_WIDTH + 2)
    last = first + at(nodes, node * NODE_WIDTH + 3)
    row = at(nodes, node * NODE_WIDTH + 4) - first
    if c == 45 or (48 <= c <= 57):
        m, e, negative, end, status = scan_decimal(buf, i, b, True)
        if status != OK:
            return -PUNT if status == PUNT else -MALFORMED
        for leaf in range(first, last):
            kind = at(leaves, (row + leaf) * LEAF_WIDTH)
            status = INVALID
            if kind == VALUE:
                scratch.value[leaf], status = to_double(m, e, negative)
            elif kind != ISO:
                scratch.ns[leaf], status = to_ns(m, e, negative, kind)
            if status == PUNT:
                return -PUNT
            scratch.status[leaf] = OK if status == OK else INVALID
        return end
    if c == 34:
        end, escaped = skip_string(buf, i + 1, b)
        if end < 0:
            return -MALFORMED
        for leaf in range(first, last):
            status = _read_text(buf, i + 1, end - 1, escaped, leaf, (row + leaf) * LEAF_WIDTH, leaves, scratch)
            if status == PUNT:
                return -PUNT
            scratch.status[leaf] = OK if status == OK else INVALID
        return end
    end = _skip_scalar(buf, i, b, c)
    if end < 0:
        return -MALFORMED
    for leaf in range(first, last):
        scratch.status[leaf] = INVALID
        if c != 110 and at(leaves, (row + leaf) * LEAF_WIDTH) == VALUE:
            scratch.status[leaf] = OK
            scratch.value[leaf] = 1.0 if c == 116 else 0.0
    return end


@kernel
def _read_text(buf: Array, a: int, b: int, escaped: bool, leaf: int, row: int, leaves: Array, scratch: Scratch) -> int:
    """Read the inside of a string for one leaf and return the status."""
    kind = at(leaves, row)
    if kind != ISO and at(leaves, row + 1) == 0:
        return INVALID
    if escaped:
        return PUNT
    if kind == VALUE:
        scratch.value[leaf], _, status = parse_number(buf, a, b, False)
    else:
        scratch.ns[leaf], status = parse_time(buf, a, b, kind)
    return status


@kernel
def _child_of_key(buf: Array, a: int, size: int, node: int, nodes: Array, edges: Array, keys: Array) -> int:
    """The child of ``node`` whose key is ``buf[a : a + size]``, or -1."""
    edge = at(nodes, node * NODE_WIDTH)
    last = edge + at(nodes, node * NODE_WIDTH + 1)
    while edge < last:
        row = edge * EDGE_WIDTH
        offset = at(edges, row)
        if offset >= 0 and at(edges, row + 1) == size:
            if same_bytes(buf, a, keys, offset, size):
                return at(edges, row + 2)
        edge += 1
    return -1


@kernel
def _child_of_index(index: int, node: int, nodes: Array, edges: Array) -> int:
    """The child of ``node`` for an array index, or -1."""
    edge = at(nodes, node * NODE_WIDTH)
    last = edge + at(nodes, node * NODE_WIDTH + 1)
    while edge < last:
        row = edge * EDGE_WIDTH
        if at(edges, row) < 0 and at(edges, row + 1) == index:
            return at(edges, row + 2)
        edge += 1
    return -1


@kernel
def _skip_scalar(buf: Array, i: int, b: int, c: int) -> int:
    """The index after the string, number or literal at ``i`` that begins with ``c``; -1 if malformed."""
    if c == 34:
        end, _ = skip_string(buf, i + 1, b)
        return end
    if c == 45 or (48 <= c <= 57):
        _, _, _, end, status = scan_decimal(buf, i, b, True)
        return -1 if status == INVALID else end
    if c == 116 and i + 4 <= b and is_true(buf, i):
        return i + 4
    if c == 102 and i + 5 <= b and is_false(buf, i):
        return i + 5
    if c == 110 and i + 4 <= b and at(buf, i + 1) == 117 and at(buf, i + 2) == 108 and at(buf, i + 3) == 108:
        return i + 4
    return -1


def trie_of(plans: Any) -> Trie:
    """The scanner's view of :class:`edgetwin.kernels.paths.Plans`; stale once a plan is added."""
    return Trie(plans.nodes.array, plans.edges.array, plans.leaves.array, plans.keys)
