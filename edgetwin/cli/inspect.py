"""``edgetwin inspect``: what a state directory holds, readable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("state_dir", type=Path, help="the state_dir of a gateway, running or stopped")


def run(args: argparse.Namespace) -> int:
    """Print the newest whole snapshot as JSON. Raises JournalError when there is none."""
    import msgpack
    import msgspec

    from edgetwin.engine.snapshot import summary
    from edgetwin.errors import JournalError
    from edgetwin.runtime.state_files import SnapshotFiles
    from edgetwin.uplink.saved import unpack

    files = SnapshotFiles(args.state_dir, "snapshot")
    body = files.load()
    if body is None:
        reason = f"{', '.join(files.damaged)} cannot be read" if files.damaged else "there is no snapshot"
        raise JournalError(f"{args.state_dir}: {reason}", hint="name the state_dir of a gateway that has run")
    document = msgpack.unpackb(body)
    outbox = unpack(document["outbox"])
    report = {
        "gateway": document["gateway"],
        "damaged_slots": files.damaged,
        "unsent_frames": len(outbox.queued),
        **summary(document["engine"]),
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    return 0
