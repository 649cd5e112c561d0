"""The bytes of records and marks: what goes in comes out, and anything else is refused in the right way."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.errors import JournalError
from edgetwin.journal import Class, Gap, Kind
from edgetwin.journal.gaps import U64_MAX, GapLedger, coalesce, pack_gaps, runs, unpack_gaps
from edgetwin.journal.layout import (
    Header,
    SegmentHeader,
    crc32c,
    decode_header,
    decode_segment_header,
    encode_header,
    encode_segment_header,
    parse_segment_name,
    segment_name,
)
from edgetwin.journal.manifest import Listed, Manifest, pack_manifest, unpack_ack, unpack_carried, unpack_manifest

U64 = st.integers(0, U64_MAX)
U32 = st.integers(0, 2**32 - 1)
KINDS = st.sampled_from([kind for kind in Kind if kind])
GAPS = st.builds(Gap, U64, st.sampled_from(list(Kind)), U64, U64, U64, U64, st.text(max_size=20))


def test_crc_is_castagnoli() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4 and the check value of the catalogue
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_a_record_header_byte_by_byte() -> None:
    header = Header(5, 6, 7, 8, 9, -10, 11, Kind.FRAME, Class.EVENT, 12)
    fields = struct.pack("<IIQQQqQBBHI", 5, 6, 7, 8, 9, -10, 11, 3, 2, 0, 12)
    assert encode_header(header) == bytes.fromhex("e54a5231") + struct.pack("<I", crc32c(fields)) + fields


def test_a_segment_header_byte_by_byte() -> None:
    fields = struct.pack("<IQQQQIIQ", 1, 2, 3, 5, 4, 1, 6, 7)
    expected = bytes.fromhex("e5454447544a0d0a") + struct.pack("<I", crc32c(fields)) + fields
    assert encode_segment_header(SegmentHeader(2, 3, 5, 4, 1, 6, 7)) == expected


@given(
    st.builds(
        Header,
        st.integers(0, 2**24),
        U32,
        U64,
        U64,
        U64,
        st.integers(-(2**63), 2**63 - 1),
        U64,
        KINDS,
        st.sampled_from(Class),
        U32,
    ),
    st.integers(0, 511),
)
def test_headers_round_trip_and_a_flipped_bit_is_seen(header: Header, bit: int) -> None:
    data = encode_header(header)
    assert decode_header(data, 0) == header
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    assert decode_header(bytes(flipped), 0) is None
    assert decode_header(data[:-1], 0) is None


@given(st.builds(SegmentHeader, U64, U64, U64, U64, U32, U32, U64), st.integers(0, 511))
def test_segment_headers_round_trip_and_a_flipped_bit_is_seen(header: SegmentHeader, bit: int) -> None:
    data = encode_segment_header(header)
    assert decode_segment_header(data) == header
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    assert decode_segment_header(bytes(flipped)) is None


@given(U64, U64)
def test_names_round_trip(number: int, epoch: int) -> None:
    assert parse_segment_name(segment_name(number, epoch)) == (number, epoch)


@pytest.mark.parametrize(
    "name", ["", "lock", "reserve", "a" * 33 + ".seg", segment_name(10, 2).upper(), segment_name(1, 2) + ".tmp"]
)
def test_other_names_are_not_segments(name: str) -> None:
    assert parse_segment_name(name) is None


@given(st.lists(GAPS, max_size=5))
def test_gaps_round_trip(gaps: list[Gap]) -> None:
    assert unpack_gaps(pack_gaps(gaps)) == gaps


@given(
    st.dictionaries(U64, U64, max_size=3),
    st.lists(GAPS, max_size=3),
    st.lists(st.builds(Listed, U64, U64, U64, U64, U64), max_size=3),
)
def test_manifests_round_trip(acks: dict[int, int], gaps: list[Gap], listed: list[Listed]) -> None:
    manifest = Manifest(acks, tuple(gaps), {(1, 2): tuple(gaps)}, tuple(listed))
    assert unpack_manifest(pack_manifest(manifest)) == manifest


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), U64_MAX) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=20,
)


@given(JSON_LIKE.map(msgpack.packb) | st.binary(max_size=40))
def test_marks_of_anything_else_are_journal_errors(payload: bytes) -> None:
    for parse in (unpack_gaps, unpack_manifest, unpack_ack, unpack_carried):
        try:
            parse(payload)
        except JournalError:
            continue


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_the_ledger_covers_exactly_what_is_gone(first: set[int], second: set[int]) -> None:
    ledger = GapLedger()
    gone = first | second
    ledger.add(runs(1, [(n, 1) for n in sorted(first)], "evicted"))
    ledger.add(runs(1, [(n, 1) for n in sorted(second - first)], "damaged"))
    assert {n for n in range(70) if ledger.covers(1, n)} == gone
    assert not ledger.covers(2, 5)
    left = ledger.without(1, 3, 50)
    assert {n for a, b in left for n in range(a, b + 1)} == set(range(3, 51)) - gone
    assert sum(gap.records for gap in ledger) == len(gone)


def test_neighbours_are_joined_only_when_alike() -> None:
    gaps = [
        Gap(1, Kind.FRAME, 0, 4, 5, 50, "evicted"),
        Gap(1, Kind.FRAME, 5, 5, 1, 7, "evicted"),
        Gap(1, Kind.FRAME, 6, 6, 1, 1, "damaged"),
    ]
    assert coalesce(reversed(gaps)) == [Gap(1, Kind.FRAME, 0, 5, 6, 57, "evicted"), gaps[2]]


def test_the_ledger_is_bounded_and_what_it_gives_up_is_counted() -> None:
    ledger = GapLedger()
    ledger.add(Gap(1, Kind.FRAME, n, n, 1, 1, "evicted") for n in range(0, 40_000, 3))
    assert len(ledger) <= 4096
    covered = sum(gap.last - gap.first + 1 for gap in ledger)
    assert covered == sum(gap.records for gap in ledger)
    assert all(ledger.covers(1, n) for n in range(0, 40_000, 3))
