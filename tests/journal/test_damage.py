"""Damage anywhere: the journal opens, what is lost is told exactly, and no number is used again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.journal import Journal, Kind, Recovered
from edgetwin.journal.gaps import FrameKey
from tests.journal.build import SMALL, copy, fill, filled, opened, read, restored, told
from tests.journal.simdisk import SimDisk


def segments_of(groups: int, **how: int) -> tuple[dict[str, bytes], list[FrameKey]]:
    disk = SimDisk(random.Random(1))
    keys = filled(disk, groups, **how)
    return copy(disk), keys


def reopened(files: dict[str, bytes]) -> tuple[Journal, Recovered, SimDisk]:
    disk = restored(files, SimDisk(random.Random(2)))
    journal, found = opened(disk)
    return journal, found, disk


def test_the_end_cut_at_every_byte_leaves_whole_groups() -> None:
    files, keys = segments_of(4)
    (name,) = files
    for length in range(len(files[name])):
        journal, found, _ = reopened({name: files[name][:length]})
        got = read(journal)
        assert got == keys[: len(got)] and len(got) % 2 == 0
        assert journal.epoch != keys[0][0]
        assert not told(journal)  # a lost end cannot be told from a group that was never written
        if found.epochs:
            assert journal.gaps()[-1].first == len(got) and journal.gaps()[-1].reason == "epoch_ended"
    assert len(got) == 6  # the last byte cut spoils the last group alone


def test_a_segment_in_the_middle_cut_at_every_byte_loses_exactly_what_was_cut() -> None:
    files, keys = segments_of(14)
    assert len(files) >= 3
    name = sorted(files)[1]
    for length in range(0, len(files[name]), 3):
        journal, found, _ = reopened(files | {name: files[name][:length]})
        got = set(read(journal))
        assert got | told(journal) == set(keys) and not got & told(journal)
        assert found.counts.lost > 0


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_flipped_bits_lose_what_they_hit_and_nothing_else(data: st.DataObject) -> None:
    files, keys = segments_of(20)
    name = data.draw(st.sampled_from(sorted(files)[:-1]))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    damaged = bytearray(files[name])
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    journal, _, disk = reopened(files | {name: bytes(damaged)})
    got = set(read(journal))
    assert len(got) >= len(keys) - 1
    assert got | told(journal) == set(keys) and not got & told(journal)
    _mended(journal, disk, got)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_block_of_zeros_or_noise(data: st.DataObject) -> None:
    files, keys = segments_of(20)
    name = data.draw(st.sampled_from(sorted(files)[:-1]))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    what = data.draw(st.sampled_from(["sector of zeros", "sector of noise", "page of zeros"]))
    block = {"sector of zeros": bytes(512), "page of zeros": bytes(4096)}.get(what, random.Random(at).randbytes(512))
    damaged = (files[name][:at] + block)[: len(files[name])] + files[name][at + len(block) :]
    journal, _, disk = reopened(files | {name: damaged})
    got = set(read(journal))
    assert got | told(journal) == set(keys) and not got & told(journal)
    _mended(journal, disk, got)


def _mended(journal: Journal, disk: SimDisk, got: set[FrameKey]) -> None:
    """Damage is told of once, and the next start finds none."""
    lost = told(journal)
    fill(journal, 1, frames=0)
    journal.close()
    again, found = opened(disk)
    assert found.counts.lost == 0 and found.counts.damaged == 0
    assert set(read(again)) == got and told(again) == lost


def test_a_missing_segment_is_told_of() -> None:
    files, keys = segments_of(20)
    for name in sorted(files)[:-1]:
        journal, found, _ = reopened({other: data for other, data in files.items() if other != name})
        got = set(read(journal))
        assert got | told(journal) == set(keys) and not got & told(journal)
        assert found.counts.segments_missing == 1 and len(got) < len(keys)
        assert {gap.reason for gap in found.gaps if gap.kind == Kind.FRAME} == {"segment_missing"}


def test_a_segment_twice_is_read_once() -> None:
    files, keys = segments_of(20)
    name = sorted(files)[1]
    twin = f"{0xFFFF:016x}{name[16:]}"
    journal, found, disk = reopened(files | {twin: files[name]})
    assert read(journal) == keys and found.counts.segments_duplicate == 1 and not told(journal)
    fill(journal, 1)
    assert twin not in disk.names()


def test_all_segments_missing_is_a_fresh_start() -> None:
    journal, found, _ = reopened({})
    assert found.epochs == {} and read(journal) == [] and not found.has_state


def test_files_of_others_are_left_alone() -> None:
    files, keys = segments_of(4)
    others = {"notes.txt": b"mine", "x.seg": b"mine", "0000000000000001-000000000000000G.seg": b"mine"}
    journal, _, disk = reopened(files | others)
    fill(journal, 30)
    assert others.keys() <= set(disk.names()) and read(journal)[: len(keys)] == keys


def test_an_old_copy_of_the_directory_begins_another_epoch() -> None:
    files, keys = segments_of(4)
    epochs = {keys[0][0]}
    for _ in range(5):
        journal, _, _ = reopened(files)
        assert journal.epoch not in epochs and read(journal) == keys
        epochs.add(journal.epoch)


def test_a_damaged_base_leaves_the_one_before_with_what_followed() -> None:
    disk = SimDisk(random.Random(3))
    journal, _ = opened(disk)
    fill(journal, 3, frames=1)
    from edgetwin.journal import Group

    group = Group()
    group.base([b"a newer base", b"its end"], b"newer positions")
    journal.commit(group)
    fill(journal, 2, frames=1)
    journal.close()
    (name,) = (n for n in disk.names() if n.endswith(".seg"))
    content = disk.content(name)
    content[content.index(b"a newer base")] ^= 0x40
    journal, found = opened(disk)
    assert [payload for _, payload in journal.state()] == [b"base" * 20, b"more" * 5, b"delta", b"delta", b"delta"]
    assert journal.positions() == b"positions 2"
    assert found.state_behind and journal.base_due
    assert len(read(journal)) == 5


def test_a_damaged_change_freezes_the_state_before_it() -> None:
    disk = SimDisk(random.Random(3))
    journal, _ = opened(disk)
    fill(journal, 4, frames=1)
    journal.close()
    (name,) = (n for n in disk.names() if n.endswith(".seg"))
    content = disk.content(name)
    third = [i for i in range(len(content)) if content[i : i + 5] == b"delta"][2]
    content[third] ^= 1
    journal, found = opened(disk)
    assert len(list(journal.state())) == 4 and journal.positions() == b"positions 1" and found.state_behind
    assert len(read(journal)) == 4


def test_damage_that_comes_while_it_runs_is_told_of_when_it_is_read() -> None:
    disk = SimDisk(random.Random(4))
    journal, _ = opened(disk)
    keys = fill(journal, 20)
    name = sorted(n for n in disk.names() if n.endswith(".seg"))[1]
    disk.content(name)[1000] ^= 1
    got = set(read(journal))
    assert len(got) >= len(keys) - 1
    assert got | told(journal) == set(keys) and not got & told(journal)
    journal.maintain()
    journal.close()
    again, _ = opened(disk)
    assert set(read(again)) == got and told(again) == set(keys) - got


def test_a_newer_format_is_refused() -> None:
    from dataclasses import replace

    from edgetwin.errors import JournalError
    from edgetwin.journal import layout

    header = layout.SegmentHeader(1, 2, 1, 1, 0, 0, 0)
    data = bytearray(layout.encode_segment_header(header))
    assert layout.decode_segment_header(bytes(data)) == replace(header)
    data[12] = 2
    data[8:12] = layout.crc32c(bytes(data[12:64])).to_bytes(4, "little")
    with pytest.raises(JournalError, match="format 2"):
        reopened({layout.segment_name(1, 2): bytes(data)})


def test_what_is_kept_in_memory_does_not_grow_with_frames() -> None:
    from edgetwin.journal.recovery import recover

    disk = SimDisk(random.Random(5))
    filled(disk, 60, frames=20)
    found = recover(disk)
    assert sum(t.records for s in found.segments for t in s.tallies.values()) > 1200
    assert all(len(s.tallies) < 10 for s in found.segments) and len(found.gaps) == 0
    assert SMALL.segments_max >= len(found.segments)
