"""Frames: sequence-numbered summaries for the cloud. docs/frames.md is the specification."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import FrameError
from edgetwin.records import Gap, Report

VERSION = 1
CODEC = "plain-1"
FRAME_BYTES_MAX = 64 * 1024 * 1024
PAYLOAD_BYTES_MAX = 256 * 1024 * 1024
_SIGNED = ("v", "gateway", "epoch", "seq", "t0", "t1", "codec", "columns", "payload", "events", "gaps")
_HEAD = struct.Struct("<qI")
_VALUE_BYTES = 4 + 8 + 8 + 1

Column = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame; ``reports`` are in the order in which they were made."""

    gateway: str
    epoch: int
    sequence: int
    t0_ns: int
    t1_ns: int
    reports: tuple[Report, ...]
    events: tuple[Any, ...]
    gaps: tuple[Gap, ...]


def encode_frame(
    reports: Sequence[Report],
    gateway: str,
    epoch: int,
    sequence: int,
    events: Sequence[Any] = (),
    gaps: Sequence[Gap] = (),
) -> bytes:
    """One frame of ``reports``; values survive bit for bit."""
    columns: dict[Column, int] = {}
    body = b"".join(_encode_report(report, columns) for report in reports)
    times = [report.t_ns for report in reports] or [0]
    fields = {
        "v": VERSION,
        "gateway": gateway,
        "epoch": epoch,
        "seq": sequence,
        "t0": min(times),
        "t1": max(times),
        "codec": CODEC,
        "columns": _grouped(columns),
        "payload": zlib.compress(body, 1),
        "events": list(events),
        "gaps": [[g.first, g.last, g.reason, g.count] for g in gaps],
    }
    return bytes(msgpack.packb({**fields, "crc": _checksum(fields)}))


def decode_frame(data: bytes) -> Frame:
    """The frame in ``data``. Raises FrameError on anything that :func:`encode_frame` could not have made."""
    if len(data) > FRAME_BYTES_MAX:
        raise FrameError(f"frame of {len(data)} bytes, at most {FRAME_BYTES_MAX} are read")
    try:
        fields = msgpack.unpackb(data, strict_map_key=True)
    except Exception as exc:  # msgpack raises a family of its own, ValueError and RecursionError
        raise FrameError(f"frame is not msgpack: {exc!r}") from exc
    _check_fields(fields)
    try:
        columns = [(t, s, u) for t, states in fields["columns"] for s, u in states]
        gaps = tuple(Gap(first, last, reason, count) for first, last, reason, count in fields["gaps"])
        reports = tuple(_decode_reports(_inflate(fields["payload"]), columns))
    except (TypeError, ValueError, IndexError, struct.error, zlib.error) as exc:
        raise FrameError(f"frame cannot be read: {exc}") from exc
    return Frame(
        fields["gateway"],
        fields["epoch"],
        fields["seq"],
        fields["t0"],
        fields["t1"],
        reports,
        tuple(fields["events"]),
        gaps,
    )


def _checksum(fields: dict[str, Any]) -> int:
    return zlib.crc32(msgpack.packb([fields[name] for name in _SIGNED]))


def _check_fields(fields: Any) -> None:
    if not isinstance(fields, dict) or not isinstance(fields.get("v"), int):
        raise FrameError("not a frame: no map with a format version")
    if fields["v"] != VERSION:
        raise FrameError(f"frame of format {fields['v']}, this release reads {VERSION}", hint="update the receiver")
    kinds = {"gateway": str, "epoch": int, "seq": int, "t0": int, "t1": int, "codec": str, "crc": int}
    kinds |= {"columns": list, "payload": bytes, "events": list, "gaps": list}
    for name, kind in kinds.items():
        if type(fields.get(name)) is not kind:
            raise FrameError(f"frame field {name!r} is missing or not {kind.__name__}")
    if fields["codec"] != CODEC:
        raise FrameError(f"frame of codec {fields['codec']!r}, this release reads {CODEC!r}")
    if _checksum(fields) != fields["crc"]:
        raise FrameError("frame fails its checksum")


def _grouped(columns: dict[Column, int]) -> list[Any]:
    """[[twin, [[state, unit], ...]], ...] in order; a twin's name once for a run of its states."""
    groups: list[Any] = []
    for twin, state, unit in columns:
        if not groups or groups[-1][0] != twin:
            groups.append([twin, []])
        groups[-1][1].append([state, unit])
    return groups


def _encode_report(report: Report, columns: dict[Column, int]) -> bytes:
    index = np.array([columns.setdefault(c, len(columns)) for c in report.columns], "<u4")
    return b"".join(
        (
            _HEAD.pack(report.t_ns, len(report)),
            index.tobytes(),
            report.mean.astype("<f8").tobytes(),
            report.std.astype("<f8").tobytes(),
            report.quality.astype("u1").tobytes(),
        )
    )


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    body = inflater.decompress(payload, PAYLOAD_BYTES_MAX)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("payload is cut, too long or followed by something else")
    return body


def _decode_reports(body: bytes, columns: list[Column]) -> list[Report]:
    reports, at = [], 0
    while at < len(body):
        t_ns, n = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        if at + n * _VALUE_BYTES > len(body):
            raise ValueError("a report is longer than its payload")

        def part(dtype: str, count: int = n) -> NDArray[Any]:
            nonlocal at
            array = np.frombuffer(body, dtype, count, at).copy()
            at += array.nbytes
            return array

        index, mean, std, quality = part("<u4"), part("<f8"), part("<f8"), part("u1")
        reports.append(Report(t_ns, tuple(columns[k] for k in index.tolist()), mean, std, quality))
    return reports
