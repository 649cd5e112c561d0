"""What the cloud answers, believed only as far as it can be true.

Free of I/O. The watermark of an epoch only grows and never reaches a frame that was not sent; an answer that says
otherwise, that is for another gateway or about an epoch not known here is ignored and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgetwin.clock import NS, Clock
from edgetwin.codec.acks import Ack
from edgetwin.uplink.port import Outbox
from edgetwin.uplink.schedule import Schedule

KEY_EVERY_S = 10.0
"""A key frame costs many bytes: requests for one are met no more often."""

EPOCHS_MAX = 64


class Ignored(StrEnum):
    """Why an answer was not believed."""

    MALFORMED = "malformed"
    OTHER_GATEWAY = "other_gateway"
    OTHER_EPOCH = "other_epoch"
    FUTURE = "future"
    BACKWARD = "backward"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ignored`` says why, None when the answer was taken; ``freed`` frames left the outbox."""

    ignored: Ignored | None
    freed: int = 0


class Answers:
    """Takes answers for one outbox and its schedule."""

    def __init__(self, outbox: Outbox, schedule: Schedule, clock: Clock) -> None:
        self._outbox = outbox
        self._schedule = schedule
        self._clock = clock
        self._watermarks: dict[int, int] = {}
        self._key_ns: int | None = None

    def take(self, ack: Ack) -> Verdict:
        """Free what is acknowledged, note what is asked for again, pass on a request for a key frame."""
        if ack.gateway != self._outbox.gateway:
            return Verdict(Ignored.OTHER_GATEWAY)
        position = self._outbox.locate((ack.epoch, max(ack.through, 0)))
        if position is None:
            return Verdict(Ignored.OTHER_EPOCH)
        if ack.through < self._watermarks.get(ack.epoch, -1):
            return Verdict(Ignored.BACKWARD)
        if ack.through >= 0 and position >= self._schedule.unsent():
            return Verdict(Ignored.FUTURE)
        freed = self._free(ack)
        self._schedule.requests.ask(self._ranges(ack))
        if ack.key:
            self._request_key()
        return Verdict(None, freed)

    def _free(self, ack: Ack) -> int:
        if ack.through < 0:
            return 0
        self._watermarks[ack.epoch] = ack.through
        while len(self._watermarks) > EPOCHS_MAX:
            del self._watermarks[next(iter(self._watermarks))]
        freed = self._outbox.acknowledge((ack.epoch, ack.through))
        if freed:
            self._schedule.acknowledged()
        return freed

    def _ranges(self, ack: Ack) -> list[tuple[int, int]]:
        found = [(self._outbox.locate((ack.epoch, first)), last - first + 1) for first, last in ack.resend]
        return [(position, position + count) for position, count in found if position is not None]

    def _request_key(self) -> None:
        now = self._clock.monotonic_ns()
        if self._key_ns is None or now - self._key_ns >= KEY_EVERY_S * NS:
            self._key_ns = now
            self._outbox.request_key()
