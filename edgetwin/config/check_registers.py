"""Checks of registers: whether the keys fit the type, and whether two signals read one register as two things."""

from __future__ import annotations

from edgetwin.config.findings import Findings
from edgetwin.config.places import Path
from edgetwin.config.registers import (
    BITS,
    BYTES,
    SIGNED,
    UNSIGNED,
    enum_keys,
    enum_texts,
    is_bit_table,
    partial,
    sentinels,
    value_extent,
    whole_range,
)
from edgetwin.config.schema import ModbusSource, Register
from edgetwin.errors import ConfigError


def nonzero(findings: Findings, path: Path, scale: float) -> None:
    """Note a scale of zero, which would forget the value."""
    if scale == 0:
        findings.error(path, "must not be 0", "1 leaves the value as it is")


def check_register(findings: Findings, path: Path, register: Register) -> None:
    """One register, of a signal or of an output."""
    bits = is_bit_table(register.table)
    if bits and register.type != "bit":
        message = f"table {register.table} holds bits, not {register.type}"
        findings.error((*path, "type"), message, "write type: bit, or another table")
    if register.bit is not None and (bits or register.type != "bit"):
        where = f"table {register.table}" if bits else f"type {register.type}"
        hint = "bit is for type bit in table holding or input"
        findings.error((*path, "bit"), f"{where} takes no bit index", hint, key=True)
    if register.byte is not None and register.type not in BYTES:
        findings.error((*path, "byte"), f"type {register.type} takes no byte", "byte is for int8 and uint8", key=True)
    _check_string(findings, path, register)
    _check_address(findings, path, register)
    _check_mask(findings, path, register)
    if register.type != "string":
        _check_numbers(findings, path, register)
    nonzero(findings, (*path, "scale"), register.scale)


def _check_string(findings: Findings, path: Path, register: Register) -> None:
    if register.type != "string":
        if register.length is not None:
            message = f"type {register.type} has its own length"
            findings.error((*path, "length"), message, "length is for type string", key=True)
        return
    if register.length is None:
        findings.error((*path, "type"), "length is missing: a string needs it", "add length: with its registers")
    if not register.enum:
        hint = "add enum: with a number for each text; a string is no measurement by itself"
        findings.error((*path, "type"), "enum is missing: a string needs it", hint)
    if register.invalid:
        findings.error((*path, "invalid"), "texts that are not in enum are invalid already", "remove it", key=True)
    if register.length is not None:
        findings.attempt((*path, "enum"), lambda: enum_texts(register))


def _check_address(findings: Findings, path: Path, register: Register) -> None:
    last = value_extent(register)[1] - 1
    if last > 65_535:
        message = f"{register.type} at {register.address} ends at {last}, past the last register 65535"
        findings.error((*path, "address"), message, "check the address")
    if register.scale_from is None:
        return
    if is_bit_table(register.table):
        findings.error((*path, "scale_from"), "a table of bits holds no scale", "remove it", key=True)
    elif register.address <= register.scale_from <= last:
        findings.error((*path, "scale_from"), "the scale stands within the value itself", "check the addresses")


def _check_mask(findings: Findings, path: Path, register: Register) -> None:
    kind, mask = register.type, register.mask
    if mask is None:
        if register.shift:
            findings.error((*path, "shift"), "shift needs mask", "add mask: with the bits that count", key=True)
        return
    if kind == "bit" or kind not in (*SIGNED, *UNSIGNED):
        findings.error((*path, "mask"), f"type {kind} takes no mask", "mask is for integers", key=True)
    elif mask.bit_length() > BITS[kind]:
        findings.error((*path, "mask"), f"{mask:#x} has bits beyond those of {kind}", f"{kind} has {BITS[kind]} bits")
    elif mask >> register.shift == 0:
        message = f"{register.shift} moves all bits of mask {mask:#x} out"
        findings.error((*path, "shift"), message, "shift by the zeros at the end of mask")


def _check_numbers(findings: Findings, path: Path, register: Register) -> None:
    """``invalid`` and ``enum`` name what the type can hold."""
    findings.attempt((*path, "invalid"), lambda: sentinels(register))
    try:
        keys = enum_keys(register)
    except ConfigError as exc:
        findings.error((*path, "enum"), exc.message, exc.hint)
        return
    if register.type not in (*SIGNED, *UNSIGNED) or register.mask is not None:
        return
    low, high = whole_range(register.type)
    for text, key in zip(register.enum, keys, strict=True):
        if not low <= key <= high:
            message = f"{text} is not what {register.type} can hold"
            findings.error((*path, "enum", text), message, f"{register.type} holds {low} to {high}", key=True)


def check_read_twice(findings: Findings) -> None:
    """Warn of two signals that read the same registers as different things, which is seldom meant."""
    sources = {s.name: s for s in findings.config.sources if isinstance(s, ModbusSource)}
    tables: dict[tuple[str, int, str], list[tuple[int, int, Path, str, Register]]] = {}
    for i, twin in enumerate(findings.config.twins):
        for name, signal in twin.signals.items():
            r, source = signal.register, sources.get(signal.source)
            if r is None or source is None or is_bit_table(r.table) or partial(r):
                continue
            unit = source.unit if r.unit is None else r.unit
            place: Path = ("twins", i, "signals", name, "register")
            tables.setdefault((source.url, unit, r.table), []).append(
                (*value_extent(r), place, f"{twin.name}/{name}", r)
            )
    for readers in tables.values():
        readers.sort(key=lambda reader: reader[:2])
        _warn_overlaps(findings, readers)


def _warn_overlaps(findings: Findings, readers: list[tuple[int, int, Path, str, Register]]) -> None:
    """``readers`` by address: one warning for each that overlaps the one that reaches furthest before it."""
    furthest = readers[0]
    for reader in readers[1:]:
        start, end, place, _, r = reader
        _, reach, _, who, other = furthest
        if start < reach and ((r.address, r.type, r.order) != (other.address, other.type, other.order)):
            line, _ = findings.place(furthest[2])
            message = f"reads registers {start}..{min(end, reach) - 1} of {who} as {r.type} {r.order} (line {line})"
            hint = f"{who} reads {other.type} {other.order} at {other.address}: check address, type and order"
            findings.warning((*place, "address"), message, hint)
        if end > reach:
            furthest = reader
