"""What to do about a fault: the closest known word, or how to write the value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from edgetwin.config.places import Node


def suggest(word: str, allowed: Sequence[str]) -> str:
    """A hint that names the closest of ``allowed`` and lists them."""
    close = get_close_matches(word[:80], allowed, n=1, cutoff=0.6)
    listed = ", ".join(allowed[:20]) + (", …" if len(allowed) > 20 else "")
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{guess}known: {listed}" if allowed else "none is known"


def mend(what: str, node: Node) -> str:
    """How to mend a value of the wrong shape."""
    value = node.value
    if value is None:
        return "give it a value or remove the key"
    if what == "text":
        if isinstance(value, dict) and len(value) == 1 and all(v.value is None for v in value.values()):
            return f'put it in quotes: "{{{next(iter(value))}}}"'
        return "" if isinstance(value, dict | list) else "put it in quotes"
    if what == "a list" and isinstance(value, dict):
        return "start each item with a dash"
    if what == "true or false" and str(value).lower() in ("yes", "on", "no", "off", "true", "false"):
        return "write " + ("true" if str(value).lower() in ("yes", "on", "true") else "false")
    if what.endswith("number") and isinstance(value, str):
        return _mend_number(value)
    return ""


def _mend_number(text: str) -> str:
    if re.fullmatch(r"[-+]?0[0-9]+", text):
        return f"write {int(text)}" if len(text) < 20 else "remove the leading zeros"
    return "remove the quotes" if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text) else "use digits and a decimal point"
