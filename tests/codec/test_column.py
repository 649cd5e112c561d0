"""Columns and tables: the tolerance on every value, exact times and gaps, and FrameError for anything else."""

from __future__ import annotations

import zlib
from fractions import Fraction

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgetwin.codec.column import ColumnCode, ColumnCoder, error_bound
from edgetwin.codec.laws import Law, ordered
from edgetwin.codec.table import MAGIC, Table, decode_table, encode_table
from edgetwin.errors import FrameError

CODER = ColumnCoder()
I64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = (
    st.floats(allow_nan=True, allow_infinity=True) | st.floats(-50, 50) | st.integers(-900, 900).map(lambda n: n / 100)
)
TOLERANCES = st.sampled_from([0.0, 5e-324, 1e-308, 1e-9, 0.01, 0.5, 3.0, 1e9, 1e300])


def assert_within(sent: NDArray[np.float64], found: NDArray[np.float64], tolerance: float) -> None:
    """In rational arithmetic; what is not finite, and everything at tolerance 0, to the bit."""
    assert len(found) == len(sent)
    for a, b, p, q in zip(
        sent.tolist(), found.tolist(), sent.view(np.int64).tolist(), found.view(np.int64).tolist(), strict=True
    ):
        if np.isfinite(a) and tolerance:
            assert abs(Fraction(a) - Fraction(b)) <= Fraction(tolerance), (a, b)
        else:
            assert p == q, (a, b)


@given(st.lists(FLOATS, max_size=40), TOLERANCES)
@settings(deadline=None)
def test_any_column(numbers: list[float], tolerance: float) -> None:
    values = np.array(numbers, np.float64)
    assert_within(values, CODER.decode(CODER.encode(values, tolerance)), tolerance)


@given(hnp.arrays(np.uint64, st.integers(0, 30), elements=st.integers(0, 2**64 - 1)), TOLERANCES)
@settings(deadline=None)
def test_any_bits_of_doubles(bits: NDArray[np.uint64], tolerance: float) -> None:
    values = bits.view(np.float64)
    assert_within(values, CODER.decode(CODER.encode(values, tolerance)), tolerance)


@given(st.lists(I64 | st.integers(-9, 9), max_size=30))
@settings(deadline=None)
def test_any_integers(numbers: list[int]) -> None:
    assert CODER.decode_integers(CODER.encode_integers(np.array(numbers, np.int64))).tolist() == numbers


def recording(n: int = 4_000) -> NDArray[np.float64]:
    """A daily swing, noise, a stuck stretch, steps and gaps, to two decimals."""
    rng = np.random.default_rng(11)
    x = 20 + 5 * np.sin(np.arange(n) / 200) + rng.normal(0, 0.05, n).cumsum() + rng.normal(0, 0.1, n)
    x[n // 3 : n // 2] = x[n // 3]
    x[3 * n // 4 :] += 30
    x[rng.integers(0, n, n // 50)] = np.nan
    return np.round(x, 2)


@pytest.mark.parametrize("tolerance", [0.0, 0.004, 0.01, 0.05, 0.3, 2.0])
def test_a_recording_in_few_bytes(tolerance: float) -> None:
    values = recording()
    code = CODER.encode(values, tolerance)
    assert_within(values, CODER.decode(code), tolerance)
    plain = 8 * len(values)
    assert len(code.payload) < plain / {0.0: 6, 0.004: 6, 0.01: 7, 0.05: 12, 0.3: 30, 2.0: 70}[tolerance]


def test_decimals_are_decoded_as_they_were_written() -> None:
    values = recording()
    assert [repr(v) for v in CODER.decode(CODER.encode(values, 0.0)).tolist()] == [repr(v) for v in values.tolist()]


def test_the_resolution_of_the_sensor_widens_the_step() -> None:
    """Steps of 5 within 10 on both sides: each point stands for five of them, not for four and a half."""
    values = np.random.default_rng(5).integers(-40, 40, 3_000) * 5.0
    law = CODER.encode(values, 10.0).law
    assert law.step / law.divisor == 25.0


def test_coders_keep_nothing_from_one_column_to_the_next() -> None:
    first = ColumnCoder().encode(recording(), 0.1)
    used = ColumnCoder()
    used.encode(np.random.default_rng(0).normal(size=500), 0.01)
    assert used.encode(recording(), 0.1) == first


def test_a_payload_cannot_claim_more_than_it_can_hold() -> None:
    code = CODER.encode(np.zeros(100), 0.1)
    with pytest.raises(FrameError, match="more values"):
        CODER.decode(ColumnCode(code.law, 2**40, code.payload))


def test_a_constant_column_of_many_rows_is_not_refused() -> None:
    code = CODER.encode(np.full(2_000_000, 3.7), 0.1)
    assert len(code.payload) < 200
    assert error_bound(np.full(2_000_000, 3.7), CODER.decode(code)) <= 0.1


@given(FLOATS, FLOATS)
def test_the_order_of_bits_is_that_of_doubles(a: float, b: float) -> None:
    i, j = ordered(np.array([a, b])).tolist()
    assert ordered(np.array([i, j], np.int64).view(np.float64)).tolist() == np.array([a, b]).view(np.int64).tolist()
    if a < b:
        assert i < j


# ---- tables


def table(rows: int = 300) -> Table:
    rng = np.random.default_rng(2)
    t_ns = 1_700_000_000 * 10**9 + np.cumsum(rng.integers(1, 9, rows)) * 10**8
    values = np.stack([recording(rows), rng.normal(size=rows), np.full(rows, np.nan)], axis=1)
    return Table("t", "s", t_ns, ("temp", "noise", "absent"), values)


def test_a_table_comes_back() -> None:
    sent = table()
    found = decode_table(encode_table(sent, [0.05, 0.0, 1.0]))
    assert (found.time, found.unit, found.names) == ("t", "s", sent.names)
    assert found.t_ns.tolist() == sent.t_ns.tolist()
    for k, tolerance in enumerate((0.05, 0.0, 1.0)):
        assert_within(sent.values[:, k].copy(), found.values[:, k].copy(), tolerance)


def test_an_empty_table_comes_back() -> None:
    sent = Table("time", "iso", np.zeros(0, np.int64), (), np.zeros((0, 0)))
    found = decode_table(encode_table(sent, []))
    assert (found.time, found.unit, found.values.shape) == ("time", "iso", (0, 0))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damage_is_refused_or_well_formed(data: st.DataObject) -> None:
    """With the checksum put right the parser is reached; it gives a table or FrameError, and ends soon."""
    whole = encode_table(table(40), [0.05, 0.0, 1.0])
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(FrameError):
        decode_table(cut)
    forged = bytearray(whole[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_table(bytes(forged) + zlib.crc32(forged).to_bytes(4, "big"))
    except FrameError:
        return
    assert found.values.shape == (len(found.t_ns), len(found.names))


def test_a_table_cannot_claim_more_than_the_bound() -> None:
    """Refused from its head, before room is made for the values."""
    wire = [2**27, "t", "s", [[2, 0, 0, 0, 1, 1.0], b""], [["a", [[2, 4, 0, 0, 1, 1.0], b""]]] * 2]
    body = MAGIC + msgpack.packb(wire)
    with pytest.raises(FrameError, match="claims more"):
        decode_table(body + zlib.crc32(body).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="split"):
        t_ns = np.broadcast_to(np.int64(0), 2**28)
        encode_table(Table("t", "s", t_ns, ("a",), np.broadcast_to(0.0, (2**28, 1))), [1.0])


def test_a_table_cut_at_any_byte_or_with_any_bit_flipped_is_refused() -> None:
    whole = encode_table(table(40), [0.05, 0.0, 1.0])
    for cut in range(len(whole)):
        with pytest.raises(FrameError):
            decode_table(whole[:cut])
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(FrameError):
            decode_table(bytes(flipped))


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [0, 0, 0, 0.0, 1.0],
        [3, 0, 0, 0.0, 1.0, 1.0],
        [0, 8, 0, 0.0, 1.0, 1.0],
        [0, 0, 1, 0.0, 1.0, 1.0],
        [0, 0, 0, 0.0, 0.0, 1.0],
        [0, 0, 0, 0.0, float("nan"), 1.0],
        [0, 0, 0, 0, 1.0, 1.0],
        [1, 0, 0, 2**60, 1, 1.0],
        [1, 0, 0, 0, 0, 1.0],
        [1, 0, 0, 0, 1, 0.0],
        [2, 0, 5, 0, 1, 1.0],
        [2, 0, 0, True, 1, 1.0],
    ],
)
def test_what_is_no_law_is_refused(wire: object) -> None:
    with pytest.raises(FrameError):
        Law.from_wire(wire)
