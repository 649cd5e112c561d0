"""The configuration as typed records; the docstrings are its reference.

Decoded strictly by :mod:`edgetwin.config.load`. Lines of the form ``- key: text`` in a docstring describe the
keys: `edgetwin schema` prints them and docs/configuration.md expands on them. Durations are seconds once
decoded.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=128)]
Positive = Annotated[float, Meta(gt=0)]
TimeUnit = Literal["s", "ms", "us", "ns", "iso"]


class Duration(float):
    """Seconds; written ``250ms``, ``5s``, ``10min``, ``1h``, ``1d`` in YAML."""


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """Unknown keys are errors; records are immutable and their repr shows no secret."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{f}={_shown(f, getattr(self, f))}" for f in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"


def _shown(field: str, value: object) -> str:
    """A field's value as a log may hold it."""
    if field == "password" and value is not None:
        return "'***'"
    return re.sub(r"//.*@", "//***@", repr(value)) if field == "url" else repr(value)


# ---- sources


class Tls(Strict, frozen=True):
    """Files of a TLS client, relative to the configuration file.

    - ca: certificate authorities in PEM; the system's when absent
    - cert: the client's certificate chain in PEM
    - key: the private key of ``cert`` in PEM
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class MqttSource(Strict, frozen=True, tag_field="kind", tag="mqtt"):
    """A broker whose topics bring samples.

    - name: what signals call this source
    - url: mqtt://host[:1883] or mqtts://host[:8883]
    - client_id: MQTT client identifier, under which the broker keeps the session; edgetwin-{gateway}-{name} when absent
    - qos: quality of service asked for in the subscriptions
    - protocol: MQTT version
    - username: user name for the broker
    - password: password in clear; prefer ${credential:name} or password_file
    - password_file: file that holds the password, relative to the configuration file
    - tls: certificate files of an mqtts:// connection
    - keepalive: longest silence before the connection is probed
    - session_expiry: how long the broker keeps the session while the gateway is away (MQTT 5, qos 1 or 2)
    - receive_maximum: messages the broker may send before they are acknowledged (MQTT 5)
    - payload_max: longest payload read, in bytes; longer ones are counted as overflow
    - clock: whose time samples have: device as stamped; corrected by the offset learned; arrival at the gateway
    """

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
    clock: Literal["device", "corrected", "arrival"] = "device"


class ModbusSource(Strict, frozen=True, tag_field="kind", tag="modbus"):
    """Modbus devices behind one address, polled on a schedule.

    - name: what signals call this source
    - url: modbus+tcp://host[:502], modbus+tls://host[:802], modbus+udp://host[:502], modbus+rtuovertcp://host[:502] or modbus+rtu:///dev/ttyS0?baudrate=19200&parity=E&stopbits=1
    - unit: unit identifier of the device; a register may name another
    - every: time between polls; a register may have its own
    - timeout: how long to wait for an answer
    - words_max: most registers read in one request
    - gap_max: unused registers read along to join two reads into one
    - align: requests start and end at multiples of this many registers
    - pipeline: requests under way at a time, for devices on a socket that allow more than one
    - tls: certificate files of a modbus+tls:// connection
    - sunspec_models: JSON files of further SunSpec models, relative to the configuration file
    """

    name: Name
    url: str
    unit: Annotated[int, Meta(ge=0, le=255)] = 1
    every: Duration = Duration(1)
    timeout: Duration = Duration(1)
    words_max: Annotated[int, Meta(ge=1, le=125)] = 125
    gap_max: Annotated[int, Meta(ge=0, le=124)] = 8
    align: Annotated[int, Meta(ge=1, le=125)] = 1
    pipeline: Annotated[int, Meta(ge=1, le=16)] = 1
    tls: Tls | None = None
    sunspec_models: list[str] = []


class CsvSource(Strict, frozen=True, tag_field="kind", tag="csv"):
    """A recorded file for `edgetwin replay`.

    - name: what signals call this source
    - path: the file, relative to the configuration file: CSV with a header, plain or gzipped, or Parquet
    - time: the column that holds the time of a row
    - time_unit: unit of the time column
    """

    name: Name
    path: str
    time: str = "t"
    time_unit: TimeUnit = "s"


class SimulatedSource(Strict, frozen=True, tag_field="kind", tag="simulated"):
    """Samples drawn from the twins' own models.

    - name: what signals call this source
    - every: time between samples
    - seed: seed of the random numbers
    """

    name: Name
    every: Duration = Duration(1)
    seed: int = 0


Source = MqttSource | ModbusSource | CsvSource | SimulatedSource

# ---- models and twins


class UserState(Strict, frozen=True):
    """A state of a user's model.

    - initial: value before the first measurement
    - unit: unit shown beside the value, and checked against the equations
    - std: standard deviation of the initial value
    - min: lowest physical value
    - max: highest physical value
    """

    initial: float = 0.0
    unit: str = ""
    std: Positive | None = None
    min: float | None = None
    max: float | None = None


class UserInput(Strict, frozen=True):
    """An input of a user's model.

    - initial: value before the first sample
    - unit: unit shown beside the value, and checked against the equations
    """

    initial: float = 0.0
    unit: str = ""


class UserParameter(Strict, frozen=True):
    """A parameter of a user's model with what is known of it; a plain number is one without unit and bounds.

    - value: the value, unless the twin gives its own
    - unit: its unit, checked against the equations
    - min: lowest sensible value
    - max: highest sensible value
    """

    value: float
    unit: str = ""
    min: float | None = None
    max: float | None = None


class UserMeasurement(Strict, frozen=True):
    """A measurement of a user's model with its unit; plain text is an expression without one.

    - expression: what is measured, over states, inputs and parameters
    - unit: its unit, checked against the expression; signals in another one are converted
    """

    expression: str
    unit: str = ""


class UserModel(Strict, frozen=True, kw_only=True):
    """Physics in YAML: ``derivatives`` (continuous) or ``updates`` (discrete) of each state.

    - name: what twins call this model
    - states: the states by name
    - inputs: the inputs by name
    - parameters: constants of the equations by name: a number, or {value, unit, min, max}; a twin may override them
    - derivatives: time derivative of each state, per second
    - updates: next value of each state
    - process_noise: standard deviation each state gains per square-root second
    - measurements: what each signal measures: an expression over the states, or {expression, unit}
    - filter: extended (ekf) or unscented (ukf) Kalman filter
    """

    name: Name
    states: dict[str, UserState]
    inputs: dict[str, UserInput] = {}
    parameters: dict[str, float | UserParameter] = {}
    derivatives: dict[str, str] = {}
    updates: dict[str, str] = {}
    process_noise: dict[str, float] = {}
    measurements: dict[str, str | UserMeasurement]
    filter: Literal["ekf", "ukf"] = "ekf"


RegisterType = Literal[
    "bit", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int48", "uint48", "int64", "uint64",
    "float16", "float32", "float64", "bcd16", "bcd32", "string",
]  # fmt: skip


class Register(Strict, frozen=True, kw_only=True):
    """Where and how a value stands in a Modbus device.

    - table: holding and input hold 16-bit registers, coil and discrete hold bits
    - address: counted from 0, as on the wire
    - type: how the registers are read; types of 32, 48 and 64 bits take 2, 3 and 4 registers
    - order: byte order of the value, ABCD being big endian
    - bit: which bit of the register, 0 the lowest; only for type bit in holding and input
    - byte: which half of the register; only for types int8 and uint8
    - length: registers of a string
    - mask: bits of an integer that count; the highest is the sign of a signed type
    - shift: how many bits the masked value is moved to the right
    - invalid: raw numbers that mean no value, such as 0x8000; their samples are counted invalid
    - enum: raw number, or text of a string, to value; samples of any other are counted invalid
    - scale: value = scale * raw + offset, before the signal's own scale and offset
    - offset: see scale
    - scale_from: address of a register of the same table with a power of ten, read along and multiplied with raw
    - unit: unit identifier of the device; that of the source when absent
    - every: time between polls; that of the source when absent
    """

    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    address: Annotated[int, Meta(ge=0, le=65535)]
    type: RegisterType = "uint16"
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    bit: Annotated[int, Meta(ge=0, le=15)] | None = None
    byte: Literal["low", "high"] | None = None
    length: Annotated[int, Meta(ge=1, le=125)] | None = None
    mask: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    shift: Annotated[int, Meta(ge=0, le=63)] = 0
    invalid: list[float] = []
    enum: dict[str, float] = {}
    scale: float = 1.0
    offset: float = 0.0
    scale_from: Annotated[int, Meta(ge=0, le=65535)] | None = None
    unit: Annotated[int, Meta(ge=0, le=255)] | None = None
    every: Duration | None = None


class SunSpec(Strict, frozen=True, kw_only=True):
    """A point of a SunSpec device, found by its name.

    - model: number of the model
    - point: name of the point in the model; the name of the signal when absent
    - group: name of the repeating group that holds the point
    - index: which repetition of the group, from 1
    - instance: which of several models of that number, from 1
    - unit: unit identifier of the device; that of the source when absent
    - every: time between polls; that of the source when absent
    """

    model: Annotated[int, Meta(ge=1, le=65534)]
    point: str = ""
    group: str = ""
    index: Annotated[int, Meta(ge=1, le=65535)] = 1
    instance: Annotated[int, Meta(ge=1, le=1000)] = 1
    unit: Annotated[int, Meta(ge=0, le=255)] | None = None
    every: Duration | None = None


class Signal(Strict, frozen=True):
    """One measured scalar series and where it comes from.

    Exactly one of ``topic`` (mqtt), ``register`` or ``sunspec`` (modbus) or ``column`` (csv).
    Value = scale*raw + offset.

    - source: name of the source
    - topic: MQTT topic; {placeholder} stands for one whole level
    - value: path of the value in a JSON payload, such as $.a.b[0]; a plain number when absent
    - time: path of the measurement time in a JSON payload; time of arrival when absent
    - time_unit: unit of the time
    - numeric_strings: whether JSON strings that hold a number are read as numbers
    - register: where the value stands in a Modbus device
    - sunspec: point of a SunSpec device; a number is the model whose point is named like the signal
    - column: column of a CSV file
    - noise: standard deviation of the measurement, in the unit of the signal; learned when absent
    - range: lowest and highest believable value, in the unit of the signal; others are never fused
    - unit: unit of the value; converted when a model by equations has the quantity in another one
    - scale: value = scale * raw + offset
    - offset: see scale
    """

    source: str
    topic: str | None = None
    value: str | None = None
    time: str | None = None
    time_unit: TimeUnit = "s"
    numeric_strings: bool = False
    register: Register | None = None
    sunspec: Annotated[int, Meta(ge=1, le=65534)] | SunSpec | None = None
    column: str | None = None
    noise: Positive | None = None
    range: tuple[float, float] | None = None
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Reporting(Strict, frozen=True):
    """How often a twin's estimate is reported and how exactly the cloud must know it.

    - every: time between reports
    - tolerance: largest difference between cloud and gateway for each state, in the unit of the state
    - summary_every: interval of the count, extremes and mean of the raw samples of each signal
    """

    every: Duration = Duration(1)
    summary_every: Duration = Duration(60)
    tolerance: dict[str, Positive] = {}


class Alarm(Strict, frozen=True):
    """An alarm on states.

    - name: what the alarm is called
    - when: condition that raises it
    - clear: condition that clears it; the opposite of when, if absent
    - for: how long the condition must hold
    - priority: how urgent it is
    """

    name: Name
    when: str
    clear: str | None = None
    for_: Duration = msgspec.field(default=Duration(0), name="for")
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class ReadBack(Strict, frozen=True):
    """How a write is verified.

    - tolerance: largest difference between what was written and what the device holds, in the unit of the output
    - within: time in which the device must hold it
    - signal: signal of the twin that shows the value, for outputs that cannot be read themselves
    """

    tolerance: Annotated[float, Meta(ge=0)] = 0.0
    within: Duration = Duration(2)
    signal: str | None = None


class Output(Strict, frozen=True, kw_only=True):
    """Something of the asset that can be set. Exactly one of ``topic`` (mqtt) or ``register`` (modbus).

    - source: name of the source whose connection is used
    - topic: MQTT topic to publish to; {placeholder} as in the twin's name
    - payload: what is published; {value} stands for the number
    - register: where the value stands in a Modbus device; table holding or coil
    - unit: unit of the value
    - range: lowest and highest value that may be written
    - rate: largest change per second, in the unit of the output
    - every: shortest time between two writes
    - writes_per_day: most writes in 24 hours, for devices whose memory wears out
    - mode: shadow computes and records everything but the write
    - armed: whether it is armed when the daemon starts; else somebody must arm it at the gateway
    - fallback: safe value, written once when control is lost or a write fails
    - lease: how long a command holds the output; it falls back unless the commander renews in time
    - interlock: condition on the twin's states without which nothing is written
    - max_age: oldest sample of which the states in the interlock may come
    - max_std: largest standard deviation of states in the interlock
    - read_back: how the write is verified
    """

    source: str
    topic: str | None = None
    payload: str = "{value}"
    register: Register | None = None
    unit: str = ""
    range: tuple[float, float]
    rate: Positive | None = None
    every: Duration = Duration(0)
    writes_per_day: Annotated[int, Meta(ge=1)] = 10_000
    mode: Literal["shadow", "active"] = "shadow"
    armed: bool = False
    fallback: float
    lease: Duration = Duration(60)
    interlock: str | None = None
    max_age: Duration = Duration(10)
    max_std: dict[str, Positive] = {}
    read_back: ReadBack = ReadBack()


class Rule(Strict, frozen=True, kw_only=True):
    """A closed loop at the gateway: a condition on states that sets an output, through the same gate as any command.

    - name: what the rule is called
    - set: name of the output
    - to: number, or expression of states, that is written while the rule holds
    - when: condition that makes it hold
    - clear: condition that ends it; the opposite of when, if absent
    - for: how long the condition must hold
    - otherwise: what is written when it ends; the fallback of the output when absent
    """

    name: Name
    set: str
    to: float | str
    when: str
    clear: str | None = None
    for_: Duration = msgspec.field(default=Duration(0), name="for")
    otherwise: float | None = None


class Twin(Strict, frozen=True, kw_only=True):
    """One asset, or a template of many where the name holds ``{placeholders}``.

    - name: name of the twin; {placeholder} makes a template: one twin for each value heard
    - model: auto, random_walk, constant_velocity, constant_acceleration, first_order, one of models, or library/name
    - parameters: parameters of the model by name
    - initial: initial values of states and inputs by name, in place of the model's; only for a model by equations
    - initial_std: standard deviations of the initial states by name, likewise
    - process_noise: standard deviation that each state gains per square-root second by name, likewise
    - lateness: how late a sample may come and still be fused
    - stale_after: silence after which the estimate is no longer good; ten mean intervals and 5 s when absent
    - gate: how many standard deviations from its prediction a sample may lie
    - gate_rejects: samples rejected in a row after which the twin starts again from what it hears
    - noise_learning: on learns noise that is not given; frozen keeps what has been learned
    - seasons: auto looks for daily, weekly and other periods in the signals of the model auto; off does not
    - isolate: whether a sensor that the twin's other sensors contradict is put aside; it is told in any case
    - signals: the measured series by name
    - report: cadence and tolerance of the reports
    - alarms: alarms on the states
    - outputs: what can be set, by name
    - rules: closed loops from states to outputs
    """

    name: str
    model: str = "auto"
    parameters: dict[str, float] = {}
    initial: dict[str, float] = {}
    initial_std: dict[str, Positive] = {}
    process_noise: dict[str, Annotated[float, Meta(ge=0)]] = {}
    lateness: Duration = Duration(0)
    stale_after: Duration | None = None
    gate: Positive = 5.0
    gate_rejects: Annotated[int, Meta(ge=1, le=1000)] = 5
    noise_learning: Literal["on", "frozen"] = "on"
    seasons: Literal["auto", "off"] = "auto"
    isolate: bool = True
    signals: Annotated[dict[str, Signal], Meta(min_length=1)]
    report: Reporting = Reporting()
    alarms: list[Alarm] = []
    outputs: dict[str, Output] = {}
    rules: list[Rule] = []


# ---- outputs of the daemon


class MqttUplink(Strict, frozen=True, tag_field="kind", tag="mqtt"):
    """Frames to the cloud over MQTT, QoS 1.

    - url: mqtt://host[:1883] or mqtts://host[:8883]
    - topic: where frames go; {gateway} is the name of the gateway
    - client_id: MQTT client identifier; edgetwin-{gateway}-uplink when absent
    - protocol: MQTT version
    - username: user name for the broker
    - password: password in clear; prefer ${credential:name} or password_file
    - password_file: file that holds the password, relative to the configuration file
    - tls: certificate files of an mqtts:// connection
    - keepalive: longest silence before the connection is probed
    - every: the longest a report waits for its frame
    - codec: how frames are coded: twin-1 (within the tolerance of each state) or plain-1 (every bit)
    - key_every: the longest time between frames that a receiver can begin with (twin-1)
    - require_subscriber: keep frames while nobody subscribes to the topic (MQTT 5)
    - acknowledge: who must have a frame before it is deleted here
    - ack_timeout: how long the receiver may take before frames are sent again
    - bandwidth: most bytes of frames a second, on average
    - proxy: http://[user:password@]host:port of an HTTP proxy
    """

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
    codec: Literal["twin-1", "plain-1"] = "twin-1"
    key_every: Duration = Duration(600)
    require_subscriber: bool = True
    acknowledge: Literal["receiver", "broker"] = "receiver"
    ack_timeout: Duration = Duration(180)
    bandwidth: Annotated[int, Meta(ge=64)] | None = None
    proxy: str | None = None


class HttpsUplink(Strict, frozen=True, tag_field="kind", tag="https"):
    """Frames to the cloud by HTTPS POST.

    - url: https://host[:443][/path] of the receiver
    - token: bearer token in clear; prefer ${credential:name} or token_file
    - token_file: file that holds the bearer token, relative to the configuration file
    - tls: certificate files
    - timeout: longest wait for an answer
    - every: the longest a report waits for its frame
    - codec: how frames are coded: twin-1 (within the tolerance of each state) or plain-1 (every bit)
    - key_every: the longest time between frames that a receiver can begin with (twin-1)
    - ack_timeout: how long the receiver may take before frames are sent again
    - bandwidth: most bytes of frames a second, on average
    - proxy: http://[user:password@]host:port of an HTTP proxy
    """

    url: str
    token: str | None = None
    token_file: str | None = None
    tls: Tls | None = None
    timeout: Duration = Duration(60)
    every: Duration = Duration(5)
    codec: Literal["twin-1", "plain-1"] = "twin-1"
    key_every: Duration = Duration(600)
    ack_timeout: Duration = Duration(180)
    bandwidth: Annotated[int, Meta(ge=64)] | None = None
    proxy: str | None = None


class Http(Strict, frozen=True):
    """The HTTP API.

    - listen: host:port to listen on
    """

    listen: str = "127.0.0.1:8787"


class Limits(Strict, frozen=True):
    """Bounds of what the daemon holds in memory.

    - twins: most twins, those of templates included
    - topics: most topics remembered, unknown ones included
    - future: how far ahead of the gateway's clock a sample may be stamped
    - past: how far behind the gateway's clock a sample may be stamped
    - clock_offset: largest offset of a device's clock that is corrected
    - outbox_bytes: most bytes of frames in memory: without state_dir all that wait for the cloud, with it those that
      wait for the disk
    - metric_twins: most twins with Prometheus series of their own
    - simulations: most what-ifs that run at a time
    - simulation_steps: most members times steps of one what-if
    """

    twins: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    topics: Annotated[int, Meta(ge=16, le=4_000_000)] = 100_000
    future: Duration = Duration(10)
    past: Duration = Duration(315_360_000)
    clock_offset: Duration = Duration(3_600)
    outbox_bytes: Annotated[int, Meta(ge=65_536)] = 16_777_216
    metric_twins: Annotated[int, Meta(ge=0, le=100_000)] = 0
    simulations: Annotated[int, Meta(ge=0, le=16)] = 2
    simulation_steps: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000_000


class Journal(Strict, frozen=True):
    """The journal in state_dir. What its bounds force out is told to the cloud in a gap record.

    - every: time between checkpoints; one follows sooner when a broker waits for acknowledgements
    - bytes_max: most bytes of its files, with the state
    - age_max: frames older than this are given up; kept until the cloud has them when absent
    - history_age: how long commands and other records of acting are kept
    """

    every: Duration = Duration(1)
    bytes_max: Annotated[int, Meta(ge=8_388_608)] = 268_435_456
    age_max: Duration | None = None
    history_age: Duration = Duration(2_592_000)


class Commands(Strict, frozen=True):
    """Who may command outputs, beside rules.

    - token_file: file with the bearer token of HTTP requests, relative to the configuration file; no token, no commands
    - keys: files with the keys of those who send signed commands over MQTT, by name of the commander
    - source: mqtt source whose broker brings the commands
    - topic: MQTT topic of the commands; {gateway} stands for its name. Answers go to the topic plus /answers
    - ttl_max: longest time to live of a command
    """

    token_file: str | None = None
    keys: dict[str, str] = {}
    source: str | None = None
    topic: str = "edgetwin/{gateway}/commands"
    ttl_max: Duration = Duration(60)


class Log(Strict, frozen=True):
    """Logging to standard error.

    - level: least severe level that is written
    - format: auto is console on a terminal and json elsewhere
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Config(Strict, frozen=True, kw_only=True, dict=True):
    """The whole file. The loader attaches where it came from (see edgetwin.config.origin).

    - gateway: name of this gateway; it is in every frame
    - state_dir: directory of the state, relative to the configuration file; nothing outlives a stop when absent
    - journal: how often what happened becomes durable in state_dir, and how much is kept
    - sources: the connections that bring samples
    - models: models given by their equations
    - twins: the assets and templates of assets
    - fitted: files written by `edgetwin fit`, relative to this one; their values take the place of those of the twins
    - uplink: where frames go; none are made when absent
    - http: the HTTP API; null turns it off
    - commands: who may command outputs
    - limits: bounds of what the daemon holds
    - log: logging
    """

    gateway: Name
    state_dir: str | None = None
    journal: Journal = Journal()
    sources: Annotated[list[Source], Meta(min_length=1)]
    models: list[UserModel] = []
    twins: Annotated[list[Twin], Meta(min_length=1)]
    fitted: list[str] = []
    uplink: MqttUplink | HttpsUplink | None = None
    http: Http | None = Http()
    commands: Commands = Commands()
    limits: Limits = Limits()
    log: Log = Log()


__all__ = [
    "Alarm", "Config", "CsvSource", "Duration", "Http", "Journal", "Limits", "Log", "ModbusSource", "MqttSource",
    "MqttUplink", "Register", "Reporting", "Signal", "SimulatedSource", "Source", "SunSpec", "Tls", "Twin",
    "UserInput", "UserMeasurement", "UserModel", "UserParameter", "UserState",
]  # fmt: skip
