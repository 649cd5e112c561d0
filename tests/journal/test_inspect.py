"""`edgetwin inspect` on a journal: complete, read-only, beside its owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetwin.cli.main import main
from edgetwin.clock import SystemClock
from edgetwin.journal import Journal, RealDisk
from tests.journal.build import SMALL, fill


def test_beside_the_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, _ = Journal.open(RealDisk(tmp_path / "journal"), SMALL, SystemClock())
    fill(journal, 25)
    journal.acknowledge(journal.epoch, 9)
    journal.drop(journal.epoch, 12, 13, "refused", 6)
    journal.maintain()
    before = {path.name: path.read_bytes() for path in (tmp_path / "journal").iterdir()}
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["journal"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "journal").iterdir()} == before
    assert report["epochs"] == [{"epoch": journal.epoch, "next_frame": 50, "acknowledged": 9}]
    assert report["frames_waiting"] >= 38
    (gap,) = report["gaps"]
    assert (gap["kind"], gap["first"], gap["last"], gap["reason"]) == ("frame", 12, 13, "refused")
    assert report["state"]["has_positions"] and report["state"]["base_records"] == 2
    assert sum(s["records"].get("frame", 0) for s in report["segments"]) == report["records"]["frame"]
    assert report["damage"]["lost"] == 0
    fill(journal, 1)
    journal.close()


def test_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, _ = Journal.open(RealDisk(tmp_path), SMALL, SystemClock())
    fill(journal, 25)
    journal.drop(journal.epoch, 3, 4, "refused")
    journal.maintain()
    journal.close()
    damaged = sorted(tmp_path.glob("*.seg"))[1]
    data = bytearray(damaged.read_bytes())
    data[1500] ^= 4
    damaged.write_bytes(data)
    assert main(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for words in (
        f"epoch {journal.epoch:016x}: next frame 50",
        "frame 3 to 4",
        "refused",
        "1 records lost",
        "state: base of",
    ):
        assert words in out


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path)]) == 1
    assert "there is no journal" in capsys.readouterr().err
