"""The compiled codec: bound on every value, one result on every machine, nothing worse than a refusal for damage."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.kernels import predictor
from edgetwin.kernels.entropy import CURVES, new_coder
from edgetwin.kernels.predictor import CANDIDATES, REAL, WHOLE
from edgetwin.kernels.reports import ahead
from edgetwin.kernels.residuals import DECIMAL, LATTICE, WHOLE_NUMBER, Law, decode_column, encode_column, place, within

BITS = 12


def law(form: int, half: int, tolerance: float, origin: float = 0.0, step: float | None = None) -> Law:
    real = [origin, tolerance * (1 - 2.0**-20) * (2 - half) if step is None else step, 20.0, tolerance]
    return Law(np.array([form, half, 1, 0, 3, 2, 0], np.int64), np.array(real))


def encode(values: NDArray[np.float64], how: Law, room: int = 24) -> bytes:
    bits = values.view(np.int64).copy()
    data = np.zeros(room * len(values) + 64, np.uint8)
    state = np.zeros(WHOLE, np.int64), np.zeros(REAL), new_coder(BITS), data, np.zeros(CANDIDATES, np.int64)
    with np.errstate(all="ignore"):  # plain Python
        n = encode_column(bits.view(np.float64), bits, how, *state)
    assert n >= 0
    return data[:n].tobytes()


def decode(payload: bytes, n: int, how: Law) -> NDArray[np.float64] | None:
    bits = np.zeros(n, np.int64)
    data = np.frombuffer(payload, np.uint8)
    state = np.zeros(WHOLE, np.int64), np.zeros(REAL), new_coder(BITS), data, np.zeros(CANDIDATES, np.int64)
    with np.errstate(all="ignore"):
        whole = decode_column(bits.view(np.float64), bits, how, *state)
    return bits.view(np.float64) if whole else None


def wave(n: int = 150) -> NDArray[np.float64]:
    """Levels, slopes, jumps, gaps and outliers from integers alone."""
    i = np.arange(n)
    x = ((i * i * 7 + i * 13) % 97) / 16.0 + np.where(i > n // 2, 40.0, 0.0) + i / 8.0
    x[n // 4 : n // 3] = x[n // 4]
    x[5::31] = np.nan
    x[17::47] = 1e9
    return x


# What `wave()` is coded to; docs/frames.md prints the first. Any machine and any interpreter must make the same.
VECTORS = {
    (LATTICE, 1): (
        "c829f27e9ace64a1804288dff7997cbf4389b84407930385f554bd7efd23b6f566deedd51f6bc0efb673f04f67140e81dee2"
        "fa3642f46f649726fe336ce775f5"
    ),
    (LATTICE, 0): (
        "c78fe5483886ad4c4a1ff4f23a27dff3d1c60003b7232c7696b31f702fffe39c1f3235bc61f86364b23ca0952fddb31376b2"
        "5e2df55310c77aade6193955"
    ),
    (DECIMAL, 0): (
        "c757c65b488c195b6bdb75b93187f4369b34f39eeb8c4a6ae2b0005a6debf523df51db51286d05f3e36466627cd4c539fc75"
        "31995a4177b9299ac23081bb45ac82d9d2bbdd4c6b1219d155cde7dd2104"
    ),
    (WHOLE_NUMBER, 0): (
        "c757749a1ca04658c9c4dfcb3210c518c905586870c78932d78b145fd2affbead30ad34b8e0a93927e1fc5c6e62bf7663e5b"
        "9dba9c895389dcb3621852cf7c09a8c6dd5c3ade5de99e78fa72622b37c5d17fc767a42370e4610f48b3d8acd8f16b6e42ec"
        "f3324a00df61b8f03dbdeeb270d9a39239c1aebbd3a8f88ad1a7d5af82ca09d9b3e667cd0d365c204c61681b3fb9ef21e2f0"
        "cd16519447f2ca0c5ec18fd604b1b672b81c5030c666eef7ebfc6bfbf7ddefd38ca117bdf8e66a2ad6a6bdc7e0cf11d12ecf"
        "c0724a3352c23f6f09aac3e035b7742865cc29b364ea18d98cd7539ccb2d4f641376bc96a02f"
    ),
}


def vector_values(form: int) -> tuple[NDArray[np.float64], float]:
    if form == WHOLE_NUMBER:
        return ((np.arange(60) ** 3) % 1000 * 10**6 + np.arange(60)).astype(np.int64).view(np.float64), 0.0
    return wave(60), 0.25


@pytest.mark.parametrize(("form", "half"), list(VECTORS))
def test_the_vectors(form: int, half: int) -> None:
    values, tolerance = vector_values(form)
    payload = encode(values, law(form, half, tolerance))
    assert payload.hex() == VECTORS[form, half]
    found = decode(payload, len(values), law(form, half, tolerance))
    assert found is not None
    if form == WHOLE_NUMBER:
        assert found.view(np.int64).tolist() == values.view(np.int64).tolist()
    else:
        assert_within(values, found, tolerance)


def assert_within(sent: NDArray[np.float64], found: NDArray[np.float64], tolerance: float) -> None:
    """Exactly, in rational arithmetic."""
    for a, b, bits_a, bits_b in zip(
        sent.tolist(), found.tolist(), sent.view(np.int64).tolist(), found.view(np.int64).tolist(), strict=True
    ):
        if np.isfinite(a):
            assert abs(Fraction(a) - Fraction(b)) <= Fraction(tolerance), (a, b)
        else:
            assert bits_a == bits_b


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("tolerance", [1e-3, 0.05, 0.5, 8.0, 1e4])
def test_every_value_is_within_the_tolerance(tolerance: float, half: int) -> None:
    values = wave()
    how = law(LATTICE, half, tolerance, origin=3.0)
    found = decode(encode(values, how), len(values), how)
    assert found is not None
    assert_within(values, found, tolerance)


ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
NEAR = st.floats(-100, 100)


@given(
    st.lists(NEAR | ANY, max_size=30), st.sampled_from([5e-324, 1e-300, 1e-9, 0.1, 1.0, 7.3, 1e6, 1e300]), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_any_doubles_at_any_tolerance(numbers: list[float], tolerance: float, half: bool) -> None:
    values = np.array(numbers, np.float64)
    step = tolerance * (1 - 2.0**-20) * (1 if half else 2) or 5e-324
    how = law(
        LATTICE,
        int(half),
        tolerance,
        origin=float(values[0]) if len(values) and np.isfinite(values[0]) else 0.0,
        step=step,
    )
    found = decode(encode(values, how), len(values), how)
    assert found is not None
    assert_within(values, found, tolerance)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50), max_size=30), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_any_integers(numbers: list[int], tail: int) -> None:
    how = Law(np.array([WHOLE_NUMBER, 0, 0, tail, 0, 1, 0], np.int64), np.array([0.0, 1.0, 1.0, 0.0]))
    values = np.array(numbers, np.int64).view(np.float64)
    found = decode(encode(values, how), len(values), how)
    assert found is not None
    assert found.view(np.int64).tolist() == numbers


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_ends_in_a_refusal_or_in_other_values(data: st.DataObject) -> None:
    how = law(LATTICE, data.draw(st.integers(0, 1)), 0.25)
    payload = bytearray(encode(wave(60), how))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(payload[: data.draw(st.integers(0, len(payload)))]), 60, how)


def test_a_stream_that_has_ended_long_ago_is_refused() -> None:
    rng = np.random.default_rng(3)
    how = law(LATTICE, 1, 1e-6)
    assert decode(encode(rng.normal(size=200), how)[:40], 200, how) is None


def test_too_little_room_is_told() -> None:
    values = np.random.default_rng(1).normal(size=100)
    bits = values.view(np.int64).copy()
    n = encode_column(
        bits.view(np.float64), bits, law(LATTICE, 1, 1e-9), np.zeros(WHOLE, np.int64), np.zeros(REAL),
        new_coder(BITS), np.zeros(20, np.uint8), np.zeros(CANDIDATES, np.int64),
    )  # fmt: skip
    assert n == -1


@given(ANY, ANY, ANY)
@settings(max_examples=300, deadline=None)
def test_within_is_exact(a: float, b: float, tolerance: float) -> None:
    if not (np.isfinite(a) and np.isfinite(b) and tolerance >= 0):
        return
    with np.errstate(all="ignore"):
        assert within(a, b, tolerance) == (
            abs(Fraction(a) - Fraction(b)) <= (Fraction(tolerance) if np.isfinite(tolerance) else 2**2000)
        )


@pytest.mark.parametrize("k", [-3, -1, 0, 1, 3])
def test_within_at_the_very_edge(k: int) -> None:
    for a, tolerance in ((0.1, 0.05), (1e16, 2.0), (1.0, 2.0**-53), (3.0, 1.0)):
        b = a + tolerance + k * np.spacing(a + tolerance)
        assert within(a, b, tolerance) == (abs(Fraction(a) - Fraction(b)) <= Fraction(tolerance))


def test_the_curves_are_those_of_the_specification_with_any_math_library() -> None:
    """Before rounding no point is so near a half that the last digits of exp or log could matter."""
    squash, stretch, rate = CURVES
    with localcontext() as precise:
        precise.prec = 30
        for i in range(4096):
            p = 65536 / (1 + (Decimal(2048 - i) / 256).exp())
            s = 256 * (Decimal(2 * i + 1) / Decimal(8191 - 2 * i)).ln()
            assert squash[i] == round(p) and stretch[i] == min(max(round(s), -2047), 2047)
            assert abs(abs(p - round(p)) - Decimal("0.5")) > 1e-5 and abs(abs(s - round(s)) - Decimal("0.5")) > 1e-5
    assert rate[:3].tolist() == [43690, 26214, 18724] and squash[1] == 22


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="plain Python contracts nothing")
def test_no_product_is_contracted_with_a_sum_on_either_processor() -> None:
    """Fused multiply-add rounds once where the specification rounds twice. What LLVM makes of everything in doubles that
    the decoder does, for processors that have the instruction."""

    def decoder(whole: Any, real: Any, candidate: Any, out: Any) -> None:
        predictor.predict(whole, real, real[0], candidate)
        predictor.learn(whole, real, candidate, 5, 1, 2.0)
        out[0] = place(whole[0], Law(whole, real))
        out[1] = ahead(real[0], real[1], real, out, whole[1])

    signature = "void(CPointer(int64), CPointer(float64), CPointer(int64), CPointer(float64))"
    text = numba.cfunc(signature)(decoder).inspect_llvm()
    assert re.findall(r"= f(?:mul|add) double", text) and not re.findall(r"f(?:mul|add|sub) [a-z]+ double", text)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for triple, cpu in (("aarch64-unknown-linux-gnu", "neoverse-n1"), ("x86_64-unknown-linux-gnu", "znver4")):
        module = llvm.parse_assembly(re.sub(r'target (triple|datalayout) = "[^"]*"', "", text))
        machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
        assembly = machine.emit_assembly(module)
        assert re.findall(r"\b(fmul|vmulsd)\b", assembly)
        assert not re.findall(r"\b(v?fn?m(?:add|sub)\w*|fml[as])\b", assembly)
