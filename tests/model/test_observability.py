"""Which combinations of states no measurement tells: against models that hide a known subspace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.library import library_model, library_names
from edgetwin.config.schema import UserModel, UserState
from edgetwin.model.observability import unobservable


def model(
    derivatives: dict[str, str], measurements: dict[str, str], key: str = "derivatives", **extra: Any
) -> EquationModel:
    states = extra.pop("states", {name: UserState(initial=1.0) for name in derivatives})
    given: dict[str, Any] = {key: derivatives}
    return equation_model(UserModel(name="m", states=states, measurements=dict(measurements), **given, **extra))


def hidden(made: EquationModel, *measured: str) -> list[tuple[dict[str, float], bool]]:
    found = unobservable(made, measured or tuple(made.measurements))
    return [(dict(zip(u.states, np.round(u.amounts, 6).tolist(), strict=True)), u.fades) for u in found]


def test_a_chain_of_integrators_is_told_by_its_end_only() -> None:
    n = 12
    chain = {f"x{i}": f"x{i + 1}" if i + 1 < n else "0" for i in range(n)}
    made = model(chain, {"first": "x0", "last": f"x{n - 1}"})
    assert hidden(made, "first") == []
    assert hidden(made, "last") == [({f"x{i}": 1.0}, False) for i in range(n - 1)]


def test_a_sum_does_not_tell_its_parts_apart() -> None:
    made = model({"a": "0", "b": "0"}, {"sum": "a + 2*b", "a": "a"})
    assert hidden(made, "sum") == [({"a": 1.0, "b": -0.5}, False)]
    assert hidden(made) == []


def test_different_time_constants_tell_the_parts_of_a_sum_apart() -> None:
    assert hidden(model({"a": "-a", "b": "-2*b"}, {"sum": "a + b"})) == []
    assert hidden(model({"a": "-a", "b": "-b"}, {"sum": "a + b"})) == [({"a": 1.0, "b": -1.0}, True)]


def test_slow_beside_fast_is_still_observable() -> None:
    made = model({"fast": "-1e4*(fast - slow)", "slow": "1e-4*drift", "drift": "-1e-5*drift"}, {"z": "fast"})
    assert hidden(made) == []


def test_units_do_not_matter() -> None:
    big = UserState(initial=1e9, std=1e8)
    made = model({"a": "1e-14*b", "b": "0"}, {"a": "a"}, states={"a": UserState(std=1e-6), "b": big})
    assert hidden(made) == []


def test_what_is_hidden_at_the_start_but_not_around_it_is_observable() -> None:
    assert hidden(model({"a": "0"}, {"square": "a**2"}, states={"a": UserState()})) == []
    driven: dict[str, Any] = {"inputs": {}}
    from edgetwin.config.schema import UserInput

    driven["inputs"] = {"current": UserInput()}
    assert hidden(model({"r": "0"}, {"drop": "r*current"}, **driven)) == []


def test_a_state_that_only_a_branch_shows_is_observable() -> None:
    made = model({"a": "0", "b": "0"}, {"z": "where(a > 1, b, a)"})
    assert hidden(made) == []


def test_updates() -> None:
    assert hidden(model({"a": "0.5*a", "b": "2*b"}, {"a": "a"}, "updates")) == [({"b": 1.0}, False)]
    assert hidden(model({"a": "0.5*a", "b": "0.9*b"}, {"a": "a"}, "updates")) == [({"b": 1.0}, True)]
    assert hidden(model({"a": "a + dt*b", "b": "b"}, {"a": "a"}, "updates")) == []


def test_no_finite_point_says_nothing() -> None:
    assert hidden(model({"a": "log(-1 - a*a)"}, {"a": "a"})) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_linear_systems_against_the_rank_of_the_observability_matrix(seed: int) -> None:
    """A hidden part of known size, mixed by a random basis."""
    print("seed", seed)
    rng = np.random.default_rng(seed)
    n, seen = 5, int(rng.integers(1, 6))
    A = rng.normal(size=(n, n))
    A[:seen, seen:] = 0  # the first states do not feel the others
    H = np.concatenate([rng.normal(size=(1, seen)), np.zeros((1, n - seen))], axis=1)
    T = rng.normal(size=(n, n))
    A, H = T @ A @ np.linalg.inv(T), H @ np.linalg.inv(T)
    rank = np.linalg.matrix_rank(np.vstack([H @ np.linalg.matrix_power(A, k) for k in range(n)]), tol=1e-8)
    names = [f"x{i}" for i in range(n)]
    text = [" + ".join(f"({c!r})*{x}" for c, x in zip(row.tolist(), names, strict=True)) for row in (*A, H[0])]
    made = model(dict(zip(names, text, strict=False)), {"z": text[-1]})
    found = unobservable(made, ["z"])
    assert len(found) == n - rank == n - seen
    for u in found:
        v = np.array([dict(zip(u.states, u.amounts, strict=True)).get(x, 0.0) for x in names])
        for k in range(n):
            np.testing.assert_allclose(H @ np.linalg.matrix_power(A, k) @ v, 0, atol=1e-6 * np.linalg.norm(A, 2) ** k)


@pytest.mark.parametrize("name", library_names())
def test_every_model_of_the_library_is_observable(name: str) -> None:
    user = library_model(name)
    assert user is not None
    assert hidden(equation_model(user)) == []
