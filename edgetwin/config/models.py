"""What the configuration needs to know of the built-in models: parameters and names of states.

The models themselves are in :mod:`edgetwin.model.builtin`; a test keeps the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgetwin.config.library import LIBRARY, library_model, library_names
from edgetwin.config.schema import Config, Twin, UserModel


@dataclass(frozen=True, slots=True)
class ModelRules:
    """``suffixes`` name the states after the signal; every parameter is positive."""

    suffixes: tuple[str, ...]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameters, required first."""
        return self.required + self.optional


BUILTIN = {
    "auto": ModelRules(("", "_rate"), optional=("process_noise",)),
    "random_walk": ModelRules(("",), optional=("process_noise",)),
    "constant_velocity": ModelRules(("", "_rate"), optional=("process_noise", "initial_rate_std")),
    "constant_acceleration": ModelRules(("", "_rate", "_acceleration"), optional=("process_noise", "initial_rate_std")),
    "first_order": ModelRules(("", "_target"), required=("time_constant",), optional=("process_noise",)),
}


def user_model(config: Config, name: str) -> UserModel | None:
    """The model of that name: an entry of ``models``, or one of the library; None when there is none."""
    if name.startswith(LIBRARY):
        return library_model(name)
    return next((m for m in config.models if m.name == name), None)


def model_names(config: Config, like: str) -> list[str]:
    """The names that a twin's ``model`` may have, to choose from for one who wrote ``like``."""
    own = [*BUILTIN, *(m.name for m in config.models)]
    return library_names() if like.startswith(LIBRARY) else [*own, *library_names()]


def state_names(config: Config, twin: Twin) -> list[str]:
    """Names of a twin's states, those of one signal together; empty when its model is unknown."""
    rules = BUILTIN.get(twin.model)
    if rules is not None:
        return [signal + suffix for signal in twin.signals for suffix in rules.suffixes]
    model = user_model(config, twin.model)
    return list(model.states) if model else []
