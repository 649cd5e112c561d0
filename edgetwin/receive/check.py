"""Reads the receiver's file and checks what types cannot say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgetwin.config.check_connections import KEEPALIVE_MAX_S, SESSION_EXPIRY_MAX_S
from edgetwin.config.check_files import FILE_HINT, check_client_tls, check_file
from edgetwin.config.credentials import read_secret_file
from edgetwin.config.findings import Collector
from edgetwin.config.load import InvalidConfigError, load_as
from edgetwin.config.places import Path as KeyPath
from edgetwin.config.urls import MQTT_SCHEMES, endpoint, listen_address
from edgetwin.receive.config import HttpFrames, MqttFrames, PostgresStore, ReceiverConfig, check_filter

_DAY_S = 86_400


def load(path: Path, env: Mapping[str, str] = os.environ) -> ReceiverConfig:
    """The configuration in a file. InvalidConfigError (a ConfigError), every fault located, when it is not one that can
    run."""
    config = load_as(path, ReceiverConfig, env)
    findings = Collector(config)
    _check(findings, config, path.parent)
    if findings.found:
        raise InvalidConfigError([finding.error() for finding in findings.in_order()])
    return config


def _check(findings: Collector, config: ReceiverConfig, base: Path) -> None:
    if config.source is None and config.http is None:
        findings.error((), "nothing brings frames", "give source (a broker), http (a listener) or both")
    if config.source is not None:
        _check_source(findings, config.source, base)
    if config.http is not None:
        _check_http(findings, config.http, base)
    if isinstance(config.store, PostgresStore):
        _check_password(findings, ("store", "password_file"), config.store.password_file, base)
    _check_span(findings, ("store", "commit_every"), config.store.commit_every, _DAY_S)
    if config.share.index >= config.share.of:
        findings.error(("share", "index"), "there is no such part", f"at most {config.share.of - 1}")
    if (metrics := config.metrics) is not None:
        findings.attempt(("metrics", "listen"), lambda: listen_address(metrics.listen))
    if config.idle_exit is not None:
        _check_span(findings, ("idle_exit",), config.idle_exit, _DAY_S)


def _check_source(findings: Collector, source: MqttFrames, base: Path) -> None:
    where = findings.attempt(("source", "url"), lambda: endpoint(source.url, MQTT_SCHEMES))
    findings.attempt(("source", "topic"), lambda: check_filter(source.topic))
    _check_password(findings, ("source", "password_file"), source.password_file, base)
    if where is not None:
        check_client_tls(findings, ("source", "tls"), source.tls, "mqtt", where.tls, base)
    _check_span(findings, ("source", "keepalive"), source.keepalive, KEEPALIVE_MAX_S)
    _check_span(findings, ("source", "session_expiry"), source.session_expiry, SESSION_EXPIRY_MAX_S)


def _check_http(findings: Collector, http: HttpFrames, base: Path) -> None:
    findings.attempt(("http", "listen"), lambda: listen_address(http.listen))
    _check_span(findings, ("http", "answer_within"), http.answer_within, _DAY_S)
    for key in ("cert", "key", "client_ca"):
        name = getattr(http.tls, key, None)
        if name is not None:
            check_file(findings, ("http", "tls", key), name, base)
    if http.tokens is not None and not (base / http.tokens).is_dir():
        findings.error(("http", "tokens"), "there is no such folder", FILE_HINT)
    guarded = http.tokens is not None or (http.tls is not None and http.tls.client_ca is not None)
    if guarded == http.anonymous:
        what = "credentials and anonymous exclude each other" if guarded else "anybody could send frames"
        findings.error(("http",), what, "give tokens, tls.client_ca, or anonymous: true")


def _check_password(findings: Collector, path: KeyPath, name: str | None, base: Path) -> None:
    if name is not None:
        findings.attempt(path, lambda: read_secret_file(name, base))


def _check_span(findings: Collector, path: KeyPath, seconds: float, longest: int) -> None:
    if not 0 < seconds <= longest:
        findings.error(path, "is out of range", f"longer than 0 and at most {longest}s")
