"""``edgetwin inspect``: what a state directory holds, readable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetwin.journal.inspect import Inspection, ReadOnlyJournal

TWINS_SHOWN = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("state_dir", type=Path, help="the state_dir of a gateway, running or stopped, or its journal")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="everything as JSON")
    what.add_argument("--audit", action="store_true", help="what was decided and done to outputs, as lines of JSON")


def run(args: argparse.Namespace) -> int:
    """Print the journal, and the twins as its last whole state has them. JournalError when there is none."""
    import msgspec

    from edgetwin.errors import JournalError
    from edgetwin.journal.inspect import ReadOnlyJournal, holds_journal
    from edgetwin.runtime.checkpoint import FOLDER

    place = next((path for path in (args.state_dir / FOLDER, args.state_dir) if holds_journal(path)), None)
    if place is None:
        raise JournalError(
            f"{args.state_dir}: there is no journal", hint="name the state_dir of a gateway that has run"
        )
    journal = ReadOnlyJournal(place)
    if args.audit:
        _print_audit(journal)
        return 0
    inspection, state = journal.inspect(), _state(journal)
    if args.json:
        report = state | {"journal": msgspec.to_builtins(inspection)}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        sys.stdout.write("\n".join([*_lines(inspection), *_twins(state)]) + "\n")
    return 0


def _print_audit(journal: ReadOnlyJournal) -> None:
    import msgspec

    from edgetwin.control.audit import KINDS, entry_of
    from edgetwin.http.times import format_time

    for entry in map(entry_of, journal.history(*KINDS)):
        line = {"n": entry.n, "t": format_time(entry.t_ns), "kind": entry.kind} | entry.data
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")


def _state(journal: ReadOnlyJournal) -> dict[str, Any]:
    """The gateway, and twins and ledger as of the newest base; empty when there is none, ``unreadable`` says why when
    this release cannot read it. What came since is not in it: that takes the configuration."""
    from edgetwin.engine.snapshot import summary
    from edgetwin.errors import JournalError
    from edgetwin.journal.layout import Kind
    from edgetwin.runtime.checkpoint import Positions

    base, positions = b"".join(p for kind, p in journal.state() if kind == Kind.STATE_BASE), journal.positions()
    if not base or positions is None:
        return {}
    try:
        return {"gateway": Positions.unpack(positions).gateway, **summary(base)}
    except (JournalError, LookupError, ValueError, TypeError, AttributeError) as exc:
        return {"unreadable": str(exc)}


def _twins(state: dict[str, Any]) -> list[str]:
    """The ledger and the twins, one a line; the first hundred of them."""
    if not state:
        return []
    if "unreadable" in state:
        return [f"twins: {state['unreadable']}"]
    total: dict[str, int] = {}
    for counts in state["ledger"].values():
        for outcome, n in counts.items():
            total[outcome] = total.get(outcome, 0) + n
    lines = [f"gateway {state['gateway']}: " + ", ".join(f"{n:,} {outcome}" for outcome, n in total.items() if n)]
    for twin, signals in list(state["twins"].items())[:TWINS_SHOWN]:
        shown = (f"{name} {' '.join(f'{x:.6g}' for x in s['state'])} ({s['model']})" for name, s in signals.items())
        lines.append(f"twin {twin}: {'; '.join(shown)}")
    if len(state["twins"]) > TWINS_SHOWN:
        lines.append(f"and {len(state['twins']) - TWINS_SHOWN:,} more twins (--json lists all)")
    return lines


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
