"""Frames that the cloud will never take, kept for a look with the reason beside them; bounded in number and bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from edgetwin.uplink.queued import Queued

COUNT_MAX = 256
BYTES_MAX = 16 * 1024 * 1024

log = structlog.get_logger()


class DeadLetters:
    """``{epoch}-{sequence}.frame`` in a directory, and a ``.json`` of gateway, reason and size; when full, the oldest
    go. Without a directory nothing is kept. ``count`` is how many came."""

    def __init__(self, directory: Path | None, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.count = 0
        self._directory = directory
        self._count_max = count_max
        self._bytes_max = bytes_max

    def add(self, queued: Queued, gateway: str, reason: str) -> None:
        """Keep a frame. A disk that refuses is logged: the frames behind it must not wait for it."""
        self.count += 1
        epoch, seq = queued.key
        log.error("frame_dead_lettered", epoch=epoch, seq=seq, reason=reason, directory=str(self._directory or ""))
        if self._directory is None:
            return
        about = {"gateway": gateway, "epoch": epoch, "seq": seq, "reason": reason, "bytes": len(queued.data)}
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"{epoch:016x}-{seq:012d}.frame"
            path.write_bytes(queued.data)
            path.with_suffix(".json").write_bytes(msgspec.json.encode(about))
            self._make_room(self._directory, path)
        except OSError as exc:
            log.error("dead_letter_not_kept", error=str(exc), directory=str(self._directory))

    def _make_room(self, directory: Path, newest: Path) -> None:
        found = sorted((p.stat().st_mtime_ns, p.name, p.stat().st_size, p) for p in directory.glob("*.frame"))
        total = sum(size for _, _, size, _ in found)
        count = len(found)
        for _, _, size, path in found:
            if (count <= self._count_max and total <= self._bytes_max) or path == newest:
                continue
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
            count, total = count - 1, total - size
