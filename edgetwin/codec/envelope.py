"""The envelope of a frame: one msgpack map whose last pair is a checksum over every byte before it.

So nothing in a frame can change unnoticed, and nobody has to encode it again to check it. docs/frames.md is the
specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgpack

from edgetwin.codec import columns as table
from edgetwin.codec import summaries
from edgetwin.codec.contents import FrameGap, event_to_wire, integer, items, span, text, unpacked
from edgetwin.codec.limits import COLUMNS_MAX, EVENTS_MAX, FRAME_BYTES_MAX, GAPS_MAX, GATEWAY_CHARS_MAX, U64_MAX
from edgetwin.errors import FrameError
from edgetwin.records import Event, Report, SignalSummary

VERSION = 1

KEYS = ("v", "gateway", "epoch", "seq", "t0", "t1", "codec", "columns", "payload", "signals", "events", "gaps", "crc")
_PAIRS = 0x80 | len(KEYS)
_FIRST_KEY = b"\xa1v"
_CRC_HEAD = b"\xa3crc\xce"
_CRC_BYTES = 4
_SHORTEST = 1 + len(_FIRST_KEY) + 1 + len(_CRC_HEAD) + _CRC_BYTES
_NEWEST = 0x7F


class FrameTooLargeError(FrameError):
    """The reports do not fit one frame; split them."""


def enclose(
    gateway: str,
    epoch: int,
    seq: int,
    reports: Sequence[Report],
    codec: str,
    columns: Sequence[table.Column],
    payload: bytes,
    signals: Sequence[SignalSummary],
    events: Sequence[Event],
    gaps: Sequence[FrameGap],
) -> bytes:
    """The frame of ``payload``, which holds ``reports``. Errors as of :func:`seal`."""
    return seal(
        gateway_name(gateway),
        integer("epoch", epoch, 0, U64_MAX),
        integer("seq", seq, 0, U64_MAX),
        *span(reports),
        codec,
        table.to_wire(columns),
        payload,
        summaries.encode(signals),
        items("events", [event_to_wire(event) for event in events], EVENTS_MAX),
        items("gaps", [gap.to_wire() for gap in gaps], GAPS_MAX),
    )


def seal(*values: Any) -> bytes:
    """The frame of the values of KEYS between ``v`` and ``crc``.

    FrameTooLargeError when it passes FRAME_BYTES_MAX, FrameError when a value cannot be written.
    """
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(len(KEYS))
    try:
        for key, value in zip(KEYS, (VERSION, *values), strict=False):
            packer.pack(key)
            packer.pack(value)
    except (ValueError, TypeError, OverflowError) as exc:  # a lone surrogate in a name, for one
        raise FrameError(f"the frame cannot be written ({exc})") from exc
    body: bytes = packer.bytes() + _CRC_HEAD
    if len(body) + _CRC_BYTES > FRAME_BYTES_MAX:
        raise FrameTooLargeError(f"the frame takes more than {FRAME_BYTES_MAX} bytes")
    return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "big")


def opened(data: bytes) -> dict[str, Any]:
    """The map of a whole frame, its version and checksum checked and its fields not. FrameError for anything else."""
    _check(data)
    found = unpacked("the frame is", data, 3 * COLUMNS_MAX)
    if type(found) is not dict or tuple(found) != KEYS:
        raise FrameError("the keys of the frame are not those of its version")
    return found


def gateway_name(name: object) -> str:
    """The name of a gateway, or FrameError."""
    if not 1 <= len(text("gateway", name)) <= GATEWAY_CHARS_MAX:
        raise FrameError(f"gateway is not a name of 1 to {GATEWAY_CHARS_MAX} characters")
    return text("gateway", name)


def _check(data: bytes) -> None:
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
