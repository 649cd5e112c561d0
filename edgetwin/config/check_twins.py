"""Checks of twins: names and templates, models and their parameters, reports, alarms."""

from __future__ import annotations

import re

from edgetwin.config.check_files import positive
from edgetwin.config.check_signals import check_signal
from edgetwin.config.check_units import check_signal_units
from edgetwin.config.equations import outside, parameter
from edgetwin.config.findings import Findings
from edgetwin.config.models import BUILTIN, ModelRules, model_names, state_names, user_model
from edgetwin.config.places import Path
from edgetwin.config.schema import Twin, UserModel
from edgetwin.config.topics import check_twin_name, topic_placeholders
from edgetwin.errors import ConfigError

_SIGNAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")


def check_twin(findings: Findings, path: Path, twin: Twin) -> None:
    """One twin or template."""
    for name, signal in twin.signals.items():
        place = (*path, "signals", name)
        if not _SIGNAL.fullmatch(name):
            hint = "at most 128 letters, digits, _ . - only, and neither . nor - at the start"
            findings.error(place, "is not a valid name of a signal", hint, key=True)
        check_signal(findings, place, signal)
    _check_name(findings, path, twin)
    _check_model(findings, path, twin)
    _check_states(findings, path, twin)
    positive(findings, (*path, "report", "every"), twin.report.every)
    if twin.stale_after is not None:
        positive(findings, (*path, "stale_after"), twin.stale_after)
    for i, alarm in enumerate(twin.alarms):
        place = (*path, "alarms", i)
        findings.not_yet(place, f"alarm {alarm.name} cannot be run yet", "remove alarms: to run this file")


# ---- templates


def _check_name(findings: Findings, path: Path, twin: Twin) -> None:
    names = findings.attempt((*path, "name"), lambda: check_twin_name(twin.name))
    if names is None:
        return
    topics = _topics(twin)
    if names:
        _check_template(findings, path, names, topics)
    else:
        _check_plain(findings, path, topics)


def _check_template(findings: Findings, path: Path, names: list[str], topics: dict[str, list[str]]) -> None:
    """Some topic tells which twin it is for, and makes it; the others are then known in full."""
    makers = [set(found) for found in topics.values() if set(names) <= set(found)]
    known = set().union(*makers)
    if not makers:
        missing = [n for n in names if not any(n in found for found in topics.values())]
        wanted = " and ".join(f"{{{n}}}" for n in missing or names)
        what = "occurs in no topic of the signals" if missing else "do not occur together in any topic"
        findings.error((*path, "name"), f"{wanted} {what}", "a topic must tell which twin it is for")
        return
    for signal, found in topics.items():
        unknown = [n for n in found if n not in known]
        if unknown and not set(names) <= set(found):
            message = f"what {{{unknown[0]}}} stands for is not known when the twin is made"
            place = (*path, "signals", signal, "topic")
            findings.error(place, message, "use placeholders of the twin's name, or all of them")


def _check_plain(findings: Findings, path: Path, topics: dict[str, list[str]]) -> None:
    """A placeholder in a topic of a plain twin would feed every value heard to the one twin."""
    for name, found in topics.items():
        if found:
            message = f"{{{found[0]}}} is a placeholder, and the twin's name has none"
            hint = f"write the level out, or put {{{found[0]}}} into the name"
            findings.error((*path, "signals", name, "topic"), message, hint)


def _topics(twin: Twin) -> dict[str, list[str]]:
    """Placeholders of each signal's topic; faulty topics are left out, as they are reported elsewhere."""
    found: dict[str, list[str]] = {}
    for name, signal in twin.signals.items():
        if signal.topic is not None:
            try:
                found[name] = topic_placeholders(signal.topic)
            except ConfigError:
                continue
    return found


# ---- models


def _check_model(findings: Findings, path: Path, twin: Twin) -> None:
    rules = BUILTIN.get(twin.model)
    user = user_model(findings.config, twin.model)
    if rules is not None:
        _check_parameters(findings, path, twin, rules)
    elif user is not None:
        _check_user_twin(findings, path, twin, user)
    else:
        findings.unknown((*path, "model"), "model", twin.model, model_names(findings.config, twin.model))


_OVERRIDES = ("initial", "initial_std", "process_noise")
"""What a twin may give in place of its model's, when that is one by equations."""


def _check_parameters(findings: Findings, path: Path, twin: Twin, rules: ModelRules) -> None:
    for name, value in twin.parameters.items():
        place = (*path, "parameters", name)
        if name not in rules.parameters:
            findings.unknown(place, f"parameter of {twin.model}", name, list(rules.parameters), key=True)
        elif not value > 0:
            findings.error(place, "must be more than 0")
    for key in _OVERRIDES:
        if getattr(twin, key):
            hint = "parameters: {process_noise: …} sets it" if key == "process_noise" else "remove it"
            message = f"{key} is for models by equations, not for {twin.model}"
            findings.error((*path, key), message, hint, key=True)
    for name in rules.required:
        if name not in twin.parameters:
            place = (*path, "parameters")
            findings.error(place, f"model {twin.model} needs {name}", f"add parameters: {{{name}: …}}", key=True)


def _check_user_twin(findings: Findings, path: Path, twin: Twin, model: UserModel) -> None:
    for name, value in twin.parameters.items():
        place = (*path, "parameters", name)
        if name not in model.parameters:
            findings.unknown(place, f"parameter of {model.name}", name, list(model.parameters), key=True)
            continue
        known = parameter(model.parameters[name])
        _check_inside(findings, place, value, known.min, known.max)
    _check_overrides(findings, path, twin, model)
    channels = [*model.measurements, *model.inputs]
    for name in twin.signals:
        if name not in channels:
            place = (*path, "signals", name)
            findings.unknown(place, f"measurement or input of {model.name}", name, channels, key=True)
    check_signal_units(findings, path, twin, model)
    if not set(twin.signals) & set(model.measurements):
        message = f"no signal is a measurement of {model.name}"
        findings.error((*path, "signals"), message, f"bind one of {', '.join(model.measurements)}", key=True)


def _check_overrides(findings: Findings, path: Path, twin: Twin, model: UserModel) -> None:
    """Initial values and noise that the twin gives in place of the model's."""
    states = list(model.states)
    for key, what, known in (
        ("initial", "state or input", [*states, *model.inputs]),
        ("initial_std", "state", states),
        ("process_noise", "state", states),
    ):
        for name in getattr(twin, key):
            if name not in known:
                findings.unknown((*path, key, name), f"{what} of {model.name}", name, known, key=True)
    for name, value in twin.initial.items():
        if name in model.states:
            _check_inside(findings, (*path, "initial", name), value, model.states[name].min, model.states[name].max)


def _check_inside(findings: Findings, path: Path, value: float, low: float | None, high: float | None) -> None:
    if outside(value, low, high):
        bounds = " and ".join(f"{word} {x:g}" for word, x in (("at least", low), ("at most", high)) if x is not None)
        findings.error(path, f"must be {bounds}", "correct it, or the bounds in the model")


def _check_states(findings: Findings, path: Path, twin: Twin) -> None:
    """Names of states are distinct, and a tolerance is for one of them."""
    states = state_names(findings.config, twin)
    if not states:
        return
    for name in sorted({s for s in states if states.count(s) > 1}):
        place = (*path, "signals", name) if name in twin.signals else (*path, "signals")
        message = f"state {name} belongs to two signals under model {twin.model}"
        findings.error(place, message, "rename the signal", key=True)
    for name in twin.report.tolerance:
        if name not in states:
            place = (*path, "report", "tolerance", name)
            findings.unknown(place, "state", name, states, key=True)
