"""User names and passwords of a source or an uplink."""

from __future__ import annotations

from pathlib import Path

from edgetwin.config.environment import read_secret
from edgetwin.config.schema import MqttSource, MqttUplink
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
    path = base_dir / record.password_file
    try:
        return read_secret(path)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        raise ConfigError(
            f"cannot read {record.password_file}: {reason}",
            hint="the path is relative to the configuration file; check its permissions",
        ) from exc


def username_of(record: MqttSource | MqttUplink) -> str | None:
    """The user name of a connection: ``username``, else the one in the URL."""
    return record.username if record.username is not None else endpoint(record.url).username
