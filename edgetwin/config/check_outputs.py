"""Checks of outputs and rules: what may be written where, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path as FilePath

from edgetwin.config.check_files import positive
from edgetwin.config.check_modbus import check_unit
from edgetwin.config.check_registers import check_register, nonzero
from edgetwin.config.check_writers import check_writers
from edgetwin.config.credentials import read_secret_file, read_token
from edgetwin.config.expressions import parse, parse_condition
from edgetwin.config.findings import Findings
from edgetwin.config.models import state_names
from edgetwin.config.places import Path
from edgetwin.config.registers import BYTES, raw_number
from edgetwin.config.schema import ModbusSource, MqttSource, Output, Register, Rule, Twin
from edgetwin.config.topics import topic_placeholders
from edgetwin.errors import ConfigError

SECRET_CHARS_MIN = 32
_WRITABLE = ("holding", "coil")


def check_control(findings: Findings, base_dir: FilePath) -> None:
    """All outputs, rules and commands of the configuration."""
    config = findings.config
    for i, twin in enumerate(config.twins):
        for name, output in twin.outputs.items():
            _check_output(findings, ("twins", i, "outputs", name), twin, output)
        for k, rule in enumerate(twin.rules):
            _check_rule(findings, ("twins", i, "rules", k), twin, rule)
        _distinct_rules(findings, ("twins", i, "rules"), twin)
    check_writers(findings)
    _check_commands(findings, base_dir)


# ---- outputs


def _check_output(findings: Findings, path: Path, twin: Twin, output: Output) -> None:
    sources = {s.name: s for s in findings.config.sources}
    source = sources.get(output.source)
    if source is None:
        findings.unknown((*path, "source"), "source", output.source, list(sources))
    elif isinstance(source, MqttSource):
        _need(findings, path, output, "topic", "an mqtt")
    elif isinstance(source, ModbusSource):
        _need(findings, path, output, "register", "a modbus")
        if output.register is not None:
            check_unit(findings, (*path, "register"), output.register, source)
    else:
        findings.error((*path, "source"), "nothing can be written to a recording", "name an mqtt or modbus source")
    if output.topic is not None:
        _check_topic(findings, path, twin, output)
    if output.register is not None:
        _check_register(findings, (*path, "register"), output.register)
        if topic_placeholders_of(twin):
            hint = "list these twins one by one, each with its register"
            findings.error((*path, "register"), "all twins of the template would write one register", hint, key=True)
    _check_values(findings, path, output)
    _check_held(findings, (*path, "fallback"), output, output.fallback)
    if output.register is not None and not output.register.enum:  # else only its values are written
        for k, end in enumerate(output.range):
            _check_held(findings, (*path, "range", k), output, end)
    for key in ("lease", "max_age"):
        positive(findings, (*path, key), getattr(output, key))
    positive(findings, (*path, "read_back", "within"), output.read_back.within)
    _check_states(findings, path, twin, output)
    if output.mode == "active" and findings.config.state_dir is None:
        hint = "add state_dir:, so that a restart knows what was under control"
        findings.error((*path, "mode"), "an active output needs a place for its audit", hint)


def _need(findings: Findings, path: Path, output: Output, needed: str, kind: str) -> None:
    other = "register" if needed == "topic" else "topic"
    if getattr(output, needed) is None:
        findings.error(path, f"{needed} is missing: {kind} source needs it", f"add {needed}:", key=True)
    if getattr(output, other) is not None:
        findings.error((*path, other), f"{other} does not fit {kind} source", f"write {needed}: instead", key=True)


def _check_topic(findings: Findings, path: Path, twin: Twin, output: Output) -> None:
    place = (*path, "topic")
    topic = output.topic or ""
    names = findings.attempt(place, lambda: topic_placeholders(topic))
    if names is None:
        return
    known = topic_placeholders_of(twin)
    for name in names:
        if name not in known:
            hint = "use placeholders of the twin's name"
            findings.error(place, f"what {{{name}}} stands for is not known when the twin is made", hint)
    missing = [name for name in known if name not in names]
    if missing:
        hint = f"put {{{missing[0]}}} into the topic"
        findings.error(place, "all twins of the template would write one topic", hint)
    if "{value}" not in output.payload:
        findings.error((*path, "payload"), "{value} is missing", 'such as "{value}" or \'{"set": {value}}\'')


def topic_placeholders_of(twin: Twin) -> list[str]:
    """Placeholders whose values every twin of a template has."""
    try:
        return topic_placeholders(twin.name)
    except ConfigError:
        return []  # reported with the name


def _check_register(findings: Findings, path: Path, register: Register) -> None:
    if register.table not in _WRITABLE:
        findings.error((*path, "table"), f"table {register.table} cannot be written", "use holding or coil")
    if register.table == "coil" and register.type != "bit":
        findings.error((*path, "type"), f"table coil holds bits, not {register.type}", "write type: bit")
    if register.table == "holding" and register.type == "bit":
        hint = "writing one bit of a register would overwrite what others wrote into the rest; use a coil"
        findings.error((*path, "type"), "a bit of a register cannot be written alone", hint)
    if register.table == "holding" and register.type in (*BYTES, "string"):
        hint = "write a type that fills whole registers"
        findings.error((*path, "type"), f"{register.type} cannot be written", hint)
    for key in ("mask", "scale_from"):
        if getattr(register, key) is not None:
            findings.error((*path, key), f"{key} is only for signals", "remove it", key=True)
    if register.table == "holding" and _is_number(register) and register.mask is None:
        check_register(findings, path, register)
    elif register.scale == 0:
        nonzero(findings, (*path, "scale"), register.scale)


def _check_values(findings: Findings, path: Path, output: Output) -> None:
    low, high = output.range
    if not low < high:
        findings.error((*path, "range"), "the lower end must be below the upper end", "write [low, high]")
    elif not low <= output.fallback <= high:
        line, _ = findings.place((*path, "range"))
        message = f"{output.fallback:g} is outside of range [{low:g}, {high:g}] (line {line})"
        findings.error((*path, "fallback"), message, "widen the range or choose a fallback within it")


def _check_held(findings: Findings, path: Path, output: Output, value: float) -> None:
    """Whether the register can hold a value."""
    register = output.register
    if register is not None and _is_number(register) and register.scale != 0:
        findings.attempt(path, lambda: raw_number(value, register))


def _is_number(register: Register) -> bool:
    """Whether it is of a kind that outputs can write."""
    if register.table == "coil":
        return register.type == "bit"
    return register.type not in ("bit", *BYTES, "string")


def _check_states(findings: Findings, path: Path, twin: Twin, output: Output) -> None:
    states = state_names(findings.config, twin)
    if not states:
        return  # the model is reported elsewhere
    used: frozenset[str] = frozenset()
    if output.interlock is not None:
        text = output.interlock
        condition = findings.attempt((*path, "interlock"), lambda: parse_condition(text, states))
        used = condition.names if condition is not None else frozenset(states)
    for name in output.max_std:
        if name not in states:
            findings.unknown((*path, "max_std", name), "state", name, sorted(states), key=True)
        elif name not in used:
            hint = "use it in the interlock, or remove the limit"
            findings.error((*path, "max_std", name), f"the interlock does not use {name}", hint, key=True)
    if output.read_back.signal is not None and output.read_back.signal not in twin.signals:
        place = (*path, "read_back", "signal")
        findings.unknown(place, "signal", output.read_back.signal, list(twin.signals))


# ---- rules


def _check_rule(findings: Findings, path: Path, twin: Twin, rule: Rule) -> None:
    output = twin.outputs.get(rule.set)
    if output is None:
        findings.unknown((*path, "set"), "output", rule.set, list(twin.outputs))
    states = state_names(findings.config, twin)
    if states:
        for key, text in (("when", rule.when), ("clear", rule.clear)):
            if text is not None:
                findings.attempt((*path, key), lambda text=text: parse_condition(text, states))  # type: ignore[misc]
        if isinstance(rule.to, str):
            to = rule.to
            findings.attempt((*path, "to"), lambda: parse(to, states))
    if output is None:
        return
    for key, value in (("to", rule.to), ("otherwise", rule.otherwise)):
        low, high = output.range
        if isinstance(value, float) and not low <= value <= high:
            findings.error((*path, key), f"{value:g} is outside of the output's range [{low:g}, {high:g}]")
        elif isinstance(value, float):
            _check_held(findings, (*path, key), output, value)


def _distinct_rules(findings: Findings, path: Path, twin: Twin) -> None:
    seen: set[str] = set()
    for k, rule in enumerate(twin.rules):
        if rule.name in seen:
            findings.error((*path, k, "name"), f"a rule {rule.name} exists already", "give each its own name")
        seen.add(rule.name)


# ---- commands


def _check_commands(findings: Findings, base_dir: FilePath) -> None:
    commands = findings.config.commands
    token = commands.token_file
    if token is not None:
        _check_secret(findings, ("commands", "token_file"), lambda: read_token(token, base_dir))
    for name, file in commands.keys.items():
        _check_secret(findings, ("commands", "keys", name), partial(read_secret_file, file, base_dir))
    positive(findings, ("commands", "ttl_max"), commands.ttl_max)
    mqtt = [s.name for s in findings.config.sources if isinstance(s, MqttSource)]
    if commands.source is not None and commands.source not in mqtt:
        findings.unknown(("commands", "source"), "mqtt source", commands.source, mqtt)
    if commands.source is not None and not commands.keys:
        hint = "add keys: with a file for each commander"
        findings.error(("commands", "source"), "commands over MQTT must be signed, and no key is given", hint)
    if commands.source is None and commands.keys:
        findings.error(("commands", "keys"), "keys are for commands over MQTT", "add source:", key=True)


def _check_secret(findings: Findings, path: Path, read: Callable[[], str]) -> None:
    """The secret is there and long enough; it is never shown."""
    text = findings.attempt(path, read)
    if text is not None and len(text) < SECRET_CHARS_MIN:
        hint = "make one with: openssl rand -hex 32"
        findings.error(path, f"the secret is shorter than {SECRET_CHARS_MIN} characters", hint)
