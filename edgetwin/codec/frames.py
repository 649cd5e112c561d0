"""Frames: what a gateway tells the cloud, each a self-contained msgpack map. docs/frames.md is the specification.

The last pair of the map is ``crc``, a uint32 over every byte before its own four; so nothing in a frame can change
unnoticed, and nobody has to encode it again to check it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgpack

from edgetwin.codec import columns as table
from edgetwin.codec import plain
from edgetwin.codec.contents import Frame, FrameGap, event_from_wire, event_to_wire, integer, items, text
from edgetwin.codec.limits import (
    COLUMNS_MAX,
    EVENTS_MAX,
    FRAME_BYTES_MAX,
    GAPS_MAX,
    GATEWAY_CHARS_MAX,
    I64_MAX,
    I64_MIN,
    RAW_BYTES_MAX,
    U64_MAX,
)
from edgetwin.errors import FrameError
from edgetwin.records import Event, Report

__all__ = ["VERSION", "Frame", "FrameGap", "FrameTooLargeError", "decode_frame", "encode_frame"]

VERSION = 1

_KEYS = ("v", "gateway", "epoch", "seq", "t0", "t1", "codec", "columns", "payload", "events", "gaps", "crc")
_PAIRS = 0x80 | len(_KEYS)
_FIRST_KEY = b"\xa1v"
_CRC_HEAD = b"\xa3crc\xce"
_CRC_BYTES = 4
_SHORTEST = 1 + len(_FIRST_KEY) + 1 + len(_CRC_HEAD) + _CRC_BYTES
_NEWEST = 0x7F


class FrameTooLargeError(FrameError):
    """The reports do not fit one frame; split them."""


def encode_frame(
    reports: Sequence[Report],
    gateway: str,
    epoch: int,
    seq: int,
    events: Sequence[Event] = (),
    gaps: Sequence[FrameGap] = (),
) -> bytes:
    """One frame; ``epoch`` and ``seq`` are unsigned 64-bit.

    FrameTooLargeError when it passes a bound of :mod:`edgetwin.codec.limits`, FrameError when an argument
    cannot be written.
    """
    if plain.raw_size(reports) > RAW_BYTES_MAX:
        raise FrameTooLargeError(f"the reports take more than {RAW_BYTES_MAX} bytes")
    distinct, indices = table.gather(reports)
    if len(distinct) > COLUMNS_MAX:
        raise FrameTooLargeError(f"the reports have more than {COLUMNS_MAX} columns")
    t0, t1 = _span(reports)
    body = _pack(
        VERSION,
        _gateway(gateway),
        integer("epoch", epoch, 0, U64_MAX),
        integer("seq", seq, 0, U64_MAX),
        t0,
        t1,
        plain.CODEC,
        table.to_wire(distinct),
        plain.encode(reports, indices),
        items("events", [event_to_wire(event) for event in events], EVENTS_MAX),
        items("gaps", [gap.to_wire() for gap in gaps], GAPS_MAX),
    )
    if len(body) + _CRC_BYTES > FRAME_BYTES_MAX:
        raise FrameTooLargeError(f"the frame takes more than {FRAME_BYTES_MAX} bytes")
    return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "big")


def decode_frame(data: bytes) -> Frame:
    """The frame in ``data``. FrameError, and nothing else, when it is not exactly one whole frame."""
    _check_envelope(data)
    found = _unpack(data)
    if found["codec"] != plain.CODEC:
        raise FrameError("the codec of the frame is unknown", hint="update the receiver")
    if type(found["payload"]) is not bytes:
        raise FrameError("payload is not binary")
    reports = plain.decode(found["payload"], table.from_wire(found["columns"]))
    t0, t1 = integer("t0", found["t0"], I64_MIN, I64_MAX), integer("t1", found["t1"], I64_MIN, I64_MAX)
    if (t0, t1) != _span(reports):
        raise FrameError("t0 and t1 are not the first and last time of the reports")
    return Frame(
        gateway=_gateway(found["gateway"]),
        epoch=integer("epoch", found["epoch"], 0, U64_MAX),
        seq=integer("seq", found["seq"], 0, U64_MAX),
        t0=t0,
        t1=t1,
        codec=plain.CODEC,
        reports=reports,
        events=tuple(event_from_wire(event) for event in items("events", found["events"], EVENTS_MAX)),
        gaps=tuple(FrameGap.from_wire(gap) for gap in items("gaps", found["gaps"], GAPS_MAX)),
    )


def _span(reports: Sequence[Report]) -> tuple[int, int]:
    times = [report.t_ns for report in reports] or [0]
    return min(times), max(times)


def _gateway(name: object) -> str:
    if not 1 <= len(text("gateway", name)) <= GATEWAY_CHARS_MAX:
        raise FrameError(f"gateway is not a name of 1 to {GATEWAY_CHARS_MAX} characters")
    return text("gateway", name)


def _pack(*values: Any) -> bytes:
    """Everything up to the four bytes of the checksum."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(len(_KEYS))
    try:
        for key, value in zip(_KEYS, values, strict=False):
            packer.pack(key)
            packer.pack(value)
    except (ValueError, TypeError, OverflowError) as exc:  # a lone surrogate in a name, for one
        raise FrameError(f"the frame cannot be written ({exc})") from exc
    body: bytes = packer.bytes()
    return body + _CRC_HEAD


def _check_envelope(data: bytes) -> None:
    """Version and checksum, before anything is parsed."""
    if not _SHORTEST <= len(data) <= FRAME_BYTES_MAX:
        raise FrameError(f"a frame has {_SHORTEST} to {FRAME_BYTES_MAX} bytes, not {len(data)}")
    version = data[3]
    if data[0] & 0xF0 != 0x80 or data[1:3] != _FIRST_KEY or not 1 <= version <= _NEWEST:
        raise FrameError("not a frame")
    if version > VERSION:
        raise FrameError(f"format version {version} is newer than {VERSION}", hint="update the receiver")
    if data[0] != _PAIRS or data[-9:-4] != _CRC_HEAD:
        raise FrameError("the frame is cut or damaged")
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
        raise FrameError("the checksum does not match: the frame is damaged")


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        # The bound on arrays matters: msgpack makes room for what a header claims before it has seen it.
        found = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0, max_array_len=3 * COLUMNS_MAX)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, msgpack.UnpackException) as exc:
        raise FrameError(f"the frame is not msgpack ({type(exc).__name__})") from exc
    if type(found) is not dict or tuple(found) != _KEYS:
        raise FrameError("the keys of the frame are not those of its version")
    return found
