"""The file that a fit leaves: values that a configuration merges, and in comments where they come from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgetwin.config.models import BUILTIN
from edgetwin.errors import FitError
from edgetwin.fit.run import Fitted, Result

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECTION = {"parameter": "parameters", "noise": "noise", "process_noise": "process_noise", "initial": "initial"}


def write_overlay(path: Path, config_name: str, results: Sequence[Result]) -> None:
    """Write the results; the file appears whole or not at all. FitError when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            partial.write_text(overlay(config_name, results, path.name), encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as exc:
        reason = exc.strerror or os.strerror(exc.errno or 0)
        raise FitError(f"cannot write {path}: {reason}", hint="name a file that can be written") from exc


def overlay(config_name: str, results: Sequence[Result], name: str = "FILE") -> str:
    """The text of the file; docs/fit.md says how it is used."""
    lines = [f"# Fitted by edgetwin fit from the twins of {_plain(config_name)}."]
    lines += [f"# To use it, give the configuration the line   fitted: [{_plain(name)}]", "twins:"]
    for result in results:
        lines += [f"  # {line}" for line in _provenance(result)]
        lines.append(f"  {json.dumps(result.twin)}:")
        for section, fitted in _sections(result):
            lines.append(f"    {section}:")
            lines += [f"      {f.quantity.key}: {number(f.value)}  # {_accuracy(f)}" for f in fitted]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """A float with nine digits, so that YAML reads it as one: 1.0e-05, not 1e-05."""
    text = f"{value:.9g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}" if mark else text


def describe(fitted: Fitted) -> str:
    """A value and its accuracy in one line."""
    return f"{fitted.value:.6g}  {_accuracy(fitted)}"


def _sections(result: Result) -> Iterator[tuple[str, list[Fitted]]]:
    builtin = result.model in BUILTIN
    of: dict[str, list[Fitted]] = {}
    for fitted in result.fitted:
        section = _SECTION[fitted.quantity.kind]
        of.setdefault("parameters" if builtin and section == "process_noise" else section, []).append(fitted)
    yield from of.items()


def _accuracy(fitted: Fitted) -> str:
    was = "learned before" if math.isnan(fitted.before) else f"was {fitted.before:.6g}"
    if math.isnan(fitted.std):
        return f"std error unknown; {was}"
    low, high = fitted.interval
    return f"± {fitted.std:.3g}, 95 % {low:.5g} to {high:.5g}; {was}"


def _provenance(result: Result) -> Iterator[str]:
    if result.stop == "interrupted":
        yield "INTERRUPTED: the best found so far, not the maximum; std errors are not known."
    yield f"model {_plain(result.model)}; files {', '.join(_plain(f) for f in result.files)}"
    yield f"from {iso(result.first_ns)} to {iso(result.last_ns)}, stretches: {result.segments}"
    before, after = result.log_likelihood
    aside = f", {result.set_aside} beyond the gate set aside" if result.set_aside else ""
    yield f"log-likelihood {before:.6g} -> {after:.6g} over {result.samples} samples{aside}"
    for old, new in zip(result.before, result.after, strict=True):
        where = "held out" if result.held_out else "fitted"
        yield (
            f"{old.signal}: one-step RMSE {old.rmse:.5g} -> {new.rmse:.5g}, mean NIS {old.nis:.4g} -> {new.nis:.4g} "
            f"over {new.samples} samples {where}"
        )
    for warning in result.warnings:
        yield f"warning: {_plain(warning)}"


def iso(t_ns: int) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    moment = _EPOCH + timedelta(microseconds=t_ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    """Text that stays within its comment."""
    return "".join(c if c.isprintable() else "?" for c in text)
