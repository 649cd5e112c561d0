"""Times as text to nanoseconds, against decimal and datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.errors import ConfigError
from edgetwin.kernels.numbers import INVALID, OK, PUNT, RANGE
from edgetwin.kernels.times import NS_MAX, UNITS, days_from_civil, parse_time, unit_exponent
from edgetwin.sources.payload import read_time
from tests.kernels.wire import array, examples, fenced

UNIT = st.sampled_from(["s", "ms", "us", "ns"])
EXACT = Context(prec=500, rounding=ROUND_HALF_EVEN)


def parse(text: str, unit: str) -> tuple[int, int]:
    raw = text.encode()
    ns, status = parse_time(array(raw), 0, len(raw), UNITS[unit])
    return int(ns), int(status)


def agree(text: str, unit: str) -> int:
    """The status of the kernel, after comparing its answer with the slow path's."""
    ns, status = parse(text, unit)
    slow = read_time(text, unit)
    if status == OK:
        assert slow == ns
    elif status != PUNT:
        assert slow is None
    return status


@examples(2000)
@given(st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False), UNIT, st.booleans())
def test_numeric_time_is_exact(x: Decimal, unit: str, scientific: bool) -> None:
    text = f"{x:e}" if scientific else f"{x:f}"
    exact = EXACT.scaleb(EXACT.create_decimal(text), UNITS[unit]).to_integral_value(ROUND_HALF_EVEN, EXACT)
    status = agree(text, unit)
    if abs(exact) > NS_MAX:
        assert status in (RANGE, PUNT)
        assert read_time(text, unit) is None
    else:
        assert read_time(text, unit) == int(exact)


@examples(1000)
@given(st.integers(0, 2**63 - 1), st.integers(-30, 25), UNIT)
def test_rounding_is_half_to_even(m: int, e: int, unit: str) -> None:
    agree(f"{m}e{e}", unit)
    agree(f"-{m // 10 * 10 + 5}e{e}", unit)


@pytest.mark.parametrize(
    ("text", "unit", "ns"),
    [
        ("1700000000.123", "s", 1_700_000_000_123_000_000),
        ("1700000000123456789", "ns", 1_700_000_000_123_456_789),
        ("1700000000.123456789", "s", 1_700_000_000_123_456_789),
        ("0.5", "ns", 0),
        ("1.5", "ns", 2),
        ("2.5", "ns", 2),
        ("-2.5", "ns", -2),
        ("2.5000000000000001", "ns", 3),
        ("5.1e-19", "s", 0),
        ("1e-400", "s", 0),
        ("9223372036", "s", NS_MAX),
        ("2024-02-29T12:00Z", "iso", 1_709_208_000_000_000_000),
        ("2024-02-29 12:00:00.5+0130", "iso", 1_709_202_600_500_000_000),
        ("2016-12-31T23:59:60Z", "iso", 1_483_228_800_000_000_000),
        ("1969-12-31T23:59:59.999999999", "iso", -1),
        ("1970-01-01T00:00:00.0000000005Z", "iso", 0),
        ("1970-01-01T00:00:00.00000000051Z", "iso", 1),
        ("1970-01-01t00:00:00z", "iso", 0),
    ],
)
def test_known_instants(text: str, unit: str, ns: int) -> None:
    assert parse(text, unit) == (ns, OK)
    assert read_time(text, unit) == ns


@pytest.mark.parametrize(
    "text",
    ["", "2024", "2023-02-29T00:00Z", "1900-02-29T00:00Z", "2024-13-01T00:00Z", "2024-00-01T00:00Z",
     "2024-04-31T00:00Z", "2024-01-00T00:00Z", "2024-01-01T24:00Z", "2024-01-01T00:60Z", "2024-01-01T00:00:61Z",
     "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+01:60", "2024-01-01T00:00:00+1",
     "2024-01-01T00:00:00+01", "2024-01-01T00:00:00 Z", " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00ZZ",
     "2024-01-01T00:00:", "2024-01-01T00:00:5Z", "2024-01-01X00:00Z", "2024-1-01T000:00", "1700000000"],
)  # fmt: skip
def test_what_is_no_iso_time(text: str) -> None:
    assert parse(text, "iso") == (0, INVALID)
    assert read_time(text, "iso") is None


@pytest.mark.parametrize(
    ("text", "unit"),
    [("1e400", "s"), ("9223372037", "s"), ("1e10", "s"), ("1e19", "ns"), ("2300-01-01T00:00Z", "iso"),
     ("0000-01-01T00:00Z", "iso"), ("9999-12-31T23:59:60.9", "iso"), ("1e99999999999999999999", "ns")],
)  # fmt: skip
def test_out_of_range(text: str, unit: str) -> None:
    assert parse(text, unit)[1] == RANGE
    assert read_time(text, unit) is None


@examples(1000)
@given(
    st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),
    st.sampled_from(["T", " "]),
    st.none() | st.integers(-1439, 1439),
)
def test_iso_against_datetime(at: datetime, separator: str, zone: int | None) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(minutes=zone)) if zone is not None else UTC)
    text = aware.isoformat(separator) if zone is not None else at.isoformat(separator)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    ns = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    assert parse(text, "iso") == (ns, OK)
    assert read_time(text, "iso") == ns


@examples(1000)
@given(
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{0,24})?)?(Z|[+-][0-2][0-9]:?[0-6][0-9])?",
        fullmatch=True,
    ),
    st.integers(0, 40),
    st.sampled_from(["", "0", "-", ":", "Z", " ", "T", "+"]),
)
def test_kernel_and_slow_path_agree_on_nearly_iso(text: str, position: int, other: str) -> None:
    agree(text, "iso")
    agree(text[:position] + other + text[position + 1 :], "iso")


@examples(500)
@given(st.text("0123456789-:TZ.+", max_size=30), st.binary(min_size=8, max_size=8), st.sampled_from(list(UNITS)))
def test_nothing_after_the_end_is_read(text: str, guard: bytes, unit: str) -> None:
    buf, n = fenced(text.encode(), guard)
    assert tuple(map(int, parse_time(buf, 0, n, UNITS[unit]))) == parse(text, unit)


def test_days_of_every_month() -> None:
    for year in (1600, 1700, 1970, 2000, 2023, 2024, 2100, 2400):
        for month in range(1, 13):
            expected = datetime(year, month, 1).toordinal() - datetime(1970, 1, 1).toordinal()
            assert days_from_civil(year, month, 1) == expected


def test_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="fortnight"):
        unit_exponent("fortnight")
