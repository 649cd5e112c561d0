"""The table of topics that the wire kernel consults: who is bound, who is ignored, who may be new.

:class:`TopicTable` owns the arrays and changes them between scans; :attr:`TopicTable.view` is what
:func:`edgetwin.kernels.mqtt.scan` takes. About 70 bytes for each topic of 30.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgetwin.errors import ConfigError
from edgetwin.kernels.bits import Array
from edgetwin.kernels.json import Scratch, Trie, make_scratch, trie_of
from edgetwin.kernels.lookup import ENTRY_WIDTH, IGNORED, LEVEL_WIDTH, find, insert, rebuild
from edgetwin.kernels.paths import Binding, Cells, Plans

TOPIC_BYTES_MAX = 65_535
SEED, MASK, PATTERNS, PATTERNS_FULL = 0, 1, 2, 3


class TableView(NamedTuple):
    """Arrays of a :class:`TopicTable` for the kernel; see ``lookup.py``, ``paths.py`` and ``json.py``.

    ``state`` int64[4] as in ``SEED`` and so on: seed of the hash, length of ``index`` less one, number of patterns,
    1 when a topic that matches a pattern would be one too many.
    """

    index: Array
    entries: Array
    names: Array
    slots: Array
    plans: Array
    bindings: Array
    trie: Trie
    patterns: Array
    levels: Array
    literals: Array
    state: Array
    scratch: Scratch


class TopicTable:
    """Topics and what is bound to them.

    ``ignored_max`` bounds the remembered topics that nobody wants: half of them, the oldest, are forgotten
    when it is reached. ``seed`` fixes the hash (default: drawn, so that nobody outside can aim at it).
    """

    def __init__(self, *, ignored_max: int = 10_000, seed: int | None = None) -> None:
        self._generation_max = max(ignored_max // 2, 1)
        self._seed = (secrets.randbits(63) if seed is None else seed) & (2**63 - 1)
        self._plans = Plans()
        self._index = np.zeros(64, np.int64)
        self._entries = Cells(ENTRY_WIDTH)
        self._names = np.zeros(1024, np.uint8)
        self._names_used = 0
        self._slots = Cells(1)
        self._bound = 0
        self._ignored_young = 0
        self._patterns: list[tuple[str | None, ...]] = []
        self._state = np.array([self._seed, 0, 0, 0], np.int64)
        self._view: TableView | None = None

    def __len__(self) -> int:
        """Topics with bindings."""
        return self._bound

    @property
    def remembered(self) -> int:
        """Topics in the table, bound or ignored."""
        return self._entries.rows

    def add(self, topic: bytes, bindings: Sequence[Binding]) -> None:
        """Bind slots to a topic, after those it has already.

        Raises :class:`ConfigError` on a path of a time without a path of the value, and on a topic that
        MQTT cannot carry.
        """
        for binding in bindings:
            if binding.value_path is None and binding.time_path is not None:
                raise ConfigError(
                    f"topic {topic!r}: a time path needs a JSON payload",
                    hint="give the path of the value too",
                )
        if not bindings:
            return
        entry = self._find(topic)
        if entry < 0:
            entry = self._insert(topic, IGNORED)
            self._ignored_young += 1
        row = entry * ENTRY_WIDTH
        cells = self._entries.array
        old = self._bindings_of(entry)
        if not old:
            self._bound += 1
            self._ignored_young -= int(cells[row + 2] == IGNORED)
        every = (*old, *bindings)
        cells[row + 2] = self._plans.number(tuple(replace(binding, slot=0) for binding in every))
        cells[row + 3] = self._store_slots(int(cells[row + 3]), len(old), [binding.slot for binding in every])
        self._view = None

    def ignore(self, topic: bytes) -> None:
        """Remember that nobody wants a topic, so that its messages cost a look-up; no effect if it is bound."""
        if self._find(topic) >= 0:
            return
        if self._ignored_young >= self._generation_max:
            self._rehash(len(self._index), drop_old=True)
            self._ignored_young = 0
        self._insert(topic, IGNORED)
        self._ignored_young += 1

    def lookup(self, topic: bytes) -> tuple[Binding, ...] | None:
        """The bindings of a topic; ``()`` if it is ignored, None if it is unknown."""
        entry = self._find(topic)
        return None if entry < 0 else self._bindings_of(entry)

    def add_pattern(self, levels: Sequence[str | None]) -> int:
        """Topics of these levels (None: any non-empty one) go to Python when heard first; returns its number."""
        self._patterns.append(tuple(levels))
        self._view = None
        return len(self._patterns) - 1

    def captures(self, topic: bytes) -> list[tuple[int, tuple[str, ...]]]:
        """The patterns a topic matches: number, and the texts in place of each None. Not UTF-8: none."""
        try:
            parts = topic.decode().split("/")
        except UnicodeDecodeError:
            return []
        return [
            (number, tuple(part for part, level in zip(parts, levels, strict=True) if level is None))
            for number, levels in enumerate(self._patterns)
            if len(levels) == len(parts)
            and all(part == level or (level is None and part) for part, level in zip(parts, levels, strict=True))
        ]

    def set_patterns_full(self, full: bool) -> None:
        """Whether topics that match a pattern are counted as overflow instead of going to Python."""
        self._state[PATTERNS_FULL] = int(full)

    @property
    def view(self) -> TableView:
        """What the kernel reads; valid until the table changes."""
        if self._view is None:
            self._view = self._make_view()
        return self._view

    def _make_view(self) -> TableView:
        plans = self._plans
        self._state[MASK], self._state[PATTERNS] = len(self._index) - 1, len(self._patterns)
        starts, levels, literals = _compile_patterns(self._patterns)
        return TableView(
            self._index,
            self._entries.array,
            self._names,
            self._slots.array,
            plans.plans.array,
            plans.bindings.array,
            trie_of(plans),
            starts,
            levels,
            literals,
            self._state,
            make_scratch(plans.leaves_max, plans.nodes.rows),
        )

    def _find(self, topic: bytes) -> int:
        raw = np.frombuffer(bytearray(topic), np.uint8)
        mask = len(self._index) - 1
        return int(find(raw, 0, len(raw), self._seed, mask, self._index, self._entries.array, self._names))

    def _bindings_of(self, entry: int) -> tuple[Binding, ...]:
        row = entry * ENTRY_WIDTH
        plan, first = (int(cell) for cell in self._entries.array[row + 2 : row + 4])
        if plan < 0:
            return ()
        template = self._plans.template(plan)
        slots = [first] if len(template) == 1 else self._slots.array[first : first + len(template)].tolist()
        return tuple(replace(binding, slot=slot) for binding, slot in zip(template, slots, strict=True))

    def _store_slots(self, first: int, old: int, slots: list[int]) -> int:
        """Put the slots of a topic in a row; a topic that grew last grows in place."""
        if len(slots) == 1:
            return slots[0]
        if old > 1 and first + old == self._slots.rows:
            self._slots.extend([[slot] for slot in slots[old:]])
            return first
        self._slots.extend([[slot] for slot in slots])
        return self._slots.rows - len(slots)

    def _insert(self, topic: bytes, plan: int) -> int:
        if not 0 < len(topic) <= TOPIC_BYTES_MAX:
            raise ConfigError(f"a topic of {len(topic)} bytes", hint=f"1 to {TOPIC_BYTES_MAX} bytes are possible")
        if 2 * (self._entries.rows + 1) > len(self._index):
            self._rehash(2 * len(self._index), drop_old=False)
        offset, end = self._names_used, self._names_used + len(topic)
        if end > len(self._names):
            self._names = np.resize(self._names, max(end, len(self._names) * 3 // 2))
        self._names[offset:end] = np.frombuffer(topic, np.uint8)
        self._names_used = end
        entry = self._entries.append(offset, len(topic), plan, 0)
        insert(self._names, offset, end, self._seed, entry, self._index)
        self._view = None
        return entry

    def _rehash(self, size: int, *, drop_old: bool) -> None:
        self._index = np.zeros(size, np.int64)
        kept, self._names_used = rebuild(
            self._entries.array, self._entries.rows, self._names, self._seed, self._index, drop_old
        )
        self._entries.rows = int(kept)
        self._view = None


def _compile_patterns(patterns: Sequence[Sequence[str | None]]) -> tuple[Array, Array, Array]:
    """Rows for :func:`edgetwin.kernels.lookup.matches_any`: starts, levels, literals."""
    starts, levels, literals = [0], [], bytearray()
    for pattern in patterns:
        for level in pattern:
            raw = (level or "").encode()
            levels += [-1 if level is None else len(literals), len(raw)]
            literals += raw
        starts.append(len(levels) // LEVEL_WIDTH)
    literals += bytes(1)
    return np.array(starts, np.int32), np.array(levels or [0, 0], np.int32), np.frombuffer(literals, np.uint8)


__all__ = ["Binding", "TableView", "TopicTable"]
