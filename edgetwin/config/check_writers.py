"""Checks of who writes where: no place has two writers, and what is read there is what is written."""

from __future__ import annotations

from contextlib import suppress

from edgetwin.config.findings import Findings
from edgetwin.config.modbus_urls import modbus_place
from edgetwin.config.places import Path
from edgetwin.config.registers import value_extent
from edgetwin.config.schema import ModbusSource, Register
from edgetwin.errors import ConfigError

Extent = tuple[str, int, str, int, int]
"""Address and unit of the device, table, first address and address after the last."""


def check_writers(findings: Findings) -> None:
    """Two outputs that write one place, and registers that are read as something else than what is written."""
    written: dict[object, tuple[Path, str]] = {}
    extents: list[tuple[Extent, Path, str]] = []
    devices = _devices(findings)
    for i, twin in enumerate(findings.config.twins):
        for name, output in twin.outputs.items():
            path: Path = ("twins", i, "outputs", name)
            shown = f"{twin.name}/{name}"
            if output.topic is not None:
                key = (output.source, output.topic)
                if key in written:
                    _both(findings, (*path, "topic"), written[key], "writes the same topic")
                written.setdefault(key, ((*path, "topic"), shown))
            if output.register is not None and output.source in devices:
                extent = _extent(output.register, devices[output.source])
                for other, place, who in extents:
                    if _overlap(extent, other):
                        _both(findings, (*path, "register"), (place, who), "writes the same register")
                extents.append((extent, (*path, "register"), shown))
    _check_read_otherwise(findings, devices)


def _devices(findings: Findings) -> dict[str, tuple[str, int]]:
    """Address and unit of the Modbus sources; different URLs may lead to one."""
    found = {}
    for source in findings.config.sources:
        if isinstance(source, ModbusSource):
            with suppress(ConfigError):  # reported with the URL
                found[source.name] = modbus_place(source.url).address, source.unit
    return found


def _check_read_otherwise(findings: Findings, devices: dict[str, tuple[str, int]]) -> None:
    signals = [
        (
            _extent(s.register, devices[s.source]),
            ("twins", i, "signals", name, "register"),
            f"{t.name}/{name}",
            s.register,
        )
        for i, t in enumerate(findings.config.twins)
        for name, s in t.signals.items()
        if s.register is not None and s.source in devices
    ]
    for i, twin in enumerate(findings.config.twins):
        for name, output in twin.outputs.items():
            if output.register is None or output.source not in devices:
                continue
            mine = _extent(output.register, devices[output.source])
            for extent, place, who, register in signals:
                same = (register.type, register.order) == (output.register.type, output.register.order)
                if _overlap(mine, extent) and not (same and extent == mine):
                    _both(findings, ("twins", i, "outputs", name, "register"), (place, who), "reads it otherwise")


def _extent(register: Register, device: tuple[str, int]) -> Extent:
    address, unit = device
    return (address, unit if register.unit is None else register.unit, register.table, *value_extent(register))


def _overlap(a: Extent, b: Extent) -> bool:
    return a[:3] == b[:3] and a[3] < b[4] and b[3] < a[4]


def _both(findings: Findings, path: Path, other: tuple[Path, str], what: str) -> None:
    place, who = other
    line, _ = findings.place(place)
    findings.error(path, f"{who} {what} (line {line})", "let each register or topic have one meaning and one writer")
