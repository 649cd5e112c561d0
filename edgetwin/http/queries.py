"""What stands behind the question mark, checked."""

from __future__ import annotations

from aiohttp import web

from edgetwin.clock import NS
from edgetwin.config.durations import parse_duration
from edgetwin.errors import ConfigError, PayloadError
from edgetwin.http.problems import Problem
from edgetwin.http.times import NS_MAX, parse_time
from edgetwin.records import Quality

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
TEXT_MAX = 1024


def bad_query(parameter: str, detail: str, hint: str = "") -> Problem:
    """400 for a query parameter."""
    return Problem(400, detail, kind="bad-query", hint=hint, parameter=parameter)


def query(request: web.Request, *allowed: str) -> dict[str, str]:
    """The query parameters; 400 when one is unknown, given twice or too long."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise bad_query(name, f"unknown query parameter {name!r}", f"this route knows: {known}")
        if name in given:
            raise bad_query(name, f"{name} is given twice")
        if len(value) > TEXT_MAX:
            raise bad_query(name, f"{name} is longer than {TEXT_MAX} characters")
        given[name] = value
    return given


def parse_limit(text: str | None) -> int:
    """How many entries are asked for."""
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise bad_query("limit", f"limit must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def parse_quality(text: str | None) -> Quality | None:
    """The quality asked for; None is any."""
    if text is None:
        return None
    try:
        return Quality[text.upper()]
    except KeyError:
        names = ", ".join(q.name.lower() for q in Quality)
        raise bad_query("quality", f"unknown quality {text!r}", f"use one of {names}") from None


def parse_at(text: str, now_ns: int, last_ns: int) -> int | None:
    """The instant asked for: None stands for the last fused sample (``last_ns``, 0 when there is none).

    ``now`` is never before ``last_ns``. 400 for bad syntax, 422 for an instant before ``last_ns``.
    """
    text = text.replace(" ", "+")  # an unescaped + in a query means a space
    if text == "last":
        return None
    if text == "now":
        return max(now_ns, last_ns)
    at_ns = _instant(text, now_ns)
    if at_ns < last_ns:
        raise Problem(
            422,
            "history is not kept yet: the twin can be told at its last fused sample or later",
            kind="before-last-sample",
            hint="use at=last, at=now or a later time",
        )
    return at_ns


def _instant(text: str, now_ns: int) -> int:
    try:
        if text.startswith("+"):
            at_ns = now_ns + round(parse_duration(text[1:]) * NS)
        else:
            at_ns = parse_time(text)
    except (ConfigError, PayloadError) as exc:
        hint = "at is now, last, a time such as 2026-01-31T12:00:00Z, or a step ahead such as +10min"
        raise bad_query("at", f"at={text}: {exc.message}", hint) from exc
    if at_ns > NS_MAX:
        raise bad_query("at", f"at={text} is out of range", "choose a nearer time")
    return at_ns
