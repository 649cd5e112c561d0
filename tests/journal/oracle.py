"""What a journal must hold, kept beside it in plain dictionaries."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgetwin.journal import Class, Gap, Group, Journal, Kind, Recovered
from edgetwin.journal.gaps import FrameKey

HISTORY = (Kind.EVENT, Kind.AUDIT, Kind.INTENT, Kind.RESULT)


@dataclass
class Contents:
    """One version of the truth. ``state``: payloads since the base, ``history``: payloads in order."""

    frames: dict[FrameKey, bytes] = field(default_factory=dict)
    state: list[bytes] = field(default_factory=list)
    positions: bytes | None = None
    history: list[bytes] = field(default_factory=list)
    carried: dict[FrameKey, tuple[Gap, ...]] = field(default_factory=dict)

    def copy(self) -> Contents:
        return Contents(dict(self.frames), list(self.state), self.positions, list(self.history), dict(self.carried))

    def apply(self, epoch: int, group: Group) -> None:
        """What the group changes."""
        if any(item.kind == Kind.STATE_BASE for item in group.items):
            self.state = []
        for item in group.items:
            if item.kind == Kind.FRAME:
                self.frames[epoch, item.sequence] = item.payload
            elif item.kind in (Kind.STATE_BASE, Kind.STATE_DELTA):
                self.state.append(item.payload)
            elif item.kind == Kind.POSITIONS:
                self.positions = item.payload
            else:
                self.history.append(item.payload)
        for sequence, gaps in group.carried.items():
            self.carried[epoch, sequence] = gaps


class Oracle:
    """``sure`` is confirmed; the groups ``open`` are of a commit that did not return: all there, or none."""

    def __init__(self) -> None:
        self.sure = Contents()
        self.open: list[Group] = []
        self.open_epoch = 0
        self.acked: dict[int, int] = {}
        self.acked_maybe: dict[int, int] = {}
        self.gone: set[FrameKey] = set()
        self.epochs: set[int] = set()

    def confirmed(self) -> None:
        for group in self.open:
            self.sure.apply(self.open_epoch, group)
        self.open = []
        self.acked.update(self.acked_maybe)

    def acknowledge(self, epoch: int, through: int) -> None:
        self.acked_maybe[epoch] = through
        for key in [k for k in self.sure.carried if k[0] == epoch and k[1] <= through]:
            for gap in self.sure.carried.pop(key):
                if gap.kind == Kind.FRAME and gap.reason != "epoch_ended":
                    self.gone |= {(gap.epoch, sequence) for sequence in range(gap.first, gap.last + 1)}

    def check(self, journal: Journal, found: Recovered | None = None) -> None:
        """The journal holds what was confirmed, once, and open groups whole or not at all."""
        frames = [(f.key, f.payload) for f in journal.frames()]
        got = dict(frames)
        assert len(got) == len(frames), "a frame is read twice"
        state = [payload for _, payload in journal.state()]
        history = [r.payload for r in journal.history(*HISTORY)]
        index = journal._index
        self._check_gaps(index.gaps, got)
        for count in (len(self.open), 0):
            truth = self.sure.copy()
            for group in self.open[:count]:
                truth.apply(self.open_epoch, group)
            if state == truth.state and journal.positions() == truth.positions and history == truth.history:
                wanted = {k: v for k, v in truth.frames.items() if not self._may_lack(k)}
                if wanted.items() <= got.items() <= truth.frames.items():
                    self.sure, self.open = truth, []
                    break
        else:
            raise AssertionError("what is read is neither with nor without the groups under way")
        if found is not None:
            assert found.counts.lost == 0, f"loss is claimed that was none: {found.counts}"
            assert not found.gaps and not found.state_behind
            assert found.epoch not in self.epochs
            self.epochs.add(found.epoch)
            self.acked_maybe = {e: max(t, self.acked.get(e, -1)) for e, t in index.acks.items()} | self.acked_maybe

    def _may_lack(self, key: FrameKey) -> bool:
        return key[1] <= self.acked_maybe.get(key[0], -1) or key in self.gone

    def _check_gaps(self, gaps: Iterable[Gap], got: dict[FrameKey, bytes]) -> None:
        for gap in gaps:
            if gap.kind != Kind.FRAME or gap.reason == "epoch_ended":
                continue
            assert gap.reason in ("evicted", "aged_out"), gap
            assert gap.records == gap.last - gap.first + 1
            keys = {(gap.epoch, sequence) for sequence in range(gap.first, gap.last + 1)}
            assert not keys & got.keys(), "a frame is in a gap and is read"
            self.gone |= keys


def random_group(rng: random.Random, journal: Journal, base: bool, tag: str) -> Group:
    """Frames, state, positions and history in random amounts."""
    group = Group()
    if base:
        group.base([payload(rng, f"{tag} base {k}") for k in range(rng.randint(1, 3))], f"{tag} base".encode())
    for k in range(rng.choice([0, 0, 1, 2])):
        group.delta(payload(rng, f"{tag} delta {k}"))
    if rng.random() < 0.7:
        group.positions(f"{tag} positions".encode())
    for k in range(rng.choice([0, 1, 1, 2, 4])):
        number = journal.take_frame_number()
        gaps = tuple(journal.gaps()[:3]) if k == 0 and rng.random() < 0.3 and not group.carried else ()
        cls = rng.choice([Class.DATA, Class.DATA, Class.EVENT])
        group.frame(number, payload(rng, f"{tag} frame {number}"), cls=cls, values=number % 7, gaps=gaps)
    if rng.random() < 0.1:
        group.history(rng.choice(HISTORY), f"{tag} history".encode())
    return group


def payload(rng: random.Random, text: str) -> bytes:
    """Bytes that say what they are, of a random length."""
    return text.encode() + rng.randbytes(rng.choice([0, 10, 100, 700, 1500]))
