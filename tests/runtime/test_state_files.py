"""Snapshots survive a cut or a flip anywhere in the newest slot."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.errors import JournalError
from edgetwin.runtime.state_files import SnapshotFiles


def test_newest_wins(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, "engine")
    assert files.load() is None
    for k in range(5):
        files.save(b"body %d" % k)
        assert SnapshotFiles(tmp_path, "engine").load() == b"body %d" % k
    again = SnapshotFiles(tmp_path, "engine")
    again.load()
    again.save(b"later")
    assert SnapshotFiles(tmp_path, "engine").load() == b"later"


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_falls_back_to_the_older_slot(tmp_path: Path, damage: str) -> None:
    files = SnapshotFiles(tmp_path, "engine")
    files.save(b"older")
    files.save(b"newer")
    newest = tmp_path / "engine.a"
    whole = newest.read_bytes()
    assert whole.endswith(b"newer")
    for k in range(len(whole)):
        flipped = whole[:k] + bytes([whole[k] ^ 0x10]) + whole[k + 1 :]
        newest.write_bytes(whole[:k] if damage == "cut" else flipped)
        reader = SnapshotFiles(tmp_path, "engine")
        found = reader.load()
        # The slot's number is outside the checksum; a flip there may still read as the newer body, never as another.
        assert found == b"older" or (damage == "flip" and 12 <= k < 20 and found in (b"older", b"newer"))
        assert reader.damaged == ["engine.a"] or found == b"newer" or 12 <= k < 20


def test_refusal_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        SnapshotFiles(tmp_path / "absent", "engine").save(b"x")
