"""Where a Modbus URL leads: a socket or a serial line, and how requests are framed there.

====================================  ==========================================================
``modbus+tcp://host[:502]``           Modbus TCP (MBAP header, transaction ids)
``modbus+tls://host[:802]``           the same inside TLS (MODBUS/TCP Security, 2018)
``modbus+udp://host[:502]``           the same in datagrams
``modbus+rtuovertcp://host[:502]``    RTU frames through a serial device server
``modbus+rtu:///dev/ttyS0?...``       RTU frames on a serial line of this machine
====================================  ==========================================================

The serial line takes ``baudrate`` (19200), ``parity`` N, E or O (E) and ``stopbits`` 1 or 2; the defaults are those of
MODBUS over Serial Line V1.02, section 2.5.1: even parity and one stop bit, or no parity and two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from edgetwin.config.urls import MODBUS_SCHEMES, endpoint
from edgetwin.errors import ConfigError

SERIAL_SCHEME = "modbus+rtu"
BAUDRATE_MIN, BAUDRATE_MAX = 50, 4_000_000
_SERIAL_HINT = "write modbus+rtu:///dev/ttyS0?baudrate=19200&parity=E&stopbits=1"
_PARITIES = ("N", "E", "O")

Transport = Literal["tcp", "tls", "udp", "rtuovertcp", "rtu"]
TRANSPORTS: dict[str, Transport] = {
    "modbus+tcp": "tcp",
    "modbus+tls": "tls",
    "modbus+udp": "udp",
    "modbus+rtuovertcp": "rtuovertcp",
    "modbus+rtu": "rtu",
}


@dataclass(frozen=True, slots=True)
class ModbusPlace:
    """``host`` and ``port`` of a socket; ``device``, ``baudrate``, ``parity`` and ``stopbits`` of a serial line."""

    transport: Transport
    host: str = ""
    port: int = 0
    device: str = ""
    baudrate: int = 0
    parity: str = ""
    stopbits: int = 0

    @property
    def address(self) -> str:
        """``host:port`` or the path of the serial device."""
        if self.transport == "rtu":
            return self.device
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def rtu(self) -> bool:
        """Whether frames are RTU's: a unit, a checksum, and nothing that ties an answer to its request."""
        return self.transport in ("rtu", "rtuovertcp")

    @property
    def char_s(self) -> float:
        """Seconds that a character takes on the serial line; 0 for sockets."""
        if self.transport != "rtu":
            return 0.0
        return (1 + 8 + (self.parity != "N") + self.stopbits) / self.baudrate


def modbus_place(url: str) -> ModbusPlace:
    """The place a Modbus URL names; ConfigError, which never holds the URL, when it is something else."""
    if url.lower().startswith(f"{SERIAL_SCHEME}:"):
        return _serial(url)
    where = endpoint(url, MODBUS_SCHEMES)
    if where.username is not None or where.password is not None:
        raise ConfigError("Modbus knows no user or password", hint="remove what stands before the @")
    return ModbusPlace(TRANSPORTS[where.scheme], where.host, where.port)


def _serial(url: str) -> ModbusPlace:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("the URL cannot be read", hint=_SERIAL_HINT) from None
    device = unquote(parts.path)
    if not url.lower().startswith(f"{SERIAL_SCHEME}:///") or len(device) < 2 or parts.fragment or "\0" in device:
        raise ConfigError("the URL has no path of a serial device", hint=_SERIAL_HINT)
    options = _options(parts.query)
    parity = options.pop("parity", "E").upper()
    if parity not in _PARITIES:
        raise ConfigError("parity must be N, E or O", hint=_SERIAL_HINT)
    baudrate = _number(options, "baudrate", 19200)
    stopbits = _number(options, "stopbits", 2 if parity == "N" else 1)
    if options:
        raise ConfigError(f"the URL has an unknown option {next(iter(options))!r}", hint=_SERIAL_HINT)
    if not BAUDRATE_MIN <= baudrate <= BAUDRATE_MAX:
        raise ConfigError(f"baudrate must be {BAUDRATE_MIN} to {BAUDRATE_MAX}", hint=_SERIAL_HINT)
    if stopbits not in (1, 2):
        raise ConfigError("stopbits must be 1 or 2", hint=_SERIAL_HINT)
    return ModbusPlace("rtu", device=device, baudrate=baudrate, parity=parity, stopbits=stopbits)


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError:
        raise ConfigError("the options of the URL cannot be read", hint=_SERIAL_HINT) from None
    if len({key for key, _ in pairs}) != len(pairs):
        raise ConfigError("an option of the URL is given twice", hint=_SERIAL_HINT)
    return dict(pairs)


def _number(options: dict[str, str], key: str, default: int) -> int:
    text = options.pop(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ConfigError(f"{key} must be a whole number", hint=_SERIAL_HINT)
    return int(text)
