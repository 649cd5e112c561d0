"""Where a configuration came from, kept with it so that later checks can still point at a line.

Only the text as written is kept: substitutions are not made in it, so no secret is held or shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from edgetwin.config.document import parse
from edgetwin.config.environment import substitutes
from edgetwin.config.places import Node, Path, Place, shown
from edgetwin.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Origin:
    """The file's name and text."""

    file: str
    text: str


def attach(config: msgspec.Struct, origin: Origin) -> None:
    """Remember the origin of a configuration; it takes no part in equality or repr."""
    msgspec.structs.force_setattr(config, "origin", origin)


def origin_of(config: msgspec.Struct) -> Origin | None:
    """Where a configuration came from; None for one made by a program."""
    origin = getattr(config, "origin", None)
    return origin if isinstance(origin, Origin) else None


def changed(config: S, **changes: object) -> S:
    """A configuration with some fields replaced, which still comes from where the first came."""
    made = msgspec.structs.replace(config, **changes)
    origin = origin_of(config)
    if origin is not None:
        attach(made, origin)
    return made


class Locator:
    """Finds places in an origin; parses it at the first question."""

    def __init__(self, origin: Origin | None) -> None:
        self.file = origin.file if origin else ""
        self._text = origin.text if origin else ""
        self._root: Node | None = None

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Line and column of the value at ``path``, or of its key; of the nearest parent that is written."""
        node = self._parsed()
        if node is None:
            return 0, 0
        for depth, step in enumerate(path):
            inner = node.child(step)
            if inner is None:
                return node.place
            if key and depth == len(path) - 1:
                return node.key_place(str(step))
            node = inner
        return node.place

    def shown(self, path: Path, value: object) -> str:
        """The value at ``path`` as a message may show it; ``value`` itself when the file does not hold it."""
        node = self._written(path)
        if node is None:
            text = value if isinstance(value, str) else str(value)
            node = Node(text, 0, 0, text)
        return shown(node, path)

    def template(self, path: Path) -> str:
        """The value at ``path`` as written when it holds a substitution; empty when it holds none."""
        node = self._written(path)
        return node.template if node else ""

    def _written(self, path: Path) -> Node | None:
        node = self._parsed()
        for step in path:
            node = node.child(step) if node is not None else None
        if node is not None and substitutes(node.text):
            return replace(node, template=node.text)
        return node

    def _parsed(self) -> Node | None:
        if self._root is None and self.file:
            try:
                self._root, _ = parse(self._text, self.file, None)
            except ConfigError:  # it was read before; an origin made by hand has no places
                self.file = ""
        return self._root
