"""YAML text to nodes that know their place.

Built from the parser's events, so that nothing is ever constructed from a tag and every bound holds while
reading: size, depth, number of nodes with aliases counted as often as they are used. An alias shares its
anchor's node, so a bomb of aliases costs nothing before it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from edgetwin.config.environment import Expansion, expand, substitutes
from edgetwin.config.places import Node, Path, Place, dotted, quoted
from edgetwin.config.scalars import resolve
from edgetwin.errors import ConfigError

BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 64
NODES_MAX = 500_000
ERRORS_MAX = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTES = "check indentation and quotes: text that starts with { [ * & ! % @ ` or holds ': ' or ' #' is quoted"


@dataclass(frozen=True, slots=True)
class _Measured:
    node: Node
    size: int
    height: int


def parse(text: str, file: str, env: Mapping[str, str] | None) -> tuple[Node, list[ConfigError]]:
    """The root node and the faults that do not keep the rest from being read.

    ``env`` None leaves substitutions as they are written. ConfigError when the text is not YAML or breaks
    a bound.
    """
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_MAX:
        raise ConfigError("the file is too large", hint=f"at most {BYTES_MAX} bytes", file=file, line=1, column=1)
    composer = _Composer(file, env)
    try:
        root = composer.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as exc:
        raise _syntax_error(exc, file) from exc
    except yaml.reader.ReaderError as exc:
        raise _character_error(text, file) from exc
    except UnicodeEncodeError as exc:
        raise _character_error(text, file) from exc
    return root, composer.errors


def too_large(file: str) -> ConfigError:
    """The fault of a file over BYTES_MAX."""
    return ConfigError("the file is too large", hint=f"at most {BYTES_MAX} bytes", file=file, line=1, column=1)


class _Composer:
    """Nodes from events; one level of Python recursion per level of nesting, bounded by DEPTH_MAX."""

    def __init__(self, file: str, env: Mapping[str, str] | None) -> None:
        self.file = file
        self.env = env
        self.errors: list[ConfigError] = []
        self._anchors: dict[str, _Measured] = {}
        self._count = 0

    def document(self, events: Iterator[Any]) -> Node:
        self._events = events
        root: Node | None = None
        for event in events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if root is not None:
                raise self._error("a second document starts here", (), _place(event), "keep one")
            root = self._node(next(events), (), 1).node
        if root is None or (root.value is None and not root.text):
            raise self._error("the file is empty", (), (1, 1), "start with gateway:, sources: and twins:")
        return root

    def _node(self, event: Any, path: Path, depth: int) -> _Measured:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        self._charge(1, depth, path, event)
        if isinstance(event, yaml.ScalarEvent):
            made = _Measured(self._scalar(event, path), 1, 1)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._refuse_tag(event, path)
            made = self._sequence(event, path, depth)
        else:
            self._refuse_tag(event, path)
            made = self._mapping(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = made
        return made

    def _alias(self, event: Any, path: Path, depth: int) -> _Measured:
        made = self._anchors.get(event.anchor)
        if made is None:
            name = quoted(event.anchor)
            raise self._error(f"alias {name} has no anchor before it", path, _place(event), "define it with &")
        self._charge(made.size, depth + made.height - 1, path, event)
        return made

    def _charge(self, count: int, depth: int, path: Path, event: Any) -> None:
        """Count nodes against the bounds."""
        self._count += count
        if self._count > NODES_MAX:
            raise self._error(
                f"more than {NODES_MAX} values once aliases are followed",
                path,
                _place(event),
                "use fewer",
            )
        if depth > DEPTH_MAX:
            raise self._error(f"nested deeper than {DEPTH_MAX}", path[:8], _place(event), "flatten it")

    def _sequence(self, event: Any, path: Path, depth: int) -> _Measured:
        items: list[Node] = []
        size, height = 1, 0
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            made = self._node(inner, (*path, len(items)), depth + 1)
            items.append(made.node)
            size, height = size + made.size, max(height, made.height)
        return _Measured(Node(items, *_place(event)), size, height + 1)

    def _mapping(self, event: Any, path: Path, depth: int) -> _Measured:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        size, height = 1, 0
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key, place = self._key(inner, path), _place(inner)
            made = self._node(next(self._events), (*path, key), depth + 1)
            size, height = size + made.size, max(height, made.height)
            if key in keys:
                self._duplicate((*path, key), keys[key], place)
                continue
            values[key], keys[key] = made.node, place
        return _Measured(Node(values, *_place(event), keys=keys), size, height + 1)

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error("a key must be plain text", path, _place(event), "quote what starts with {")
        if event.value == "<<" and event.implicit[0]:
            raise self._error("merge keys are not read", path, _place(event), "alias whole values")
        return str(event.value)

    def _duplicate(self, path: Path, first: Place, second: Place) -> None:
        for here, there in ((first, second), (second, first)):
            message = f"the key is written twice, also at line {there[0]} column {there[1]}"
            self._note(self._error(message, path, here, "keep one of them"))

    def _scalar(self, event: Any, path: Path) -> Node:
        line, column = _place(event)
        plain = not event.style and event.tag is None
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
            self._refuse_tag(event, path)
        text: str = event.value
        if self.env is None or not substitutes(text):
            return Node(resolve(text) if plain else text, line, column, text)
        try:
            made = expand(text, self.env)
        except ConfigError as exc:
            self._note(self._error(exc.message, path, (line, column), exc.hint))
            made = Expansion("", False)
        # Within { } a substitution must stand in quotes, so quotes do not make it text. (Null they do.)
        value = resolve(made.text) if made.typed else made.text
        if value is None and not plain:
            value = made.text
        return Node(value, line, column, made.text, template=text)

    def _refuse_tag(self, event: Any, path: Path) -> None:
        if event.tag is not None:
            raise self._error(f"tag {quoted(event.tag)} is not read", path, _place(event), "remove it")

    def _note(self, error: ConfigError) -> None:
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(error)

    def _error(self, message: str, path: Path, place: Place, hint: str) -> ConfigError:
        line, column = place
        return ConfigError(message, hint=hint, path=dotted(path), file=self.file, line=line, column=column)


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _syntax_error(exc: yaml.MarkedYAMLError, file: str) -> ConfigError:
    mark = exc.problem_mark or exc.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    problem = exc.problem or "cannot be read"
    hint = "indent with spaces, not tabs" if "'\\t'" in problem else _QUOTES
    return ConfigError(f"not valid YAML: {problem}", hint=hint, file=file, line=line, column=column)


def _character_error(text: str, file: str) -> ConfigError:
    """The first character that YAML does not allow."""
    position = next((i for i, c in enumerate(text) if not _printable(c)), 0)
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    message = f"character U+{ord(text[position]):04X} is not allowed" if text else "cannot be read"
    return ConfigError(message, hint="remove it; the file is UTF-8 text", file=file, line=line, column=column)


def _printable(c: str) -> bool:
    return c in "\t\n\r\x85" or "\x20" <= c <= "\x7e" or "\xa0" <= c <= "\ud7ff" or c >= "\ue000"
