"""The register plan: every value once, within the limits, at the least cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.config.registers import BITS
from edgetwin.config.schema import Register
from edgetwin.errors import ConfigError
from edgetwin.sources.modbus.bindings import Binding, Block
from edgetwin.sources.modbus.plan import Limits, plan_blocks
from tests.sources.modbus.rig import holding

registers = st.builds(
    Register,
    table=st.sampled_from(["holding", "input", "coil", "discrete"]),
    address=st.integers(0, 400),
    type=st.sampled_from(sorted(BITS)),
)
few_registers = st.builds(holding, st.integers(0, 30), st.sampled_from(["uint16", "float32", "float64", "bit"]))


def bind(wanted: Sequence[Register]) -> list[Binding]:
    return [Binding(slot, register) for slot, register in enumerate(wanted)]


@given(st.lists(registers, max_size=40), st.integers(4, 125), st.integers(0, 124))
def test_plan_reads_every_value_once_and_within_the_limits(
    wanted: list[Register], words_max: int, gap_max: int
) -> None:
    bindings = bind(wanted)
    blocks = plan_blocks(bindings, Limits(words_max, gap_max))
    assert sorted(int(s) for b in blocks for s in b.slots) == list(range(len(wanted)))
    for block in blocks:
        bits = block.table in ("coil", "discrete")
        assert 1 <= block.count <= (min(2000, 16 * words_max) if bits else words_max)
        covered = [False] * block.count
        for slot, row in zip(block.slots, block.layout.plan, strict=True):
            binding = bindings[slot]
            assert binding.register.table == block.table
            assert block.address + row["at"] == binding.start
            assert row["words"] == binding.end - binding.start
            assert 0 <= row["at"] <= block.count - row["words"]
            covered[row["at"] : row["at"] + row["words"]] = [True] * row["words"]
        assert covered[0]
        assert covered[-1]
        assert longest_hole(covered) <= (16 * gap_max if bits else gap_max)


def longest_hole(covered: list[bool]) -> int:
    return max(len(run) for run in "".join(" x"[c] for c in covered).split("x"))


@settings(max_examples=60)
@given(st.lists(few_registers, min_size=1, max_size=6), st.integers(4, 12), st.integers(0, 6))
def test_plan_is_minimal(wanted: list[Register], words_max: int, gap_max: int) -> None:
    bindings = bind(wanted)
    fewest = min(
        len(groups) for groups in partitions(bindings) if all(readable(group, words_max, gap_max) for group in groups)
    )
    assert len(plan_blocks(bindings, Limits(words_max, gap_max))) == fewest


def partitions(items: list[Binding]) -> list[list[list[Binding]]]:
    """Every way to share the items out between groups."""
    if not items:
        return [[]]
    found = []
    for rest in partitions(items[1:]):
        found.append([[items[0]], *rest])
        found += [[*rest[:i], [items[0], *rest[i]], *rest[i + 1 :]] for i in range(len(rest))]
    return found


def readable(group: list[Binding], words_max: int, gap_max: int) -> bool:
    start, end = min(b.start for b in group), max(b.end for b in group)
    covered = [any(b.start <= a < b.end for b in group) for a in range(start, end)]
    return end - start <= words_max and longest_hole(covered) <= gap_max


def shape(blocks: Sequence[Block]) -> list[tuple[str, int, int]]:
    return [(b.table, b.address, b.count) for b in blocks]


def test_plan_by_example() -> None:
    wanted = bind([holding(0, "float32"), holding(2), holding(11), holding(20), holding(5, table="input")])
    assert shape(plan_blocks(wanted, Limits(125, 8))) == [("holding", 0, 21), ("input", 5, 1)]
    assert shape(plan_blocks(wanted, Limits(125, 7))) == [
        ("holding", 0, 3),
        ("holding", 11, 1),
        ("holding", 20, 1),
        ("input", 5, 1),
    ]


def test_a_value_is_never_split_between_requests() -> None:
    blocks = plan_blocks(bind([holding(0), holding(1), holding(2, "float64"), holding(6)]), Limits(5, 0))
    assert shape(blocks) == [("holding", 0, 2), ("holding", 2, 5)]


@pytest.mark.parametrize(
    ("register", "words_max"),
    [(holding(65535, "int32"), 125), (holding(65533, "float64"), 125), (holding(0, "float64"), 3)],
)
def test_a_value_that_no_request_can_read_is_refused(register: Register, words_max: int) -> None:
    with pytest.raises(ConfigError, match=r"beyond address 65535|more than words_max"):
        plan_blocks(bind([register]), Limits(words_max, 0))
