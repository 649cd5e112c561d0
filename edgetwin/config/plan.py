"""What the daemon would run, in a form to print."""

from __future__ import annotations

import msgspec

from edgetwin.config.conversions import in_unit
from edgetwin.config.equations import channel_units
from edgetwin.config.modbus_urls import modbus_place
from edgetwin.config.models import state_names, user_model
from edgetwin.config.schema import (
    Config,
    CsvSource,
    HttpsUplink,
    ModbusSource,
    MqttSource,
    MqttUplink,
    Output,
    Register,
    Signal,
    Source,
    Twin,
)
from edgetwin.config.sunspec import sunspec_of
from edgetwin.config.topics import placeholders
from edgetwin.config.urls import HTTPS_SCHEMES, endpoint


class PlannedSource(msgspec.Struct, frozen=True):
    """``endpoint`` is host:port, or the path of a file; it holds no user and no password."""

    name: str
    kind: str
    endpoint: str
    tls: bool
    detail: str


class PlannedSignal(msgspec.Struct, frozen=True, omit_defaults=True):
    """``binding`` is the topic, register or column as one word; ``converted_to`` the model's unit if another."""

    name: str
    source: str
    binding: str
    unit: str
    converted_to: str = ""


class PlannedOutput(msgspec.Struct, frozen=True):
    """``binding`` is the topic or register; ``rules`` the names of those that set it."""

    name: str
    source: str
    binding: str
    unit: str
    mode: str
    armed: bool
    range: tuple[float, float]
    fallback: float
    interlock: str | None
    rules: list[str]


class PlannedTwin(msgspec.Struct, frozen=True, omit_defaults=True):
    """``report_every`` in seconds; ``tolerance`` only of the states that have one."""

    name: str
    template: bool
    model: str
    states: list[str]
    signals: list[PlannedSignal]
    report_every: float
    tolerance: dict[str, float]
    outputs: list[PlannedOutput] = []


class PlannedUplink(msgspec.Struct, frozen=True):
    """``every`` in seconds; ``topic`` is empty but for MQTT."""

    kind: str
    endpoint: str
    tls: bool
    topic: str
    every: float


class Plan(msgspec.Struct, frozen=True):
    """A checked configuration in short; ``command`` is the one that runs it."""

    command: str
    gateway: str
    state_dir: str | None
    sources: list[PlannedSource]
    twins: list[PlannedTwin]
    uplink: PlannedUplink | None
    http: str | None


def plan(config: Config) -> Plan:
    """The plan of a configuration in which :func:`edgetwin.config.check.check` found nothing."""
    return Plan(
        command="replay" if all(isinstance(s, CsvSource) for s in config.sources) else "run",
        gateway=config.gateway,
        state_dir=config.state_dir,
        sources=[_source(s) for s in config.sources],
        twins=[_twin(config, t) for t in config.twins],
        uplink=None if config.uplink is None else _uplink(config.uplink, config.gateway),
        http=config.http.listen if config.http else None,
    )


def _uplink(uplink: MqttUplink | HttpsUplink, gateway: str) -> PlannedUplink:
    kind, every = str(uplink.__struct_config__.tag), float(uplink.every)
    if isinstance(uplink, MqttUplink):
        where = endpoint(uplink.url)
        return PlannedUplink(kind, where.address, where.tls, uplink.topic.replace("{gateway}", gateway), every)
    where = endpoint(uplink.url, HTTPS_SCHEMES)
    return PlannedUplink(kind, where.address + where.path, where.tls, "", every)


def _source(source: Source) -> PlannedSource:
    kind = str(source.__struct_config__.tag)
    if isinstance(source, MqttSource):
        where = endpoint(source.url)
        detail = f"MQTT {source.protocol}, QoS {source.qos}"
        return PlannedSource(source.name, kind, where.address, where.tls, detail)
    if isinstance(source, ModbusSource):
        detail = f"unit {source.unit}, every {source.every:g} s"
        place = modbus_place(source.url)
        return PlannedSource(source.name, kind, place.address, place.transport == "tls", detail)
    if isinstance(source, CsvSource):
        return PlannedSource(source.name, kind, source.path, False, f"time {source.time} in {source.time_unit}")
    return PlannedSource(source.name, kind, "", False, "")


def _twin(config: Config, twin: Twin) -> PlannedTwin:
    user = user_model(config, twin.model)
    units = channel_units(user) if user else {}
    return PlannedTwin(
        name=twin.name,
        template=bool(placeholders(twin.name)),
        model=twin.model,
        states=state_names(config, twin),
        signals=[_signal(name, signal, units.get(name, "")) for name, signal in twin.signals.items()],
        outputs=[_output(name, output, twin) for name, output in twin.outputs.items()],
        report_every=float(twin.report.every),
        tolerance=dict(twin.report.tolerance),
    )


def _signal(name: str, signal: Signal, wanted: str) -> PlannedSignal:
    if signal.register is not None:
        binding = _register(signal.register)
    elif signal.sunspec is not None:
        s = sunspec_of(name, signal.sunspec)
        where = f" {s.group}[{s.index}]" if s.group else ""
        binding = f"SunSpec model {s.model}{where} {s.point}" + (f" instance {s.instance}" if s.instance > 1 else "")
    else:
        binding = " ".join(part for part in (signal.topic or signal.column, signal.value) if part)
    converted = in_unit(signal, wanted).unit
    return PlannedSignal(name, signal.source, binding, signal.unit, converted if converted != signal.unit else "")


def _register(r: Register) -> str:
    bit = "" if r.bit is None else f" bit {r.bit}"
    return f"{r.table} {r.address} {r.type}{bit}" + (
        "" if r.scale_from is None else f" × 10^({r.table} {r.scale_from})"
    )


def _output(name: str, output: Output, twin: Twin) -> PlannedOutput:
    return PlannedOutput(
        name,
        output.source,
        _register(output.register) if output.register is not None else output.topic or "",
        output.unit,
        output.mode,
        output.armed,
        output.range,
        output.fallback,
        output.interlock,
        [rule.name for rule in twin.rules if rule.set == name],
    )
