from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.durations import PATTERN, UNITS, format_duration, parse_duration
from edgetwin.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25), ("5s", 5), ("10min", 600), ("1h", 3600), ("1d", 86_400), ("500us", 0.0005),
        ("1.5h", 5400), ("0s", 0), ("0.1s", 0.1), ("100ms", 0.1), (" 2 s ", 2),
    ],
)  # fmt: skip
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 m", "-1s", "5S", "1e3s", "1h30min", "nan", "٣s", "1.s", "99999999d"])
def test_refuse(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert caught.value.hint


@given(st.integers(0, 10_000_000), st.sampled_from(sorted(UNITS)))
def test_whole_numbers_of_any_unit_survive_the_round_trip(count: int, unit: str) -> None:
    try:
        seconds = parse_duration(f"{count}{unit}")
    except ConfigError:
        assert count * UNITS[unit] > 36_500 * 86_400 * (1 - 1e-9)
        return
    assert seconds == pytest.approx(count * UNITS[unit], rel=1e-12)
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-8)


@given(st.text(max_size=20))
def test_any_text_gives_seconds_or_a_config_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ConfigError:
        assert not re.fullmatch(PATTERN, text) or len(text) > 6
    else:
        assert 0 <= seconds <= 36_500 * 86_400
        assert re.fullmatch(PATTERN, text.strip())
