"""Signals in the units of their models: a sensor in degF feeds a model in degC."""

from __future__ import annotations

import msgspec

from edgetwin.config.schema import Signal
from edgetwin.config.units import conversion


def in_unit(signal: Signal, unit: str) -> Signal:
    """The signal with scale, offset, noise and range such that its value is in ``unit``, the model's.

    As it is when one of the two units is missing or not known, or they are of different kinds; `edgetwin check` and the
    start of the daemon refuse the last.
    """
    found = conversion(signal.unit, unit) if signal.unit and unit else None
    if found is None or found == (1.0, 0.0):
        return signal
    factor, shift = found
    ends = None if signal.range is None else (factor * signal.range[0] + shift, factor * signal.range[1] + shift)
    return msgspec.structs.replace(
        signal,
        scale=factor * signal.scale,
        offset=factor * signal.offset + shift,
        noise=None if signal.noise is None else factor * signal.noise,
        range=ends,
        unit=unit,
    )
