"""The file of `edgetwin receive`, as strict as the daemon's; configs/receiver.yaml shows it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgetwin.config.schema import Duration, Log, Strict, Tls
from edgetwin.errors import ConfigError


class MqttFrames(Strict, frozen=True, tag_field="kind", tag="mqtt"):
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


class ServerTls(Strict, frozen=True):
    """Files of a TLS server, relative to the configuration file.

    - cert: the server's certificate chain in PEM
    - key: the private key of ``cert`` in PEM
    - client_ca: authorities in PEM whose client certificates are let in; the certificate's common name (CN) must be the
      gateway's name
    """

    cert: str
    key: str
    client_ca: str | None = None


class HttpFrames(Strict, frozen=True, kw_only=True):
    """The listener that gateways post their frames to.

    - listen: address and port
    - tls: certificate files; plain HTTP when absent
    - tokens: folder of files, each named after a gateway and holding its bearer tokens, one a line
    - anonymous: let in whoever comes; for a listener that a proxy guards
    - body_bytes_max: largest request body
    - pending_bytes_max: bytes of frames that may wait for the store; past it requests get 503
    - answer_within: longest wait for the store before a request gets 503
    - clients_max: most connections
    """

    listen: str
    tls: ServerTls | None = None
    tokens: str | None = None
    anonymous: bool = False
    body_bytes_max: Annotated[int, Meta(ge=4_194_308, le=268_435_456)] = 8_388_608
    pending_bytes_max: Annotated[int, Meta(ge=4_194_304)] = 67_108_864
    answer_within: Duration = Duration(30)
    clients_max: Annotated[int, Meta(ge=1, le=65_535)] = 1_024


class MetricsListener(Strict, frozen=True, kw_only=True):
    """Figures for Prometheus, and `/healthz`.

    - listen: address and port
    - gateways_max: most gateways with series of their own; the ones heard last
    """

    listen: str
    gateways_max: Annotated[int, Meta(ge=0, le=100_000)] = 1_000


class CsvStore(Strict, frozen=True, tag_field="kind", tag="csv"):
    """Growing files: states.csv, events.csv, gaps.csv.

    - path: folder of the files, relative to the configuration file
    - commit_every: the longest that rows wait for the disk; frames are acknowledged after it
    - rows_max: rows that ask for a commit before its time
    - file_bytes_max: size at which another file is begun
    """

    path: str
    commit_every: Duration = Duration(1)
    rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    file_bytes_max: Annotated[int, Meta(ge=1_024)] = 1_073_741_824


class ParquetStore(Strict, frozen=True, tag_field="kind", tag="parquet"):
    """Files states-00000000.parquet and so on, each whole from the moment it has its name; events.csv, gaps.csv.

    - path: folder of the files, relative to the configuration file
    - commit_every: time after which a file is finished that is not full; frames are acknowledged after it
    - rows_max: rows after which a file is finished
    - file_bytes_max: size at which another file of events or gaps is begun
    """

    path: str
    commit_every: Duration = Duration(60)
    rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    file_bytes_max: Annotated[int, Meta(ge=1_024)] = 1_073_741_824


class DuckDbStore(Strict, frozen=True, tag_field="kind", tag="duckdb"):
    """One database file, edgetwin.duckdb.

    - path: folder of the file, relative to the configuration file
    - commit_every: the longest that rows wait for the disk; frames are acknowledged after it
    - rows_max: rows that ask for a commit before its time
    """

    path: str
    commit_every: Duration = Duration(5)
    rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000


class PostgresStore(Strict, frozen=True, kw_only=True, tag_field="kind", tag="postgresql"):
    """A PostgreSQL database; a hypertable where it has TimescaleDB.

    - url: postgresql://[user@]host[:port]/database, or any connection string of libpq
    - password_file: file that holds the password, relative to the configuration file
    - schema: schema of the tables, made when it is missing
    - path: folder of dead letters, relative to the configuration file
    - commit_every: the longest that rows wait for the database; frames are acknowledged after it
    - rows_max: rows that ask for a commit before its time
    """

    url: str
    password_file: str | None = None
    schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "edgetwin"
    path: str = "received"
    commit_every: Duration = Duration(1)
    rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 200_000


AnyStore = CsvStore | ParquetStore | DuckDbStore | PostgresStore


class ShareOf(Strict, frozen=True):
    """The part of the gateways that this process looks after (docs/receive.md).

    - index: which part, from 0
    - of: how many parts there are
    """

    index: Annotated[int, Meta(ge=0)]
    of: Annotated[int, Meta(ge=1, le=1_024)]


class ReceiverConfig(Strict, frozen=True, kw_only=True, dict=True):
    """The whole file.

    - source: broker that frames come from
    - http: listener that frames are posted to
    - store: where states go
    - share: part of the gateways that this process looks after
    - metrics: listener for Prometheus
    - dead_letters: folder of refused payloads, relative to the configuration file; in store.path when absent
    - dead_letters_max: most of them kept; the oldest make room
    - dead_letters_bytes_max: most bytes of them kept
    - idle_exit: stop after so long without a frame; run until stopped when absent
    - log: logging
    """

    source: MqttFrames | None = None
    http: HttpFrames | None = None
    store: AnyStore
    share: ShareOf = ShareOf(0, 1)
    metrics: MetricsListener | None = None
    dead_letters: str | None = None
    dead_letters_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    dead_letters_bytes_max: Annotated[int, Meta(ge=1_024)] = 67_108_864
    idle_exit: Duration | None = None
    log: Log = Log()


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
