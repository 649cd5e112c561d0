"""The outbox in the journal: what waits, what is evicted, what a stop leaves, what is told."""

from __future__ import annotations

import errno
import gc
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from edgetwin.clock import NS, ManualClock
from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.envelope import opened as envelope
from edgetwin.codec.frames import Frame, FrameGap, PlainEncoder, decode_frame
from edgetwin.errors import FrameError
from edgetwin.journal import Group, Journal, Kind, Limits, RealDisk
from edgetwin.records import CORRECTION, Event
from edgetwin.uplink import cursors
from edgetwin.uplink.cursors import Cursors
from edgetwin.uplink.gaps import RECORDS_LOST
from edgetwin.uplink.journaled import DISK_REFUSED, JournalOutbox
from edgetwin.uplink.schedule import Lane, Schedule, Window
from edgetwin.uplink.store import CONTINUES_LOST
from tests.codec.build import T0, report
from tests.journal.build import copy, restored
from tests.journal.simdisk import PowerCut, SimDisk
from tests.uplink.cloud import Cloud
from tests.uplink.stores import Committed, opened, waiting

WIDE = Window(10_000, 1 << 40)
TIGHT = Limits(bytes_max=96 * 1024, segment_bytes=8192, reserve_bytes=0)


def disk_of(seed: int = 0) -> SimDisk:
    return SimDisk(random.Random(seed))


def put(outbox: JournalOutbox, first: int, stop: int, **more: object) -> None:
    for i in range(first, stop):
        outbox.put([report(T0 + i * NS, seed=i)], **more)  # type: ignore[arg-type]
        assert outbox.account.balanced


def keys(outbox: JournalOutbox) -> list[tuple[int, int]]:
    return [queued.key for queued in waiting(outbox)]


def gaps_of(data: bytes) -> list[FrameGap]:
    return [FrameGap.from_wire(wire) for wire in envelope(data)["gaps"]]


def failing(operation: str, code: int = errno.EIO) -> Callable[[str], None]:
    def before(name: str) -> None:
        if name == operation:
            raise OSError(code, os.strerror(code))

    return before


# ---- staging


def test_a_frame_is_not_to_be_seen_before_it_is_durable() -> None:
    journal, _ = Journal.open(disk_of(), Limits(), ManualClock(T0), epoch=7)
    outbox = JournalOutbox("g", journal, PlainEncoder("g"), ManualClock(T0), staged_bytes_max=1 << 20)
    put(outbox, 0, 2)
    group = Group()
    staged = outbox.stage(group)
    put(outbox, 2, 3)
    assert (len(outbox), outbox.staged, outbox.read(0)) == (0, 3, None)
    assert not outbox.changed.is_set() and not outbox.drained.is_set()
    assert outbox.locate((7, 0)) == outbox.end == outbox.front
    journal.commit(group)
    assert outbox.read(0) is None, "not before the outbox is told"
    outbox.durable(staged)
    assert keys(outbox) == [(7, 0), (7, 1)] and outbox.staged == 1 and outbox.changed.is_set()
    assert outbox.account.balanced


def test_a_group_that_fails_comes_again_in_order_and_no_number_is_left_out() -> None:
    disk = disk_of()
    outbox = opened(disk, epoch=7, encoder=FrameEncoder("g"))
    put(outbox, 0, 2)
    disk.before = failing("sync")
    put(outbox, 2, 5)
    assert (len(outbox), outbox.staged) == (2, 3)
    disk.before = lambda operation: None
    put(outbox, 5, 6)
    assert keys(outbox) == [(7, n) for n in range(6)] and outbox.staged == 0
    decoder = FrameDecoder()
    assert [decoder.decode(q.data).reports[0].t_ns for q in waiting(outbox)] == [T0 + i * NS for i in range(6)]


def test_while_the_disk_refuses_the_oldest_staged_run_goes_and_is_told_of() -> None:
    disk = disk_of()
    outbox = opened(disk, epoch=7, encoder=FrameEncoder("g"), staged_bytes_max=6_000)
    put(outbox, 0, 3)
    disk.before = failing("sync")
    for k in range(3, 24):
        if k % 5 == 0:
            outbox.encoder.request_key()
        put(outbox, k, k + 1)
    assert outbox.staged and outbox.dropped and len(outbox) == 3
    assert outbox.account.staged + outbox.account.dropped == 21
    disk.before = lambda operation: None
    put(outbox, 24, 25)
    put(outbox, 25, 26)
    decoder = FrameDecoder()
    frames = [decoder.decode(q.data) for q in waiting(outbox)]  # every one of them has what it continues
    gaps = [gap for f in frames for gap in f.gaps]
    lost = [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    assert sorted([f.seq for f in frames] + lost) == list(range(26)) and len(lost) == outbox.dropped
    assert {gap.reason for gap in gaps} == {DISK_REFUSED} and sum(gap.count for gap in gaps) == 6 * len(lost)


def test_a_run_whose_last_frames_were_refused_is_not_continued() -> None:
    disk = disk_of()
    outbox = opened(disk, epoch=7, encoder=FrameEncoder("g"))
    put(outbox, 0, 2)
    disk.before = failing("sync")
    outbox._staging._bytes_max = 100
    put(outbox, 2, 4)
    assert (outbox.staged, outbox.dropped) == (0, 2), "nothing is as small as 100 bytes"
    disk.before = lambda operation: None
    outbox._staging._bytes_max = 1 << 20
    put(outbox, 4, 6)
    decoder = FrameDecoder()
    assert [(f.seq, f.key) for f in (decoder.decode(q.data) for q in waiting(outbox))] == [
        (0, 0),
        (1, 0),
        (4, 4),
        (5, 4),
    ]


def test_a_malformed_report_costs_no_number() -> None:
    outbox = opened(disk_of(), epoch=7)
    put(outbox, 0, 1)
    with pytest.raises(FrameError):
        outbox.put([], [Event("bad", T0, {"x": 2**70})])
    put(outbox, 1, 2)
    assert keys(outbox) == [(7, 0), (7, 1)]


# ---- reading


def test_draining_reads_each_segment_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = disk_of()
    old = opened(disk, Limits(bytes_max=1 << 26, segment_bytes=16_384, reserve_bytes=0), epoch=7)
    put(old, 0, 400)
    old.commit()
    old._journal.close()
    outbox = opened(disk, epoch=8)
    reads: list[str] = []
    original = disk.open
    monkeypatch.setattr(disk, "open", lambda name: reads.append(name) or original(name))
    schedule = Schedule(outbox, ManualClock())
    schedule.begin()
    got = []
    while (queued := schedule.take(Lane.BACKLOG, WIDE)) is not None:
        got.append(queued.key[1])
        schedule.delivered(queued.position)
        if len(got) % 50 == 0:
            outbox.acknowledge((7, got[-1]))
            schedule.acknowledged()
            outbox.read(outbox.front)
    assert got == list(range(400))
    segments = len([name for name in disk.names() if name.endswith(".seg")])
    assert segments > 10 and len(reads) <= 2 * segments


def test_new_frames_come_from_memory_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "RECENT_BYTES", 4_000)
    disk = disk_of()
    outbox = opened(disk, epoch=7)
    put(outbox, 0, 30)
    disk.open = None  # type: ignore[assignment, method-assign]
    newest = outbox.read(outbox.end - 1)
    assert newest is not None and newest.key == (7, 29)
    assert outbox._backlog._cursors._recent_bytes <= 4_000
    with pytest.raises(TypeError):
        outbox.read(0)


def test_positions_in_any_order_give_the_same_frames() -> None:
    rng, disk = random.Random(3), disk_of()
    old = opened(disk, TIGHT, epoch=7, encoder=FrameEncoder("g"))
    put(old, 0, 60)
    old.commit()
    stored = {q.position: (q.key, q.data, q.run, q.values) for q in waiting(old)}
    lanes = Cursors(old._journal, old.positions)
    for _ in range(300):
        position = rng.randrange(old.end)
        queued = lanes.read(position)
        assert queued is not None and (queued.key, queued.data, queued.run, queued.values) == stored[queued.position]
        assert queued.position == min(p for p in stored if p >= position)
        assert len(lanes._cursors) <= 2


# ---- eviction


def test_what_is_evicted_is_counted_told_once_and_leaves_no_run_without_its_key_frame() -> None:
    for seed in range(6):
        rng = random.Random(seed)
        outbox = opened(disk_of(seed), TIGHT, epoch=7, encoder=FrameEncoder("g"))
        for k in range(500):
            if rng.random() < 0.05:
                outbox.encoder.request_key()
            events = [Event("alarm", T0, {"n": k})] if rng.random() < 0.05 else []
            put(outbox, k, k + 1, events=events)
        assert outbox.dropped > 100, f"seed {seed}: nothing was evicted"
        outbox.put([], [Event("last", T0)])  # tells of what the frame before it evicted
        frames, told = drained(outbox)
        assert sorted([f.seq for f in frames] + list(told)) == list(range(outbox.counters.enqueued)), f"seed {seed}"
        assert len(told) == outbox.dropped and len(frames) == len(outbox)
        assert sum(gap.count for gap in unique(told)) == 6 * len(told), f"seed {seed}: no frame with events was evicted"


def unique(told: dict[int, FrameGap]) -> list[FrameGap]:
    return list(dict.fromkeys(told.values()))


def drained(outbox: Committed, decoder: FrameDecoder | None = None) -> tuple[list[Frame], dict[int, FrameGap]]:
    """Every frame that waits, decoded in order, and the gaps of its epoch that they tell of, by number."""
    decoder = decoder or FrameDecoder()
    frames, told = [], dict[int, FrameGap]()
    for queued in waiting(outbox):
        frames.append(decoder.decode(queued.data))
        for gap in frames[-1].gaps:
            for n in range(gap.first, gap.last + 1):
                assert n not in told, f"{n} is told of twice"
                told[n] = gap
    return frames, told


def test_events_outlive_data_and_corrections_go_with_their_reports() -> None:
    outbox = opened(disk_of(), TIGHT, epoch=7, encoder=FrameEncoder("g"))
    for k in range(600):
        alarm = [Event("alarm", T0, {"n": k})] if k % 10 == 0 else []
        put(outbox, k, k + 1, events=[*alarm, Event(CORRECTION, T0, {"n": k})])
    frames, told = drained(outbox)
    assert [e.data["n"] for f in frames for e in f.events if e.kind == "alarm"] == list(range(0, 600, 10))
    assert outbox.dropped > 300 and {gap.reason for gap in told.values()} == {"evicted", CONTINUES_LOST}
    corrections = [f for f in frames if any(e.kind == CORRECTION for e in f.events)]
    assert corrections and all(f.reports for f in corrections)


def test_frames_beyond_their_age_leave_and_the_outbox_notices() -> None:
    clock = ManualClock(T0)
    limits = Limits(bytes_max=1 << 20, segment_bytes=4096, reserve_bytes=0, frames_age_s=3600.0)
    outbox = opened(disk_of(), limits, clock, epoch=7)
    put(outbox, 0, 30)
    clock.advance(7200 * NS)
    outbox._journal.maintain()
    put(outbox, 30, 31)
    assert outbox.dropped > 20 and outbox.account.balanced
    assert len(keys(outbox)) == len(outbox)


def test_history_that_is_gone_is_told_by_an_event() -> None:
    outbox = opened(disk_of(), TIGHT, epoch=7)
    for k in range(200):
        group = Group()
        group.history(Kind.AUDIT, bytes(1000))
        outbox._journal.commit(group)
        put(outbox, k, k + 1, events=[Event("alarm", T0)])
    lost = [e.data for q in waiting(outbox) for e in decode_frame(q.data).events if e.kind == RECORDS_LOST]
    kept = len(list(outbox._journal.history(Kind.AUDIT)))
    assert all(e["what"] == "audit" and e["reason"] == "evicted" for e in lost)
    assert (
        sum(int(e["records"] or 0) for e in lost) + sum(g.records for g in outbox._gaps() if g.kind == Kind.AUDIT)
        == 200 - kept
    )


def test_damage_found_while_reading_is_told_and_counted() -> None:
    disk = disk_of()
    outbox = opened(disk, epoch=7, encoder=FrameEncoder("g"))
    put(outbox, 0, 9)
    outbox.encoder.request_key()
    put(outbox, 9, 12)
    old, outbox = outbox, opened_again(outbox, disk)
    name = next(n for n in disk.names() if n.endswith(".seg"))
    content = disk.content(name)
    where = content.index(next(iter(old._journal.frames(after=(7, 3)))).payload)
    content[where + 20] ^= 1
    assert [n for _, n in keys(outbox)] == [0, 1, 2, 3, 9, 10, 11], "its run cannot be continued"
    assert outbox.dropped == 5 and outbox.account.balanced


def opened_again(outbox: Committed, disk: SimDisk) -> Committed:
    outbox.commit()
    outbox._journal.close()
    return opened(disk, encoder=FrameEncoder("g"))


# ---- over a stop


def test_gaps_are_told_though_there_is_nothing_to_report() -> None:
    disk = disk_of()
    old = opened(disk, epoch=7)
    put(old, 0, 3)
    outbox = opened_again(old, disk)
    assert outbox.put([]) == 1 and outbox.put([]) == 0
    last = list(waiting(outbox))[-1]
    assert [(g.epoch, g.first, g.reason) for g in gaps_of(last.data)] == [(7, 3, "epoch_ended")]


def test_what_was_given_up_and_told_of_does_not_come_back() -> None:
    """Frames of an earlier epoch, while others of it still wait."""
    disk = disk_of()
    outbox = opened(disk, epoch=7, encoder=FrameEncoder("g"))
    put(outbox, 0, 9)
    outbox = opened_again(outbox, disk)
    outbox.drop((7, 4), "poison")
    put(outbox, 0, 2)
    assert outbox.acknowledge((outbox.epoch, 1)) == 2, "with them the cloud has the gap"
    for _ in range(3):
        outbox = opened_again(outbox, disk)
        put(outbox, 0, 1)
        assert [key for key in keys(outbox) if key[0] == 7] == [(7, n) for n in range(4)]
        outbox.acknowledge((outbox.epoch, 0))
    assert outbox.acknowledge((7, 3)) == 4
    put(outbox, 1, 2)
    assert len(outbox._journal._index.gaps) == 0, "then the gap is done with"
    assert keys(opened_again(outbox, disk)) == [(outbox.epoch, 1)]


def test_an_old_copy_of_the_directory_confuses_nothing() -> None:
    disk = disk_of()
    first = opened(disk, epoch=7)
    put(first, 0, 5)
    first.commit()
    old = copy(disk)
    put(first, 5, 9)
    assert first.acknowledge((7, 8)) == 9
    first.commit()
    again = opened(restored(old, disk_of(1)), epoch=8)
    assert keys(again) == [(7, n) for n in range(5)]
    put(again, 0, 2)
    assert again.locate((7, 8)) is not None and again.acknowledge((7, 8)) == 5, "the cloud had them all"
    assert keys(again) == [(8, 0), (8, 1)] and again.account.balanced
    assert [(g.epoch, g.first) for g in gaps_of(next(waiting(again)).data)] == [(7, 5)]


def test_a_storm_of_restarts_keeps_every_frame_in_order() -> None:
    disk, expected = disk_of(), []
    limits = Limits(bytes_max=1 << 24, segment_bytes=4096, reserve_bytes=0)
    for k in range(120):
        outbox = opened(disk, limits, encoder=FrameEncoder("g"))
        assert outbox.counters.restored == len(expected)
        put(outbox, k, k + 1 + k % 3)
        expected += [(outbox.epoch, n) for n in range(1 + k % 3)]
        if k % 7 == 0:
            cut = expected[len(expected) // 3]
            freed = outbox.acknowledge(cut)
            gone = [key for key in expected[: len(expected) // 3 + 1] if key[0] == cut[0]]
            assert freed == len(gone)
            expected = [key for key in expected if key not in gone]
        outbox.commit()
        outbox._journal.close()
    outbox = opened(disk, limits)
    assert keys(outbox) == expected
    for epoch in dict.fromkeys(epoch for epoch, _ in expected):
        outbox.acknowledge((epoch, max(n for e, n in expected if e == epoch)))
    assert outbox.drained.is_set() and outbox.account.balanced
    put(outbox, 0, 1)
    outbox._journal.maintain()
    assert outbox._journal.stats().segments <= 3, "files of epochs that are done go"


@pytest.mark.parametrize("turn", range(30))
def test_power_cuts_at_random(turn: int) -> None:
    """Every frame that was told to be durable waits, was acknowledged or is told of, no number is used twice, and
    the cloud has what each frame continues."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", turn, seed)
    rng, clock = random.Random(seed), ManualClock(T0)
    disk = SimDisk(rng)
    seen: dict[tuple[int, int], bytes] = {}
    acked: set[tuple[int, int]] = set()
    told: set[tuple[int, int]] = set()
    sure: set[tuple[int, int]] = set()
    outbox: Committed | None = None
    for _ in range(rng.randrange(2, 8)):
        last = disk.operations + rng.randrange(3, 120)

        def before(operation: str, last: int = last) -> None:
            if disk.operations >= last:
                raise PowerCut(operation)
            if operation in ("sync", "write") and rng.random() < 0.02:
                raise OSError(errno.EIO, "Input/output error")

        try:
            outbox = opened(disk, TIGHT, clock, encoder=FrameEncoder("g"))
            disk.before = before
            for k in range(rng.randrange(80)):
                live_a_little(rng, outbox, k, seen, acked, told)
                sure |= {key for key in keys(outbox) if key[0] == outbox.epoch}
        except PowerCut:
            pass
        disk.before = lambda operation: None
        disk.cut()
    outbox = opened(disk, TIGHT, clock, encoder=FrameEncoder("g"))
    outbox.put([report()])
    for queued in waiting(outbox):
        assert seen.setdefault(queued.key, queued.data) == queued.data, f"seed {seed}: a number was used twice"
        told |= told_by(queued.data)
    left = set(keys(outbox))
    assert sure <= left | acked | told, f"seed {seed}: lost without a word"
    decoder = FrameDecoder()
    for key in sorted(left | acked):
        decoder.decode(seen[key])  # NeedKeyError when it continues a frame that is gone


def live_a_little(
    rng: random.Random,
    outbox: Committed,
    k: int,
    seen: dict[tuple[int, int], bytes],
    acked: set[tuple[int, int]],
    told: set[tuple[int, int]],
) -> None:
    if rng.random() < 0.1:
        outbox.encoder.request_key()
    events = [Event("alarm", T0)] if rng.random() < 0.1 else []
    outbox.put([report(T0 + k * NS, seed=k)], events)
    for queued in waiting(outbox):
        assert seen.setdefault(queued.key, queued.data) == queued.data
    if rng.random() < 0.1 and len(outbox):
        here = list(waiting(outbox))
        if rng.random() < 0.5:
            outbox.drop(rng.choice(here).key, "poison")
        else:
            epoch, through = rng.choice(here).key
            there = [q for q in here if q.key[0] == epoch and q.key[1] <= through]
            assert outbox.acknowledge((epoch, through)) == len(there)
            acked.update(q.key for q in there)
            for queued in there:
                told |= told_by(queued.data)
    assert outbox.account.balanced


def told_by(data: bytes) -> set[tuple[int, int]]:
    return {(g.epoch, n) for g in gaps_of(data) if g.last < 2**40 for n in range(g.first, g.last + 1)}


# ---- a month without the cloud


FRAMES_A_DAY = 360


def test_a_month_without_the_cloud() -> None:
    """A frame every four minutes: files bounded, memory flat, events kept; then live frames first, the rest in order."""
    clock, disk = ManualClock(T0), disk_of()
    limits = Limits(bytes_max=9 << 18, segment_bytes=1 << 18, reserve_bytes=1 << 17)
    outbox = opened(disk, limits, clock, epoch=7, encoder=FrameEncoder("g"))
    schedule = Schedule(outbox, clock)
    schedule.begin()
    alarms = month(outbox, clock, disk, limits)
    frames, told = drained(outbox)
    outbox.put([report(clock.wall_ns())])
    schedule.take(Lane.LIVE, Window(1, 1))  # looks at what waits and splits
    sent = send_all(outbox, schedule, clock)
    assert outbox.drained.is_set()
    backlog = [n for n, lane in sent if lane is Lane.BACKLOG]
    live = [n for n, lane in sent if lane is Lane.LIVE]
    assert backlog == sorted(backlog) and live == sorted(live) and min(live) > max(f.seq for f in frames)
    assert [lane for _, lane in sent].index(Lane.LIVE) < 10, "what is new goes first"
    numbers, account = {n for n, _ in sent}, outbox.account
    lost = set(range(account.enqueued)) - numbers
    assert alarms <= numbers, "events outlive data"
    assert len(sent) == len(numbers) == account.acknowledged
    assert len(lost) == account.dropped > account.enqueued / 2 and lost >= set(told)
    assert account.balanced and account.waiting == account.staged == 0


def month(outbox: Committed, clock: ManualClock, disk: SimDisk, limits: Limits) -> set[int]:
    """Thirty days; returns the numbers of the frames with alarms."""
    alarms, memory = set(), {}
    tracemalloc.start()
    try:
        for k in range(30 * FRAMES_A_DAY):
            clock.advance(240 * NS)
            outbox.put([report(clock.wall_ns(), twins=20, seed=k)])
            if k % (FRAMES_A_DAY // 2) == 0:
                outbox.put([], [Event("alarm", clock.wall_ns())])
                alarms.add(outbox.counters.enqueued - 1)
            if (k + 1) % FRAMES_A_DAY == 0:
                gc.collect()
                memory[(k + 1) // FRAMES_A_DAY] = tracemalloc.get_traced_memory()[0]
                assert outbox.account.balanced and disk.used <= limits.bytes_max
    finally:
        tracemalloc.stop()
    print({day: size // 1000 for day, size in memory.items()})
    assert max(memory[day] for day in range(6, 31)) < memory[5] + 150_000, memory
    return alarms


def send_all(outbox: Committed, schedule: Schedule, clock: ManualClock) -> list[tuple[int, Lane]]:
    """Everything to a cloud that acknowledges every 50 frames, with a new report for every 100, 40 of them at most."""
    cloud, sent, reports = Cloud(), list[tuple[int, Lane]](), 0
    while len(outbox):
        for lane in (Lane.LIVE, Lane.BACKLOG):
            if (queued := schedule.take(lane, WIDE)) is not None:
                sent.append((queued.key[1], lane))
                accounted = [n for gap in gaps_of(queued.data) for n in range(gap.first, gap.last + 1)]
                cloud.stored.setdefault(7, set()).update([queued.key[1], *accounted])
                schedule.delivered(queued.position)
        if len(sent) >= 100 * reports and reports < 40:
            outbox.put([report(clock.wall_ns())])
            reports += 1
        if len(sent) % 50 < 2 or len(outbox) < 100:
            outbox.acknowledge((7, cloud.ack(7).through))
            schedule.acknowledged()
    return sent


# ---- a disk without room


def test_a_full_disk_takes_acknowledgements_and_goes_on_when_they_make_room() -> None:
    disk = disk_of()
    limits = Limits(bytes_max=1 << 20, segment_bytes=8192, reserve_bytes=128 * 1024)
    outbox = opened(disk, limits, epoch=7, encoder=FrameEncoder("g"), staged_bytes_max=20_000)
    put(outbox, 0, 100)
    disk.capacity = disk.used
    fill_up(outbox, 100)


def fill_up(outbox: Committed, first: int) -> None:
    """Until the disk refuses and staged frames go; then acknowledgements make room, and everything is accounted for."""
    k = first
    while outbox.dropped == 0:
        if k % 10 == 0:
            outbox.encoder.request_key()
        put(outbox, k, k + 1)
        k += 1
    assert outbox.staged and outbox._journal.stats().full
    decoder = FrameDecoder()
    sent, told = drained(outbox, decoder)
    assert not told
    outbox.acknowledge((7, sent[-1].seq))
    assert outbox.commit(), "into the room that this gave"
    put(outbox, k, k + 5)
    frames, told = drained(outbox, decoder)
    assert {gap.reason for gap in told.values()} == {DISK_REFUSED} and len(told) == outbox.dropped
    numbers = {f.seq for f in (*sent, *frames)}
    assert sorted([*numbers, *told]) == list(range(outbox.counters.enqueued))


def test_a_real_full_disk(small_disk: Path) -> None:
    limits = Limits(bytes_max=1 << 26, segment_bytes=1 << 16, reserve_bytes=1 << 18)
    outbox = opened(
        RealDisk(small_disk / "journal"), limits, epoch=7, encoder=FrameEncoder("g"), staged_bytes_max=20_000
    )
    fill_up(outbox, 0)
    outbox._journal.close()
