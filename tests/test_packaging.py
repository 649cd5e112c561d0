"""What is shipped: the wheel's content, one version everywhere, the lock file, light imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import edgetwin

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = (
    "scipy",
    "psycopg",
    "duckdb",
    "matplotlib",
    "sympy",
    "filterpy",
    "pandas",
    "pyarrow",
    "amqtt",
    "hypothesis",
    "pytest",
)


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.\-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that the build back end makes of this tree, without a network."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    shipped = set(wheel.namelist())
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "edgetwin").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tree <= shipped
    assert any(name.endswith("http/page.html") for name in shipped)
    assert "edgetwin/py.typed" in shipped
    extra = {name for name in shipped if not name.startswith(("edgetwin/", "edgetwin-"))}
    assert not extra


def test_the_wheel_carries_licence_and_command(wheel: zipfile.ZipFile) -> None:
    info = f"edgetwin-{edgetwin.__version__}.dist-info"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "edgetwin = edgetwin.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_versions_agree() -> None:
    assert edgetwin.__version__ == PROJECT["version"]
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_covers_every_dependency_by_hash() -> None:
    text = (ROOT / "requirements" / "gateway.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9_.\-]+)==(\S+)", text, re.MULTILINE)
    locked = {requirement_name(name) for name, _ in pins}
    assert {requirement_name(r) for r in PROJECT["dependencies"]} <= locked
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins)
    assert all("--hash=sha256:" in block for block in blocks)
    assert not locked & (set(HEAVY) - {"sympy"})  # installed, for user equations; imported only while compiling them


@pytest.mark.parametrize("name", ["gateway.txt", "build.txt"])
def test_the_lock_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert not [line for line in lines if "://" in line or "index" in line or "find-links" in line]


def test_every_dependency_earns_its_line_in_the_readme() -> None:
    rows = re.findall(r"^\|([^|]+)\|", (ROOT / "README.md").read_text().lower(), re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"[a-z0-9][a-z0-9_.\-]*", row)}
    extras = PROJECT["optional-dependencies"].values()
    wanted = {requirement_name(r) for group in (PROJECT["dependencies"], *extras) for r in group}
    assert wanted - explained - {"edgetwin"} == set()


@pytest.mark.parametrize("module", ["edgetwin.runtime.daemon", "edgetwin.cli.main", "edgetwin.receive"])
def test_nothing_heavy_is_imported(module: str) -> None:
    """The gateway pays only for what it uses: these stay out of its memory even where they are installed.

    numba itself looks for SciPy and loads it where it is, so what numba brings alone does not count.
    """
    assert find_spec(module) is not None
    script = f"import sys, numba; ours = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - ours))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert not set(HEAVY) & set(result.stdout.split())


def test_scripts_and_the_unit_name_no_place_of_ours() -> None:
    """A clean clone works anywhere."""
    for name in ("tests/run", ".ci/run", "Dockerfile", "systemd/edgetwin.service", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert "/work/" not in text
        assert "/home/" not in text
        assert "index-url" not in text
