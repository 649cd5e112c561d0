"""What a journal promises while nothing is broken: order, marks, bounds, ownership."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgetwin.clock import NS, ManualClock, SystemClock
from edgetwin.errors import JournalError, JournalLockedError, JournalUnwritableError
from edgetwin.journal import Class, Disk, Gap, Group, Journal, Kind, Limits, RealDisk
from tests.journal.build import SMALL, fill, opened, payload_of, read, told
from tests.journal.simdisk import SimDisk


@pytest.fixture(params=["simulated", "real"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return SimDisk(random.Random(0)) if request.param == "simulated" else RealDisk(tmp_path / "journal")


def start(disk: Disk, limits: Limits = SMALL, clock: ManualClock | None = None) -> Journal:
    return Journal.open(disk, limits, clock or ManualClock(10**18))[0]


def test_everything_comes_back(disk: Disk) -> None:
    journal = start(disk)
    keys = fill(journal, 40)
    for again in (False, True):
        if again:
            journal.close()
            journal, found = Journal.open(disk, SMALL, ManualClock(0))
            assert found.epochs == {keys[0][0]: 80} and found.frames == 80
            assert (found.has_state, found.has_positions, found.state_behind) == (True, True, False)
            assert found.counts.lost == found.counts.damaged == found.counts.torn == 0
        assert read(journal) == keys
        assert [r.payload for r in journal.history(Kind.AUDIT)] == [b"audit %d" % k for k in range(0, 40, 5)]
        assert journal.positions() == b"positions 39"
        kinds = [kind for kind, _ in journal.state()]
        assert kinds[:2] == [Kind.STATE_BASE] * 2 and set(kinds[2:]) == {Kind.STATE_DELTA}
    journal.close()


def test_reading_goes_on_after_a_frame(disk: Disk) -> None:
    journal = start(disk)
    keys = fill(journal, 20)
    journal.close()
    journal = start(disk)
    keys += fill(journal, 20)
    for at in (0, 7, 39, 40, 41, 78):
        assert [f.key for f in journal.frames(keys[at])] == keys[at + 1 :]
    assert list(journal.frames(keys[-1])) == []
    assert [f.key for f in journal.frames((12345, 0))] == keys
    frame = journal.frame(*keys[33])
    assert frame is not None and frame.payload == payload_of(33) and frame.values == 3
    assert journal.frame(keys[0][0], 999) is None


def test_acknowledged_segments_go_and_the_mark_outlives_them(disk: Disk) -> None:
    journal = start(disk)
    keys = fill(journal, 60, audits=False)
    before = len([n for n in disk.names() if n.endswith(".seg")])
    assert journal.acknowledge(journal.epoch, keys[-5][1])
    assert read(journal) == keys[-4:]
    journal.maintain()
    assert len([n for n in disk.names() if n.endswith(".seg")]) < before
    fill(journal, 5, frames=0)
    journal.close()
    journal = start(disk)
    assert read(journal) == keys[-4:] and not told(journal)
    assert journal.stats().frames_waiting == 4


def test_marks_that_go_back_or_ahead_are_refused(disk: Disk) -> None:
    journal = start(disk)
    fill(journal, 5)
    assert journal.acknowledge(journal.epoch, 6)
    for epoch, through in [(journal.epoch, 3), (journal.epoch, 10), (journal.epoch + 1, 0)]:
        assert not journal.acknowledge(epoch, through)
    assert journal.stats().acks_refused == 3 and len(read(journal)) == 3


def test_frames_are_numbered_by_the_journal_and_in_order() -> None:
    journal, _ = opened(SimDisk(random.Random(0)))
    first, second = journal.take_frame_number(), journal.take_frame_number()
    assert (first, second) == (0, 1)
    for numbers in [(5,), (1, 0)]:
        group = Group()
        for number in numbers:
            group.frame(number, b"")
        with pytest.raises(JournalError, match="take_frame_number"):
            journal.commit(group)


def test_the_end_of_an_epoch_is_told_of_by_a_frame_and_settled_by_its_acknowledgement(disk: Disk) -> None:
    journal = start(disk)
    fill(journal, 2)
    old = journal.epoch
    journal.close()
    journal = start(disk)
    end = Gap(old, Kind.FRAME, 4, 2**64 - 1, 0, 0, "epoch_ended")
    assert journal.gaps() == [end]
    group = Group()
    group.frame(journal.take_frame_number(), b"tells", gaps=journal.gaps())
    journal.commit(group)
    assert journal.gaps() == [] and journal.stats().gaps == 1
    second = journal.epoch
    journal.close()
    journal = start(disk)
    assert journal.gaps() == [Gap(second, Kind.FRAME, 1, 2**64 - 1, 0, 0, "epoch_ended")]  # the other is on its way
    journal.drop(second, 0, 0, "refused", 9)  # and comes back when that frame is lost
    assert journal.gaps()[0].epoch in (old, second) and end in journal.gaps()
    group = Group()
    group.frame(journal.take_frame_number(), b"tells", gaps=journal.gaps())
    journal.commit(group)
    journal.acknowledge(journal.epoch, 0)
    journal.maintain()
    assert journal.stats().gaps == 0


def test_a_change_needs_a_state_to_follow_on() -> None:
    journal, _ = opened(SimDisk(random.Random(0)))
    group = Group()
    group.delta(b"x")
    with pytest.raises(JournalError, match="write a base"):
        journal.commit(group)


def test_a_group_larger_than_a_segment(disk: Disk) -> None:
    journal = start(disk)
    group = Group()
    chunks = [bytes([k]) * 9000 for k in range(5)]
    group.base(chunks, b"p")
    journal.commit(group)
    keys = fill(journal, 3)
    journal.close()
    journal = start(disk)
    assert [p for _, p in journal.state()][:5] == chunks and read(journal) == keys


def test_the_bound_evicts_the_lowest_class_oldest_first_and_says_exactly_what() -> None:
    disk = SimDisk(random.Random(0))
    limits = Limits(bytes_max=512 * 1024, segment_bytes=16_384, reserve_bytes=8192)
    journal = start(disk, limits)
    events, data = [], []
    for k in range(1000):
        cls = Class.EVENT if k % 10 == 0 else Class.DATA
        (events if k % 10 == 0 else data).extend(fill(journal, 1, frames=1, size=600, cls=cls))
        assert journal.stats().bytes <= limits.bytes_max
    got = read(journal)
    lost = told(journal)
    assert [key for key in got if key in set(events)] == events
    kept = [key for key in got if key not in set(events)]
    assert kept == data[-len(kept) :] and len(kept) > 100
    assert lost == set(data) - set(kept)
    assert {gap.reason for gap in journal.gaps()} == {"evicted"}
    assert {gap.kind for gap in journal.gaps()} == {Kind.FRAME}  # audit ranks above data
    assert sum(gap.values for gap in journal.gaps()) == 3 * len(lost)
    assert journal.stats().frames_evicted == len(lost)
    journal.close()
    journal = start(disk, limits)
    assert read(journal) == got and told(journal) == lost


def test_an_outage_of_events_alone_evicts_those_too_and_memory_stays_flat() -> None:
    limits = Limits(bytes_max=128 * 1024, segment_bytes=4096, reserve_bytes=0)
    journal, _ = opened(SimDisk(random.Random(0)), limits)
    keys = fill(journal, 1000, frames=1, size=600, cls=Class.EVENT)
    got = read(journal)
    assert got == keys[-len(got) :] and told(journal) == set(keys[: -len(got)])
    assert sorted(gap.kind for gap in journal.gaps()) == [Kind.FRAME, Kind.AUDIT]  # neighbours are joined
    assert journal.stats().bytes <= limits.bytes_max


def test_old_frames_age_out_by_running_time_not_by_the_clock() -> None:
    clock = ManualClock(10**18)
    limits = Limits(bytes_max=512 * 1024, segment_bytes=4096, reserve_bytes=0, frames_age_s=3600, history_age_s=7200)
    disk = SimDisk(random.Random(0))
    journal, _ = opened(disk, limits, clock)
    old = fill(journal, 20)
    clock._wall_ns += 10 * 365 * 86_400 * NS  # a step of the clock ages nothing
    new = fill(journal, 20)
    assert read(journal) == old + new
    clock.advance(4000 * NS)
    late = fill(journal, 20)
    got = read(journal)
    assert got[-len(late) :] == late and len(got) < 60
    assert told(journal) == set(old + new + late) - set(got) and told(journal) >= set(old)
    assert {gap.reason for gap in journal.gaps()} == {"aged_out"}
    assert len(list(journal.history(Kind.AUDIT))) == 12
    clock.advance(8000 * NS)
    fill(journal, 40)
    assert len(list(journal.history(Kind.AUDIT))) < 20


def test_dead_states_are_removed_and_live_ones_stay(disk: Disk) -> None:
    journal = start(disk)
    group = Group()
    group.base([b"the state".ljust(1500, b"s")], b"where")
    journal.commit(group)
    for _ in range(200):
        group = Group()
        group.frame(journal.take_frame_number(), payload_of(0, 500))
        journal.commit(group)
        journal.acknowledge(journal.epoch, journal._index.next_frame(journal.epoch) - 1)
    assert journal.stats().segments <= 4  # the one with the state was thinned, the others are gone
    journal.close()
    journal = start(disk)
    assert [p for _, p in journal.state()] == [b"the state".ljust(1500, b"s")] and journal.positions() == b"where"


def test_frames_given_up_by_their_owner_make_room_before_anything_is_evicted(disk: Disk) -> None:
    """Segments hold frames of both classes, and the owner has given up all but the events."""
    journal = start(disk)
    events = []
    for _ in range(700):
        group = Group()
        for cls in (Class.DATA, Class.DATA, Class.DATA, Class.EVENT):
            number = journal.take_frame_number()
            group.frame(number, payload_of(number, 400 if cls == Class.DATA else 100), cls=cls)
        journal.commit(group)
        journal.drop(journal.epoch, number - 3, number - 1, "not wanted")
        events.append((journal.epoch, number))
    assert read(journal) == events and journal.stats().frames_evicted == 0


def test_one_owner(disk: Disk, tmp_path: Path) -> None:
    journal = start(disk)
    other = disk if isinstance(disk, SimDisk) else RealDisk(tmp_path / "journal")
    with pytest.raises(JournalLockedError, match="in use"):
        start(other)
    journal.close()
    start(other).close()


def test_a_directory_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnwritableError, match="cannot be written"):
        start(RealDisk(tmp_path / "file" / "journal"))


def test_a_read_only_disk_is_an_error_of_its_own() -> None:
    disk = SimDisk(random.Random(0))

    def refuse(operation: str) -> None:
        raise OSError(30, "Read-only file system")

    disk.before = refuse
    with pytest.raises(JournalUnwritableError, match="Read-only"):
        start(disk)
    assert not disk.locked


def test_reading_holds_one_segment_while_the_writer_goes_on(disk: Disk) -> None:
    journal = start(disk)
    keys = fill(journal, 40)
    reader = journal.frames()
    seen = [next(reader).key for _ in range(5)]
    keys += fill(journal, 40)
    journal.acknowledge(journal.epoch, 39)
    journal.maintain()
    rest = [frame.key for frame in reader]
    assert seen == keys[:5]
    assert rest == keys[40:]


CHILD = """
import sys
from pathlib import Path
from edgetwin.clock import SystemClock
from edgetwin.journal import Group, Journal, Limits, RealDisk
journal, _ = Journal.open(RealDisk(Path(sys.argv[1])), Limits(2**22, 2**14, 2**14), SystemClock())
while True:
    group = Group()
    if journal.base_due:
        group.base([b"b" * 300], b"p")
    for _ in range(3):
        number = journal.take_frame_number()
        group.frame(number, b"frame %d " % number + b"." * 100)
    journal.commit(group)
    print(journal.epoch, number, flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    confirmed: dict[int, int] = {}
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(rng.randrange(1, 200))]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        epoch, last = map(int, [line for line in lines if line.endswith("\n")][-1].split())
        assert epoch not in confirmed
        confirmed[epoch] = last
    journal, found = Journal.open(RealDisk(tmp_path), Limits(2**22, 2**14, 2**14), SystemClock())
    frames = [frame.key for frame in journal.frames()]
    journal.close()
    assert len(frames) == len(set(frames)) and found.counts.lost == 0
    for epoch, last in confirmed.items():
        numbers = [sequence for own, sequence in frames if own == epoch]
        assert numbers == list(range(len(numbers))) and len(numbers) % 3 == 0
        assert len(numbers) in (last + 1, last + 4)  # one group may have become durable unseen
