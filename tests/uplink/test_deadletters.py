"""Dead letters: kept with their reason, bounded, and never in the way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgetwin.uplink.deadletters import DeadLetters
from edgetwin.uplink.queued import Queued


def test_the_oldest_make_room(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead", count_max=3, bytes_max=1_000)
    for seq in range(5):
        letters.add(Queued((7, seq), b"x" * 100, 1), "g", f"reason {seq}")
    kept = sorted((tmp_path / "dead").glob("*.frame"))
    assert [int(p.stem.split("-")[1]) for p in kept] == [2, 3, 4]
    assert {p.stem for p in kept} == {p.stem for p in (tmp_path / "dead").glob("*.json")}
    about = msgspec.json.decode(kept[0].with_suffix(".json").read_bytes())
    assert about == {"gateway": "g", "epoch": 7, "seq": 2, "reason": "reason 2", "bytes": 100}
    letters.add(Queued((7, 9), b"x" * 950, 1), "g", "large")
    assert [p.stem.split("-")[1] for p in (tmp_path / "dead").glob("*.frame")] == ["000000000009"]
    assert letters.count == 6


@pytest.mark.parametrize("directory", [None, "file"])
def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path, directory: str | None) -> None:
    (tmp_path / "file").write_text("not a directory")
    letters = DeadLetters(tmp_path / directory if directory else None)
    letters.add(Queued((7, 0), b"x", 1), "g", "reason")
    assert letters.count == 1
