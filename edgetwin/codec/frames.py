"""Frames of codec ``plain-1``: each stands alone and is exact to the bit. docs/frames.md is the specification."""

from __future__ import annotations

from collections.abc import Sequence

from edgetwin.codec import columns as table
from edgetwin.codec import plain
from edgetwin.codec.contents import Frame, FrameGap
from edgetwin.codec.decoder import decode_frame
from edgetwin.codec.envelope import VERSION, FrameTooLargeError, enclose, gateway_name
from edgetwin.codec.limits import COLUMNS_MAX, RAW_BYTES_MAX
from edgetwin.records import Event, Report, SignalSummary

__all__ = ["VERSION", "Frame", "FrameGap", "FrameTooLargeError", "PlainEncoder", "decode_frame", "encode_frame"]


def encode_frame(
    reports: Sequence[Report],
    gateway: str,
    epoch: int,
    seq: int,
    events: Sequence[Event] = (),
    gaps: Sequence[FrameGap] = (),
    signals: Sequence[SignalSummary] = (),
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
    payload = plain.encode(reports, indices)
    return enclose(gateway, epoch, seq, reports, plain.CODEC, distinct, payload, signals, events, gaps)


class PlainEncoder:
    """Makes frames of codec ``plain-1`` of one gateway; see :class:`edgetwin.codec.encoder.FrameEncoder`."""

    run = None

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway_name(gateway)

    def request_key(self) -> None:
        """Every frame stands alone."""

    def encode(
        self,
        reports: Sequence[Report],
        epoch: int,
        seq: int,
        events: Sequence[Event] = (),
        gaps: Sequence[FrameGap] = (),
        signals: Sequence[SignalSummary] = (),
    ) -> bytes:
        """As :func:`encode_frame`."""
        return encode_frame(reports, self._gateway, epoch, seq, events, gaps, signals)
