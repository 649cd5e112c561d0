"""JSON by path in one pass: against the slow path, on documents as they are and as they get damaged."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.paths import parse_path
from edgetwin.kernels.json import ABSENT, DEPTH_MAX, MALFORMED, make_scratch, read_document, trie_of
from edgetwin.kernels.numbers import OK, PUNT
from edgetwin.kernels.paths import PLAN_WIDTH, Binding, Plans
from edgetwin.sources.payload import read_payload
from tests.kernels.wire import array, examples

ARRIVAL = 777

Result = tuple[list[tuple[int, int, float]], int]


class Reader:
    """The kernel on one document for a set of bindings, with what follows the document in memory."""

    def __init__(self, *bindings: Binding) -> None:
        self.bindings = bindings
        plans = Plans()
        self._row = plans.plans.array[plans.number(bindings) * PLAN_WIDTH :].tolist()
        plans = self._plans = plans
        self._wanted = plans.bindings.array[: 2 * len(bindings)].reshape(-1, 2).tolist()

    def read(self, document: bytes, guard: bytes = b"") -> Result | int:
        """(samples, invalid), or MALFORMED or PUNT."""
        buf = array(document + guard)
        scratch = make_scratch(self._plans.leaves_max, self._plans.nodes.rows)
        status = read_document(buf, 0, len(document), self._row[3], self._row[5], trie_of(self._plans), scratch)
        if status != OK:
            return int(status)
        samples, invalid = [], 0
        for binding, (value, time) in zip(self.bindings, self._wanted, strict=True):
            status = scratch.status[value]
            time_status = scratch.status[time] if time >= 0 else ABSENT
            if status == ABSENT:
                continue
            if status != OK or time_status not in (OK, ABSENT):
                invalid += 1
            else:
                t_ns = ARRIVAL if time_status == ABSENT else int(scratch.ns[time])
                samples.append((binding.slot, t_ns, float(scratch.value[value])))
        return samples, invalid

    def agree(self, document: bytes) -> int:
        """Compare kernel and slow path; the kernel's status."""
        fast = self.read(document)
        slow = read_payload(document, self.bindings, ARRIVAL, False)
        if fast == PUNT:
            return PUNT
        if fast == MALFORMED:
            assert not slow.samples
            assert slow.invalid == (len(self.bindings) if document else 1)
            return MALFORMED
        assert isinstance(fast, tuple)
        assert [bits(s) for s in fast[0]] == [bits(s) for s in slow.samples]
        assert slow.invalid == (fast[1] or int(not fast[0]))
        return OK


def bits(sample: tuple[int, int, float]) -> tuple[int, int, bytes]:
    return sample[0], sample[1], struct.pack("d", sample[2])


def binding(value: str, time: str | None = None, unit: str = "s", *, strings: bool = False) -> Binding:
    return Binding(0, parse_path(value), parse_path(time) if time else None, unit, strings)


def value_at(document: bytes, path: str, **options: Any) -> Any:
    return Reader(binding(path, **options)).read(document)


# ---- documents


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (b'{"t":1700000000.123,"v":20.1234,"q":"good"}', "$.v", 20.1234),
        (b' { "a" : { "b" : [ 1 , [ 2 , 3 ] ] } } ', "$.a.b[1][0]", 2.0),
        (b"[10,20,30]", "$[2]", 30.0),
        (b"42", "$", 42.0),
        (b"true", "$", 1.0),
        (b'{"v":false}', "$.v", 0.0),
        (b'{"v":1,"v":2}', "$.v", 2.0),
        (b'{"odd key":-0.5e1}', "$['odd key']", -5.0),
        ('{"größe":3}'.encode(), "$.größe", 3.0),
        (b'{"unit":"\\u00b0C \\ud83d\\n","v":1}', "$.v", 1.0),
        (b'{"a long key that is not it":1,"a long key that is it!!":2}', "$['a long key that is it!!']", 2.0),
        (b'{"big":123456789012345678901234567890,"v":1}', "$.v", 1.0),
    ],
)
def test_values(document: bytes, path: str, value: float) -> None:
    assert value_at(document, path) == ([(0, ARRIVAL, value)], 0)
    assert read_payload(document, [binding(path)], ARRIVAL, False).samples == [(0, ARRIVAL, value)]


@pytest.mark.parametrize(
    "document",
    [b'{"v":null}', b'{"v":"1"}', b'{"v":{}}', b'{"v":[1]}', b'{"v":1e999}', b'{"v":"x"}', b'{"v":1,"v":null}'],
)
def test_present_but_unusable(document: bytes) -> None:
    assert value_at(document, "$.v") == ([], 1)
    assert read_payload(document, [binding("$.v")], ARRIVAL, False).invalid == 1


@pytest.mark.parametrize("document", [b"{}", b"[]", b"5", b'{"w":1}', b'{"w":{"v":1}}', b'[{"v":1}]', b'{"V":1}'])
def test_absent(document: bytes) -> None:
    assert value_at(document, "$.v") == ([], 0)


def test_strings_are_numbers_only_where_configured() -> None:
    assert value_at(b'{"v":" 1.5 "}', "$.v", strings=True) == ([(0, ARRIVAL, 1.5)], 0)
    assert value_at(b'{"v":"true"}', "$.v", strings=True) == ([(0, ARRIVAL, 1.0)], 0)
    assert value_at(b'{"v":""}', "$.v", strings=True) == ([], 1)
    assert value_at(b'{"v":"\\u0031"}', "$.v", strings=True) == PUNT


def test_times() -> None:
    ms = Reader(binding("$.v", "$.t", "ms"))
    assert ms.read(b'{"v":1,"t":1500}') == ([(0, 1_500_000_000, 1.0)], 0)
    assert ms.read(b'{"v":1}') == ([(0, ARRIVAL, 1.0)], 0)
    for bad in (b"null", b"true", b'"1500"', b"{}", b"1e300"):
        assert ms.read(b'{"v":1,"t":' + bad + b"}") == ([], 1)
    iso = Reader(binding("$.v", "$.t", "iso"))
    assert iso.read(b'{"v":1,"t":"1970-01-01T00:00:01Z"}') == ([(0, 1_000_000_000, 1.0)], 0)
    assert iso.read(b'{"v":1,"t":1}') == ([], 1)


def test_a_leaf_may_be_value_and_time_and_have_children() -> None:
    reader = Reader(binding("$.a"), binding("$.a", "$.a"), binding("$.a", "$.a", "ms"), binding("$.a.b"))
    assert reader.read(b'{"a":2}') == ([(0, ARRIVAL, 2.0), (0, 2 * 10**9, 2.0), (0, 2 * 10**6, 2.0)], 0)
    assert reader.read(b'{"a":{"b":3}}') == ([(0, ARRIVAL, 3.0)], 3)


@pytest.mark.parametrize(
    "document",
    [b"", b" ", b"{", b"}", b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b'{"v"}', b'{"v":}', b'{"v":1,}', b"{,}",
     b'{"v":1 "w":2}', b"{v:1}", b"{'v':1}", b"01", b"1.", b".5", b"+1", b"-", b"1e", b"NaN", b"Infinity", b"-Infinity",
     b"tru", b"truE", b"nul", b"falsey", b'"', b'"\\', b'"\\x"', b'"\\u12g4"', b'"\\u123', b'"\n"', b'"\x00"', b'"\x1f"',
     b'"\x80"', b'"\xc0\xaf"', b'"\xc3"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xf4\x90\x80\x80"',
     b'"\xf0\x8f\x80\x80"', b'"\xe2\x82"', b"[1]]", b"{}{}", b"1 2", b"\xef\xbb\xbf1", b"[1}", b'{"a":1]', b"\x0c1", b"//\n1",
     b'{"v":1}\x00'],
)  # fmt: skip
def test_malformed(document: bytes) -> None:
    for path in ("$.v", "$", "$[0]", "$.v.w"):
        assert Reader(binding(path)).agree(document) == MALFORMED


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (b'{"\\u0076":1}', "$.v"),
        (b'{"v":1.00000000000000000000001}', "$.v"),
        (b'{"a":{"v":1},"a":{"v":2}}', "$.a.v"),
        (b'{"a":{"v":1},"a":2}', "$.a.v"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "$.v"),
    ],
)
def test_left_to_python(document: bytes, path: str) -> None:
    assert value_at(document, path) == PUNT


def test_depth_up_to_the_bound() -> None:
    deep = b'{"d":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b',"v":1}'
    assert value_at(deep, "$.v") == ([(0, ARRIVAL, 1.0)], 0)


# ---- properties

KEYS = st.sampled_from(["t", "v", "a", "b", "größe", "a rather long key"]) | st.text(max_size=3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
SCALARS = NUMBERS | st.booleans() | st.none() | st.text(max_size=12) | st.sampled_from(
    ["1.5", "2024-02-29T12:00:00.25Z", "17e8", " 3", "true"]
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
STEPS = st.sampled_from(["t", "v", "a", "b", "größe", "a rather long key", 0, 1, 2])
PATHS = st.lists(STEPS, max_size=3).map(tuple)
BINDINGS = st.builds(
    Binding, st.integers(0, 9), PATHS, st.none() | PATHS, st.sampled_from(["s", "ms", "us", "ns", "iso"]), st.booleans()
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A document as some publisher writes it."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")]))
    document = draw(DOCUMENTS)
    return json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A document with a few bytes changed, removed, doubled or put in."""
    text = bytearray(draw(texts()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(
            st.binary(max_size=2)
            | st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"e", b"."])
        )
        text[at : at + draw(st.integers(0, 2))] = piece
    return bytes(text)


@examples(1500)
@given(texts(), st.lists(BINDINGS, min_size=1, max_size=4))
def test_same_as_the_slow_path(document: bytes, bindings: list[Binding]) -> None:
    assert Reader(*(Binding(0, *_tail(b)) for b in bindings)).agree(document) != MALFORMED


@examples(2500)
@given(mutated(), st.lists(BINDINGS, min_size=1, max_size=3))
def test_same_as_the_slow_path_on_damaged_documents(document: bytes, bindings: list[Binding]) -> None:
    Reader(*(Binding(0, *_tail(b)) for b in bindings)).agree(document)


@examples(500)
@given(texts() | mutated(), st.lists(BINDINGS, min_size=1, max_size=2), st.binary(min_size=1, max_size=9), st.data())
def test_nothing_after_the_end_is_read(
    document: bytes, bindings: list[Binding], guard: bytes, data: st.DataObject
) -> None:
    reader = Reader(*(Binding(0, *_tail(b)) for b in bindings))
    cut = data.draw(st.integers(0, len(document)))
    alone = reader.read(document[:cut])
    assert repr(reader.read(document[:cut], guard)) == repr(alone)
    assert repr(reader.read(document[:cut], document[cut:] + b'"]}')) == repr(alone)


def _tail(binding: Binding) -> tuple[Any, ...]:
    return binding.value_path, binding.time_path, binding.time_unit, binding.numeric_strings
