"""``edgetwin inspect``: what a state directory holds, readable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetwin.journal.inspect import Inspection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("state_dir", type=Path, help="the state_dir of a gateway, running or stopped, or its journal")
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the journal and the newest whole snapshot. Raises JournalError when there is neither."""
    import msgspec

    from edgetwin.journal.inspect import holds_journal, inspect

    places = [path for path in (args.state_dir / "journal", args.state_dir) if holds_journal(path)]
    journal = inspect(places[0]) if places else None
    snapshot = _snapshot(args.state_dir, required=journal is None)
    if journal is not None and not args.json:
        sys.stdout.write("\n".join(_lines(journal)) + "\n")
    if journal is None or args.json:
        report = (snapshot or {}) | ({} if journal is None else {"journal": msgspec.to_builtins(journal)})
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    return 0


def _snapshot(state_dir: Path, *, required: bool) -> dict[str, Any] | None:
    import msgpack

    from edgetwin.engine.snapshot import summary
    from edgetwin.errors import JournalError
    from edgetwin.runtime.state_files import SnapshotFiles
    from edgetwin.uplink.saved import unpack

    files = SnapshotFiles(state_dir, "snapshot")
    body = files.load()
    if body is None:
        if not required:
            return None
        reason = f"{', '.join(files.damaged)} cannot be read" if files.damaged else "there is no journal or snapshot"
        raise JournalError(f"{state_dir}: {reason}", hint="name the state_dir of a gateway that has run")
    document = msgpack.unpackb(body)
    outbox = unpack(document["outbox"])
    return {
        "gateway": document["gateway"],
        "damaged_slots": files.damaged,
        "unsent_frames": len(outbox.queued),
        **summary(document["engine"]),
    }


def _lines(journal: Inspection) -> list[str]:
    """The journal, one fact a line."""
    records = ", ".join(f"{count} {kind}" for kind, count in journal.records.items())
    lines = [
        f"journal {journal.directory}: {len(journal.segments)} segments, {journal.bytes:,} bytes",
        f"records: {records or 'none'}",
        f"frames waiting: {journal.frames_waiting:,} ({journal.frames_waiting_bytes:,} bytes)",
    ]
    if journal.state is None:
        lines.append("state: none")
    else:
        s = journal.state
        lines.append(f"state: base of {s.base_bytes:,} bytes, {s.changes:,} changes of {s.changes_bytes:,} bytes since")
    for e in journal.epochs:
        lines.append(f"epoch {e.epoch:016x}: next frame {e.next_frame}, acknowledged through {e.acknowledged}")
    for g in journal.gaps:
        told = ", a frame tells of it" if g.carried else ""
        lines.append(
            f"gap {g.epoch:016x}: {g.kind} {g.first} to {g.last}, "
            f"{g.records} records, {g.values} values, {g.reason}{told}"
        )
    d = journal.damage
    if d.damaged or d.torn or d.lost or d.segments_missing or d.segments_duplicate or d.headers_damaged:
        lines.append(
            f"damage: {d.lost} records lost, {d.damaged} places ({d.damaged_bytes:,} bytes), {d.torn} torn ends, "
            f"{d.segments_missing} segments missing, {d.segments_duplicate} duplicate, {d.headers_damaged} headers"
        )
    else:
        lines.append("damage: none")
    return lines
