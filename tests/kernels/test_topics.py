"""The topic table: look-up, growth, forgetting, patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.errors import ConfigError
from edgetwin.kernels.lookup import matches_any
from edgetwin.kernels.topics import PATTERNS, Binding, TopicTable
from tests.kernels.wire import COMPILED, array, examples

TOPICS = st.binary(min_size=1, max_size=30) | st.integers(0, 9).map(lambda k: b"plant/line/machine%d/temp" % k)


def matches(table: TopicTable, topic: bytes) -> bool:
    view = table.view
    return bool(
        matches_any(array(topic), 0, len(topic), int(view.state[PATTERNS]), view.patterns, view.levels, view.literals)
    )


@examples(200)
@given(st.lists(st.tuples(TOPICS, st.integers(0, 2)), max_size=60), st.integers(0, 2**63))
def test_like_a_dictionary(steps: list[tuple[bytes, int]], seed: int) -> None:
    table = TopicTable(ignored_max=1000, seed=seed)
    expected: dict[bytes, tuple[Binding, ...]] = {}
    for slot, (topic, action) in enumerate(steps):
        if action == 0:
            table.ignore(topic)
            expected.setdefault(topic, ())
        else:
            bindings = [Binding(slot, ("v",) if action == 2 else None)] * action
            table.add(topic, bindings)
            expected[topic] = (*expected.get(topic, ()), *bindings)
    assert {topic: table.lookup(topic) for topic in expected} == expected
    assert table.lookup(b"never heard of, and longer than thirty bytes") is None
    assert len(table) == sum(bool(bindings) for bindings in expected.values())
    assert table.remembered == len(expected)


def test_many_topics_share_a_plan_and_stay_small() -> None:
    table = TopicTable()
    n = 20_000 if COMPILED else 500
    for k in range(n):
        table.add(b"plant/line3/machine%06d/temp" % k, [Binding(k, ("v",), ("t",))])
    view = table.view
    assert all(
        table.lookup(b"plant/line3/machine%06d/temp" % k) == (Binding(k, ("v",), ("t",)),) for k in range(0, n, 97)
    )
    arrays = (view.index, view.entries, view.names, view.slots, view.plans, *view.trie)
    assert sum(a.nbytes for a in arrays) < 130 * n
    assert 2 * table.remembered <= len(view.index)


def test_topics_that_grow_in_turns_keep_their_slots() -> None:
    table = TopicTable()
    for slot in range(40):
        table.add(b"a" if slot % 3 else b"b", [Binding(slot, (f"k{slot}",))])
    for topic, wanted in ((b"a", [s for s in range(40) if s % 3]), (b"b", list(range(0, 40, 3)))):
        bindings = table.lookup(topic)
        assert bindings is not None
        assert [b.slot for b in bindings] == wanted
        assert [b.value_path for b in bindings] == [(f"k{s}",) for s in wanted]


def test_ignored_topics_are_bounded_and_the_oldest_go_first() -> None:
    table = TopicTable(ignored_max=100)
    table.add(b"bound", [Binding(7)])
    for k in range(1000):
        table.ignore(b"noise/%d" % k)
        assert table.remembered <= 101
        assert table.lookup(b"noise/%d" % k) == ()
    assert table.lookup(b"noise/0") is None
    assert table.lookup(b"noise/950") == ()
    assert table.lookup(b"bound") == (Binding(7),)
    assert len(table.view.names) < 4096


def test_a_bound_topic_is_not_ignored_and_an_ignored_one_can_be_bound() -> None:
    table = TopicTable()
    table.add(b"a", [Binding(1)])
    table.ignore(b"a")
    assert table.lookup(b"a") == (Binding(1),)
    table.ignore(b"b")
    table.add(b"b", [Binding(2)])
    assert table.lookup(b"b") == (Binding(2),)


def test_the_view_follows_changes() -> None:
    table = TopicTable()
    view = table.view
    assert table.view is view
    table.add(b"a", [Binding(1)])
    assert table.view is not view


@pytest.mark.parametrize("topic", [b"", b"x" * 65_536])
def test_topics_that_mqtt_cannot_carry(topic: bytes) -> None:
    with pytest.raises(ConfigError):
        TopicTable().add(topic, [Binding(1)])


def test_a_time_path_needs_a_value_path() -> None:
    with pytest.raises(ConfigError, match="time path"):
        TopicTable().add(b"a", [Binding(1, None, ("t",))])


def test_captures() -> None:
    table = TopicTable()
    table.add_pattern(["plant", None, None, "temp"])
    table.add_pattern(["plant", "1", None, "temp"])
    assert table.captures(b"plant/1/m/temp") == [(0, ("1", "m")), (1, ("m",))]
    assert table.captures("plant/größe/m/temp".encode()) == [(0, ("größe", "m"))]
    assert table.captures(b"plant/1//temp") == []
    assert table.captures(b"plant/\xff/m/temp") == []


LEVELS = st.sampled_from(["a", "b", "ab", "a rather long level", ""])


@examples(500)
@given(
    st.lists(st.lists(LEVELS | st.none(), min_size=1, max_size=4), max_size=4),
    st.lists(LEVELS, min_size=1, max_size=4).map("/".join),
)
def test_compiled_patterns_match_as_python_does(patterns: list[list[str | None]], topic: str) -> None:
    table = TopicTable()
    for pattern in patterns:
        table.add_pattern(pattern)
    assert matches(table, topic.encode()) == bool(table.captures(topic.encode()))
