"""Times as text."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.errors import PayloadError
from edgetwin.http.times import format_time, parse_time

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64)
def test_a_time_survives_its_text(ns: int) -> None:
    text = format_time(ns)
    assert parse_time(text) == ns
    assert datetime.fromisoformat(text[:26] + "Z").isoformat()


@given(INT64, INT64)
def test_texts_sort_as_times_do(a: int, b: int) -> None:
    assert (a < b) == (format_time(a) < format_time(b))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00Z", 0),
        ("1970-01-01t00:00:00.000000001z", 1),
        ("1970-01-01T00:00:00,5+00:00", 500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T22:30:00-0130", 0),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2024-02-29T12:00:00Z", 1_709_208_000 * 10**9),
    ],
)
def test_known_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2024-01-01", "2024-01-01T00:00:00", "2023-02-29T00:00:00Z", "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z", "2024-01-01T00:00:00.1234567890Z", "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+00:60", "0001-01-01T00:00:00+01:00", "2262-04-12T00:00:00Z",
        "٢٠٢٤-01-01T00:00:00Z", "2024-01-01T00:00:00Z\n", "0000-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        parse_time(text)


@given(st.text(alphabet="0123456789-:.TZ+ ", max_size=40))
def test_any_text_gives_a_time_or_payload_error(text: str) -> None:
    try:
        ns = parse_time(text)
    except PayloadError:
        return
    assert parse_time(format_time(ns)) == ns
