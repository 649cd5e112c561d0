"""Layouts of Telegraf's Modbus configurations, said in our keys, read what Telegraf reads."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgetwin.config.check_registers import check_register
from edgetwin.config.findings import Findings
from edgetwin.config.schema import Config, Register
from edgetwin.sources.modbus.bindings import Binding
from edgetwin.sources.modbus.plan import Limits, plan_blocks

CASES = Path(os.environ.get("EDGETWIN_DATA", "/nonexistent")) / "protocol_cases" / "telegraf_modbus"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="EDGETWIN_DATA is not there")

ORDERS = {"AB": "ABCD", "BA": "DCBA"}
HALVES = {"INT8L": ("int8", "low"), "INT8H": ("int8", "high"), "UINT8L": ("uint8", "low"), "UINT8H": ("uint8", "high")}


def to_register(table: str, field: dict[str, Any], order: str = "ABCD") -> Register:
    """A field of the styles "request", "metric" (one address) and "register" (a list of addresses)."""
    addresses = field["address"] if isinstance(field["address"], list) else [field["address"]]
    keys: dict[str, Any] = {"table": table, "address": addresses[0]}
    if table in ("coil", "discrete"):
        return Register(**keys, type="bit")
    kind = field.get("type") or field.get("data_type", "INT16")
    order = field.get("byte_order", order)
    keys["order"] = ORDERS.get(order, order)
    keys["scale"] = float(field.get("scale", 1.0))
    if kind in HALVES:
        keys["type"], keys["byte"] = HALVES[kind]
    elif kind in ("FIXED", "UFIXED"):
        keys["type"] = f"{'u' if kind[0] == 'U' else ''}int{16 * len(addresses)}"
    elif kind == "STRING":
        keys |= {"type": "string", "length": field.get("length", len(addresses)), "enum": {"V1.0": 1.0}}
    else:
        keys["type"] = kind.removesuffix("-IEEE").lower()
        keys["bit"] = field.get("bit")
    return Register(**keys)


def fields_of(text: str) -> list[tuple[int, str, str, Register, dict[str, str]]]:
    """Unit, name of the measurement, name, register and tags of each field."""
    data = tomllib.loads(text)
    found: list[tuple[int, str, str, Register, dict[str, str]]] = []
    sections = {
        "discrete_inputs": "discrete",
        "coils": "coil",
        "holding_registers": "holding",
        "input_registers": "input",
    }
    for section, table in sections.items():
        found += [(1, "modbus", f["name"], to_register(table, f), {}) for f in data.get(section, [])]
    plugin = data.get("inputs", {}).get("modbus", {})
    for entry in plugin if isinstance(plugin, list) else [plugin]:
        for part in [*entry.get("request", []), *entry.get("metric", [])]:
            for field in part["fields"]:
                table = field.get("register", part.get("register", "holding"))
                register = to_register(table, field, part.get("byte_order", "ABCD"))
                measurement = field.get("measurement", "modbus")
                found.append((part["slave_id"], measurement, field["name"], register, part.get("tags", {})))
    return found


@pytest.mark.parametrize("name", ["sample_metric.conf", "sample_register.conf", "sample_request.conf"])
def test_every_layout_of_the_samples_can_be_said(name: str) -> None:
    fields = fields_of((CASES / name).read_text())
    assert len(fields) >= 8
    findings = Findings(
        msgspec.convert({"gateway": "g", "sources": [{"kind": "simulated", "name": "s"}], "twins": [TWIN]}, Config)
    )
    for _, _, _, register, _ in fields:
        check_register(findings, (), register)
    assert findings.found == []
    blocks = plan_blocks([Binding(i, f[3]) for i, f in enumerate(fields)], Limits())
    assert sorted(int(s) for b in blocks for s in b.slots) == list(range(len(fields)))


TWIN = {"name": "t", "signals": {"s": {"source": "s"}}}


@pytest.mark.parametrize("case", ["duplicate_fields_different_slave", "duplicate_fields_different_tags"])
def test_the_expected_output(case: str) -> None:
    """The devices of these cases hold at each address its own number, in the type of the field there."""
    fields = fields_of((CASES / case / "telegraf.conf").read_text())
    expected = set((CASES / case / "expected.out").read_text().split("\n")) - {""}
    memory = np.arange(1000, dtype=np.uint16)
    for _, _, _, register, _ in fields:
        if register.type == "int32":
            memory[register.address : register.address + 2] = (0, register.address)
    seen: dict[tuple[str, ...], dict[str, float]] = {}
    for unit, measurement, name, register, tags in fields:
        (block,) = plan_blocks([Binding(0, register)], Limits())
        (value,) = block.decode(memory[block.address : block.address + block.count])
        key = (measurement, f"slave_id={unit}", *(f"{k}={v}" for k, v in tags.items()))
        seen.setdefault(key, {})[name] = value
    assert len(expected) == len(seen) > 1
    for line in expected:
        head, values = re.split(r"(?<!\\) ", line)
        measurement, *tags = head.replace("\\ ", " ").split(",")
        wanted = {k: float(v.rstrip("i")) for k, v in (pair.split("=") for pair in values.split(","))}
        (key,) = [k for k in seen if k[0] == measurement and set(k[1:]) <= set(tags)]
        assert seen[key] == wanted
