"""Bindings, and the tries of JSON paths that the scanner walks.

A *plan* is what the bindings of a topic ask of its payload, without the slots: thousands of topics share a
few plans. All plans of a table live in flat int32 arrays; rows are groups of consecutive cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetwin.kernels.times import unit_exponent

Path = tuple[str | int, ...]
"""Keys and array indices, outermost first, as :func:`edgetwin.config.paths.parse_path` reads them."""

PLAIN, JSON, SLOW = 0, 1, 2
"""Kinds of plan: the payload is one plain number; JSON; left to Python (bindings of both kinds)."""

PLAN_WIDTH = 6  # kind, bindings, first binding row, root node, first leaf row, leaves
NODE_WIDTH = 5  # first edge row, edges, first leaf of the node (within the plan), leaves, their first row
EDGE_WIDTH = 4  # offset of the key (-1: array index), length of the key or the index, child, spare
LEAF_WIDTH = 2  # VALUE or the exponent of a time unit, numeric strings
BINDING_WIDTH = 2  # leaf of the value, leaf of the time (-1: none), both within the plan

VALUE = -2


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one signal's samples stand in a payload.

    ``slot`` of the engine; ``value_path`` None: the whole payload is one plain number; ``time_path`` None:
    the time of arrival; ``time_unit`` one of s ms us ns iso; ``numeric_strings``: ``"1.5"`` is a number.
    """

    slot: int
    value_path: Path | None = None
    time_path: Path | None = None
    time_unit: str = "s"
    numeric_strings: bool = False


class Cells:
    """A growing int32 array of rows ``width`` cells wide."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._cells = np.zeros(8 * width, np.int32)
        self.rows = 0

    def append(self, *row: int) -> int:
        """Store a row and return its number."""
        self.extend([row])
        return self.rows - 1

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        end = (self.rows + len(rows)) * self._width
        if end > len(self._cells):
            self._cells = np.resize(self._cells, max(end, len(self._cells) * 2))
        self._cells[self.rows * self._width : end] = np.asarray(rows, np.int32).ravel()
        self.rows += len(rows)

    @property
    def array(self) -> Any:
        """The cells, with spare room at the end; replaced when they grow."""
        return self._cells


class _Node:
    """A node of a trie under construction."""

    def __init__(self) -> None:
        self.children: dict[str | int, _Node] = {}
        self.leaves: dict[tuple[int, int], int] = {}

    def descend(self, path: Path) -> _Node:
        node = self
        for step in path:
            node = node.children.setdefault(step, _Node())
        return node

    def walk(self) -> list[_Node]:
        """This node and all below it, parents first."""
        found = [self]
        for node in found:
            found.extend(node.children.values())
        return found


class Plans:
    """All plans of a topic table; equal ones are stored once."""

    def __init__(self) -> None:
        self.plans = Cells(PLAN_WIDTH)
        self.nodes = Cells(NODE_WIDTH)
        self.edges = Cells(EDGE_WIDTH)
        self.leaves = Cells(LEAF_WIDTH)
        self.bindings = Cells(BINDING_WIDTH)
        self.keys = np.zeros(64, np.uint8)
        self._keys_used = 0
        self.leaves_max = 1
        self._numbers: dict[tuple[Binding, ...], int] = {}
        self._templates: list[tuple[Binding, ...]] = []

    def number(self, template: tuple[Binding, ...]) -> int:
        """The plan of these bindings, whose slots are all 0; compiled if it is new."""
        known = self._numbers.get(template)
        if known is None:
            known = self._numbers[template] = self._compile(template)
            self._templates.append(template)
        return known

    def template(self, plan: int) -> tuple[Binding, ...]:
        """The bindings of a plan, their slots 0."""
        return self._templates[plan]

    def _compile(self, template: tuple[Binding, ...]) -> int:
        plain = sum(binding.value_path is None for binding in template)
        kind = PLAIN if plain == len(template) else SLOW if plain else JSON
        first_binding, first_leaf = self.bindings.rows, self.leaves.rows
        if kind != JSON:
            return self.plans.append(kind, len(template), first_binding, -1, first_leaf, 0)
        root = _Node()
        wanted = [_leaves_of(root, binding) for binding in template]
        numbers = self._number_leaves(root)
        for value, time in wanted:
            self.bindings.append(numbers[value], numbers[time] if time is not None else -1)
        self.leaves_max = max(self.leaves_max, len(numbers))
        node = self._store(root, first_leaf)
        return self.plans.append(kind, len(template), first_binding, node, first_leaf, len(numbers))

    def _number_leaves(self, root: _Node) -> dict[tuple[int, tuple[int, int]], int]:
        numbers: dict[tuple[int, tuple[int, int]], int] = {}
        for node in root.walk():
            for leaf in node.leaves:
                node.leaves[leaf] = numbers[id(node), leaf] = len(numbers)
                self.leaves.append(*leaf)
        return numbers

    def _store(self, root: _Node, first_leaf: int) -> int:
        """Write the trie's rows; children of a node stand in consecutive edges."""
        nodes = root.walk()
        first = self.nodes.rows
        place = {id(node): first + k for k, node in enumerate(nodes)}
        for node in nodes:
            leaf = min(node.leaves.values(), default=0)
            edges = self.edges.rows
            self.nodes.append(edges, len(node.children), leaf, len(node.leaves), first_leaf + leaf)
            for step, child in node.children.items():
                if isinstance(step, int):
                    self.edges.append(-1, step, place[id(child)], 0)
                else:
                    self.edges.append(*self._key(step), place[id(child)], 0)
        return first

    def _key(self, key: str) -> tuple[int, int]:
        raw = np.frombuffer(key.encode("utf-8", "surrogatepass"), np.uint8)
        offset, end = self._keys_used, self._keys_used + len(raw)
        if end > len(self.keys):
            self.keys = np.resize(self.keys, max(end, 2 * len(self.keys)))
        self.keys[offset:end] = raw
        self._keys_used = end
        return offset, len(raw)


_Leaf = tuple[int, tuple[int, int]]


def _leaves_of(root: _Node, binding: Binding) -> tuple[_Leaf, _Leaf | None]:
    """Mark in the trie what a binding wants; the node and the kind of its value and of its time."""
    strings = int(binding.numeric_strings)
    node = root.descend(binding.value_path or ())
    value = (VALUE, strings)
    node.leaves[value] = -1
    if binding.time_path is None:
        return (id(node), value), None
    time_node = root.descend(binding.time_path)
    time = (unit_exponent(binding.time_unit), strings)
    time_node.leaves[time] = -1
    return (id(node), value), (id(time_node), time)
