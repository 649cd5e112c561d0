"""The configuration as typed records (docs/configuration.md says what each key means).

Decoded strictly by :mod:`edgetwin.config.load`; `edgetwin schema` prints its JSON Schema.
Durations are seconds once decoded.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=128)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0)]


class Duration(float):
    """Seconds; written ``250ms``, ``5s``, ``10min``, ``1h``, ``1d`` in YAML."""


class _Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """Unknown keys are errors; records are immutable."""


# ---- sources


class Tls(_Strict, frozen=True):
    """Files of a TLS client; ``ca`` defaults to the system's authorities."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class MqttSource(_Strict, frozen=True, tag_field="kind", tag="mqtt"):
    """A broker whose topics bring samples."""

    name: Name
    url: str
    client_id: str | None = None
    qos: Annotated[int, Meta(ge=0, le=2)] = 1
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive: Duration = Duration(30)
    session_expiry: Duration = Duration(86_400)
    receive_maximum: Annotated[int, Meta(ge=1, le=65535)] = 65535
    payload_max: Annotated[int, Meta(ge=64, le=16_777_216)] = 65_536


class ModbusSource(_Strict, frozen=True, tag_field="kind", tag="modbus"):
    """A Modbus TCP device polled on a schedule."""

    name: Name
    url: str
    unit: Annotated[int, Meta(ge=0, le=255)] = 1
    every: Duration = Duration(1)
    timeout: Duration = Duration(1)
    words_max: Annotated[int, Meta(ge=1, le=125)] = 125
    gap_max: Annotated[int, Meta(ge=0, le=124)] = 8


class CsvSource(_Strict, frozen=True, tag_field="kind", tag="csv"):
    """A recorded file for `edgetwin replay`."""

    name: Name
    path: str
    time: str = "t"
    time_unit: Literal["s", "ms", "us", "ns", "iso"] = "s"


class SimulatedSource(_Strict, frozen=True, tag_field="kind", tag="simulated"):
    """Samples drawn from the twins' own models."""

    name: Name
    every: Duration = Duration(1)
    seed: int = 0


Source = MqttSource | ModbusSource | CsvSource | SimulatedSource

# ---- models and twins


class UserState(_Strict, frozen=True):
    """A state of a user's model."""

    initial: float = 0.0
    unit: str = ""
    std: Positive | None = None
    min: float | None = None
    max: float | None = None


class UserInput(_Strict, frozen=True):
    """An input of a user's model."""

    initial: float = 0.0
    unit: str = ""


class UserModel(_Strict, frozen=True, kw_only=True):
    """Physics in YAML: ``derivatives`` (continuous) or ``updates`` (discrete) of each state."""

    name: Name
    states: dict[str, UserState]
    inputs: dict[str, UserInput] = {}
    parameters: dict[str, float] = {}
    derivatives: dict[str, str] = {}
    updates: dict[str, str] = {}
    process_noise: dict[str, float] = {}
    measurements: dict[str, str]


class Register(_Strict, frozen=True, kw_only=True):
    """Where and how a value stands in a Modbus device. ``address`` counts from 0 as on the wire."""

    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    address: Annotated[int, Meta(ge=0, le=65535)]
    type: Literal["int16", "uint16", "int32", "uint32", "float32", "float64", "bit"] = "uint16"
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    bit: Annotated[int, Meta(ge=0, le=15)] | None = None
    scale: float = 1.0
    offset: float = 0.0


class Signal(_Strict, frozen=True):
    """One measured scalar series and where it comes from.

    Exactly one of ``topic`` (mqtt), ``register`` (modbus) or ``column`` (csv); estimate = scale*raw + offset.
    """

    source: str
    topic: str | None = None
    value: str | None = None
    time: str | None = None
    time_unit: Literal["s", "ms", "us", "ns", "iso"] = "s"
    numeric_strings: bool = False
    register: Register | None = None
    column: str | None = None
    noise: Positive | None = None
    range: tuple[float, float] | None = None
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Reporting(_Strict, frozen=True):
    """How often a twin's estimate is reported and how exactly the cloud must know it."""

    every: Duration = Duration(1)
    tolerance: dict[str, Positive] = {}


class Alarm(_Strict, frozen=True):
    """An alarm on states (accepted by the schema; see docs/roadmap in the README)."""

    name: Name
    when: str
    clear: str | None = None
    for_: Duration = msgspec.field(default=Duration(0), name="for")
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class Twin(_Strict, frozen=True, kw_only=True):
    """One asset, or a template of many where the name holds ``{placeholders}``."""

    name: str
    model: str = "auto"
    parameters: dict[str, float] = {}
    lateness: Duration = Duration(0)
    stale_after: Duration | None = None
    gate: Positive = 5.0
    gate_rejects: Annotated[int, Meta(ge=1, le=1000)] = 5
    signals: Annotated[dict[str, Signal], Meta(min_length=1)]
    report: Reporting = Reporting()
    alarms: list[Alarm] = []


# ---- outputs of the daemon


class MqttUplink(_Strict, frozen=True, tag_field="kind", tag="mqtt"):
    """Frames to the cloud over MQTT, QoS 1."""

    url: str
    topic: str = "edgetwin/{gateway}/frames"
    client_id: str | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive: Duration = Duration(30)
    every: Duration = Duration(5)


class Http(_Strict, frozen=True):
    """The HTTP API; ``listen`` is host:port."""

    listen: str = "127.0.0.1:8787"


class Limits(_Strict, frozen=True):
    """Bounds of what the daemon holds in memory."""

    twins: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    topics: Annotated[int, Meta(ge=16, le=4_000_000)] = 100_000
    future: Duration = Duration(10)
    outbox_bytes: Annotated[int, Meta(ge=65_536)] = 16_777_216
    metric_twins: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Log(_Strict, frozen=True):
    """Logging; ``format: auto`` is console on a terminal, JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Config(_Strict, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Name
    state_dir: str | None = None
    snapshot_every: Duration = Duration(10)
    sources: Annotated[list[Source], Meta(min_length=1)]
    models: list[UserModel] = []
    twins: Annotated[list[Twin], Meta(min_length=1)]
    uplink: MqttUplink | None = None
    http: Http | None = Http()
    limits: Limits = Limits()
    log: Log = Log()


__all__ = [
    "Alarm", "Config", "CsvSource", "Duration", "Http", "Limits", "Log", "ModbusSource", "MqttSource",
    "MqttUplink", "Register", "Reporting", "Signal", "SimulatedSource", "Source", "Tls", "Twin",
    "UserInput", "UserModel", "UserState",
]  # fmt: skip
