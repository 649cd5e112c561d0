"""Where in the file a value stands, and how its path is written."""

from __future__ import annotations

import re
from dataclasses import dataclass

Key = str | int
Path = tuple[Key, ...]
Place = tuple[int, int]
"""Line and column, counted from 1."""

Scalar = None | bool | int | float | str

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_\-]+")
_USERINFO = re.compile(r"//.*@")
_SHOWN_MAX = 60
SECRET_KEYS = frozenset({"password"})


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value and its place.

    ``value`` is a scalar, ``dict[str, Node]`` or ``list[Node]``; ``keys`` the places of a mapping's keys.
    ``text`` is a scalar's text with substitutions made, ``template`` the text as written when it held one.
    """

    value: Scalar | dict[str, Node] | list[Node]
    line: int
    column: int
    text: str = ""
    template: str = ""
    keys: dict[str, Place] | None = None

    @property
    def place(self) -> Place:
        """Line and column of the value."""
        return self.line, self.column

    def key_place(self, key: str) -> Place:
        """Line and column of a key of this mapping, or of the mapping when the key is absent."""
        return (self.keys or {}).get(key, self.place)

    def child(self, key: Key) -> Node | None:
        """The value under a key of a mapping or an index of a list; None when there is none."""
        if isinstance(self.value, dict) and isinstance(key, str):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None


def dotted(path: Path) -> str:
    """``twins[0].signals.temp.noise``; keys that are not plain words stand in brackets and quotes."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _PLAIN_KEY.fullmatch(key):
            parts.append(f".{key}" if parts else key)
        else:
            parts.append(f"[{quoted(key)}]")
    return "".join(parts)


def quoted(text: str) -> str:
    """``text`` in quotes, printable and cut to a length that fits a line; user names and passwords in
    URLs are masked."""
    text = _USERINFO.sub("//***@", text)
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def shown(node: Node, path: Path) -> str:
    """A value as an error message may show it: never a secret, never what a substitution put in."""
    if path and path[-1] in SECRET_KEYS:
        return "a hidden value"
    if node.template:
        return quoted(node.template)
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    return quoted(node.value) if isinstance(node.value, str) else quoted(node.text)[1:-1]
