"""Checks of sources, uplink and HTTP: everything that names an address or a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

from edgetwin.config.check_files import check_client_tls, check_file, positive
from edgetwin.config.check_modbus import check_modbus, check_shared_links
from edgetwin.config.credentials import password_of, token_of
from edgetwin.config.findings import Findings
from edgetwin.config.places import Path
from edgetwin.config.schema import (
    CsvSource,
    HttpsUplink,
    ModbusSource,
    MqttSource,
    MqttUplink,
    SimulatedSource,
    Source,
)
from edgetwin.config.topics import check_topic, placeholders
from edgetwin.config.urls import HTTPS_SCHEMES, MQTT_SCHEMES, PROXY_SCHEMES, endpoint, listen_address
from edgetwin.errors import ConfigError

KEEPALIVE_MAX_S = 65_535
SESSION_EXPIRY_MAX_S = 4_294_967_294
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Where HTTP without TLS is good enough."""


def check_connections(findings: Findings, base_dir: FilePath) -> None:
    """Sources, uplink and HTTP of the configuration."""
    config = findings.config
    for i, source in enumerate(config.sources):
        _check_source(findings, ("sources", i), source, base_dir)
    check_shared_links(findings)
    if config.uplink is not None:
        _check_uplink(findings, config.uplink, base_dir)
    _check_client_ids(findings)
    if config.http is not None:
        listen = config.http.listen
        findings.attempt(("http", "listen"), lambda: listen_address(listen))


def _check_source(findings: Findings, path: Path, source: Source, base_dir: FilePath) -> None:
    if isinstance(source, MqttSource):
        _check_mqtt(findings, path, source, base_dir)
        _check_session(findings, (*path, "session_expiry"), source)
        if source.qos == 2 and findings.config.state_dir is not None:
            message = "at QoS 2 the broker deletes a message before it is durable here, so a kill can lose it"
            findings.warning((*path, "qos"), message, "write 1: the broker then keeps it until it is durable")
    elif isinstance(source, ModbusSource):
        check_modbus(findings, path, source, base_dir)
    elif isinstance(source, CsvSource):
        check_file(findings, (*path, "path"), source.path, base_dir)
    elif isinstance(source, SimulatedSource):
        findings.not_yet(path, "a simulated source cannot be run yet", "use an mqtt or modbus source")


def _check_session(findings: Findings, path: Path, source: MqttSource) -> None:
    if source.session_expiry > SESSION_EXPIRY_MAX_S:
        findings.error(path, "is too long", f"at most {SESSION_EXPIRY_MAX_S}s")


def _check_uplink(findings: Findings, uplink: MqttUplink | HttpsUplink, base_dir: FilePath) -> None:
    positive(findings, ("uplink", "every"), uplink.every)
    positive(findings, ("uplink", "ack_timeout"), uplink.ack_timeout)
    if (proxy := uplink.proxy) is not None:
        findings.attempt(("uplink", "proxy"), lambda: endpoint(proxy, PROXY_SCHEMES))
    if isinstance(uplink, HttpsUplink):
        _check_https(findings, uplink, base_dir)
        return
    _check_mqtt(findings, ("uplink",), uplink, base_dir)
    place = ("uplink", "topic")
    findings.attempt(place, lambda: check_topic(uplink.topic))
    for name in findings.attempt(place, lambda: placeholders(uplink.topic)) or []:
        if name != "gateway":
            findings.error(place, f"placeholder {{{name}}} is unknown", "only {gateway} is known here")


def _check_https(findings: Findings, uplink: HttpsUplink, base_dir: FilePath) -> None:
    positive(findings, ("uplink", "timeout"), uplink.timeout)
    where = findings.attempt(("uplink", "url"), lambda: endpoint(uplink.url, HTTPS_SCHEMES))
    if where is None:
        return
    if where.username is not None or where.password is not None:
        findings.error(("uplink", "url"), "the URL holds a user or a password", "use token_file or tls.cert")
    if uplink.token is not None and uplink.token_file is not None:
        findings.error(("uplink", "token_file"), "token is given too", "keep one of them")
    findings.attempt(("uplink", "token_file"), lambda: token_of(uplink, base_dir))
    if not where.tls and where.host not in LOOPBACK:
        findings.error(("uplink", "url"), "frames would go out unencrypted", "write https://")
    check_client_tls(findings, ("uplink", "tls"), uplink.tls, "http", where.tls, base_dir)


def _check_mqtt(findings: Findings, path: Path, record: MqttSource | MqttUplink, base_dir: FilePath) -> None:
    where = findings.attempt((*path, "url"), lambda: endpoint(record.url, MQTT_SCHEMES))
    if where is None:
        return
    if record.username is not None and where.username is not None:
        findings.error((*path, "username"), "the user stands in the URL too", "keep one of them")
    if record.password is not None and record.password_file is not None:
        findings.error((*path, "password_file"), "password is given too", "keep one of them")
    elif record.password_file is not None:
        findings.attempt((*path, "password_file"), lambda: password_of(record, base_dir))
    has_password = bool(record.password or record.password_file or where.password)
    has_user = record.username is not None or where.username is not None
    if has_password and not has_user and record.protocol == "3.1.1":
        findings.error(path, "MQTT 3.1.1 takes no password without a user name", "add username:")
    if record.keepalive > KEEPALIVE_MAX_S:
        findings.error((*path, "keepalive"), "is too long", f"at most {KEEPALIVE_MAX_S}s")
    check_client_tls(findings, (*path, "tls"), record.tls, "mqtt", where.tls, base_dir)


def _check_client_ids(findings: Findings) -> None:
    """Two connections of one client identifier to one broker throw each other out for ever."""
    seen: dict[tuple[str, int, str], str] = {}
    for path, record, name in _mqtt_connections(findings):
        if record.client_id is None:
            continue
        try:
            where = endpoint(record.url, MQTT_SCHEMES)
        except ConfigError:
            continue  # reported with the URL
        key = (where.host, where.port, record.client_id)
        if key in seen:
            message = f"{seen[key]} has the same client_id at the same broker"
            findings.error((*path, "client_id"), message, "give each connection its own")
        seen.setdefault(key, name)


def _mqtt_connections(findings: Findings) -> Iterator[tuple[Path, MqttSource | MqttUplink, str]]:
    for i, source in enumerate(findings.config.sources):
        if isinstance(source, MqttSource):
            yield ("sources", i), source, f"source {source.name}"
    if isinstance(findings.config.uplink, MqttUplink):
        yield ("uplink",), findings.config.uplink, "the uplink"
