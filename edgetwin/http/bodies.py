"""The answers as records; ``msgspec`` writes them as JSON, with null for numbers that are not finite."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import Struct

from edgetwin.http.times import format_time
from edgetwin.records import ClockOffset, Scalar, SignalHealth, SignalStatus, StateEstimate, TwinEstimate


class TwinSummary(Struct, frozen=True):
    """One line of the list of twins; ``last`` is null before the first sample."""

    twin: str
    model: str
    quality: str
    reason: str
    last: str | None
    states: dict[str, StateEstimate]


class TwinPage(Struct, frozen=True):
    """A part of the list in order of name; ``next`` is the ``after`` of the part that follows.

    ``total`` counts all twins of the gateway.
    """

    at: str
    total: int
    next: str | None
    twins: list[TwinSummary]


class SignalBody(Struct, frozen=True):
    """The last sample of a signal; ``at`` is null before the first, ``clock`` when its samples bring no time,
    ``health`` for an input of a model."""

    value: float
    at: str | None
    nis: float
    noise: float
    unit: str
    fused: int
    gated: int
    clock: ClockOffset | None
    health: SignalHealth | None


class TwinBody(Struct, frozen=True):
    """A twin at one instant; ``at`` and ``last`` are null before the first sample."""

    twin: str
    model: str
    at: str | None
    last: str | None
    quality: str
    reason: str
    states: dict[str, StateEstimate]
    signals: dict[str, SignalBody]


class SourceBody(Struct, frozen=True):
    """A source; ``last_error`` is empty while it is up."""

    name: str
    kind: str
    up: bool
    messages: int
    last_error: str


class UplinkBody(Struct, frozen=True):
    """The way to the cloud: ``frames`` by outcome, ``errors`` by reason; ``last_error`` is empty while it is up."""

    up: bool
    last_error: str
    errors: dict[str, int]
    frames: dict[str, int]
    bytes_total: int
    backlog_bytes: int
    backlog_age_s: float


class StatusBody(Struct, frozen=True):
    """The gateway at a glance."""

    gateway: str
    version: str
    started: str
    at: str
    ready: bool
    reasons: list[str]
    twins: int
    quality: dict[str, int]
    sources: list[SourceBody]
    uplink: UplinkBody | None


class OutputBody(Struct, frozen=True):
    """An output now. ``value`` is what the device is known to hold; ``holder`` and ``until`` tell whose lease runs."""

    unit: str
    range: tuple[float, float]
    mode: str
    armed: bool
    value: float | None
    fallback: float
    holder: str | None
    until: str | None
    fault: str
    writes_today: int
    writes_per_day: int


class OutputsBody(Struct, frozen=True):
    """The outputs of a twin by name."""

    twin: str
    outputs: dict[str, OutputBody]


class CommandAnswerBody(Struct, frozen=True):
    """A command that was carried out: ``outcome`` is written, or renewed when the value was held already."""

    id: str
    twin: str
    output: str
    value: float
    outcome: str


class EntryBody(Struct, frozen=True):
    """One entry of the audit."""

    n: int
    at: str
    kind: str
    data: dict[str, Scalar]


class AuditBody(Struct, frozen=True):
    """The last entries, newest first; ``durable``: they survive a crash."""

    durable: bool
    entries: list[EntryBody]


class LedgerBody(Struct, frozen=True):
    """``sources`` and ``total`` hold ``received``, each outcome, and ``balanced``; ``frames`` the account of frames."""

    at: str
    sources: dict[str, dict[str, int | bool]]
    total: dict[str, int | bool]
    frames: dict[str, int | bool]


class HealthBody(Struct, frozen=True):
    """The event loop answers."""

    status: str
    version: str
    uptime_s: float


class ReadyBody(Struct, frozen=True):
    """Whether the daemon is ready, and why not or what is degraded."""

    ready: bool
    reasons: list[str]


def json_response(body: object, status: int = 200) -> web.Response:
    """``body`` as JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def time_or_none(ns: int) -> str | None:
    """A time; null when there is none (0)."""
    return format_time(ns) if ns else None


def twin_summary(estimate: TwinEstimate) -> TwinSummary:
    """An estimate as a line of the list."""
    return TwinSummary(
        estimate.twin,
        estimate.model,
        estimate.quality.name.lower(),
        estimate.reason,
        time_or_none(estimate.last_ns),
        estimate.states,
    )


def twin_body(estimate: TwinEstimate) -> TwinBody:
    """An estimate in full."""
    return TwinBody(
        estimate.twin,
        estimate.model,
        time_or_none(estimate.at_ns),
        time_or_none(estimate.last_ns),
        estimate.quality.name.lower(),
        estimate.reason,
        estimate.states,
        {name: _signal_body(status) for name, status in estimate.signals.items()},
    )


def _signal_body(status: SignalStatus) -> SignalBody:
    return SignalBody(
        status.value,
        time_or_none(status.at_ns),
        status.nis,
        status.noise,
        status.unit,
        status.fused,
        status.gated,
        status.clock,
        status.health,
    )
