"""Commands as they come: JSON over HTTP, and signed JSON over MQTT.

A command is ``{"id", "output", "value", "issued", "ttl"}``: a text of its sender that is never used twice, the name of
an output, a number, when it was issued (ISO 8601 with an offset) and for how many seconds it may be carried out. Over
MQTT it also names its ``twin`` and stands, as text, in an envelope ``{"commander", "command", "hmac"}``, of which
``hmac`` is the HMAC-SHA256 (RFC 2104) of the UTF-8 bytes of that text with the commander's key, in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from edgetwin.clock import NS
from edgetwin.control.records import Command
from edgetwin.errors import ControlError

BODY_BYTES_MAX = 8_192
T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1, max_length=128)]


class CommandBody(Struct, frozen=True, forbid_unknown_fields=True):
    """As sent. ``issued`` may be left out over HTTP, where it is the time of arrival."""

    id: Text
    output: Text
    value: float
    twin: Text | None = None
    issued: Annotated[datetime, Meta(tz=True)] | None = None
    ttl: Annotated[float, Meta(gt=0)] = 5.0


class Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """A signed command."""

    commander: Text
    command: str
    hmac: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class NotUnderstoodError(ControlError):
    """Bytes that are no command."""


class NotAuthorisedError(ControlError):
    """A command of somebody who may not send it."""


def read_command(
    data: bytes, *, commander: str, twin: str | None, now_ns: int, ttl_max_s: float, origin: Literal["http", "mqtt"]
) -> Command:
    """The command in ``data`` for ``twin`` (None: the command names it). NotUnderstoodError says what is wrong."""
    body = _decode(data, CommandBody)
    named = twin if twin is not None else body.twin
    if named is None or (body.twin is not None and body.twin != named):
        raise NotUnderstoodError("the command must name its twin", hint='add "twin"')
    if body.issued is None and origin == "mqtt":
        raise NotUnderstoodError("issued is missing", hint='such as "2026-01-31T12:00:00Z"')
    if body.ttl > ttl_max_s:
        raise NotUnderstoodError(f"ttl is {body.ttl:g} s, at most {ttl_max_s:g} s are accepted")
    issued_ns = now_ns if body.issued is None else round(body.issued.timestamp() * NS)
    return Command(body.id, commander, named, body.output, body.value, issued_ns, round(body.ttl * NS), origin)


def open_envelope(data: bytes, keys: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Commander and command of a signed message. NotUnderstoodError, or NotAuthorisedError when it is not genuine."""
    envelope = _decode(data, Envelope)
    command = envelope.command.encode()
    # An unknown commander takes as long as a known one.
    expected = _sign(command, keys.get(envelope.commander, b"no such commander"))
    if not hmac.compare_digest(expected, envelope.hmac) or envelope.commander not in keys:
        raise NotAuthorisedError("the commander is unknown or the signature is wrong", hint="compare the keys")
    return envelope.commander, command


def _sign(command: bytes, key: bytes) -> str:
    return hmac.new(key, command, hashlib.sha256).hexdigest()


def _decode(data: bytes, kind: type[T]) -> T:
    if len(data) > BODY_BYTES_MAX:
        raise NotUnderstoodError(f"the message has more than {BODY_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise NotUnderstoodError(f"this is no command: {exc}", hint="see docs/acting.md") from None
