"""Frames that wait for the cloud's acknowledgement, in order, within a bound.

Every sequence number is either in the outbox, acknowledged, or named in a gap record that a later frame carries.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgpack

from edgetwin.codec.frames import encode_frame
from edgetwin.errors import JournalError
from edgetwin.records import Gap, Report

OUTCOMES = ("enqueued", "sent", "acknowledged", "dropped", "failed")


class Outbox:
    """Bounded by ``bytes_max``; when full, the oldest frame that is not in flight makes room and a gap is recorded.

    ``changed`` is set whenever there may be something new to send. ``counters`` counts frames by OUTCOMES.
    """

    def __init__(self, gateway: str, bytes_max: int) -> None:
        self.epoch = secrets.randbits(64)
        self.next_sequence = 0
        self.backlog_bytes = 0
        self.bytes_sent = 0
        self.counters: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.changed = asyncio.Event()
        self._gateway = gateway
        self._bytes_max = bytes_max
        self._frames: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._in_flight: set[tuple[int, int]] = set()
        self._gaps: list[Gap] = []

    def __len__(self) -> int:
        """Frames not yet acknowledged."""
        return len(self._frames)

    def put(self, reports: Sequence[Report], events: Sequence[Any] = ()) -> int:
        """Encode a frame and keep it until it is acknowledged; returns its sequence number."""
        gaps, self._gaps = self._gaps, []
        sequence = self.next_sequence
        frame = encode_frame(reports, self._gateway, self.epoch, sequence, events, gaps)
        self.next_sequence += 1
        self._frames[self.epoch, sequence] = frame
        self.backlog_bytes += len(frame)
        self.counters["enqueued"] += 1
        self._evict()
        self.changed.set()
        return sequence

    def take(self) -> tuple[tuple[int, int], bytes] | None:
        """The oldest frame that is not in flight, now in flight; None when there is none."""
        for key, frame in self._frames.items():
            if key not in self._in_flight:
                self._in_flight.add(key)
                self.counters["sent"] += 1
                self.bytes_sent += len(frame)
                return key, frame
        return None

    def acknowledge(self, key: tuple[int, int]) -> None:
        """The cloud has it: forget the frame."""
        self._in_flight.discard(key)
        frame = self._frames.pop(key, None)
        if frame is not None:
            self.backlog_bytes -= len(frame)
            self.counters["acknowledged"] += 1
            self.changed.set()

    def release(self, key: tuple[int, int]) -> None:
        """The attempt failed: the frame may be taken again."""
        if key in self._in_flight:
            self._in_flight.discard(key)
            self.counters["failed"] += 1
            self.changed.set()

    def _evict(self) -> None:
        newest = next(reversed(self._frames))
        while self.backlog_bytes > self._bytes_max:
            victim = next((k for k in self._frames if k not in self._in_flight and k != newest), None)
            if victim is None:
                return
            self.backlog_bytes -= len(self._frames.pop(victim))
            self.counters["dropped"] += 1
            self._record_gap(victim)

    def _record_gap(self, key: tuple[int, int]) -> None:
        epoch, sequence = key
        if epoch != self.epoch:
            return  # of a former run; its receiver sees the missing number itself
        last = self._gaps[-1] if self._gaps else None
        if last is not None and last.last + 1 == sequence:
            last.last, last.count = sequence, last.count + 1
        else:
            self._gaps.append(Gap(sequence, sequence, "outbox_full", 1))

    def snapshot(self, *, clean: bool) -> bytes:
        """What must survive a stop. ``clean`` says that no frame will be made after it: numbering may then go on."""
        return bytes(
            msgpack.packb(
                {
                    "epoch": self.epoch,
                    "next": self.next_sequence,
                    "clean": clean,
                    "frames": [[*key, frame] for key, frame in self._frames.items()],
                    "gaps": [[g.first, g.last, g.reason, g.count] for g in self._gaps],
                }
            )
        )

    def restore(self, blob: bytes) -> None:
        """Take over frames of a former run, and its numbering if it ended cleanly; else this run has an epoch of its own.

        Raises JournalError when the snapshot cannot be read.
        """
        try:
            saved = msgpack.unpackb(blob)
            frames = [((int(e), int(s)), bytes(frame)) for e, s, frame in saved["frames"]]
            gaps = [Gap(*g) for g in saved["gaps"]]
            clean, epoch, following = bool(saved["clean"]), int(saved["epoch"]), int(saved["next"])
        except Exception as exc:  # whatever a damaged map raises
            raise JournalError(f"outbox snapshot cannot be read: {exc!r}") from exc
        if clean:
            self.epoch, self.next_sequence, self._gaps = epoch, following, gaps
        for key, frame in frames:
            self._frames[key] = frame
            self.backlog_bytes += len(frame)
        if frames:
            self.changed.set()
