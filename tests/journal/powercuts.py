"""``python -m tests.journal.powercuts --seeds 10000``: power cuts at random operations of a simulated disk.

Each seed is one gateway's life: it works, loses power (at a write, a sync, a rename, an unlink, ...) or is killed there, starts
again, and so on for a few lives; with ``--faults`` syncs also fail now and then, or the disk is full. After each start everything
confirmed is there once, nothing unconfirmed is there in part, and no loss is claimed.
"""

from __future__ import annotations

import argparse
import errno
import random
import time
from collections import Counter

from edgetwin.clock import NS, ManualClock
from edgetwin.errors import JournalError
from edgetwin.journal import Journal, Limits
from tests.journal.oracle import Oracle, random_group
from tests.journal.simdisk import PowerCut, SimDisk

LIMITS = Limits(bytes_max=150_000, segment_bytes=8192, reserve_bytes=16_384)
LIVES = 4


def run(seed: int, *, faults: bool = False, cut_at: int | None = None, seen: Counter[str] | None = None) -> int:
    """One seed; returns the power cuts. AssertionError names what is wrong. ``cut_at``: the operation of each life at
    which it ends, instead of a random one."""
    rng = random.Random(seed)
    disk = SimDisk(rng)
    oracle = Oracle()
    clock = ManualClock(rng.randrange(2**60))
    cuts = 0
    seen = Counter() if seen is None else seen
    for life in range(LIVES):
        _arm(rng, disk, faults, cut_at, seen)
        try:
            _live(rng, disk, oracle, clock, f"{seed}.{life}")
        except PowerCut:
            cuts += 1
        disk.before = lambda operation: None
        _die(rng, disk)
    journal, found = Journal.open(disk, LIMITS, clock, epoch=rng.randrange(2**64))
    oracle.check(journal, found)
    journal.close()
    return cuts


def _die(rng: random.Random, disk: SimDisk) -> None:
    """By a power cut; now and then by a kill, after which what was not synced can be read, until the next power cut."""
    if rng.random() < 0.75:
        disk.cut()
    disk.locked = False


def _arm(rng: random.Random, disk: SimDisk, faults: bool, cut_at: int | None, seen: Counter[str]) -> None:
    """Put the power cut at some operation to come."""
    last = disk.operations + (cut_at or rng.choice([rng.randrange(1, 12), rng.randrange(1, 150)]))

    def before(operation: str) -> None:
        if disk.operations >= last:
            seen[operation] += 1
            raise PowerCut(operation)
        if faults and operation in ("sync", "write", "unlink", "rename", "sync_directory") and rng.random() < 0.04:
            seen["EIO at " + operation] += 1
            raise OSError(errno.EIO, "Input/output error")
        if faults and operation == "allocate" and rng.random() < 0.1:
            seen["ENOSPC"] += 1
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.before = before


def _live(rng: random.Random, disk: SimDisk, oracle: Oracle, clock: ManualClock, tag: str) -> None:
    """From start to power cut, or to a clean stop."""
    found = None
    journal = None
    while journal is None:
        try:
            journal, found = Journal.open(disk, LIMITS, clock, epoch=rng.randrange(2**64))
        except JournalError:
            disk.locked = False
    oracle.check(journal, found)
    for step in range(rng.randrange(5, 60)):
        clock.advance(rng.randrange(NS))
        _step(rng, journal, oracle, f"{tag}.{step}")
    if rng.random() < 0.5:
        oracle.check(journal)
    journal.close()


def _step(rng: random.Random, journal: Journal, oracle: Oracle, tag: str) -> None:
    if rng.random() < 0.15:
        _acknowledge(rng, journal, oracle)
    if rng.random() < 0.05:
        _until_done(journal, oracle, [])
    base = not oracle.sure.state or journal.base_due or rng.random() < 0.05
    groups = [random_group(rng, journal, base and k == 0, f"{tag}.{k}") for k in range(rng.choice([1, 1, 2, 3]))]
    _until_done(journal, oracle, groups)


def _until_done(journal: Journal, oracle: Oracle, groups: list) -> None:  # type: ignore[type-arg]
    """Commit, again and again while the disk fails."""
    oracle.open, oracle.open_epoch = groups, journal.epoch
    while True:
        try:
            journal.commit(*groups)
            break
        except JournalError:
            continue
    oracle.confirmed()


def _acknowledge(rng: random.Random, journal: Journal, oracle: Oracle) -> None:
    keys = [frame.key for frame in journal.frames()]
    if keys:
        epoch, through = keys[rng.randrange(len(keys) // 2 + 1) if rng.random() < 0.7 else -1]
        assert journal.acknowledge(epoch, through)
        oracle.acknowledge(epoch, through)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.journal.powercuts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--faults", action="store_true", help="failing syncs and a full disk as well")
    args = parser.parse_args()
    start, cuts = time.monotonic(), 0
    seen: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.seeds):
        try:
            cuts += run(seed, faults=args.faults, seen=seen)
        except BaseException:
            print(f"seed {seed} failed: python -m tests.journal.powercuts --first {seed} --seeds 1", flush=True)
            raise
        if (seed + 1 - args.first) % 1000 == 0:
            print(f"{seed + 1 - args.first} seeds, {cuts} power cuts", flush=True)
    seconds = time.monotonic() - start
    print(f"{args.seeds} seeds, {cuts} power cuts, none wrong; {args.seeds / seconds:.0f} seeds/s; {dict(seen)}")


if __name__ == "__main__":
    main()
