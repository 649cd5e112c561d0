"""Paths into a JSON payload: ``$``, ``$.a.b[0]``, ``$['a key'].b``."""

from __future__ import annotations

import re

from edgetwin.errors import ConfigError

STEPS_MAX = 32
INDEX_MAX = 1_000_000

_STEP = re.compile(
    r"""
      \.(?P<name>[^.\[\]'"\s]+)
    | \[(?P<index>[0-9]{1,7})\]
    | \['(?P<single>[^']+)'\]
    | \["(?P<double>[^"]+)"\]
    """,
    re.VERBOSE,
)
_HINT = "write $.key, $.key[0] or $['a key']"


def parse_path(text: str) -> tuple[str | int, ...]:
    """Keys and indices of a path, outermost first; ``$`` alone is the empty tuple (the whole payload).

    ConfigError when the text is not a path or is longer than STEPS_MAX steps.
    """
    if not text.startswith("$"):
        raise ConfigError("a path starts with $", hint=_HINT)
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ConfigError(f"the path cannot be read from {text[position : position + 40]!r} on", hint=_HINT)
        steps.append(_step(match))
        position = match.end()
        if len(steps) > STEPS_MAX:
            raise ConfigError(f"the path has more than {STEPS_MAX} steps", hint="publish a flatter payload")
    return tuple(steps)


def _step(match: re.Match[str]) -> str | int:
    if match["index"] is not None:
        index = int(match["index"])
        if index > INDEX_MAX:
            raise ConfigError(f"index {index} is too large", hint=f"at most {INDEX_MAX}")
        return index
    return match["name"] or match["single"] or match["double"]
