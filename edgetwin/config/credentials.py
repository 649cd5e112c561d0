"""User names and passwords of a source or an uplink."""

from __future__ import annotations

from pathlib import Path

from edgetwin.config.environment import read_secret
from edgetwin.config.schema import HttpsUplink, MqttSource, MqttUplink
from edgetwin.config.urls import endpoint
from edgetwin.errors import ConfigError


def password_of(record: MqttSource | MqttUplink, base_dir: Path) -> str | None:
    """The password of a connection: ``password``, else ``password_file``, else the one in the URL.

    ``password_file`` is relative to ``base_dir``, the directory of the configuration file. ConfigError,
    which names the file and never its content, when it cannot be read.
    """
    if record.password is not None:
        return record.password
    if record.password_file is None:
        return endpoint(record.url).password
    return read_secret_file(record.password_file, base_dir)


def token_of(record: HttpsUplink, base_dir: Path) -> str | None:
    """The bearer token of an uplink: ``token``, else the content of ``token_file``. ConfigError as above, and when the
    file holds what no header can."""
    if record.token is not None or record.token_file is None:
        return record.token
    return read_token(record.token_file, base_dir)


def read_token(name: str, base_dir: Path) -> str:
    """The bearer token in a file. ConfigError when it cannot be read or holds what no header can."""
    token = read_secret_file(name, base_dir)
    if not token.isascii() or not token.isprintable():
        raise ConfigError(f"{name} does not hold a token", hint="one line of printable ASCII")
    return token


def read_secret_file(name: str, base_dir: Path) -> str:
    """The secret in a file. ConfigError, which never holds the secret, when it cannot be read."""
    try:
        return read_secret(base_dir / name)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        hint = "the path is relative to the configuration file; check its permissions"
        raise ConfigError(f"cannot read {name}: {reason}", hint=hint) from exc


def username_of(record: MqttSource | MqttUplink) -> str | None:
    """The user name of a connection: ``username``, else the one in the URL."""
    return record.username if record.username is not None else endpoint(record.url).username
