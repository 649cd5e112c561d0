"""``/metrics`` in the formats of prometheus_client; docs/metrics.md explains every name."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator, Mapping

import numpy as np
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edgetwin.engine.clocks import FIGURES
from edgetwin.http.reading import (
    ControlReading,
    HistogramReading,
    JournalReading,
    PolledReading,
    Reading,
    SourceReading,
    UplinkReading,
    take_reading,
)
from edgetwin.http.view import DaemonView
from edgetwin.records import OUTCOMES, Quality
from edgetwin.uplink.account import FrameAccount

SERIES_INLINE_MAX = 500
COMPRESS_FROM_BYTES = 4096


class MetricsRoute:
    """Reads the arrays on the event loop; long texts are written in a thread, one at a time."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._turn = asyncio.Lock()

    async def metrics(self, request: web.Request) -> web.Response:
        """The figures in the format the scraper accepts."""
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        async with self._turn:
            reading = take_reading(self._view)
            if reading.series_of_twins > SERIES_INLINE_MAX:
                body, content_type = await asyncio.to_thread(render, reading, accept)
            else:
                body, content_type = render(reading, accept)
        response = web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
        if len(body) >= COMPRESS_FROM_BYTES:
            response.enable_compression()
        return response


def render(reading: Reading, accept: str) -> tuple[bytes, str]:
    """The text of a scrape and its content type, chosen by an ``Accept`` header."""
    registry = CollectorRegistry()
    registry.register(ReadingCollector(reading))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class ReadingCollector(Collector):
    """A reading as metric families."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry is made for one scrape and need not look for name clashes."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The families, in the order of docs/metrics.md."""
        reading = self._reading
        build = {"version": reading.version, "python": platform.python_version()}
        yield InfoMetricFamily("edgetwin_build", "Version of edgetwin and of Python.", value=build)
        yield _samples(reading)
        yield from _sources(reading.sources)
        yield _histogram(
            "edgetwin_ingest_latency_seconds", "Time from the socket to the updated state.", reading.latency
        )
        yield _histogram("edgetwin_loop_lag_seconds", "How late the event loop wakes.", reading.loop_lag)
        yield from _clocks(reading)
        yield from _twins(reading)
        if reading.uplink is not None:
            yield from _uplink(reading.uplink)
            yield from _outbox(reading.frames)
        if reading.journal is not None:
            yield from _journal(reading.journal)
        if reading.control is not None:
            yield from _control(reading.control)
        if reading.states:
            yield from _states(reading)


def _samples(reading: Reading) -> Metric:
    family = CounterMetricFamily("edgetwin_samples", "Samples by outcome.", labels=("source", "outcome"))
    for name, counts in zip(reading.source_names, reading.samples.tolist(), strict=True):
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            family.add_metric((name, outcome), count)
    return family


def _sources(sources: tuple[SourceReading, ...]) -> Iterator[Metric]:
    messages = CounterMetricFamily("edgetwin_messages", "Messages or answers received.", labels=("source",))
    up = GaugeMetricFamily("edgetwin_source_up", "Whether the source is connected.", labels=("source",))
    for source in sources:
        messages.add_metric((source.name,), source.messages)
        up.add_metric((source.name,), float(source.up))
    yield from (messages, up)
    yield from _modbus({s.name: s.polled for s in sources if s.polled is not None})


def _modbus(sources: Mapping[str, PolledReading]) -> Iterator[Metric]:
    labels = ("source", "unit")
    seconds = HistogramMetricFamily("edgetwin_modbus_request_seconds", "Time from request to answer.", labels=labels)
    requests = CounterMetricFamily("edgetwin_modbus_requests", "Requests by outcome.", labels=(*labels, "outcome"))
    up = GaugeMetricFamily("edgetwin_modbus_unit_up", "Whether the unit answered the last request.", labels=labels)
    overruns = CounterMetricFamily(
        "edgetwin_modbus_overruns", "Polls left out because those before took too long.", labels=("source",)
    )
    refused = GaugeMetricFamily(
        "edgetwin_modbus_registers_refused", "Registers that the devices refuse.", labels=("source",)
    )
    for name, polled in sources.items():
        overruns.add_metric((name,), polled.overruns)
        refused.add_metric((name,), polled.refused)
        for unit in polled.units:
            where = (name, str(unit.unit))
            seconds.add_metric(where, _buckets(unit.requests), unit.requests.sum)
            up.add_metric(where, float(unit.up))
            for outcome, count in unit.outcomes.items():
                requests.add_metric((*where, outcome), count)
    yield from (seconds, requests, up, overruns, refused)


def _clocks(reading: Reading) -> Iterator[Metric]:
    trusted = float(reading.clock_trusted)
    yield GaugeMetricFamily("edgetwin_clock_trusted", "Whether the gateway's own time can be trusted.", value=trusted)
    help_text = "Clock of the source's devices minus the gateway's: the one that is furthest off."
    offsets = GaugeMetricFamily("edgetwin_source_clock_offset_seconds", help_text, labels=("source",))
    help_text = "Time stamps of devices that could not be taken as they were."
    stamps = CounterMetricFamily("edgetwin_clock_stamps", help_text, labels=("source", "kind"))
    for name, offset, counts in zip(reading.source_names, reading.clock_offsets, reading.clock_stamps, strict=True):
        if not np.isnan(offset):
            offsets.add_metric((name,), float(offset))
        for kind, count in zip(FIGURES, counts.tolist(), strict=True):
            stamps.add_metric((name, kind), count)
    yield from (offsets, stamps)


def _twins(reading: Reading) -> Iterator[Metric]:
    twins = int(reading.quality.sum())
    yield GaugeMetricFamily("edgetwin_twins", "Twins that exist.", value=twins)
    quality = GaugeMetricFamily("edgetwin_twin_quality", "Twins by quality.", labels=("quality",))
    for q in Quality:
        quality.add_metric((q.name.lower(),), int(reading.quality[q]))
    yield quality
    help_text = "Mean normalised innovation squared of each signal; 1 where filter and field agree."
    yield _histogram("edgetwin_nis_ratio", help_text, reading.nis)
    help_text = "Signals by what is wrong with their innovations or their sensor; unobserved counts filters."
    health = GaugeMetricFamily("edgetwin_signals_health", help_text, labels=("kind",))
    for kind, count in reading.health.items():
        health.add_metric((kind,), count)
    yield health


def _uplink(uplink: UplinkReading) -> Iterator[Metric]:
    up = float(uplink.up)
    yield GaugeMetricFamily("edgetwin_uplink_up", "Whether the cloud can be reached and answers.", value=up)
    yield _counts("edgetwin_uplink_frames", "Frames by outcome.", "outcome", uplink.frames)
    yield _counts("edgetwin_uplink_errors", "Faults of the way to the cloud.", "reason", uplink.errors)
    help_text = "Answers of the cloud that were not believed."
    yield _counts("edgetwin_uplink_acks_ignored", help_text, "reason", uplink.acks_ignored)
    yield CounterMetricFamily("edgetwin_uplink_bytes", "Bytes of frames sent.", value=uplink.bytes_total)
    yield GaugeMetricFamily(
        "edgetwin_uplink_backlog_bytes", "Bytes of frames that wait for the cloud.", value=uplink.backlog_bytes
    )
    help_text = "Age of the oldest frame that waits for the cloud."
    yield GaugeMetricFamily("edgetwin_uplink_backlog_age_seconds", help_text, value=uplink.backlog_age_s)
    help_text = "Time from sending a frame to its acknowledgement, of some frames."
    yield _histogram("edgetwin_uplink_ack_seconds", help_text, uplink.ack_latency)


def _outbox(frames: FrameAccount) -> Iterator[Metric]:
    outcomes = ("enqueued", "restored", "acknowledged", "dropped")
    help_text = "Frames that entered and left the outbox; what is in it is the difference."
    yield _counts("edgetwin_outbox_frames", help_text, "outcome", {name: getattr(frames, name) for name in outcomes})
    here = GaugeMetricFamily("edgetwin_outbox_backlog_frames", "Frames in the outbox.", labels=("state",))
    for state, count in (("waiting", frames.waiting), ("staged", frames.staged)):
        here.add_metric((state,), count)
    yield here


def _journal(journal: JournalReading) -> Iterator[Metric]:
    stats = journal.stats
    help_text = "Time that the disk took to sync a commit."
    yield _histogram("edgetwin_journal_fsync_seconds", help_text, journal.sync_seconds)
    yield CounterMetricFamily("edgetwin_journal_commits", "Groups made durable.", value=stats.commits)
    yield CounterMetricFamily("edgetwin_journal_syncs", "Syncs asked of the disk.", value=stats.syncs)
    yield CounterMetricFamily("edgetwin_journal_written_bytes", "Bytes written.", value=stats.bytes_written)
    help_text = "Writes and syncs that the disk refused."
    yield CounterMetricFamily("edgetwin_journal_write_failures", help_text, value=stats.write_failures)
    yield GaugeMetricFamily("edgetwin_journal_bytes", "Bytes of the journal's files.", value=stats.bytes)


def _counts(name: str, help_text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=(label,))
    for key, count in counts.items():
        family.add_metric((key,), count)
    return family


def _control(control: ControlReading) -> Iterator[Metric]:
    commands = CounterMetricFamily("edgetwin_commands", "Commands to outputs by outcome.", labels=("outcome",))
    for outcome, count in control.commands.items():
        commands.add_metric((outcome,), count)
    yield commands
    yield CounterMetricFamily("edgetwin_fallbacks", "Fallback values written.", value=control.fallbacks)
    outputs = GaugeMetricFamily("edgetwin_outputs", "Outputs by what is true of them.", labels=("state",))
    for state, count in control.outputs.items():
        outputs.add_metric((state,), count)
    yield outputs


def _states(reading: Reading) -> Iterator[Metric]:
    labels = ("twin", "state")
    means = GaugeMetricFamily("edgetwin_twin_state", "Estimate of a state.", labels=labels)
    stds = GaugeMetricFamily("edgetwin_twin_state_std", "Its standard deviation.", labels=labels)
    for states in reading.states:
        for twin, state, mean, std in states:
            means.add_metric((twin, state), mean)
            stds.add_metric((twin, state), std)
    yield from (means, stds)


def _histogram(name: str, help_text: str, reading: HistogramReading) -> Metric:
    return HistogramMetricFamily(name, help_text, buckets=_buckets(reading), sum_value=reading.sum)


def _buckets(reading: HistogramReading) -> list[tuple[str, float]]:
    """Upper bound and cumulative count of each bucket."""
    bounds = [*(str(b) for b in reading.bounds), "+Inf"]
    return list(zip(bounds, reading.counts.cumsum().tolist(), strict=True))
