"""The tables in PostgreSQL, as steps from each version to the next; docs/receive.md explains them.

A step that has been released is never changed: what it lacks goes into another.
"""

from __future__ import annotations

from typing import Any

from edgetwin.errors import JournalError

_FIRST = """
CREATE TABLE series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway text NOT NULL, twin text NOT NULL, state text NOT NULL, unit text NOT NULL,
    UNIQUE (gateway, twin, state, unit)
);
CREATE TABLE estimates (
    series integer NOT NULL, t timestamptz NOT NULL,
    mean double precision NOT NULL, std double precision NOT NULL, quality smallint NOT NULL
);
CREATE INDEX estimates_series_t ON estimates (series, t);
CREATE TABLE corrections (
    gateway text NOT NULL, twin text NOT NULL, state text NOT NULL, t timestamptz NOT NULL,
    mean double precision NOT NULL, std double precision NOT NULL,
    epoch numeric(20) NOT NULL, seq numeric(20) NOT NULL,
    PRIMARY KEY (gateway, twin, state, t)
);
CREATE TABLE events (
    gateway text NOT NULL, t timestamptz NOT NULL, kind text NOT NULL, twin text, data jsonb NOT NULL,
    epoch numeric(20) NOT NULL, seq numeric(20) NOT NULL
);
CREATE INDEX events_gateway_t ON events (gateway, t);
CREATE INDEX events_kind_t ON events (kind, t);
CREATE TABLE gaps (
    gateway text NOT NULL, epoch numeric(20) NOT NULL, first numeric(20) NOT NULL, last numeric(20) NOT NULL,
    kind text NOT NULL, reason text NOT NULL, count numeric(20) NOT NULL, noticed timestamptz NOT NULL
);
CREATE INDEX gaps_gateway_noticed ON gaps (gateway, noticed);
CREATE TABLE signals (
    gateway text NOT NULL, twin text NOT NULL, signal text NOT NULL, t timestamptz NOT NULL,
    count bigint NOT NULL, min double precision NOT NULL, max double precision NOT NULL,
    mean double precision NOT NULL, duration double precision NOT NULL, unit text NOT NULL
);
CREATE INDEX signals_gateway_twin_signal_t ON signals (gateway, twin, signal, t);
CREATE TABLE runs (
    n bigint GENERATED ALWAYS AS IDENTITY, gateway text NOT NULL, epoch numeric(20) NOT NULL,
    key numeric(20) NOT NULL, seq numeric(20) NOT NULL, frame bytea NOT NULL,
    PRIMARY KEY (gateway, epoch, key, seq)
);
CREATE TABLE progress (
    gateway text NOT NULL, epoch numeric(20) NOT NULL,
    watermark numeric(20) NOT NULL, missing numeric(20) NOT NULL, frames bigint NOT NULL, rows bigint NOT NULL,
    opened timestamptz, heard timestamptz, last_t timestamptz,
    version bigint NOT NULL, record jsonb NOT NULL,
    PRIMARY KEY (gateway, epoch)
);
CREATE VIEW states AS
    SELECT s.gateway, s.twin, s.state, e.t, e.mean, e.std,
           (ARRAY['good', 'uncertain', 'bad'])[e.quality + 1] AS quality, s.unit
    FROM estimates e JOIN series s ON s.id = e.series;
CREATE VIEW gateways AS
    SELECT DISTINCT ON (gateway)
           gateway, epoch, watermark, missing, frames, rows, opened, heard, last_t,
           now() - last_t AS lag, now() - heard AS silence
    FROM progress WHERE opened IS NOT NULL ORDER BY gateway, opened DESC;
"""

STEPS = (_FIRST,)
TIMESCALE = "timescaledb"

_MIGRATING = 0x65747769


def migrate(cursor: Any, schema: str) -> None:
    """Bring the schema up to date, in the caller's transaction. JournalError when it is newer than this program."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_MIGRATING,))
    cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
    if cursor.fetchone() is None:  # IF NOT EXISTS would want the privilege even where it exists
        cursor.execute(f'CREATE SCHEMA "{schema}"')
    cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL, applied timestamptz NOT NULL)")
    cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
    (version,) = cursor.fetchone()
    if version > len(STEPS):
        raise JournalError(
            f"schema {schema} has version {version}, this program knows {len(STEPS)}", hint="update the receiver"
        )
    for number, step in enumerate(STEPS[version:], version + 1):
        cursor.execute(step)
        cursor.execute("INSERT INTO schema_version VALUES (%s, now())", (number,))
    if version == 0:
        _use_timescale(cursor)


def _use_timescale(cursor: Any) -> None:
    """Estimates as a hypertable, where the database has TimescaleDB."""
    cursor.execute("SELECT 1 FROM pg_extension WHERE extname = %s", (TIMESCALE,))
    if cursor.fetchone() is not None:
        cursor.execute("SELECT create_hypertable('estimates', 't', create_default_indexes => false)")
