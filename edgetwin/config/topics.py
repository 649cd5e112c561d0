"""Topics and names with ``{placeholders}``."""

from __future__ import annotations

import re

from edgetwin.errors import ConfigError

TOPIC_BYTES_MAX = 65_535

_PIECE = re.compile(r"\{([^{}]*)\}|([{}])|[^{}]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACES = "write {name}, with a name of letters, digits and _"


def placeholders(text: str) -> list[str]:
    """Names of the placeholders in ``text``, in order; ConfigError when braces do not match."""
    names = []
    for piece in _PIECE.finditer(text):
        if piece[2]:
            raise ConfigError(f"a brace {piece[2]} has no partner", hint=_BRACES)
        if piece[1] is not None:
            if not _NAME.fullmatch(piece[1]):
                raise ConfigError(f"{piece[0][:60]!r} is not a placeholder", hint=_BRACES)
            names.append(piece[1])
    return names


def topic_placeholders(topic: str) -> list[str]:
    """Names of the placeholders of a topic, each of which fills a whole level.

    A placeholder that occurs twice stands for the same text at both levels. ConfigError when the topic is
    not one that MQTT allows or holds a wildcard.
    """
    check_topic(topic)
    names = placeholders(topic)
    for level in topic.split("/"):
        if "{" in level and not (level.startswith("{") and level.endswith("}") and level.count("{") == 1):
            raise ConfigError(
                f"a placeholder must fill the whole level, not {level[:60]!r}", hint="split the level with /"
            )
    return names


def check_topic(topic: str) -> None:
    """ConfigError when ``topic`` is empty, too long, or holds a wildcard or a NUL."""
    if not topic:
        raise ConfigError("the topic is empty", hint="write it as published, such as plant/line1/temp")
    if len(topic.encode()) > TOPIC_BYTES_MAX:
        raise ConfigError("the topic is too long", hint=f"at most {TOPIC_BYTES_MAX} bytes")
    if "\0" in topic:
        raise ConfigError("the topic holds a NUL character", hint="remove it")
    if "+" in topic:
        raise ConfigError("the topic holds a wildcard +", hint="write a {placeholder} in its place")
    if "#" in topic:
        raise ConfigError("the topic holds a wildcard #", hint="write a {placeholder} for each level")


def check_twin_name(name: str) -> list[str]:
    """Names of the placeholders of a twin's name; ConfigError when it is not a valid name."""
    names = placeholders(name)
    if re.search(r"\}\{", name):
        raise ConfigError("two placeholders touch", hint="put a separator between them: {line}-{machine}")
    literal = _PIECE.sub(lambda m: "x" if m[1] is not None else m[0], name)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", literal) or len(name) > 128:
        raise ConfigError(
            "is not a valid name",
            hint="at most 128 letters, digits, _ . - and {placeholders}, no . or - first",
        )
    return names
