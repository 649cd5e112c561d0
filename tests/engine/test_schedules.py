from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.engine.schedules import Schedule, output_offsets, segments
from edgetwin.errors import ConfigError


@pytest.mark.parametrize(
    ("horizon", "step", "expected"),
    [
        (10, 5, [0, 5, 10]),
        (10, 4, [0, 4, 8, 10]),
        (0.3, 0.1, [0, 0.1, 0.2, 0.3]),
        (7, 7, [0, 7]),
    ],
)
def test_output_times_end_at_the_horizon(horizon: float, step: float, expected: list[float]) -> None:
    np.testing.assert_allclose(output_offsets(horizon, step), expected)
    assert output_offsets(horizon, step)[-1] == horizon


def value_at(schedule: Schedule, held: float, t: float) -> float:
    """The input just after ``t``, straight from the definition."""
    before = [k for k, offset in enumerate(schedule.offsets) if offset <= t]
    if not before:
        return held
    k = before[-1]
    if not schedule.linear or k + 1 == len(schedule.offsets):
        return schedule.values[k]
    span = schedule.offsets[k + 1] - schedule.offsets[k]
    return schedule.values[k] + (schedule.values[k + 1] - schedule.values[k]) * (t - schedule.offsets[k]) / span


schedules = st.builds(
    lambda points, linear: Schedule(*zip(*sorted(points, key=lambda p: p[0]), strict=True), linear),  # type: ignore[arg-type]
    st.lists(st.tuples(st.integers(-5, 25).map(float), st.floats(-9, 9)), min_size=1, max_size=8),
    st.booleans(),
)


@given(schedules, schedules, st.integers(1, 20), st.sampled_from([0.5, 1.0, 3.0, 7.0]))
def test_segments_carry_every_schedule(a: Schedule, b: Schedule, horizon: int, step: float) -> None:
    offsets = output_offsets(float(horizon), min(step, float(horizon)))
    way = segments(offsets, [a, None, b], [1.0, 2.0, 3.0])
    until = np.cumsum(way.width)
    np.testing.assert_allclose(until[way.record >= 0], offsets)
    np.testing.assert_array_equal(way.record[way.record >= 0], np.arange(len(offsets)))
    begin = np.concatenate([[0.0], until[:-1]])
    for s in np.flatnonzero(way.width > 0):
        for share in (0.25, 0.75):
            t = begin[s] + share * way.width[s]
            got = way.start[s] + share * (way.end[s] - way.start[s])
            expected = [value_at(a, 1.0, t), 2.0, value_at(b, 3.0, t)]
            np.testing.assert_allclose(got, expected, atol=1e-9)


def test_parts_make_up_the_whole() -> None:
    way = segments(output_offsets(4.0, 1.0), [Schedule((1.5,), (7.0,))], [0.0])
    first, rest = way.part(0, 3, 0), way.part(3, 6, 2)
    assert first.record.tolist() == [0, 1, -1]
    assert rest.record.tolist() == [0, 1, 2]
    assert np.concatenate([first.start, rest.start]).tolist() == way.start.tolist()


@pytest.mark.parametrize("offsets", [(1.0, 0.5), (math.nan, 1.0), (0.0, math.inf)])
def test_points_must_be_finite_and_in_order(offsets: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        Schedule(offsets, (1.0, 2.0))
    assert raised.value.path.startswith("[")
