"""Types of arguments that commands have in common."""

from __future__ import annotations

import argparse

from edgetwin.config.durations import parse_duration
from edgetwin.errors import ConfigError


def duration(text: str) -> float:
    """Seconds of ``250ms`` or ``1h``."""
    try:
        return parse_duration(text)
    except ConfigError as exc:
        raise argparse.ArgumentTypeError(f"{text!r}: {exc}") from exc
