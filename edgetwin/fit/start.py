"""First values of noise that the configuration leaves to be learned, and the least that measurement noise may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.schema import Twin
from edgetwin.engine import TwinInstance
from edgetwin.errors import ConfigError, FitError
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.samples import Segment
from edgetwin.model.builtin import BUILTIN

_RATIO = 0.1
"""Process noise of one interval over measurement noise, as variances."""


def started(quantities: Sequence[Quantity], instance: TwinInstance, segments: Sequence[Segment]) -> list[Quantity]:
    """The quantities with a value each: measurement noise from the differences between successive samples, process
    noise a tenth of it. Measurement noise is not to go below that of rounding to the recording's resolution.

    ConfigError when a parameter has no value, FitError when a signal has too few samples.
    """
    made = []
    for given in quantities:
        quantity = given
        if quantity.kind == "noise":
            quantity = replace(quantity, low=_resolution(instance, quantity.key, segments))
        if not math.isnan(quantity.value):
            made.append(quantity)
        elif quantity.kind == "noise":
            std = max(_noise(instance, quantity.key, segments)[0], quantity.low)
            made.append(replace(quantity, value=std))
        elif quantity.kind == "parameter":
            hint = "give it to the twin: the search starts there"
            raise ConfigError(f"{quantity.name} of {instance.name} has no value", hint=hint)
        else:
            made.append(replace(quantity, value=_process_noise(instance, segments)))
    return made


def _noise(instance: TwinInstance, signal: str, segments: Sequence[Segment]) -> tuple[float, float]:
    """Standard deviation of a signal's noise, and its usual interval in seconds."""
    slot = instance.slots[signal]
    raw = [s.value[s.slot == slot] for s in segments]
    times = [s.t_ns[s.slot == slot] for s in segments]
    steps = np.concatenate([np.diff(v) for v in raw])
    if not len(steps):
        raise FitError(f"{instance.name}.{signal} has too few samples to learn its noise", hint="give noise: a number")
    intervals = np.concatenate([np.diff(t) for t in times])
    intervals = intervals[intervals > 0] if (intervals > 0).any() else np.array([NS])
    scale = abs(instance.spec.signals[signal].scale)
    # 68 % of the differences of white noise are within 1.41 standard deviations; outliers do not move that.
    std = scale * (_middle(steps) or float(np.std(steps)) / math.sqrt(2))
    size = scale * float(np.max(np.abs(np.concatenate(raw))))
    return std or 1e-3 * size or 1.0, float(np.median(intervals)) / NS


def _resolution(instance: TwinInstance, signal: str, segments: Sequence[Segment]) -> float:
    """Standard deviation of rounding to the smallest step between successive samples; -inf where none is seen."""
    slot = instance.slots[signal]
    steps = np.abs(np.concatenate([np.diff(s.value[s.slot == slot]) for s in segments]))
    steps = steps[steps > 0]
    if not len(steps):
        return -math.inf
    return abs(instance.spec.signals[signal].scale) * float(steps.min()) / math.sqrt(12)


def _middle(steps: NDArray[np.float64]) -> float:
    return float(np.quantile(np.abs(steps), 0.6827)) / math.sqrt(2)


def _process_noise(instance: TwinInstance, segments: Sequence[Segment]) -> float:
    """For a built-in model: what moves the signal, over one interval, by a share of its noise."""
    twin: Twin = instance.spec
    model = BUILTIN[twin.model]
    order = 0 if model.structural else max(model.derivative)
    made = []
    for signal, spec in twin.signals.items():
        std, interval = _noise(instance, signal, segments)
        made.append((spec.noise or std) * math.sqrt(_RATIO / interval ** (2 * order + 1)))
    return float(np.median(made))
