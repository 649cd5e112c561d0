"""Values that `edgetwin fit` has learned, merged over the twins of a configuration that names their file.

The file's form is :class:`FittedFile`; what it gives takes the place of what the configuration says.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edgetwin.config.hints import suggest
from edgetwin.config.models import BUILTIN, user_model
from edgetwin.config.origin import Locator, changed, origin_of
from edgetwin.config.places import Path, dotted, quoted
from edgetwin.config.schema import Config, Positive, Twin
from edgetwin.errors import ConfigError


class FittedTwin(Struct, frozen=True, forbid_unknown_fields=True):
    """One twin.

    - parameters: as in the twin
    - process_noise: as in the twin
    - initial: as in the twin
    - noise: standard deviation of the measurement of each signal, by the signal's name
    """

    parameters: dict[str, float] = {}
    process_noise: dict[str, Annotated[float, Meta(ge=0)]] = {}
    initial: dict[str, float] = {}
    noise: dict[str, Positive] = {}


class FittedFile(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The whole file.

    - twins: what was fitted, by the name of the twin
    """

    twins: dict[str, FittedTwin]


def merge(config: Config, fitted: FittedFile) -> Config:
    """The configuration with the fitted values in place. ConfigError, located in the fitted file, for names that the
    configuration does not have."""
    known = [twin.name for twin in config.twins]
    for name in fitted.twins:
        _check(fitted, ("twins", name), "twin", name, known)
    twins = [_merge_twin(config, twin, fitted) for twin in config.twins]
    return changed(config, twins=twins)


def _merge_twin(config: Config, twin: Twin, fitted: FittedFile) -> Twin:
    given = fitted.twins.get(twin.name)
    if given is None:
        return twin
    place: Path = ("twins", twin.name)
    user, rules = user_model(config, twin.model), BUILTIN.get(twin.model)
    states = list(user.states) if user else []
    parameters = list(user.parameters) if user else list(rules.parameters) if rules else []
    inputs = list(user.inputs) if user else []
    for section, names, allowed in (
        ("parameters", given.parameters, parameters),
        ("process_noise", given.process_noise, states),
        ("initial", given.initial, [*states, *inputs]),
        ("noise", given.noise, list(twin.signals)),
    ):
        for name in names:
            _check(fitted, (*place, section, name), f"of {section} of {twin.name}", name, allowed)
    replace = msgspec.structs.replace
    return replace(
        twin,
        parameters={**twin.parameters, **given.parameters},
        process_noise={**twin.process_noise, **given.process_noise},
        initial={**twin.initial, **given.initial},
        signals={name: replace(s, noise=given.noise.get(name, s.noise)) for name, s in twin.signals.items()},
    )


def _check(fitted: FittedFile, path: Path, what: str, name: str, known: Collection[str]) -> None:
    if name in known:
        return
    locator = Locator(origin_of(fitted))
    line, column = locator.place(path, key=True)
    what = f"{quoted(name)} {what}" if what.startswith("of ") else f"{what} {quoted(name)}"
    raise ConfigError(
        f"{what} is unknown to the configuration",
        hint=suggest(name, list(known)),
        path=dotted(path),
        file=locator.file,
        line=line,
        column=column,
    )
