"""What a linear state-space model is, as text from which kernels are generated.

The state is x, its covariance P = U diag(d) Uᵀ. Over a step of ``dt`` seconds x' = F x and
P' = F P Fᵀ + Σ_k v_k b_k b_kᵀ, where the noise columns b_k and their variances v_k are the exact
discretisation of the model's white process noise. The measurement is the first state.

Expressions are numba-compatible Python over ``dt`` (s), the row's fields ``q`` (process noise intensity),
``tau`` (time constant, s) and ``dt_mean`` (mean sampling interval, s), and names assigned by ``prelude``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NoiseColumn:
    """``entries[i]`` is the expression of b_k[i] (absent: 0); ``variance`` the expression of v_k."""

    entries: dict[int, str]
    variance: str


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A model of one measured signal.

    ``suffixes`` name the states after the signal (``""`` is the signal itself); ``derivative`` is the
    order in time of each state, for units and for the initial spread; ``transition[(i, j)]`` are the entries of F
    other than a unit diagonal; ``prelude`` lines are evaluated once a step;
    ``structural`` has kernels of its own (edgetwin.kernels.auto), whose level and trend this describes.
    """

    name: str
    suffixes: tuple[str, ...]
    derivative: tuple[int, ...]
    transition: dict[tuple[int, int], str]
    noise: tuple[NoiseColumn, ...]
    prelude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    structural: bool = False

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.suffixes)
