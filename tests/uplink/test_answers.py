"""The cloud's answers: a watermark that only grows, never past what was sent (FAULTS: duplicate, future, backward)."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from edgetwin.clock import NS, ManualClock
from edgetwin.codec.acks import Ack
from edgetwin.uplink.answers import KEY_EVERY_S, Answers, Ignored, Verdict
from edgetwin.uplink.schedule import Lane, Schedule, Window
from tests.codec.build import T0, report
from tests.uplink.stores import Committed, Make, after_a_crash, in_journal, in_memory, waiting

WIDE = Window(10_000, 1 << 40)


@pytest.fixture(autouse=True, params=[in_memory, in_journal])
def _either_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "make_outbox", staticmethod(request.param), raising=False)


class Bench:
    """``n`` frames of epoch 7 made, the first ``sent`` of them delivered."""

    make_outbox: ClassVar[Make]

    def __init__(self, n: int, sent: int) -> None:
        self.clock = ManualClock()
        self.outbox = self.make_outbox()
        self.schedule = Schedule(self.outbox, self.clock)
        self.answers = Answers(self.outbox, self.schedule, self.clock)
        for i in range(n):
            self.outbox.put([report(T0 + i)])
        self.schedule.begin()
        for _ in range(sent):
            queued = self.schedule.take(Lane.BACKLOG, WIDE)
            assert queued is not None
            self.schedule.delivered(queued.position)

    def take(self, through: int, *, epoch: int = 7, gateway: str = "g", **more: object) -> Verdict:
        return self.answers.take(Ack(gateway, epoch, through, **more))  # type: ignore[arg-type]


def test_the_watermark_frees_frames_and_only_grows() -> None:
    bench = Bench(10, 6)
    assert bench.take(-1) == Verdict(None, 0)
    assert bench.take(2) == Verdict(None, 3)
    assert bench.take(2) == Verdict(None, 0), "a duplicate says nothing new"
    assert bench.take(1) == Verdict(Ignored.BACKWARD)
    assert bench.take(5) == Verdict(None, 3)
    assert [q.key[1] for q in waiting(bench.outbox)] == [6, 7, 8, 9]


@pytest.mark.parametrize("through", [6, 9, 10, 2**64 - 1])
def test_what_was_never_sent_cannot_be_acknowledged(through: int) -> None:
    bench = Bench(10, 6)
    assert bench.take(through) == Verdict(Ignored.FUTURE)
    assert len(bench.outbox) == 10
    assert bench.take(5).freed == 6


def test_nor_what_waits_behind_live_frames() -> None:
    bench = Bench(200, 10)
    assert bench.schedule.take(Lane.BACKLOG, WIDE) is not None and bench.schedule.split
    bench.outbox.put([report()])
    live = bench.schedule.take(Lane.LIVE, WIDE)
    assert live is not None and live.key == (7, 200)
    bench.schedule.delivered(live.position)
    assert bench.take(200) == Verdict(Ignored.FUTURE)
    assert bench.take(10).freed == 11


def test_other_gateways_and_epochs_free_nothing() -> None:
    bench = Bench(3, 3)
    assert bench.take(2, gateway="h") == Verdict(Ignored.OTHER_GATEWAY)
    assert bench.take(2, epoch=8) == Verdict(Ignored.OTHER_EPOCH)
    assert len(bench.outbox) == 3


def test_what_an_earlier_run_sent_may_be_acknowledged() -> None:
    old = Bench(5, 5).outbox
    if not isinstance(old, Committed):
        pytest.skip("nothing outlives a process but what is in a journal")
    outbox = after_a_crash(old)
    schedule = Schedule(outbox, ManualClock())
    answers = Answers(outbox, schedule, ManualClock())
    outbox.put([report()])
    assert answers.take(Ack("g", outbox.epoch, 0)) == Verdict(Ignored.FUTURE)
    assert answers.take(Ack("g", 7, 4)) == Verdict(None, 5)


def test_frames_given_up_do_not_hold_up_acknowledgements() -> None:
    bench = Bench(6, 3)
    bench.outbox.drop((7, 3), "test")
    while (queued := bench.schedule.take(Lane.BACKLOG, WIDE)) is not None:
        bench.schedule.delivered(queued.position)
    assert bench.take(5) == Verdict(None, 5)


def test_key_frames_are_asked_for_but_not_without_end() -> None:
    bench = Bench(3, 3)
    asked: list[int] = []
    bench.outbox.request_key = lambda: asked.append(1)  # type: ignore[method-assign]
    for _ in range(5):
        bench.take(-1, key=True)
    assert len(asked) == 1
    bench.clock.advance(round(KEY_EVERY_S * NS))
    bench.take(-1, key=True)
    assert len(asked) == 2


def test_a_hostile_cloud_never_frees_what_it_has_not_been_sent() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(30):
        n = rng.randrange(1, 150)
        bench = Bench(n, 0)
        sent: set[int] = set()
        watermark = -1
        for _ in range(60):
            if rng.random() < 0.5 and (queued := bench.schedule.take(Lane.BACKLOG, WIDE)) is not None:
                sent.add(queued.key[1])
                bench.schedule.delivered(queued.position)
            through = rng.choice([rng.randrange(-1, n + 5), max(sent, default=-1), 2**64 - 1])
            resend = tuple((a, a + rng.randrange(50)) for a in rng.sample(range(n + 20), 3))
            before = {q.key[1] for q in waiting(bench.outbox)}
            verdict = bench.take(through, gateway=rng.choice("gggh"), epoch=rng.choice([7, 7, 7, 8]), resend=resend)
            gone = before - {q.key[1] for q in waiting(bench.outbox)}
            assert gone <= sent and len(gone) == verdict.freed
            if gone:
                assert max(gone) > watermark
                watermark = max(gone)
            if rng.random() < 0.3:
                bench.clock.advance(rng.randrange(10) * NS)
                bench.schedule.tick()
