"""Structured logs: JSON lines on stderr, or coloured text on a terminal.

Every line has ``timestamp`` (ISO 8601, UTC), ``level`` and ``event``. Libraries that log through the standard
library (aiohttp, paho, pymodbus) go through the same processors, from `warning` upwards, as the event
``library_message``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from edgetwin.ratelimit import RateLimiter

__all__ = ["RateLimiter", "configure"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and the root of `logging` to write to ``stream`` (stderr by default).

    ``format: auto`` is console when the stream is a terminal and JSON otherwise. To be called by a command at
    its start, and again when a reload changes the level.
    """
    out = sys.stderr if stream is None else stream
    console = format == "console" or (format == "auto" and out.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
    ]
    render = _renderers(console, colors=out.isatty())
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *chain, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a reload may change the level of loggers already in use
    )
    _route_libraries(out, chain, render, max(threshold, logging.WARNING))


class _LibraryHandler(logging.StreamHandler[TextIO]):
    """Marks the handler that `configure` put on the root logger, so that a second call replaces only it."""


def _route_libraries(out: TextIO, chain: list[Processor], render: list[Processor], threshold: int) -> None:
    handler = _LibraryHandler(out)
    handler.setLevel(threshold)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *chain, _name_library_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _LibraryHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)


def _renderers(console: bool, *, colors: bool) -> list[Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=colors)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]


def _name_library_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Our events have constant names; a library's text is data."""
    event["message"], event["event"] = event["event"], "library_message"
    return event


def _json(record: Any, default: Callable[[Any], Any]) -> str:
    """One JSON line; a value that has no JSON form never costs us the line."""
    try:
        return msgspec.json.encode(record, enc_hook=default).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):  # lone surrogates, odd keys, huge integers
        return json.dumps({str(k): repr(v) for k, v in record.items()})
