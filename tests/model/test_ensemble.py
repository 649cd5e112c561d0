"""Ensemble kernels by themselves; these also run in plain Python."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.schema import UserModel
from edgetwin.model.builtin import CONSTANT_VELOCITY, FIRST_ORDER
from edgetwin.model.ensemble import LOST, compile_ensemble, measured_states
from edgetwin.model.spec import LinearModel

JIT = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
MEMBERS = 40_000 if JIT else 1_500
F64 = NDArray[np.float64]

TANK = {
    "name": "tank",
    "states": {"level": {"initial": 4.0, "min": 0.0, "max": 9.0}, "worn": {"initial": 0.0}},
    "inputs": {"inflow": {}},
    "parameters": {"c": 0.5},
    "derivatives": {"level": "inflow - c * sqrt(max(level, 0))", "worn": "0"},
    "process_noise": {"worn": 0.2},
    "measurements": {"level": "level", "outflow": "c * sqrt(max(level, 0))"},
}


def equations(**changes: Any) -> EquationModel:
    return equation_model(msgspec.convert({**TANK, **changes}, UserModel))


class Rig:
    """An ensemble of equal members with the arrays that its kernel works on."""

    def __init__(
        self, model: LinearModel | EquationModel, state: list[float], values: list[float], members: int
    ) -> None:
        self.kernel = compile_ensemble(model)
        self.state = np.tile(np.array(state, np.float64), (members, 1))
        self.parameters = np.tile(np.array(values, np.float64), (members, 1))
        self.fate, self.draws = np.zeros(members, np.int64), np.zeros(members, np.int64)

    def run(self, widths: list[float], inputs: F64 | None = None, outputs: int = 0, cuts: tuple[int, ...] = ()) -> F64:
        """Every segment's end is recorded; ``inputs`` [2, segments, i] are those at the ends of the segments."""
        width, count = np.array(widths, np.float64), len(widths)
        start, end = np.zeros((2, count, 0)) if inputs is None else np.ascontiguousarray(inputs, np.float64)
        members, n = self.state.shape
        out = np.full((count, outputs or n, members), -99.0)
        edges = [0, *cuts, members]
        record = np.arange(count)
        for first, last in pairwise(edges):
            chance = (np.uint64(11), np.uint64(2), self.draws, self.state, self.parameters)
            self.kernel(*chance, self.fate, 1000, width, start, end, record, out, first, last)
        return out


def test_a_chain_of_steps_is_exact_without_noise() -> None:
    rig = Rig(CONSTANT_VELOCITY, [1.0, 0.5], [0.0, 0.0, 1.0], 2)
    out = rig.run([2.0, 0.0, 5.0])
    np.testing.assert_allclose(out[:, 0, 0], [2.0, 2.0, 4.5])
    assert (out[:, 1] == 0.5).all()
    assert (rig.draws == 0).all()
    rig = Rig(FIRST_ORDER, [10.0, 2.0], [0.0, 4.0, 1.0], 1)
    np.testing.assert_allclose(rig.run([3.0, 9.0])[:, 0, 0], [2 + 8 * math.exp(-3 / 4), 2 + 8 * math.exp(-3)])


def test_noise_of_a_chain_has_the_covariance_of_white_noise_integrated() -> None:
    rig = Rig(CONSTANT_VELOCITY, [0.0, 0.0], [0.7, 0.0, 1.0], MEMBERS)
    rig.run([1.0, 2.0])
    t = 3.0
    expected = 0.7 * np.array([[t**3 / 3, t**2 / 2], [t**2 / 2, t]])
    spread = np.sqrt(np.diag(expected))
    error = (np.cov(rig.state.T) - expected) / np.outer(spread, spread)
    assert np.abs(error).max() < 6 / math.sqrt(MEMBERS)
    assert (rig.draws == 2).all()


def test_equations_without_noise_follow_the_closed_form() -> None:
    """dh/dt = -c sqrt(h): sqrt(h) = sqrt(h0) - c t / 2 (Torricelli) until the tank is empty."""
    rig = Rig(equations(), [4.0, 1.0], [0.5, 0.0, 0.0], 3)
    out = rig.run([0.25] * 24, np.zeros((2, 24, 1)), outputs=3)
    root = 2 - 0.25 * 0.25 * np.arange(1, 25)
    np.testing.assert_allclose(out[:, 0, 0], root**2, rtol=1e-5)
    np.testing.assert_allclose(out[:, 2, 0], 0.5 * root, rtol=1e-5)
    assert (out[:, 1] == 1.0).all()
    assert (rig.fate == 0).all()


def test_inputs_are_linear_within_a_segment_and_bounds_hold() -> None:
    model = equations(name="filling", derivatives={"level": "inflow + 0 * c", "worn": "0"})
    rig = Rig(model, [4.0, 0.0], [0.5, 0.0, 0.0], 1)
    inputs = np.array([[[0.0], [1.0], [5.0], [-99.0]], [[2.0], [1.0], [9.0], [-99.0]]])
    out = rig.run([2.0, 1.0, 1.0, 1.0], inputs, outputs=3)
    np.testing.assert_allclose(out[:, 0, 0], [6.0, 7.0, 9.0, 0.0])


def test_noise_of_one_state_does_not_reach_another() -> None:
    rig = Rig(equations(), [4.0, 0.0], [0.0, 0.0, 0.04], MEMBERS)
    rig.run([4.0], np.zeros((2, 1, 1)), outputs=3)
    assert (rig.state[:, 0] == 4.0).all()
    assert rig.state[:, 1].std() == pytest.approx(0.4, rel=4 / math.sqrt(2 * MEMBERS))
    assert abs(rig.state[:, 1].mean()) < 4 * 0.4 / math.sqrt(MEMBERS)


@pytest.mark.parametrize("model", [equations(), CONSTANT_VELOCITY], ids=["equations", "chain"])
def test_any_division_gives_the_same_numbers(model: LinearModel | EquationModel) -> None:
    values = [0.7, 0.0, 1.0] if isinstance(model, LinearModel) else [0.5, 0.0, 0.04]
    inputs = None if isinstance(model, LinearModel) else np.ones((2, 3, 1))
    outputs = 2 if isinstance(model, LinearModel) else 3
    whole, parts, later = (Rig(model, [4.0, 0.0], values, 9) for _ in range(3))
    at_once = whole.run([1.0, 0.5, 2.0], inputs, outputs)
    divided = parts.run([1.0, 0.5, 2.0], inputs, outputs, cuts=(1, 4, 4, 7))
    assert at_once.tobytes() == divided.tobytes()
    assert len(set(at_once[-1, 1])) == 9
    first = later.run([1.0], None if inputs is None else inputs[:, :1], outputs)
    rest = later.run([0.5, 2.0], None if inputs is None else inputs[:, 1:], outputs)
    assert np.concatenate([first, rest]).tobytes() == at_once.tobytes()


def test_a_member_that_is_not_finite_leaves_and_the_others_stay() -> None:
    rig = Rig(CONSTANT_VELOCITY, [1.0, 1.0], [0.0, 0.0, 1.0], 3)
    rig.state[1, 1] = math.inf
    out = rig.run([1.0, 1.0])
    assert rig.fate.tolist() == [0, LOST, 0]
    assert np.isnan(out[:, :, 1]).all()
    np.testing.assert_array_equal(out[:, 0, 2], [2.0, 3.0])


def test_steps_coarser_than_the_equations_ask_for_are_counted() -> None:
    model = equations(name="stiff", derivatives={"level": "-c * (level - inflow)", "worn": "0"})
    rig = Rig(model, [4.0, 0.0], [0.5, 0.0, 0.0], 2)
    rig.parameters[1, 0] = 3.0
    rig.run([300.0], np.ones((2, 1, 1)), outputs=3)  # 5 sub-steps per time constant: 750 and 4,500, of 1,000 allowed
    assert rig.fate.tolist() == [0, 1]
    assert rig.state[0, 0] == pytest.approx(1.0)


def test_a_measurement_that_is_a_state_needs_no_column() -> None:
    assert measured_states(equations()) == {"level": "level"}
