"""Nodes to plain data, by the types of :mod:`edgetwin.config.schema`, collecting every fault with its place.

msgspec's own errors stop at the first fault and do not name the keys of mappings; here the same types are
walked over the nodes instead. What comes out is accepted by ``msgspec.convert``.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from msgspec import Struct, inspect

from edgetwin.config.document import ERRORS_MAX
from edgetwin.config.durations import parse_duration
from edgetwin.config.hints import mend, suggest
from edgetwin.config.places import Node, Path, Place, dotted, shown
from edgetwin.config.schema import Config, Duration
from edgetwin.errors import ConfigError

Data = Any
"""Plain data; a part that was faulty is None, and nothing is built from it."""

_HEX = re.compile(r"0x[0-9A-Fa-f]{1,16}")


@cache
def record_type(record: type[Struct]) -> inspect.StructType:
    """What is known of a record's fields."""
    made = inspect.type_info(record)
    assert isinstance(made, inspect.StructType)
    return made


def config_type() -> inspect.StructType:
    """The type of the daemon's file."""
    return record_type(Config)


class Converter:
    """One walk over one file; ``errors`` are in the order of the walk."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[ConfigError] = []
        self._readers: dict[type, Callable[[Node, Any, Path], Data]] = {
            inspect.Metadata: lambda n, k, p: self.read(n, k.type, p),
            inspect.StructType: self._struct,
            inspect.UnionType: self._union,
            inspect.DictType: self._dict,
            inspect.ListType: self._list,
            inspect.TupleType: self._tuple,
            inspect.StrType: self._str,
            inspect.BoolType: self._bool,
            inspect.IntType: self._int,
            inspect.FloatType: self._float,
            inspect.LiteralType: self._literal,
            inspect.CustomType: self._custom,
        }

    def read(self, node: Node, kind: inspect.Type, path: Path) -> Data:
        """Plain data of ``kind`` from ``node``."""
        return self._readers[type(kind)](node, kind, path)

    # ---- containers

    def _struct(self, node: Node, kind: inspect.StructType, path: Path) -> Data:
        if not isinstance(node.value, dict):
            return self._expected("a mapping of keys", node, path)
        fields = {f.encode_name: f for f in kind.fields}
        allowed = [*([kind.tag_field] if kind.tag_field else []), *fields]
        data: dict[str, Data] = {}
        if kind.tag_field:
            self._tag(node, [kind], path)
            data[kind.tag_field] = kind.tag
        for key, child in node.value.items():
            if key == kind.tag_field:
                continue
            if key not in fields:
                self._fail("unknown key", (*path, key), node.key_place(key), suggest(key, allowed))
            else:
                data[key] = self.read(child, fields[key].type, (*path, key))
        for key, field in fields.items():
            if key not in node.value and field.required:
                self._fail(f"{key} is missing", path, node.place, f"add {key}:")
        return data

    def _tag(self, node: Node, kinds: Sequence[inspect.StructType], path: Path) -> inspect.StructType | None:
        """The struct whose tag the mapping carries."""
        field = kinds[0].tag_field or ""
        tags = {str(k.tag): k for k in kinds}
        tag = node.child(field)
        if tag is None:
            self._fail(f"{field} is missing", path, node.place, f"add {field}: {' or '.join(tags)}")
            return None
        word = tag.text or shown(tag, path)
        if word not in tags:
            self._fail(
                f"unknown {field} {shown(tag, (field,))}",
                (*path, field),
                tag.place,
                suggest(word, list(tags)),
            )
            return None
        return tags[word]

    def _union(self, node: Node, kind: inspect.UnionType, path: Path) -> Data:
        kinds = [k for k in kind.types if not isinstance(k, inspect.NoneType)]
        if node.value is None and len(kinds) < len(kind.types):
            return None
        if len(kinds) == 1:
            return self.read(node, kinds[0], path)
        if {type(k) for k in kinds} == {inspect.FloatType, inspect.StrType}:
            wanted = inspect.StrType if isinstance(node.value, str) else inspect.FloatType
            return self.read(node, next(k for k in kinds if type(k) is wanted), path)
        structs = [k for k in kinds if isinstance(k, inspect.StructType)]
        if len(structs) == 1 and len(kinds) == 2:
            scalar = next(k for k in kinds if k is not structs[0])
            return self.read(node, structs[0] if isinstance(node.value, dict) else scalar, path)
        assert len(structs) == len(kinds), "the schema has unions of tagged records, and of a scalar and a record"
        if not isinstance(node.value, dict):
            return self._expected("a mapping of keys", node, path)
        chosen = self._tag(node, structs, path)
        return None if chosen is None else self._struct(node, chosen, path)

    def _dict(self, node: Node, kind: inspect.DictType, path: Path) -> Data:
        if not isinstance(node.value, dict):
            return self._expected("a mapping of names", node, path)
        if len(node.value) < (kind.min_length or 0):
            self._fail("is empty", path, node.place, "write at least one")
        return {key: self.read(child, kind.value_type, (*path, key)) for key, child in node.value.items()}

    def _list(self, node: Node, kind: inspect.ListType, path: Path) -> Data:
        if not isinstance(node.value, list):
            return self._expected("a list", node, path)
        if len(node.value) < (kind.min_length or 0):
            self._fail("is empty", path, node.place, "write at least one")
        return [self.read(child, kind.item_type, (*path, i)) for i, child in enumerate(node.value)]

    def _tuple(self, node: Node, kind: inspect.TupleType, path: Path) -> Data:
        if not isinstance(node.value, list) or len(node.value) != len(kind.item_types):
            return self._expected(f"a list of {len(kind.item_types)} values", node, path)
        pairs = zip(node.value, kind.item_types, strict=True)
        return tuple(self.read(child, item, (*path, i)) for i, (child, item) in enumerate(pairs))

    # ---- scalars

    def _str(self, node: Node, kind: inspect.StrType, path: Path) -> Data:
        text = node.value
        if node.template and not isinstance(text, dict | list):
            text = node.text  # what a substitution gave stays text even when it looks like a number
        if not isinstance(text, str):
            return self._expected("text", node, path)
        if kind.max_length is not None and len(text) > kind.max_length:
            return self._fail("is too long", path, node.place, f"at most {kind.max_length} characters")
        if kind.pattern is not None and not re.fullmatch(kind.pattern.strip("^$"), text):
            hint = "letters, digits, _ . - only, and neither . nor - at the start"
            return self._fail(f"{shown(node, path)} is not a valid name", path, node.place, hint)
        return text

    def _bool(self, node: Node, _kind: inspect.BoolType, path: Path) -> Data:
        return node.value if isinstance(node.value, bool) else self._expected("true or false", node, path)

    def _int(self, node: Node, kind: inspect.IntType, path: Path) -> Data:
        value = _number(node)
        if not isinstance(value, int) or isinstance(value, bool):
            return self._expected("a whole number", node, path)
        return self._bounded(value, node, kind, path)

    def _float(self, node: Node, kind: inspect.FloatType, path: Path) -> Data:
        value = _number(node)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return self._expected("a number", node, path)
        if not math.isfinite(value):
            return self._fail(f"{shown(node, path)} is too large for a number", path, node.place)
        return self._bounded(float(value), node, kind, path)

    def _bounded(self, value: float, node: Node, kind: inspect.IntType | inspect.FloatType, path: Path) -> Data:
        bounds = (
            ("at least", kind.ge, operator.ge),
            ("more than", kind.gt, operator.gt),
            ("at most", kind.le, operator.le),
            ("less than", kind.lt, operator.lt),
        )
        for words, bound, holds in bounds:
            if bound is not None and not holds(value, bound):
                return self._fail(f"must be {words} {bound}, not {shown(node, path)}", path, node.place)
        return value

    def _literal(self, node: Node, kind: inspect.LiteralType, path: Path) -> Data:
        # `protocol: 5` is a number to YAML and means the word 5.
        allowed = [str(v) for v in kind.values]
        if isinstance(node.value, dict | list) or node.text not in allowed:
            self._fail(
                f"{shown(node, path)} is not one of the choices",
                path,
                node.place,
                suggest(node.text, allowed),
            )
            return None
        return node.text

    def _custom(self, node: Node, kind: inspect.CustomType, path: Path) -> Data:
        assert kind.cls is Duration, "the schema has one type of its own"
        if isinstance(node.value, dict | list | bool | None):
            return self._expected("a duration such as 5s", node, path)
        try:
            return parse_duration(node.text)
        except ConfigError as exc:
            return self._fail(f"{shown(node, path)}: {exc.message}", path, node.place, exc.hint)

    # ---- faults

    def _expected(self, what: str, node: Node, path: Path) -> Data:
        return self._fail(f"must be {what}, not {shown(node, path)}", path, node.place, mend(what, node))

    def _fail(self, message: str, path: Path, place: Place, hint: str = "") -> Data:
        """Note a fault; the data of the faulty part is None."""
        if len(self.errors) < ERRORS_MAX:
            line, column = place
            self.errors.append(
                ConfigError(message, hint=hint, path=dotted(path), file=self.file, line=line, column=column)
            )
        return None


def _number(node: Node) -> Data:
    """The value of a scalar, where a number is wanted: ``0x1F`` is 31 there, and text elsewhere."""
    value = node.value
    return int(value, 16) if isinstance(value, str) and _HEX.fullmatch(value) else value
