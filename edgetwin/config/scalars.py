"""What a plain (unquoted) YAML scalar means.

YAML 1.1 reads ``yes``, ``on``, ``0755``, ``12:30:45`` and ``2024-01-01`` as truth values, octal and
base-60 numbers and dates, and ``1e3`` as text. Here only ``true``, ``false``, ``null`` (or ``~``, or nothing)
and decimal numbers are special; everything else is text.
"""

from __future__ import annotations

import re

from edgetwin.config.places import Scalar

_WORDS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def resolve(text: str) -> Scalar:
    """The value of a plain scalar: None, bool, int, float, or the text itself.

    Integers of more than 18 digits become floats; a number beyond the range of a float becomes infinite,
    which no key accepts.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
