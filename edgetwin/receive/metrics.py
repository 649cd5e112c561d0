"""``/metrics`` and ``/healthz`` of the receiver; docs/receive.md explains every name."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edgetwin.clock import NS, Clock
from edgetwin.http.problems import Problem
from edgetwin.instruments import Histogram
from edgetwin.receive.config import MetricsListener
from edgetwin.receive.http import HttpFeed
from edgetwin.receive.listen import listening
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.sequence import Stream

log = structlog.get_logger()

CLIENTS_MAX = 32


class Metrics(Collector):
    """Reads the figures of a pipeline and its feeds at scrape time."""

    def __init__(
        self, config: MetricsListener, clock: Clock, pipeline: Pipeline, mqtt: MqttFeed | None, http: HttpFeed | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._pipeline = pipeline
        self._mqtt = mqtt
        self._http = http

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[str, int]]:
        """Listen while the context lasts; gives the bound host and port. ConfigError when that cannot be done."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        async with listening(app, self._config.listen, "metrics.listen", clients_max=CLIENTS_MAX) as bound:
            log.info("metrics_listening", host=bound[0], port=bound[1])
            yield bound

    async def _metrics(self, request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        encode, content_type = choose_encoder(", ".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        reasons = self._reasons()
        if reasons:
            return Problem(503, "; ".join(reasons), kind="degraded").response()
        return web.json_response({"status": "ok"})

    def _reasons(self) -> list[str]:
        found = [f"store: {self._pipeline.store_error}"] if self._pipeline.store_error else []
        if self._mqtt is not None and not self._mqtt.up:
            found.append(f"mqtt: {self._mqtt.last_error}")
        return found

    # ---- families

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry is made for one scrape and need not look for name clashes."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The families, in the order of docs/receive.md."""
        yield from self._frames()
        yield from self._store()
        yield from self._transports()
        yield from self._gateways()

    def _frames(self) -> Iterator[Metric]:
        counters = self._pipeline.receiver.counters
        frames = CounterMetricFamily("edgetwin_receiver_frames", "Payloads by what became of them.", labels=["outcome"])
        for outcome, count in (
            ("stored", counters.stored),
            ("duplicate", counters.duplicates),
            ("deferred", counters.deferred),
            ("refused", counters.dead),
            ("foreign", counters.foreign),
        ):
            frames.add_metric([outcome], count)
        yield frames
        yield _counter("edgetwin_receiver_rows", "Estimates in the frames stored.", counters.rows)
        yield _counter("edgetwin_receiver_lost_frames", "Frames that gap records account for.", counters.lost)

    def _store(self) -> Iterator[Metric]:
        pipeline, figures = self._pipeline, self._pipeline.figures
        yield _gauge("edgetwin_receiver_store_up", "Whether the store can be reached.", not pipeline.store_error)
        commits = CounterMetricFamily("edgetwin_receiver_commits", "Commits by outcome.", labels=["outcome"])
        commits.add_metric(["done"], figures.commits)
        commits.add_metric(["failed"], figures.failures)
        yield commits
        yield _histogram("edgetwin_receiver_commit_seconds", "Duration of a commit.", figures.commit)
        yield _histogram("edgetwin_receiver_ack_seconds", "From a frame's arrival to its commit.", figures.answer)
        waiting = pipeline.receiver
        yield _gauge("edgetwin_receiver_pending_frames", "Frames that wait for a commit.", waiting.pending_frames)
        yield _gauge("edgetwin_receiver_pending_bytes", "Their size as they came.", waiting.pending_bytes)

    def _transports(self) -> Iterator[Metric]:
        acks = CounterMetricFamily("edgetwin_receiver_acks", "Acknowledgements to gateways.", labels=["transport"])
        if self._mqtt is not None:
            acks.add_metric(["mqtt"], self._mqtt.acks)
            yield _gauge("edgetwin_receiver_mqtt_up", "Whether the broker is connected.", self._mqtt.up)
        if self._http is not None:
            acks.add_metric(["http"], self._http.acks)
            requests = CounterMetricFamily("edgetwin_receiver_requests", "Answers by status code.", labels=["status"])
            for status, count in sorted(self._http.requests.items()):
                requests.add_metric([str(status)], count)
            yield requests
        yield acks

    def _gateways(self) -> Iterator[Metric]:
        streams = self._pipeline.receiver.streams()
        now = self._clock.wall_ns()
        yield _gauge("edgetwin_receiver_gateways", "Gateways heard.", len(streams))
        shown = heapq.nlargest(self._config.gateways_max, streams, key=lambda s: s.heard_ns)
        for name, text, read in _OF_A_GATEWAY:
            family = GaugeMetricFamily(name, text, labels=["gateway"])
            for stream in shown:
                family.add_metric([stream.gateway], read(stream, now))
            yield family


def _silence(stream: Stream, now_ns: int) -> float:
    return (now_ns - stream.heard_ns) / NS


def _lag(stream: Stream, now_ns: int) -> float:
    return (now_ns - stream.last_t_ns) / NS if stream.last_t_ns else float("nan")


def _missing(stream: Stream, _: int) -> float:
    return stream.missing


def _stored(stream: Stream, _: int) -> float:
    return stream.rows


_OF_A_GATEWAY = (
    ("edgetwin_receiver_gateway_silence_seconds", "Since the last frame came.", _silence),
    ("edgetwin_receiver_gateway_lag_seconds", "Now, less the time of the newest report.", _lag),
    ("edgetwin_receiver_gateway_missing_frames", "Frames of the current epoch asked for again.", _missing),
    ("edgetwin_receiver_gateway_rows", "Estimates stored of the current epoch.", _stored),
)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    total, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts.tolist(), strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.sum)
