"""What an information matrix says, on matrices whose answer is known."""

from __future__ import annotations

import numpy as np

from edgetwin.fit.information import unidentified


def test_well_determined() -> None:
    poor, directions = unidentified(np.diag([100.0, 4.0, 1e6]))
    assert not poor.any()
    assert directions == []


def test_a_sum_that_is_not_determined() -> None:
    """Only the difference of the first two is known, and the third."""
    a = np.array([1.0, -1.0, 0.0])
    information = 1e4 * np.outer(a, a) + np.diag([0.0, 0.0, 50.0])
    poor, directions = unidentified(information)
    assert poor.tolist() == [True, True, False]
    ((vector, deviation),) = directions
    np.testing.assert_allclose(vector, [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-9)
    assert deviation == np.inf


def test_a_weak_direction_has_its_deviation() -> None:
    _, ((vector, deviation),) = unidentified(np.diag([100.0, 0.25]))
    np.testing.assert_allclose(np.abs(vector), [0, 1], atol=1e-12)
    assert deviation == 2.0


def test_a_saddle_is_not_identified() -> None:
    poor, ((_, deviation),) = unidentified(np.diag([100.0, -3.0]))
    assert poor.tolist() == [False, True]
    assert deviation == np.inf
