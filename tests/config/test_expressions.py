"""Expressions: what is allowed, what is refused, and that nothing is ever executed."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgetwin.config.expressions import DEPTH_MAX, FUNCTIONS, TEXT_MAX, Expression, parse
from edgetwin.errors import ConfigError

NAMES = ("T", "heater", "k")


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, NAMES)
    return caught.value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("T", {"T"}),
        ("  -T + 2*heater/k**2 - +1.5e-3 ", {"T", "heater", "k"}),
        ("where(T > 0 and not (heater < 1 or k >= 2), T, -T)", {"T", "heater", "k"}),
        ("where(0 < T <= 5, 1, 0)", {"T"}),
        ("sin(pi*T)", {"T"}),
        ("0", set()),
        ("(T\n + k)", {"T", "k"}),
    ],
)
def test_allowed(text: str, names: set[str]) -> None:
    assert parse(text, NAMES).names == names


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_its_number_of_arguments(name: str) -> None:
    first = "T > 0" if name == "where" else "T"
    arguments = [first, *["k"] * (FUNCTIONS[name] - 1)]
    assert parse(f"{name}({', '.join(arguments)})", NAMES).names <= set(NAMES)
    for wrong in (arguments[1:], [*arguments, "k"]):
        error = refused(f"1 + {name}({', '.join(wrong)})")
        assert error.message == f"{name} takes {FUNCTIONS[name]} arguments (character 5)"
        assert error.hint == f"there are {len(wrong)}"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("T + heatr", "unknown name 'heatr' (character 5)", "did you mean heater?"),
        ("T + zzz", "unknown name 'zzz' (character 5)", "known are T, heater, k"),
        ("2*epx(T)", "unknown function 'epx' (character 3)", "did you mean exp?"),
        ("T ^ 2", "the operator BitXor is not allowed (character 1)", "write ** for powers"),
        ("T % 2", "the operator Mod is not allowed (character 1)", "numbers, names"),
        ("T + * k", "'T + * k' is not an expression at character 5", "numbers, names"),
        ("", "'' is not an expression", "numbers, names"),
        ("T = 1", "is not an expression", "numbers, names"),
        ("T; k", "is not an expression", "numbers, names"),
        ("True + T", "True and False are no numbers (character 1)", "write 1 and 0"),
        ("1j*T", "'1j' is not allowed (character 1)", "numbers, names"),
        ("'T'", "is not allowed (character 1)", "numbers, names"),
        ("T > 1", "a condition stands where a number is needed (character 1)", "use where(condition, then, else)"),
        ("1 + (not T)", "a condition stands where a number is needed", "use where(condition, then, else)"),
        ("where(T, 1, 2)", "'T' is no condition (character 7)", "compare it, as in x > 0"),
        ("where(1, 1, 2)", "'1' is no condition (character 7)", "compare it"),
        ("where(T > 0 and k, 1, 2)", "'k' is no condition (character 17)", "compare it"),
        ("where(T == 0, 1, 2)", "only < <= > >= compare (character 7)", "hardly ever equal"),
        ("where(T > (k < 2), 1, 2)", "a condition stands where a number is needed (character 12)", "use where"),
        ("T/0", "division by zero (character 1)", "correct the divisor"),
        ("T/(1 - 1.0)", "division by zero (character 1)", "correct the divisor"),
        ("T + 1/0", "'1 / 0' has no finite value (character 5)", "correct the numbers"),
        ("T + 1e999", "has no finite value (character 5)", "correct the numbers"),
        ("9**9**9**9", "has no finite value", "correct the numbers"),
        ("T*(-8)**(1/3)", "has no finite value (character 3)", "correct the numbers"),
    ],
)  # fmt: skip
def test_refused_with_place_and_hint(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "T.real", "T.__class__", "().__class__", "[T]", "{T}", "{1: T}", "T[0]",
        "lambda: T", "T if k else 1", "[x for x in (1, 2)]", "(x := 1)", "f'{T}'", "exp(*T)", "exp(x=T)", "exp(**T)",
        "open('x')", "eval('1')", "print(T)", "await T", "yield T", "...", "None", "b'1'", "exp", "exp(exp)(T)", "T @ k",
        "T // 2", "~T", "T << 2", "T | k", "T is k", "T in k", "T, k", "import os", "sin(T) sin(k)", "\x00", "T\x00", "\ud800",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    refused(text)


def test_nesting_is_bounded() -> None:
    deep = DEPTH_MAX - 2
    assert parse("(" * deep + "T" + ")" * deep, NAMES).names == {"T"}
    assert parse("sin(" * deep + "T" + ")" * deep, NAMES).names == {"T"}
    for text in (
        "sin(" * 80 + "T" + ")" * 80,
        "-" * 3000 + "T",
        "(" * 1900 + "T" + ")" * 1900,
        "not " * 900 + "T",
        "2**" * 1300 + "T",
        "where(" + "not " * 900 + "T > 0, 1, 0)",
    ):
        error = refused(text)
        assert len(str(error)) < 500
        assert error.hint


def test_a_long_sum_is_not_deep() -> None:
    assert parse(" + ".join(["k*T"] * 300), NAMES).names == {"k", "T"}


def test_length_is_bounded() -> None:
    assert "characters" in refused("T" + " + T" * (TEXT_MAX // 4)).message
    assert "characters" in refused("1" * 1_000_000).message
    assert "has no finite value" in refused("1" * 3_000).message


def test_nothing_is_executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def trap(*_: object) -> None:
        raise AssertionError("executed")

    victim = tmp_path / "victim"
    monkeypatch.setattr(builtins, "eval", trap)
    monkeypatch.setattr(builtins, "exec", trap)
    refused(f"open({str(victim)!r}, 'w')")
    refused(f"exp(open({str(victim)!r}, 'w'))")
    assert not victim.exists()


def accepted(text: str) -> Expression | None:
    try:
        return parse(text, NAMES)
    except ConfigError as exc:
        assert exc.message
        assert len(str(exc)) < 1000
        return None


ATOMS = st.sampled_from(["T", "heater", "k", "pi", "0", "1", "2.5", "1e308", "x", "True", "''", "1j"])
PIECES = st.sampled_from(
    [
        "T",
        "k",
        "1",
        "0",
        ".5",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "**",
        "<",
        "==",
        "and",
        "not ",
        " ",
        "\n",
        ".",
        "[",
        "]",
        "'",
    ]
    + [f + "(" for f in FUNCTIONS]
)


@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=30).map("".join)))
@example("1or T")
@example("1_0")
@example("0777")
@example('"\\d"')
@settings(max_examples=500, deadline=None)
def test_arbitrary_text_is_refused_or_allowed(text: str) -> None:
    made = accepted(text)
    if made is not None:
        assert made.names <= set(NAMES)


def expressions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
        lambda p: f"({p[0]} {p[1]} {p[2]})"
    )
    call = st.tuples(st.sampled_from(sorted(set(FUNCTIONS) - {"where"})), inner, inner, inner).map(
        lambda p: f"{p[0]}({', '.join(p[1 : 1 + FUNCTIONS[p[0]]])})"
    )
    where = st.tuples(inner, inner, inner).map(lambda p: f"where({p[0]} > 0 or {p[1]} < {p[2]}, {p[1]}, {p[2]})")
    return st.one_of(binary, call, where)


@given(st.recursive(ATOMS, expressions, max_leaves=15))
@settings(max_examples=300, deadline=None)
def test_what_is_allowed_has_only_allowed_nodes(text: str) -> None:
    made = accepted(text)
    if made is None:
        return
    allowed = (
        ast.Constant, ast.Name, ast.BinOp, ast.UnaryOp, ast.Call, ast.Compare, ast.BoolOp,
        ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context,
    )  # fmt: skip
    for node in ast.walk(made.tree):
        assert isinstance(node, allowed)
        if isinstance(node, ast.Constant):
            assert type(node.value) in (int, float)
