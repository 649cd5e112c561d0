"""Ensemble kernels: many possible courses of one model, carried through time together.

Each is a generated module of its own, apart from the model's filter: only what simulates compiles it. Its function
``ensemble(seed, stream, draws, state, parameters, fate, limit, width, start, end, record, out, first, last)`` carries
the members ``first`` to ``last - 1`` through consecutive segments of time:

========== ===================== ====================================================================================
state      float64[members, n]   states, in and out
parameters float64[members, p]   of a user's model: its parameters, then the noise intensity of each state (variance per
                                 second); of a built-in one: q, tau, dt_mean (edgetwin.model.layout)
seed       uint64                with ``stream``, also uint64, where the noise comes from (edgetwin.kernels.random)
draws      int64[members]        pairs of normals drawn so far, in and out
fate       int64[members]        in and out: LOST when the member has left the ensemble, else how many segments it has
                                 taken in coarser steps than its equations ask for
limit      int64                 integration steps a member may take in one segment, 1 or more
width      float64[segments]     lengths, s; 0: nothing happens
start, end float64[segments, i]  inputs at the ends of each segment, linear in between
record     int64[segments]       row of ``out`` that takes the values at the segment's end; negative: none
out        float64[rows, n + m,  states, then the measurements that are not simply a state
           members]
========== ===================== ====================================================================================

A member leaves when a state is not finite; its values are NaN from then on. So is a measurement that is not finite, at
that time. Members share nothing, so any division into ranges gives the same numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from edgetwin.config.equations import EquationModel
from edgetwin.model.compiler import equation_module, written_module
from edgetwin.model.ensemble_linear import generate_ensemble
from edgetwin.model.spec import LinearModel

LOST = -1

EnsembleKernel = Callable[..., None]


def compile_ensemble(model: LinearModel | EquationModel) -> EnsembleKernel:
    """The kernel of a model, compiled at its first call. Raises ModelError when it cannot be made or loaded.

    SymPy is imported only for a user's model whose source is not in the cache yet.
    """
    if isinstance(model, LinearModel):
        module = written_module(f"{model.name}_ensemble", generate_ensemble(model))
    else:
        module = equation_module(model, "_ensemble", lambda: _equations(model))
    kernel: EnsembleKernel = module.ensemble
    return kernel


def measured_states(model: EquationModel) -> dict[str, str]:
    """The measurements that are simply a state: their names, and the state's."""
    trees = {name: e.tree for name, e in model.measurements.items()}
    return {name: tree.id for name, tree in trees.items() if isinstance(tree, ast.Name) and tree.id in model.states}


def _equations(model: EquationModel) -> str:
    from edgetwin.model.ensemble_equations import generate_equation_ensemble

    return generate_equation_ensemble(model, tuple(measured_states(model)))
