"""Checks of signals: the binding a source needs, topics, paths, registers and ranges."""

from __future__ import annotations

from edgetwin.config.check_modbus import check_polled
from edgetwin.config.check_registers import check_register, nonzero
from edgetwin.config.findings import Findings
from edgetwin.config.paths import parse_path
from edgetwin.config.places import Path
from edgetwin.config.schema import CsvSource, ModbusSource, MqttSource, Signal, SimulatedSource
from edgetwin.config.topics import topic_placeholders

_BINDINGS = ("topic", "register", "sunspec", "column")
_NEEDS = {"mqtt": "topic", "modbus": "register", "csv": "column"}
_MQTT_ONLY = ("value", "time", "time_unit", "numeric_strings")


def check_signal(findings: Findings, path: Path, signal: Signal) -> None:
    """One signal of a twin."""
    sources = {s.name: s for s in findings.config.sources}
    source = sources.get(signal.source)
    if source is None:
        findings.unknown((*path, "source"), "source", signal.source, list(sources))
    elif not isinstance(source, SimulatedSource):
        _check_binding(findings, path, signal, source)
    if signal.range is not None and not signal.range[0] < signal.range[1]:
        findings.error((*path, "range"), "the lower end must be below the upper end", "write [low, high]")
    nonzero(findings, (*path, "scale"), signal.scale)
    if signal.register is not None:
        check_register(findings, (*path, "register"), signal.register)
        if isinstance(source, ModbusSource):
            check_polled(findings, (*path, "register"), signal.register, source)
    if signal.topic is not None:
        topic = signal.topic
        findings.attempt((*path, "topic"), lambda: topic_placeholders(topic))
    _check_payload(findings, path, signal)


def _check_binding(
    findings: Findings, path: Path, signal: Signal, source: MqttSource | ModbusSource | CsvSource
) -> None:
    """Exactly the binding that the kind of source needs."""
    kind = str(source.__struct_config__.tag)
    word, needed = f"an {kind}" if kind == "mqtt" else f"a {kind}", _NEEDS[kind]
    given = [key for key in _BINDINGS if getattr(signal, key) is not None]
    if kind == "modbus" and given == ["sunspec"]:
        needed = "sunspec"
    if getattr(signal, needed) is None:
        findings.error(path, f"{needed} is missing: {word} source needs it", f"add {needed}:")
    for other in _BINDINGS:
        if other != needed and getattr(signal, other) is not None:
            message = f"{other} does not fit {word} source"
            findings.error((*path, other), message, f"write {needed}: instead, or name another source", key=True)
    if kind != "mqtt":
        defaults = Signal(source="")
        for key in _MQTT_ONLY:
            if getattr(signal, key) != getattr(defaults, key):
                findings.error((*path, key), f"{key} is only for mqtt sources", "remove it", key=True)


def _check_payload(findings: Findings, path: Path, signal: Signal) -> None:
    for key, text in (("value", signal.value), ("time", signal.time)):
        if text is not None:
            findings.attempt((*path, key), lambda text=text: parse_path(text))  # type: ignore[misc]
    if signal.topic is None:
        return
    if signal.value is None and signal.time is not None:
        hint = "add value: with the path of the value in the payload, such as $.value"
        findings.error((*path, "time"), "time needs value: a plain number carries no time", hint, key=True)
    if signal.time is None and signal.time_unit != "s":
        findings.error((*path, "time_unit"), "time_unit has no time to apply to", "add time:", key=True)
    if signal.value is None and signal.numeric_strings:
        hint = "remove it: a plain payload is text already"
        findings.error((*path, "numeric_strings"), "numeric_strings needs value", hint, key=True)
