from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.kernels.bands import bands

SHARES = np.array([0.0, 0.05, 0.5, 0.6789, 1.0])


def described(members: list[float]) -> np.ndarray:
    out = np.full((2 + len(SHARES), 1, 3), -7.0)
    bands(np.sort(np.array([[members]], np.float64), axis=-1), SHARES, out, 1)
    assert (out[:, :, [0, 2]] == -7.0).all()
    column: np.ndarray = out[:, 0, 1]
    return column


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(0, 3))
def test_as_numpy_has_it(members: list[float], lost: int) -> None:
    got = described([*members, *[float("nan")] * lost])
    std = np.std(members, ddof=1) if len(members) > 1 else 0.0
    expected = [np.mean(members), std, *np.quantile(members, SHARES)]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-7)


def test_no_member_left_is_nan() -> None:
    assert np.isnan(described([float("nan")] * 3)).all()


def test_a_great_offset_costs_no_digits() -> None:
    got = described([1e9 + k for k in range(5)])
    np.testing.assert_allclose(got[:2], [1e9 + 2, np.std(range(5), ddof=1)], rtol=1e-12)
