"""Logs: one JSON object a line, libraries through the same processors, floods kept back."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from edgetwin.clock import NS, ManualClock
from edgetwin.runtime.logs import RateLimiter, configure


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line() -> None:
    out = io.StringIO()
    configure("info", "auto", out)  # not a terminal: JSON
    structlog.get_logger().info("source_connected", source="plant", attempt=2)
    structlog.get_logger().debug("unseen")
    (line,) = lines(out)
    stamp = line.pop("timestamp")
    assert datetime.fromisoformat(stamp).tzinfo == UTC
    assert line == {"event": "source_connected", "level": "info", "source": "plant", "attempt": 2}


def test_level() -> None:
    out = io.StringIO()
    configure("debug", "json", out)
    structlog.get_logger().debug("a")
    configure("error", "json", out)
    structlog.get_logger().warning("b")
    logging.getLogger("mqtt").warning("c")
    structlog.get_logger().error("d")
    assert [line["event"] for line in lines(out)] == ["a", "d"]


def test_console_form() -> None:
    out = io.StringIO()
    configure("info", "console", out)
    structlog.get_logger().info("source_connected", source="plant")
    assert "source_connected" in out.getvalue()
    assert "source=plant" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_libraries_go_the_same_way_from_warning_up() -> None:
    out = io.StringIO()
    configure("debug", "json", out)
    configure("info", "json", out)  # a second call replaces the handler and does not add one
    logging.getLogger("mqtt").info("chatter")
    logging.getLogger("somelibrary.link").warning("bad frame %d", 7)
    (line,) = lines(out)
    assert line["event"] == "library_message"
    assert line["message"] == "bad frame 7"
    assert line["logger"] == "somelibrary.link"
    assert line["level"] == "warning"
    assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC


def test_exceptions_are_text_in_one_line() -> None:
    out = io.StringIO()
    configure("info", "json", out)
    try:
        float("odd")
    except ValueError:
        structlog.get_logger().exception("task_failed")
        logging.getLogger("aiohttp.server").exception("unhandled")
    ours, theirs = lines(out)
    assert "ValueError: could not convert" in ours["exception"]
    assert "ValueError: could not convert" in theirs["exception"]


@pytest.mark.parametrize("value", [b"\xff\x00", "\udc80", 10**40, {1: object()}, float("nan"), {("a",): 1}])
def test_no_value_costs_the_line(value: object) -> None:
    out = io.StringIO()
    configure("info", "json", out)
    structlog.get_logger().warning("payload_invalid", payload=value)
    (line,) = lines(out)
    assert line["event"].strip("'") == "payload_invalid"


def test_limiter_counts_what_it_keeps_back() -> None:
    clock = ManualClock()
    limiter = RateLimiter(every_s=10, clock=clock)
    assert [limiter.allow("a"), limiter.allow("a"), limiter.allow("b"), limiter.allow("a")] == [
        0,
        None,
        0,
        None,
    ]
    clock.advance(10 * NS - 1)
    assert limiter.allow("a") is None
    clock.advance(1)
    assert limiter.allow("a") == 3
    assert limiter.allow("a") is None
    assert limiter.allow("b") == 0


def test_limiter_is_bounded_under_a_flood_of_keys() -> None:
    clock = ManualClock()
    limiter = RateLimiter(every_s=10, keys_max=8, clock=clock)
    allowed = [limiter.allow(f"topic/{i}") for i in range(1000)]
    assert sum(a is not None for a in allowed) == 9
    assert limiter.allow("topic/0") is None
    clock.advance(10 * NS)
    allowed = [limiter.allow(f"other/{i}") for i in range(1000)]
    assert sum(a is not None for a in allowed) == 9
    assert 1000 - 9 in allowed  # what the shared allowance kept back is told


def test_limiter_keeps_the_keys_in_use() -> None:
    clock = ManualClock()
    limiter = RateLimiter(every_s=10, keys_max=2, clock=clock)
    limiter.allow("a")
    clock.advance(5 * NS)
    limiter.allow("b")
    clock.advance(5 * NS)
    assert limiter.allow("c") == 0  # in the place of "a", whose time is over
    assert limiter.allow("b") is None
