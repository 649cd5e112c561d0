"""The import table of docs/architecture.md: arrows go up the list, and modules form no cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgetwin"


def documented_order() -> tuple[str, ...]:
    """The first column of the table in docs/architecture.md, top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("| package | holds |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return tuple(word.strip(" `") for row in rows for word in row.split(","))


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of this project that ``name`` imports when it is run, not only for type checkers."""
    for node in ast.walk(_without_type_checking(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _ours(alias.name, known)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(name, path, node)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield from _ours(submodule if submodule in known else base, known)


def _absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *((node.module or "").split(".") if node.module else ())])


def _ours(dotted: str, known: dict[str, Path]) -> Iterator[str]:
    if dotted == "edgetwin" or dotted.startswith("edgetwin."):
        while dotted not in known:
            dotted = dotted.rpartition(".")[0]
        yield dotted


def _without_type_checking(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return tree


def layer(module: str) -> str | None:
    """The package of a module; None for `edgetwin` itself, which everyone may import."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


KNOWN = modules()
ORDER = documented_order()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_no_module_imports_from_below(name: str) -> None:
    own = layer(name)
    if own is None or own.startswith("__"):
        return
    assert own in ORDER, f"{own} has no place in the table of docs/architecture.md"
    for imported in imports(name, KNOWN[name], KNOWN):
        other = layer(imported)
        assert other is None or ORDER.index(other) <= ORDER.index(own), f"{name} imports {imported}"


def test_no_cycle() -> None:
    graph = {
        name: {m for m in imports(name, path, KNOWN) if m not in (name, "edgetwin")}  # for its version
        for name, path in KNOWN.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]))


def test_the_table_is_read() -> None:
    """An empty or reordered table would make the other tests idle."""
    assert ORDER[0] == "errors"
    assert ORDER[-1] == "cli"
    core = ("errors", "records", "config", "kernels", "model", "engine", "sources", "http", "runtime", "cli")
    assert [name for name in ORDER if name in core] == list(core)
    assert set(ORDER) == {layer(name) for name in KNOWN} - {None}


def test_only_the_clock_reads_clocks() -> None:
    """`import time` stands in edgetwin/clock.py alone."""
    offenders = []
    for name, path in KNOWN.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and any(a.name == "time" for a in node.names):
                offenders.append(name)
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                offenders.append(name)
    assert set(offenders) <= {"edgetwin.clock"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import edgetwin.cli.main", {"edgetwin.cli"}),
        ("from edgetwin.errors import ConfigError", {"edgetwin.errors"}),
        ("from edgetwin import errors", {"edgetwin.errors"}),
        ("from . import lock", {"edgetwin.runtime.lock"}),
        ("from ..errors import ConfigError", {"edgetwin.errors"}),
        ("def f():\n    from edgetwin import clock", {"edgetwin.clock"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import edgetwin.cli", set()),
        ("import numpy", set()),
    ],
)
def test_the_walker_sees(tmp_path: Path, source: str, expected: set[str]) -> None:
    path = tmp_path / "logs.py"
    path.write_text(source)
    names = ("edgetwin", "edgetwin.cli", "edgetwin.errors", "edgetwin.clock", "edgetwin.runtime.lock")
    known = dict.fromkeys(names, path)
    assert set(imports("edgetwin.runtime.logs", path, known)) == expected
