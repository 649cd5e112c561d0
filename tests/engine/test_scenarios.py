"""Requests that people write, and what a twin can be asked."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.engine.forks import Fork, fork, initial
from edgetwin.engine.requests import read_scenario, seconds
from edgetwin.engine.scenario import Lognormal, Normal, Scenario, Triangular, Uniform, check
from edgetwin.engine.schedules import Schedule
from edgetwin.engine.whatif import Simulator
from edgetwin.errors import ConfigError
from tests.engine.build import config, feed, twin
from tests.engine.test_whatif import COOLING, engine_of, model_of

FORK = initial(model_of(COOLING))
SIMULATOR = Simulator()


def read(data: object) -> Scenario:
    return read_scenario(msgspec.json.encode(data), seconds)


def test_a_full_request() -> None:
    got = read(
        {
            "horizon": "1h",
            "step": "90s",
            "members": 50,
            "inputs": {
                "a": 3,
                "b": [[0, 1], ["+10min", 2.5]],
                "c": {"points": [["1min", 1], [120, 2]], "linear": True},
            },
            "parameters": {
                "k": 1,
                "l": {"value": 2},
                "m": {"normal": [1, 2]},
                "n": {"uniform": [0, 1]},
                "o": {"lognormal": [1, 2]},
                "p": {"triangular": [0, 1, 2]},
            },
            "noise": False,
            "seed": 2**53 - 1,
            "quantiles": [0.1, 0.9],
        }
    )
    assert got == Scenario(
        horizon_s=3600.0,
        step_s=90.0,
        members=50,
        inputs={"a": Schedule((0.0,), (3.0,)), "b": Schedule((0, 600), (1, 2.5)), "c": Schedule((60, 120), (1, 2), True)},
        parameters={
            "k": 1,
            "l": 2,
            "m": Normal(1, 2),
            "n": Uniform(0, 1),
            "o": Lognormal(1, 2),
            "p": Triangular(0, 1, 2),
        },
        noise=False,
        seed=2**53 - 1,
        quantiles=(0.1, 0.9),
    )  # fmt: skip


def test_a_short_request() -> None:
    assert read({"horizon": 50}) == Scenario(50.0, 0.5)


HOSTILE: list[tuple[Any, str]] = [
    ([], ""),
    ({}, ""),
    ({"horizon": 10, "stepp": 1}, "stepp"),
    ({"horizon": True}, "horizon"),
    ({"horizon": "10"}, "horizon"),
    ({"horizon": "1 week"}, "horizon"),
    ({"horizon": "-1h"}, "horizon"),
    ({"horizon": 0}, "horizon"),
    ({"horizon": -5}, "horizon"),
    ({"horizon": 10, "step": 0}, "step"),
    ({"horizon": 10, "step": -1}, "step"),
    ({"horizon": 10, "step": 11}, "step"),
    ({"horizon": 10, "step": 1e-9}, "step"),
    ({"horizon": 1e300, "step": 1e-300}, "step"),
    ({"horizon": 10, "members": 0}, "members"),
    ({"horizon": 10, "members": 10**9}, "members"),
    ({"horizon": 10, "members": 2.5}, "members"),
    ({"horizon": 10, "members": 100_000, "step": 0.001}, "members"),
    ({"horizon": 10, "members": 1, "step": 0.001, "quantiles": [0.5] * 100}, "step"),
    ({"horizon": 10, "seed": -1}, "seed"),
    ({"horizon": 10, "seed": 2**53}, "seed"),
    ({"horizon": 10, "seed": 10**30}, "seed"),
    ({"horizon": 10, "quantiles": [1.5]}, "quantiles"),
    ({"horizon": 10, "quantiles": [0.5] * 101}, "quantiles"),
    ({"horizon": 10, "quantiles": ["x"]}, "quantiles[0]"),
    ({"horizon": 10, "inputs": []}, "inputs"),
    ({"horizon": 10, "inputs": {"v": 1}}, "inputs.v"),
    ({"horizon": 10, "inputs": {"u": None}}, "inputs.u"),
    ({"horizon": 10, "inputs": {"u": []}}, "inputs.u"),
    ({"horizon": 10, "inputs": {"u": [[0]]}}, "inputs.u[0]"),
    ({"horizon": 10, "inputs": {"u": [[0, "x"]]}}, "inputs.u[0][1]"),
    ({"horizon": 10, "inputs": {"u": [[0, 1], ["5 parsecs", 2]]}}, "inputs.u[1][0]"),
    ({"horizon": 10, "inputs": {"u": [[5, 1], [4, 2]]}}, "inputs.u[1]"),
    ({"horizon": 10, "inputs": {"u": {"points": [[5, 1], [4, 2]]}}}, "inputs.u.points[1]"),
    ({"horizon": 10, "inputs": {"u": {"points": [[5, 1]], "lineal": True}}}, "inputs.u.lineal"),
    ({"horizon": 10, "inputs": {"u": {"linear": True}}}, "inputs.u"),
    ({"horizon": 10, "parameters": {"kk": 1}}, "parameters.kk"),
    ({"horizon": 10, "parameters": {"k": "1"}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"normal": [1]}}}, "parameters.k.normal"),
    ({"horizon": 10, "parameters": {"k": {"normal": [1, -1]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"uniform": [2, 1]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"lognormal": [0, 1]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"lognormal": [1e-300, 1e300]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"triangular": [0, 3, 2]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"value": 1, "normal": [1, 1]}}}, "parameters.k"),
    ({"horizon": 10, "parameters": {"k": {"gamma": [1, 1]}}}, "parameters.k.gamma"),
]


@pytest.mark.parametrize(("data", "path"), HOSTILE, ids=lambda v: json.dumps(v)[:60] if not isinstance(v, str) else "")
def test_faults_are_told_with_their_place(data: Any, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check(FORK, read(data), 10_000_000)
    assert raised.value.path == path
    assert raised.value.message


DEEP = b'{"horizon": 10, "inputs": {"u": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"horizon": NaN}', b'{"horizon": "1\xff"}', b"[" * 60_000, DEEP, b"null"]
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises((ConfigError, msgspec.DecodeError)):
        read_scenario(body, seconds)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(["horizon", "step", "members", "inputs", "parameters", "noise", "seed", "quantiles"])


@given(st.dictionaries(keys, json_values, max_size=5), json_values, json_values)
@settings(max_examples=150, deadline=None)
def test_whatever_is_asked_is_answered_or_refused(data: dict[str, Any], u: Any, k: Any) -> None:
    request = {"horizon": 5, "inputs": {"u": u}, "parameters": {"k": k}, **data}
    try:
        scenario = read(request)
        check(FORK, scenario, 20_000)
    except (ConfigError, msgspec.DecodeError):
        return
    ensemble = SIMULATOR.run(FORK, scenario)
    assert len(ensemble.offsets) == len(ensemble.states["x"].mean)
    assert 0 <= ensemble.excluded <= scenario.members


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({"time_constant": 5.0}, ""),
        ({"time_constant": Lognormal(5.0, 3.0), "process_noise": Uniform(0.0, 1.0)}, ""),
        ({"time_constant": Normal(5.0, 0.0)}, ""),
        ({"time_constant": Normal(5.0, 0.1)}, "parameters.time_constant"),
        ({"time_constant": 0.0}, "parameters.time_constant"),
        ({"time_constant": Uniform(-1.0, 1.0)}, "parameters.time_constant"),
        ({"process_noise": -0.1}, "parameters.process_noise"),
        ({"process_noise": Triangular(-1.0, 0.0, 1.0)}, "parameters.process_noise"),
    ],
)
def test_parameters_of_built_in_models_keep_their_sign(parameters: dict[str, Any], refused: str) -> None:
    from edgetwin.engine import Engine

    engine = Engine(config([twin(model="first_order", parameters={"process_noise": 0.1, "time_constant": 30.0})]))
    feed(engine, [1.0, 2.0])
    scenario = Scenario(1.0, 1.0, parameters=parameters)
    if not refused:
        check(fork(engine, "m", None), scenario, 10_000)
        return
    with pytest.raises(ConfigError) as raised:
        check(fork(engine, "m", None), scenario, 10_000)
    assert raised.value.path == refused


def test_a_twin_without_a_sample_is_its_models_initial_state() -> None:
    forked: Fork = fork(engine_of(COOLING), "m", None)
    assert forked.from_ns is None
    assert (forked.inputs, forked.parameters, forked.outputs) == (["u"], ["k"], ["x", "half", "x"])
