"""Checks of Modbus sources: each by itself, and together where they share a connection or a serial line."""

from __future__ import annotations

from pathlib import Path as FilePath

from edgetwin.config.check_files import check_tls, positive
from edgetwin.config.findings import Findings
from edgetwin.config.modbus_urls import ModbusPlace, modbus_place
from edgetwin.config.places import Path
from edgetwin.config.registers import is_bit_table, read_extent
from edgetwin.config.schema import ModbusSource, Register
from edgetwin.errors import ConfigError

BROADCAST = 0
WORDS_MAX = 125
"""Most registers that the protocol lets one request read."""


def check_modbus(findings: Findings, path: Path, source: ModbusSource, base_dir: FilePath) -> None:
    """One source."""
    positive(findings, (*path, "every"), source.every)
    positive(findings, (*path, "timeout"), source.timeout)
    where = findings.attempt((*path, "url"), lambda: modbus_place(source.url))
    if where is None:
        return
    if source.tls is not None:
        check_tls(findings, (*path, "tls"), source.tls, base_dir)
        if where.transport != "tls":
            findings.error((*path, "tls"), "this connection has no TLS", "write modbus+tls:// in url", key=True)
    if where.rtu and source.pipeline > 1:
        message = "an RTU line carries one request at a time"
        findings.error((*path, "pipeline"), message, "remove it")
    if where.rtu and source.unit == BROADCAST:
        findings.error((*path, "unit"), "unit 0 is broadcast on an RTU line: nobody answers", "write 1 to 247")


def check_shared_links(findings: Findings) -> None:
    """Sources of one address share its connection: what belongs to the connection must be the same."""
    seen: dict[str, tuple[int, ModbusSource, ModbusPlace]] = {}
    for i, source in enumerate(findings.config.sources):
        if not isinstance(source, ModbusSource):
            continue
        try:
            where = modbus_place(source.url)
        except ConfigError:
            continue  # reported with the URL
        first = seen.setdefault(where.address, (i, source, where))
        if first[0] != i:
            _check_pair(findings, ("sources", i), source, where, first)


def _check_pair(
    findings: Findings,
    path: Path,
    source: ModbusSource,
    where: ModbusPlace,
    first: tuple[int, ModbusSource, ModbusPlace],
) -> None:
    number, other, other_where = first
    name = f"sources[{number}]"
    if where != other_where:
        if where.transport == "rtu":
            message = f"{name} opens the same serial line with other settings"
            findings.error((*path, "url"), message, "write the same url for both")
        return
    for key in ("pipeline", "tls"):
        if getattr(source, key) != getattr(other, key):
            message = f"{name} shares the connection and has another {key}"
            findings.error((*path, key), message, "give both the same", key=True)


def check_polled(findings: Findings, path: Path, register: Register, source: ModbusSource) -> None:
    """A register of a source: whether a request can read it, and when."""
    start, end = read_extent(register)
    words = end - start
    if register.every is not None:
        positive(findings, (*path, "every"), register.every)
    check_unit(findings, path, register, source)
    if words > source.words_max:
        _check_too_long(findings, path, register, words, source)
        return
    if is_bit_table(register.table):
        return
    aligned = -(-end // source.align) * source.align
    aligned -= start // source.align * source.align
    if aligned > source.words_max:
        message = f"takes {aligned} registers with align: {source.align}, and words_max is {source.words_max}"
        findings.error((*path, "address"), message, "raise words_max of the source, or lower its align")


def check_unit(findings: Findings, path: Path, register: Register, source: ModbusSource) -> None:
    """The unit of a register that is read or written."""
    if register.unit == BROADCAST and source.url.lower().startswith("modbus+rtu"):
        findings.error((*path, "unit"), "unit 0 is broadcast on an RTU line: nobody answers", "write 1 to 247")


def _check_too_long(findings: Findings, path: Path, register: Register, words: int, source: ModbusSource) -> None:
    limit = f"words_max of its source is {source.words_max}"
    if register.scale_from is not None:
        message = f"is read in one request with its value, {words} registers, and {limit}"
        hint = "give a constant scale: instead" if words > WORDS_MAX else f"raise words_max to {words}"
        findings.error((*path, "scale_from"), message, hint)
        return
    findings.error(
        (*path, "type"), f"{register.type} fills {words} registers, and {limit}", f"raise words_max to {words}"
    )
