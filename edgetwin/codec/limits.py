"""Bounds of a frame. The encoder refuses to pass them and the decoder to believe what does."""

from __future__ import annotations

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
I64_MIN, I64_MAX = -(2**63), 2**63 - 1

FRAME_BYTES_MAX = 4 * 1024 * 1024
RAW_BYTES_MAX = 16 * 1024 * 1024
GATEWAY_CHARS_MAX = 128
COLUMNS_MAX = 65_536
EVENTS_MAX = 4_096
EVENT_FIELDS_MAX = 64
GAPS_MAX = 4_096
