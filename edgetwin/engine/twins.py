"""Twins and templates: which signals exist, and the slots they own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgetwin.config.schema import Twin

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class TwinInstance:
    """One asset that exists.

    ``spec`` is the configuration it was made from, ``captures`` the placeholder values that made it (empty
    for a twin with a plain name) and ``slots`` the engine's slot of each signal.
    """

    name: str
    spec: Twin
    captures: dict[str, str]
    slots: dict[str, int]


def placeholders(text: str) -> list[str]:
    """Names of the ``{placeholders}`` in ``text``, in order."""
    return _PLACEHOLDER.findall(text)


def is_template(twin: Twin) -> bool:
    """Whether the twin's name stands for many."""
    return bool(placeholders(twin.name))


def substitute(text: str, captures: Mapping[str, str]) -> str:
    """``text`` with the captured placeholders filled in; others stay as they are."""
    return _PLACEHOLDER.sub(lambda m: captures.get(m[1], m[0]), text)
