"""The file of `edgetwin receive`, as strict as the daemon's; configs/receiver.yaml shows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edgetwin.config.environment import read_secret
from edgetwin.config.load import load_as
from edgetwin.config.origin import Locator, origin_of
from edgetwin.config.places import Path as KeyPath
from edgetwin.config.places import dotted
from edgetwin.config.schema import Duration, Log, Tls, _Strict
from edgetwin.config.urls import MQTT_SCHEMES, endpoint
from edgetwin.errors import ConfigError

KEEPALIVE_MAX_S = 65_535
SESSION_EXPIRY_MAX_S = 4_294_967_294


class MqttFrames(_Strict, frozen=True, tag_field="kind", tag="mqtt"):
    """The broker that the gateways send their frames to; MQTT 5.

    - url: mqtt://host[:1883] or mqtts://host[:8883]
    - topic: filter of the topics that carry frames; what stands at its + must be the gateway that a frame names
    - client_id: the broker keeps a session for it; each receiver at a broker needs its own
    - username: user name for the broker
    - password_file: file that holds the password, relative to the configuration file
    - tls: certificate files of an mqtts:// connection
    - keepalive: longest silence before the connection is probed
    - session_expiry: how long the broker keeps frames while the receiver is away
    - receive_maximum: frames the broker may send before they are acknowledged
    """

    url: str
    topic: str = "edgetwin/+/frames"
    client_id: Annotated[str, Meta(min_length=1)] = "edgetwin-receiver"
    username: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive: Duration = Duration(30)
    session_expiry: Duration = Duration(7 * 86_400)
    receive_maximum: Annotated[int, Meta(ge=1, le=65_535)] = 256


class CsvStore(_Strict, frozen=True, tag_field="kind", tag="csv"):
    """One growing file, states.csv.

    - path: folder of the files, relative to the configuration file
    - commit_every: the longest that rows wait for the disk; frames are acknowledged after it
    """

    path: str
    commit_every: Duration = Duration(1)


class ParquetStore(_Strict, frozen=True, tag_field="kind", tag="parquet"):
    """Files states-00000000.parquet and so on, each whole from the moment it has its name.

    - path: folder of the files, relative to the configuration file
    - commit_every: time after which a file is finished that is not full; frames are acknowledged after it
    - rows_max: rows after which a file is finished
    """

    path: str
    commit_every: Duration = Duration(60)
    rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000


class ReceiverConfig(_Strict, frozen=True, kw_only=True, dict=True):
    """The whole file.

    - source: where frames come from
    - store: where states go
    - dead_letters: folder of refused payloads, relative to the configuration file; in store.path when absent
    - dead_letters_max: most of them kept; the oldest make room
    - dead_letters_bytes_max: most bytes of them kept
    - idle_exit: stop after so long without a frame; run until stopped when absent
    - log: logging
    """

    source: MqttFrames
    store: CsvStore | ParquetStore
    dead_letters: str | None = None
    dead_letters_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    dead_letters_bytes_max: Annotated[int, Meta(ge=1_024)] = 67_108_864
    idle_exit: Duration | None = None
    log: Log = Log()


def load(path: Path, env: Mapping[str, str] = os.environ) -> ReceiverConfig:
    """The configuration in a file. ConfigError, located, when it is not one that can run."""
    config = load_as(path, ReceiverConfig, env)
    _Checks(config, path.parent).run()
    return config


class _Checks:
    """What types cannot say; the first fault is raised, at its place."""

    def __init__(self, config: ReceiverConfig, base: Path) -> None:
        self._config = config
        self._base = base
        self._locator = Locator(origin_of(config))

    def run(self) -> None:
        source, store = self._config.source, self._config.store
        self._at(("source", "url"), lambda: endpoint(source.url, MQTT_SCHEMES))
        self._at(("source", "topic"), lambda: check_filter(source.topic))
        if source.password_file is not None:
            self._check_password(source.password_file)
        self._check_tls(source)
        self._span(("source", "keepalive"), source.keepalive, KEEPALIVE_MAX_S)
        self._span(("source", "session_expiry"), source.session_expiry, SESSION_EXPIRY_MAX_S)
        self._span(("store", "commit_every"), store.commit_every, 86_400)
        if self._config.idle_exit is not None:
            self._span(("idle_exit",), self._config.idle_exit, 86_400)

    def _check_password(self, name: str) -> None:
        path = ("source", "password_file")
        try:
            self._at(path, lambda: read_secret(self._base / name))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not a path"
            self._fail(path, f"cannot be read: {reason}", "the path is relative to the configuration file")

    def _check_tls(self, source: MqttFrames) -> None:
        files = source.tls
        if files is None:
            return
        if not endpoint(source.url, MQTT_SCHEMES).tls:
            self._fail(("source", "tls"), "an mqtt:// connection has no TLS", "write mqtts:// in url")
        if (files.cert is None) != (files.key is None):
            self._fail(("source", "tls"), "cert and key belong together", "give both or neither")
        for key, name in (("ca", files.ca), ("cert", files.cert), ("key", files.key)):
            if name is not None and not (self._base / name).is_file():
                self._fail(("source", "tls", key), "there is no such file", "it is relative to the configuration file")

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


def check_filter(topic: str) -> None:
    """ConfigError unless ``topic`` is a filter with at most one +, which fills a level, and no #."""
    levels = topic.split("/")
    if not topic or "\0" in topic or len(topic.encode()) > 65_535:
        raise ConfigError("not a topic", hint="write edgetwin/+/frames")
    if "#" in topic or topic.count("+") > 1:
        raise ConfigError("the topic has too many wildcards", hint="one +, in place of the gateway's name")
    if "+" in topic and "+" not in levels:
        raise ConfigError("a + must fill the whole level", hint="write edgetwin/+/frames")
    if levels[0] == "$share":
        raise ConfigError("a shared subscription tears streams apart", hint="let one receiver have all frames")


def gateway_of(topic: str, pattern: str) -> str | None:
    """What stands in ``topic`` at the + of ``pattern``; None when the pattern has none."""
    levels, found = pattern.split("/"), topic.split("/")
    return found[levels.index("+")] if "+" in levels and len(found) == len(levels) else None
