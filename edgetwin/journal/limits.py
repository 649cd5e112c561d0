"""Bounds of a journal."""

from __future__ import annotations

from dataclasses import dataclass

from edgetwin.errors import JournalError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """``bytes_max``: all files together. ``segment_bytes``: room reserved at a time; a group larger than that gets a
    segment of its own size. ``reserve_bytes``: held back for a full disk. ``segments_max``: files, whatever their
    size. ``frames_age_s`` (0: for ever) and ``history_age_s``: counted in time that the journal was open, so that a
    step of the clock deletes nothing."""

    bytes_max: int = 512 * MIB
    segment_bytes: int = 4 * MIB
    reserve_bytes: int = MIB // 2
    segments_max: int = 4_096
    frames_age_s: float = 0.0
    history_age_s: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if self.segment_bytes < 4096 or self.bytes_max < 8 * self.segment_bytes + self.reserve_bytes:
            raise JournalError(
                f"a journal of {self.bytes_max} bytes in segments of {self.segment_bytes} is too small",
                hint="allow at least eight segments and the reserve",
            )

    @property
    def budget(self) -> int:
        """What files may take up at rest: below the bound by a segment being begun and one being rewritten."""
        return self.bytes_max - 2 * self.segment_bytes
