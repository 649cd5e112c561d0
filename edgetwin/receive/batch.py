"""What one commit makes durable, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from edgetwin.codec.acks import Ack
from edgetwin.codec.frames import Frame
from edgetwin.receive.sequence import Progress
from edgetwin.records import CORRECTION, Event

GapKind = Literal["missing", "filled", "lost"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames ``first..last`` of an epoch, noticed at ``noticed_ns``: ``missing`` (skipped), ``filled`` (came late after
    all) or ``lost`` (named by a gap record); ``values`` is how many values they held, 0 when unknown."""

    noticed_ns: int
    gateway: str
    epoch: int
    first: int
    last: int
    kind: GapKind
    reason: str
    values: int


@dataclass(frozen=True, slots=True)
class Correction:
    """The state told for (``gateway``, ``twin``, ``state``) at ``t_ns`` as it is known since frame ``seq``."""

    gateway: str
    twin: str
    state: str
    t_ns: int
    mean: float
    std: float
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class RunFrame:
    """A frame as it came, of the run that began with frame ``key``: coming ones may continue it."""

    gateway: str
    epoch: int
    key: int
    seq: int
    data: bytes


@dataclass(slots=True)
class Batch:
    """``late`` are those of ``frames`` that came after later ones of their epoch; ``progress`` is that of every epoch
    that changes, with the version which it replaces; ``acks`` may be told once the batch is durable."""

    frames: list[Frame] = field(default_factory=list)
    late: list[Frame] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    runs: list[RunFrame] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to store."""
        return bool(self.frames or self.gaps or self.progress)

    def corrections(self) -> list[Correction]:
        """The corrections in the frames, older before newer."""
        found = [correction for frame in self.frames for correction in _corrections(frame)]
        return sorted(found, key=lambda c: c.seq)


def _corrections(frame: Frame) -> Iterator[Correction]:
    for event in frame.events:
        if event.kind == CORRECTION:
            found = _correction(frame, event)
            if found is not None:
                yield found


def _correction(frame: Frame, event: Event) -> Correction | None:
    twin, state, mean, std = (event.data.get(key) for key in ("twin", "state", "mean", "std"))
    if not isinstance(twin, str) or not isinstance(state, str):
        return None
    if not isinstance(mean, int | float) or not isinstance(std, int | float):
        return None
    return Correction(frame.gateway, twin, state, event.t_ns, float(mean), float(std), frame.epoch, frame.seq)
