"""``${NAME}``, ``${NAME:-default}`` and ``${credential:name}`` inside scalars.

``$${`` stands for a plain ``${``. Credentials are files of ``$CREDENTIALS_DIRECTORY``, where systemd puts
what ``LoadCredential=`` names. No message made here holds what a variable or a credential contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetwin.errors import ConfigError

EXPANDED_MAX = 65_536
"""Characters one scalar may grow to."""

_OPENING = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_BODY = re.compile(r"(credential:)?([^:]*?)(?::-(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class Expansion:
    """A scalar with its substitutions made; ``typed`` is False when a credential went in (always text)."""

    text: str
    typed: bool


def substitutes(text: str) -> bool:
    """Whether a scalar holds a substitution or its escape."""
    return "${" in text


def expand(text: str, env: Mapping[str, str]) -> Expansion:
    """``text`` with every substitution made; ConfigError when one is malformed or has no value."""
    parts: list[str] = []
    typed, end, size = True, 0, 0
    for match in _OPENING.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[0] == "$${":
            parts.append("${")
            continue
        value, from_credential = _value(match[1], bool(match[2]), env)
        typed = typed and not from_credential
        size += len(value)
        if size > EXPANDED_MAX:
            raise ConfigError("the substituted text is too long", hint=f"at most {EXPANDED_MAX} characters")
        parts.append(value)
    return Expansion("".join(parts) + text[end:], typed)


def read_secret(path: Path) -> str:
    """The text of a secret file without its final line break; OSError or ConfigError when it has none."""
    with path.open("rb") as file:
        raw = file.read(EXPANDED_MAX + 1)
    if len(raw) > EXPANDED_MAX:
        raise ConfigError("the secret is too long", hint=f"at most {EXPANDED_MAX} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        # The exception holds the bytes of the secret: leave it out of the chain.
        raise ConfigError("the secret is not UTF-8 text", hint="write it again as UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _value(body: str, closed: bool, env: Mapping[str, str]) -> tuple[str, bool]:
    match = _BODY.fullmatch(body)
    if not closed or match is None:
        raise ConfigError("a substitution is not closed", hint="write ${NAME}; a plain ${ is written $${")
    credential, name, default = match.groups()
    if credential:
        return _credential(name, default, env), True
    if not _NAME.fullmatch(name):
        raise ConfigError("a substitution has no valid name", hint="write ${NAME}; a plain ${ is written $${")
    if name in env:
        return env[name], False
    if default is None:
        raise ConfigError(
            f"environment variable {name} is not set", hint=f"set it, or give a default: ${{{name}:-value}}"
        )
    return default, False


def _credential(name: str, default: str | None, env: Mapping[str, str]) -> str:
    if not _CREDENTIAL.fullmatch(name):
        raise ConfigError("a credential has no valid name", hint="letters, digits, _ . - only")
    directory = env.get("CREDENTIALS_DIRECTORY")
    if directory is None:
        if default is not None:
            return default
        raise ConfigError(
            f"credential {name} cannot be read: CREDENTIALS_DIRECTORY is not set",
            hint=f"add LoadCredential={name}:/path to the systemd unit",
        )
    try:
        return read_secret(Path(directory) / name)
    except FileNotFoundError as exc:
        if default is not None:
            return default
        raise ConfigError(
            f"there is no credential {name}", hint=f"add LoadCredential={name}:/path to the systemd unit"
        ) from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(f"credential {name} cannot be read", hint="check its permissions") from exc
