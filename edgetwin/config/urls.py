"""Addresses of brokers, devices and listeners."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from edgetwin.errors import ConfigError

MQTT_SCHEMES = ("mqtt", "mqtts")
MODBUS_SCHEMES = ("modbus+tcp", "modbus+tls", "modbus+udp", "modbus+rtuovertcp")
HTTPS_SCHEMES = ("https", "http")
PROXY_SCHEMES = ("http",)
_DEFAULT_PORT = {
    "mqtt": 1883,
    "mqtts": 8883,
    "modbus+tcp": 502,
    "modbus+tls": 802,
    "modbus+udp": 502,
    "modbus+rtuovertcp": 502,
    "https": 443,
    "http": 80,
}
_PATH = re.compile(r"(?:/[A-Za-z0-9._~\-]+)*/?")
_HOST = re.compile(r"[A-Za-z0-9_.\-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.\-]+)?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads. ``username`` and ``password`` are percent-decoded; repr leaves the password out. ``path`` has
    no slash at its end and is empty but for HTTP."""

    scheme: str
    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str = ""

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(url: str, schemes: tuple[str, ...] = MQTT_SCHEMES + MODBUS_SCHEMES) -> Endpoint:
    """The endpoint of ``SCHEME://[user:password@]host[:port]``, the scheme being one of ``schemes``, with a
    path where HTTPS_SCHEMES are asked for.

    ConfigError, which never holds the URL itself, when it is something else.
    """
    hint = "write " + " or ".join(f"{s}://host:{_DEFAULT_PORT[s]}" for s in schemes)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The exception may hold the password.
        raise ConfigError("the URL has no valid host and port", hint=hint) from None
    scheme = parts.scheme.lower()
    if scheme not in schemes or not url.lower().startswith(f"{scheme}://"):
        raise ConfigError("the URL has the wrong scheme", hint=hint)
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise ConfigError("the URL has no valid host", hint=hint)
    if port == 0:
        raise ConfigError("the URL has port 0", hint=hint)
    path = parts.path if schemes == HTTPS_SCHEMES and _PATH.fullmatch(parts.path) else ""
    _only_authority(parts._replace(path=parts.path.removeprefix(path)), hint)
    return Endpoint(
        scheme=scheme,
        host=parts.hostname,
        port=port or _DEFAULT_PORT[scheme],
        tls=scheme in ("mqtts", "modbus+tls", "https"),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        path=path.rstrip("/"),
    )


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[ipv6]:port``; port 0 lets the system choose. ConfigError else."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.\-]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ConfigError("must be host:port", hint="write 127.0.0.1:8787 or [::1]:8787")
    return match[1] or match[2], int(match[3])


def _only_authority(parts: SplitResult, hint: str) -> None:
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError("the URL goes on after host and port", hint=hint)
