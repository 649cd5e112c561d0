"""From a model to its compiled kernels, kept on disk between starts."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetwin.errors import ModelError
from edgetwin.kernels.jit import cache_directory
from edgetwin.model.codegen import generate
from edgetwin.model.spec import LinearModel


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions of one model; see :mod:`edgetwin.model.codegen` for their signatures."""

    update: Callable[..., None]
    predict: Callable[..., None]


def compile_model(model: LinearModel) -> Kernels:
    """Load the kernels of ``model``; the source is generated when the cache does not have it.

    The file is named by the hash of its text, so an edited model or generator never meets stale code.
    Raises ModelError when the generated source does not load.
    """
    source = generate(model)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = _stored(f"{model.name}_{digest}.py", source)
    name = f"edgetwin_model_{model.name}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"model {model.name}: no kernels can be loaded from {path}")
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba's cache finds the functions' module by name
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise ModelError(f"model {model.name}: the generated kernels do not load: {exc}") from exc
    return Kernels(module.update, module.predict)


def _stored(name: str, source: str) -> Path:
    """The path of a file with this text, in the cache or, failing that, in a temporary folder."""
    for folder in (
        cache_directory() / "models",
        Path(tempfile.gettempdir()) / f"edgetwin-models-{os.getuid()}",
    ):
        path = folder / name
        try:
            if path.is_file() and path.read_text() == source:
                return path
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            partial.write_text(source)
            partial.replace(path)
        except OSError:
            continue
        return path
    raise ModelError(
        f"no folder for generated kernels: {cache_directory()} cannot be written",
        hint="set EDGETWIN_CACHE to a writable directory",
    )
