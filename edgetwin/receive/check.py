"""Reads the receiver's file and checks what types cannot say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edgetwin.config.environment import read_secret
from edgetwin.config.load import load_as
from edgetwin.config.origin import Locator, origin_of
from edgetwin.config.places import Path as KeyPath
from edgetwin.config.places import dotted
from edgetwin.config.urls import MQTT_SCHEMES, endpoint, listen_address
from edgetwin.errors import ConfigError
from edgetwin.receive.config import HttpFrames, MqttFrames, PostgresStore, ReceiverConfig, check_filter

KEEPALIVE_MAX_S = 65_535
SESSION_EXPIRY_MAX_S = 4_294_967_294
_DAY_S = 86_400
_BESIDE = "it is relative to the configuration file"


def load(path: Path, env: Mapping[str, str] = os.environ) -> ReceiverConfig:
    """The configuration in a file. ConfigError, located, when it is not one that can run."""
    config = load_as(path, ReceiverConfig, env)
    _Checks(config, path.parent).run()
    return config


class _Checks:
    """The first fault is raised, at its place."""

    def __init__(self, config: ReceiverConfig, base: Path) -> None:
        self._config = config
        self._base = base
        self._locator = Locator(origin_of(config))

    def run(self) -> None:
        config = self._config
        if config.source is None and config.http is None:
            self._fail((), "nothing brings frames", "give source (a broker), http (a listener) or both")
        if config.source is not None:
            self._check_source(config.source)
        if config.http is not None:
            self._check_http(config.http)
        if isinstance(config.store, PostgresStore) and config.store.password_file is not None:
            self._check_password(("store", "password_file"), config.store.password_file)
        self._span(("store", "commit_every"), config.store.commit_every, _DAY_S)
        if config.share.index >= config.share.of:
            self._fail(("share", "index"), "there is no such part", f"at most {config.share.of - 1}")
        if config.metrics is not None:
            listen = config.metrics.listen
            self._at(("metrics", "listen"), lambda: listen_address(listen))
        if config.idle_exit is not None:
            self._span(("idle_exit",), config.idle_exit, _DAY_S)

    def _check_source(self, source: MqttFrames) -> None:
        self._at(("source", "url"), lambda: endpoint(source.url, MQTT_SCHEMES))
        self._at(("source", "topic"), lambda: check_filter(source.topic))
        if source.password_file is not None:
            self._check_password(("source", "password_file"), source.password_file)
        self._check_client_tls(source)
        self._span(("source", "keepalive"), source.keepalive, KEEPALIVE_MAX_S)
        self._span(("source", "session_expiry"), source.session_expiry, SESSION_EXPIRY_MAX_S)

    def _check_http(self, http: HttpFrames) -> None:
        self._at(("http", "listen"), lambda: listen_address(http.listen))
        self._span(("http", "answer_within"), http.answer_within, _DAY_S)
        for key in ("cert", "key", "client_ca"):
            name = getattr(http.tls, key, None)
            if name is not None:
                self._check_file(("http", "tls", key), name)
        if http.tokens is not None and not (self._base / http.tokens).is_dir():
            self._fail(("http", "tokens"), "there is no such folder", _BESIDE)
        guarded = http.tokens is not None or (http.tls is not None and http.tls.client_ca is not None)
        if guarded == http.anonymous:
            what = "credentials and anonymous exclude each other" if guarded else "anybody could send frames"
            self._fail(("http",), what, "give tokens, tls.client_ca, or anonymous: true")

    def _check_password(self, path: KeyPath, name: str) -> None:
        try:
            self._at(path, lambda: read_secret(self._base / name))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not a path"
            self._fail(path, f"cannot be read: {reason}", "the path is relative to the configuration file")

    def _check_client_tls(self, source: MqttFrames) -> None:
        files = source.tls
        if files is None:
            return
        if not endpoint(source.url, MQTT_SCHEMES).tls:
            self._fail(("source", "tls"), "an mqtt:// connection has no TLS", "write mqtts:// in url")
        if (files.cert is None) != (files.key is None):
            self._fail(("source", "tls"), "cert and key belong together", "give both or neither")
        for key, name in (("ca", files.ca), ("cert", files.cert), ("key", files.key)):
            if name is not None:
                self._check_file(("source", "tls", key), name)

    def _check_file(self, path: KeyPath, name: str) -> None:
        if not (self._base / name).is_file():
            self._fail(path, "there is no such file", _BESIDE)

    def _span(self, path: KeyPath, seconds: float, longest: int) -> None:
        if not 0 < seconds <= longest:
            self._fail(path, "is out of range", f"longer than 0 and at most {longest}s")

    def _at(self, path: KeyPath, act: Callable[[], object]) -> None:
        try:
            act()
        except ConfigError as exc:
            self._fail(path, exc.message, exc.hint)

    def _fail(self, path: KeyPath, message: str, hint: str) -> None:
        line, column = self._locator.place(path)
        file = self._locator.file
        raise ConfigError(message, hint=hint, path=dotted(path), file=file, line=line, column=column) from None
