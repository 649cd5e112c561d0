"""Gaps told in part, against sets of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgetwin.journal.gaps import U64_MAX, Gap, GapLedger, coalesce, runs, subtract
from edgetwin.journal.layout import Kind

NUMBERS = st.sets(st.integers(0, 60))


def gaps_of(numbers: set[int], epoch: int = 7, reason: str = "evicted") -> list[Gap]:
    """Gaps of these frames, which held three values each."""
    return list(runs(epoch, ((n, 3) for n in sorted(numbers)), reason))


def numbers_of(gaps: list[Gap]) -> list[int]:
    return sorted(n for gap in gaps for n in range(gap.first, gap.last + 1))


@given(NUMBERS, NUMBERS)
def test_what_is_told_is_taken_out_and_no_more(lost: set[int], told: set[int]) -> None:
    gaps = [*gaps_of(lost), *gaps_of(lost, epoch=8), *gaps_of(lost, reason="damaged")]
    left = subtract(gaps, gaps_of(told & lost))
    mine = [gap for gap in left if (gap.epoch, gap.reason) == (7, "evicted")]
    assert numbers_of(mine) == sorted(lost - told)
    assert sum(gap.records for gap in mine) == len(lost - told)
    assert sum(gap.values for gap in mine) <= 3 * len(lost - told)
    assert [gap for gap in left if gap not in mine] == gaps[len(gaps_of(lost)) :]


@given(NUMBERS, NUMBERS)
def test_a_gap_that_grew_before_its_frame_was_durable_is_told_in_the_rest(first: set[int], later: set[int]) -> None:
    ledger = GapLedger()
    ledger.add(gaps_of(first))
    told = tuple(ledger.pending)
    ledger.add(gaps_of(later - first))
    ledger.carry((7, 100), told)
    assert numbers_of(ledger.pending) == sorted(later - first)
    assert sum(gap.values for gap in ledger) == 3 * len(first | later)


def test_the_end_of_an_epoch_and_history_are_told_once() -> None:
    ended = Gap(7, Kind.FRAME, 5, U64_MAX, 0, 0, "epoch_ended")
    audit, more = Gap(7, Kind.AUDIT, 3, 9, 2, 0, "evicted"), Gap(7, Kind.AUDIT, 12, 20, 4, 0, "evicted")
    assert subtract([ended, audit], [ended, audit]) == []
    joined = coalesce([audit, more])
    assert subtract(joined, [audit]) == [Gap(7, Kind.AUDIT, 3, 20, 4, 0, "evicted")]
