"""What survives a stop: the engine's state and the frames the cloud has not acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgpack
import structlog

from edgetwin.clock import GatewayClock
from edgetwin.engine import Engine
from edgetwin.errors import JournalError
from edgetwin.runtime.state_files import SnapshotFiles
from edgetwin.uplink.outbox import Outbox

log = structlog.get_logger()


def restore_engine(directory: Path, engine: Engine, now_ns: int) -> None:
    """Give ``engine`` the twins of the newest whole snapshot in a state directory, if there is one.

    Reads only, so the gateway may be running. Raises JournalError when the snapshot cannot be used.
    """
    files = SnapshotFiles(directory, "snapshot")
    body = files.load()
    if body is None:
        if files.damaged:
            raise JournalError(f"{directory}: {', '.join(files.damaged)} cannot be read")
        return
    try:
        document = msgpack.unpackb(body)
        found = document["gateway"]
        if found != engine.config.gateway:
            raise JournalError(f"{directory} belongs to the gateway {found!r}", hint="name its own configuration")
        engine.restore(document["engine"], now_ns)
    except (ValueError, KeyError, TypeError) as exc:
        raise JournalError(f"{directory}: the snapshot cannot be used ({exc})") from exc


class Persistence:
    """Snapshots of one gateway in its state directory."""

    def __init__(self, directory: Path, gateway: str) -> None:
        self._files = SnapshotFiles(directory, "snapshot")
        self._gateway = gateway

    def restore(self, engine: Engine, outbox: Outbox, clock: GatewayClock) -> None:
        """Load the newest whole snapshot. One that is damaged, or of another gateway, is logged and left alone.

        ``clock`` learns when it was saved: it is later now.
        """
        body = self._files.load()
        for name in self._files.damaged:
            log.warning("snapshot_damaged", file=name, used="the other slot" if body else "none: starting empty")
        if body is None:
            return
        try:
            document = msgpack.unpackb(body)
            if document["gateway"] != self._gateway:
                log.warning(
                    "snapshot_of_another_gateway",
                    found=document["gateway"],
                    hint="use a state_dir of its own",
                )
                return
            outbox.restore(document["outbox"])
            clock.not_before(document.get("saved_ns", 0))
            signals = engine.restore(document["engine"], clock.wall_ns())
        except (JournalError, ValueError, KeyError, TypeError) as exc:
            log.error("snapshot_refused", error=str(exc), consequence="starting empty")
            return
        log.info("snapshot_restored", signals=signals, unsent_frames=len(outbox))

    async def save(self, engine: Engine, outbox: Outbox, now_ns: int, *, clean: bool) -> None:
        """Copy the state of ``now_ns`` on the loop, and write it in a thread. JournalError when it cannot be written.

        ``clean`` says that nothing comes after it, so that frame numbers may go on from here.
        """
        document = {
            "gateway": self._gateway,
            "saved_ns": now_ns,
            "engine": engine.snapshot(),
            "outbox": outbox.snapshot(clean=clean),
        }
        await asyncio.to_thread(self._files.save, bytes(msgpack.packb(document)))
