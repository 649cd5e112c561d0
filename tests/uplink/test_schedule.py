"""What goes next, under a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from edgetwin.clock import NS, ManualClock
from edgetwin.uplink.queued import Queued
from edgetwin.uplink.schedule import AHEAD_FRAMES_MAX, LAG_FRAMES, Lane, Schedule, Window
from tests.codec.build import T0, report
from tests.uplink.stores import Make, in_journal, in_memory

QUIET_S = 5.0
WIDE = Window(10_000, 1 << 40)
NARROW = Window(4, 1 << 40)


@pytest.fixture(autouse=True, params=[in_memory, in_journal])
def _either_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "make_outbox", staticmethod(request.param), raising=False)


@dataclass
class Bench:
    """An outbox and its schedule under a clock that stands still; ``sent`` are sequence numbers in order."""

    bandwidth: float | None = None
    ack_wait_s: float | None = 180.0
    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[int] = field(default_factory=list)
    make_outbox: ClassVar[Make]

    def __post_init__(self) -> None:
        self.keys = 0
        self.outbox = self.make_outbox()
        self.outbox.request_key = self.count_key  # type: ignore[method-assign]
        self.schedule = Schedule(
            self.outbox, self.clock, bandwidth=self.bandwidth, ack_wait_s=self.ack_wait_s, quiet_s=QUIET_S
        )
        self.schedule.begin()

    def count_key(self) -> None:
        self.keys += 1

    def make(self, n: int = 1) -> None:
        for i in range(n):
            self.outbox.put([report(T0 + i)])

    def take(self, window: Window = WIDE) -> Queued | None:
        queued = self.schedule.take(Lane.LIVE, window) or self.schedule.take(Lane.BACKLOG, window)
        if queued is not None:
            self.sent.append(queued.key[1])
        return queued

    def fill(self, window: Window = WIDE) -> list[int]:
        """Everything that may go now; what went."""
        before = len(self.sent)
        while self.take(window) is not None:
            pass
        return self.sent[before:]

    def deliver(self, *seqs: int) -> None:
        for seq in seqs:
            position = self.outbox.locate((7, seq))
            assert position is not None and self.schedule.delivered(position)

    def acknowledge(self, through: int) -> None:
        assert self.outbox.acknowledge((7, through))
        self.schedule.acknowledged()

    def pass_s(self, seconds: float) -> bool:
        self.clock.advance(round(seconds * NS))
        return self.schedule.tick()


def test_a_few_frames_go_in_the_order_in_which_they_were_made() -> None:
    bench = Bench()
    bench.make(LAG_FRAMES)
    assert bench.fill() == list(range(LAG_FRAMES))
    assert bench.keys == 0 and not bench.schedule.split


def test_after_an_outage_live_frames_go_first_from_a_key_frame_on_and_the_backlog_follows_in_order() -> None:
    bench = Bench()
    bench.make(200)
    assert bench.fill(NARROW) == [0, 1, 2, 3]
    assert bench.keys == 1 and bench.schedule.split
    bench.make(2)
    assert bench.fill(NARROW) == [200, 201], "the live lane has room of its own"
    bench.deliver(0, 1, 200, 201)
    assert bench.fill(NARROW) == [4, 5]
    bench.make()
    assert bench.fill(NARROW) == [202]
    rest = [*range(2, 6), 202]
    while rest:
        bench.deliver(*rest)
        rest = bench.fill(NARROW)
    assert bench.sent.count(202) == 1
    assert [s for s in bench.sent if s < 200] == list(range(200))
    assert not bench.schedule.split
    bench.make()
    assert bench.fill() == [203] and bench.keys == 1


def test_the_live_lane_begins_at_a_key_frame() -> None:
    bench = Bench()
    bench.make(200)
    bench.fill(NARROW)
    original = bench.outbox.read

    def read(position: int) -> Queued | None:
        queued = original(position)
        if queued is None or queued.key[1] not in (200, 201):
            return queued
        return replace(queued, run=0)

    bench.outbox.read = read  # type: ignore[method-assign]
    bench.make(4)
    assert bench.fill(NARROW) == [202, 203], "200 and 201 cannot be decoded without the backlog"
    done = [0, 1, 2, 3, 202, 203]
    while done:
        bench.deliver(*done)
        done = bench.fill(NARROW)
    assert sorted(bench.sent) == list(range(204))
    assert [s for s in bench.sent if s < 202] == list(range(202)), "the run before the key frame keeps its order"


def test_when_the_live_lane_falls_behind_the_newest_still_go_first() -> None:
    bench = Bench()
    bench.make(200)
    bench.fill(NARROW)
    bench.make(LAG_FRAMES + 10)
    assert bench.fill(NARROW) == [200]
    assert bench.keys == 2, "and now a key frame is wanted from which the newest can be decoded"
    bench.make()
    assert bench.fill(NARROW) == [200 + LAG_FRAMES + 10]


def test_a_lost_connection_repeats_what_was_on_its_way_and_nothing_else() -> None:
    bench = Bench()
    bench.make(10)
    bench.fill()
    bench.deliver(0, 1, 2, 5)
    assert bench.schedule.lose() == 6
    bench.schedule.begin()
    assert bench.fill() == [3, 4, 6, 7, 8, 9]


def test_flaps_make_progress_and_repeat_no_more_than_the_window() -> None:
    """Each connection lives for the delivery of one frame."""
    bench = Bench()
    bench.make(300)
    for _ in range(300):
        bench.schedule.begin()
        went = bench.fill(NARROW)
        assert 1 <= len(went) <= 8
        bench.deliver(went[0])
        bench.schedule.lose()
    assert len(bench.sent) <= 300 * 4
    assert bench.schedule.landed() == bench.outbox.end, "everything has arrived"


def test_bandwidth_is_kept_live_frames_first() -> None:
    bench = Bench(bandwidth=2_000.0)
    bench.make(500)
    size = len(bench.outbox.read(0).data)  # type: ignore[union-attr]
    first = bench.fill()  # the link comes up
    bench.deliver(*first)
    went_bytes, seconds, live_late = size * len(first), 60, 0
    for _ in range(seconds):
        newest = bench.outbox.end
        bench.make()  # one live frame a second
        for _ in range(20):
            went = bench.fill()
            went_bytes += size * len(went)
            bench.deliver(*went)
            bench.pass_s(0.05)
        live_late += newest not in bench.sent
    assert live_late == 0, "a live frame waited for more than its second"
    budget = 2_000.0 * (seconds + 1)
    assert budget - 5 * size <= went_bytes <= budget + size, (went_bytes, budget)
    backlog = [s for s in bench.sent if s < 500]
    assert backlog == list(range(len(backlog))) and len(backlog) > 50


def test_delay_tells_when_the_bandwidth_is_there_again() -> None:
    bench = Bench(bandwidth=1_000.0)
    bench.make(30)
    bench.fill()
    for _ in range(20):
        delay_s = bench.schedule.delay_s()
        assert delay_s is not None and delay_s > 0
        bench.pass_s(delay_s + 1e-6)
        assert bench.fill(), "the frame that was waited for"


def test_a_frame_larger_than_the_bucket_still_goes() -> None:
    bench = Bench(bandwidth=64.0)
    bench.make()
    assert bench.fill() == [0]
    bench.make()
    assert bench.fill() == []
    size = len(bench.outbox.read(1).data)  # type: ignore[union-attr]
    bench.pass_s((size + 64) / 64)
    assert bench.fill() == [1]


def test_the_broker_gets_only_so_far_ahead_of_the_receiver_and_live_frames_pass() -> None:
    bench = Bench()
    bench.make(2_000)
    while went := bench.fill(NARROW):
        bench.deliver(*went)
    assert len(bench.sent) == AHEAD_FRAMES_MAX
    bench.make()
    assert bench.fill() == [2_000]
    bench.deliver(2_000)
    bench.acknowledge(99)
    while went := bench.fill(NARROW):
        bench.deliver(*went)
    assert len([s for s in bench.sent if s < 2_000]) == AHEAD_FRAMES_MAX + 100


def test_a_receiver_that_keeps_silent_is_asked_with_one_frame_and_more_and_more_rarely() -> None:
    bench = Bench(ack_wait_s=60.0)
    bench.make(10)
    bench.deliver(*bench.fill())
    assert not bench.pass_s(59)
    waits = []
    for _ in range(4):
        waited = 0
        while not bench.pass_s(1):
            waited += 1
        waits.append(waited)
        assert bench.schedule.unanswered
        assert bench.fill() == [0]
        bench.deliver(0)
    assert waits == [0, 119, 239, 479]
    bench.acknowledge(0)
    assert not bench.schedule.unanswered
    assert bench.fill() == list(range(1, 10)), "whatever the broker had may be lost"


def test_time_without_a_connection_is_not_held_against_the_receiver() -> None:
    bench = Bench(ack_wait_s=60.0)
    bench.make(3)
    bench.deliver(*bench.fill())
    bench.schedule.lose()
    bench.clock.advance(3_600 * NS)
    bench.schedule.begin()
    assert not bench.pass_s(1)
    assert bench.fill() == []


def test_an_acknowledgement_that_overtakes_the_broker_leaves_nothing_to_wait_for() -> None:
    bench = Bench(ack_wait_s=60.0)
    bench.make(2)
    bench.fill()
    bench.acknowledge(1)
    bench.deliver(0, 1)
    assert not bench.pass_s(1_000)
    assert bench.schedule.delay_s() is None


def test_what_is_asked_for_goes_again_once_the_request_cannot_have_crossed_it() -> None:
    bench = Bench()
    bench.make(10)
    bench.deliver(*bench.fill())
    bench.schedule.requests.ask([(3, 5), (8, 9)])
    assert bench.fill() == [], "the request may have been written before they arrived"
    for _ in range(3):
        bench.pass_s(QUIET_S)
    assert bench.fill() == [3, 4, 8]
    bench.deliver(3, 4, 8)
    for _ in range(5):
        bench.pass_s(QUIET_S)
    assert bench.fill() == [], "asked once, sent once"


def test_a_request_replaces_the_one_before() -> None:
    bench = Bench()
    bench.make(10)
    bench.deliver(*bench.fill())
    bench.schedule.requests.ask([(3, 5)])
    bench.pass_s(1)
    bench.schedule.requests.ask([])
    for _ in range(3):
        bench.pass_s(QUIET_S)
    assert bench.fill() == []


@pytest.mark.parametrize("ranges", [[(0, 1 << 70)], [(5, 5 + (1 << 64))] * 256, [(1 << 80, 1 << 81)]])
def test_a_hostile_request_repeats_no_more_than_what_was_sent(ranges: list[tuple[int, int]]) -> None:
    bench = Bench()
    bench.make(10)
    bench.deliver(*bench.fill())
    bench.schedule.requests.ask(ranges)
    for _ in range(3):
        bench.pass_s(QUIET_S)
    assert set(bench.fill()) <= set(range(10))


def test_a_frame_that_the_store_gives_up_is_left_out() -> None:
    bench = Bench()
    bench.make(10)
    bench.fill(NARROW)
    for seq in (0, 1, 6):
        bench.outbox.drop((7, seq), "test")
    bench.deliver(0, 1, 2, 3)
    assert bench.fill() == [4, 5, 7, 8, 9]
    bench.acknowledge(9)
    assert bench.schedule.unsent() == bench.outbox.end
