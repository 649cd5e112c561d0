"""From a model to its compiled kernels, kept on disk between starts."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetwin.config.equations import EquationModel
from edgetwin.errors import ModelError
from edgetwin.kernels.jit import cache_directory
from edgetwin.model.codegen import generate
from edgetwin.model.equation_layout import equation_row_dtype
from edgetwin.model.layout import row_dtype
from edgetwin.model.spec import LinearModel


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions of one model; see :mod:`edgetwin.model.codegen` for their signatures.

    ``row`` is the dtype of the rows they take.
    """

    update: Callable[..., None]
    predict: Callable[..., None]
    row: np.dtype[np.void]


def compile_model(model: LinearModel) -> Kernels:
    """The kernels of a built-in model. Raises ModelError when they cannot be stored or loaded."""
    return _kernels(written_module(model.name, generate(model)), row_dtype(model.size))


def compile_equations(model: EquationModel) -> Kernels:
    """The kernels of a user's model. SymPy is imported only when the cache does not have their source.

    Raises ModelError when the source cannot be made (SymPy missing) or does not load.
    """

    def make() -> str:
        from edgetwin.model.equation_codegen import generate_equations

        return generate_equations(model)

    return _kernels(equation_module(model, "", make), equation_row_dtype(model))


def _kernels(module: Any, row: np.dtype[np.void]) -> Kernels:
    return Kernels(module.update, module.predict, row)


def equation_module(model: EquationModel, suffix: str, generate: Callable[[], str]) -> Any:
    """What ``generate`` writes for a user's model, as a module; called only when the cache does not have it.

    Raises ModelError when it needs SymPy and that is missing, when an expression is too deep for it, and as
    :func:`load_module` does.
    """

    def make() -> str:
        try:
            return generate()
        except ImportError as exc:
            raise ModelError(f"model {model.name}: {exc}", hint="pip install sympy") from exc
        except RecursionError as exc:
            raise ModelError(f"model {model.name}: an expression nests too deep", hint="split it") from exc

    return load_module(_plain(model.name) + suffix, model.digest() + _generator_digest(), make)


def written_module(name: str, source: str) -> Any:
    """``source`` as a module named after ``name`` and its own digest. Raises ModelError as :func:`load_module` does."""
    return load_module(_plain(name), hashlib.sha256(source.encode()).hexdigest()[:16], lambda: source)


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _generator_digest() -> str:
    """Changes with the text of this package, so that an upgraded generator never meets old sources."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8]


def load_module(name: str, digest: str, make: Callable[[], str]) -> Any:
    """Import a generated module, named by its digest; one whose file is damaged is made again."""
    module_name = f"edgetwin_model_{name}_{digest}"
    path = _stored(f"{name}_{digest}.py", make)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"model {name}: no kernels can be loaded from {path}")
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # numba's cache finds the functions' module by name
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise ModelError(f"model {name}: the generated kernels do not load: {exc}") from exc
    return module


def _stored(name: str, make: Callable[[], str]) -> Path:
    """The path of a generated file in the cache; made when it is missing or damaged. Its last line is a checksum.

    Where the cache cannot be written, the file goes into a new folder of this process alone: never into one that
    somebody else could have prepared.
    """
    path = cache_directory() / "models" / name
    try:
        if path.is_file() and _is_whole(path.read_text(errors="replace")):
            return path
    except OSError:
        pass
    text = _sealed(make())
    try:
        return _write(path, text)
    except OSError:
        try:
            return _write(Path(tempfile.mkdtemp(prefix="edgetwin-models-")) / name, text)
        except OSError as exc:
            raise ModelError(
                f"no folder for generated kernels: {cache_directory()} cannot be written ({exc.strerror})",
                hint="set EDGETWIN_CACHE to a writable directory",
            ) from exc


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(text)
    partial.replace(path)
    return path


def _sealed(text: str) -> str:
    return f"{text}# sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"


def _is_whole(text: str) -> bool:
    body, mark, _ = text.rpartition("# sha256 ")
    return bool(mark) and _sealed(body) == text
