"""Checkpoints: what happened becomes durable in one group, and only then is it told to anybody.

::

    engine.inputs ───┐                                           ┌─▶ outbox: its frames may be sent
    outbox (staged) ─┼─▶ Group ─▶ JournalWriter ─▶ one sync ─────┤
    source.position ─┘                                           └─▶ sources: acknowledgements go out

The state in the journal is a base (a snapshot of the engine) and, since then, what the engine was given; it is
deterministic, so the same comes out again. Positions say of each source which messages are in that state although the
broker may not know it yet, so that it sends them again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import structlog

from edgetwin.clock import Clock
from edgetwin.config.schema import Journal as Bounds
from edgetwin.engine import Engine
from edgetwin.engine.inputs import replay
from edgetwin.errors import ConfigError, JournalError
from edgetwin.journal.disk import RealDisk
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal
from edgetwin.journal.layout import PAYLOAD_BYTES_MAX, Kind
from edgetwin.journal.limits import MIB, Limits
from edgetwin.journal.writer import JournalWriter
from edgetwin.uplink.journaled import JournalOutbox

if TYPE_CHECKING:
    from edgetwin.runtime.daemon import Daemon

log = structlog.get_logger()

FOLDER = "journal"
"""In the state directory."""

UNWRITTEN_BYTES_MAX = 16 * MIB
"""Of the engine's input that the disk has refused; beyond, the next checkpoint is a base."""

SMALL = 4_096
"""Positions of at most so many bytes are written with every change, for the sake of their time."""

_OTHER_RELEASE = "another release wrote them; run that one, or name another state_dir"


@dataclass(frozen=True, slots=True)
class Positions:
    """How far the sources had come for a state: of ``gateway``, at ``wall_ns``; ``sources`` by name."""

    gateway: str
    wall_ns: int
    sources: dict[str, bytes] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As bytes for the journal."""
        return bytes(msgpack.packb([self.gateway, self.wall_ns, self.sources]))

    @classmethod
    def unpack(cls, blob: bytes) -> Positions:
        """The reverse of :meth:`pack`. JournalError when ``blob`` is anything else."""
        try:
            gateway, wall_ns, sources = msgpack.unpackb(blob)
            return cls(str(gateway), int(wall_ns), {str(name): bytes(at) for name, at in sources.items()})
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as exc:
            raise JournalError(f"the positions of the sources cannot be read ({exc})", hint=_OTHER_RELEASE) from exc


def open_journal(state_dir: Path, bounds: Bounds, clock: Clock) -> Journal:
    """The journal of a gateway. JournalError as of :meth:`Journal.open`."""
    segment = min(4 * MIB, bounds.bytes_max // 16)
    limits = Limits(
        bytes_max=bounds.bytes_max,
        segment_bytes=segment,
        reserve_bytes=min(MIB // 2, segment),
        frames_age_s=float(bounds.age_max or 0.0),
        history_age_s=float(bounds.history_age),
    )
    journal, found = Journal.open(RealDisk(state_dir / FOLDER), limits, clock)
    log.info(
        "journal_opened",
        frames_waiting=found.frames,
        bytes_waiting=found.frames_bytes,
        state=found.has_state,
        gaps=len(found.gaps),
    )
    if found.state_behind:
        log.warning("state_behind", consequence="samples since an earlier checkpoint are lost; see the gaps")
    return journal


def restore(
    state: Iterable[tuple[Kind, bytes]], positions: bytes | None, engine: Engine, now_ns: int
) -> Positions | None:
    """Give ``engine`` a state of the journal; the positions that belong to it, None when there is no state.

    JournalError, when the state cannot be used; the engine is not to be used then either. ConfigError, when it is that
    of another gateway.
    """
    base: list[bytes] = []
    changes: list[bytes] = []
    for kind, payload in state:
        (base if kind == Kind.STATE_BASE else changes).append(payload)
    if positions is None or not base:
        return None
    found = Positions.unpack(positions)
    if found.gateway != engine.config.gateway:
        raise ConfigError(
            f"it belongs to the gateway {found.gateway!r}, this is {engine.config.gateway!r}",
            path="state_dir",
            hint="name a directory of its own",
        )
    engine.restore(b"".join(base), max(now_ns, found.wall_ns))
    for change in changes:
        replay(engine, change)
    return found


class Checkpoints:
    """Of one daemon, from when its state is restored. ``problem`` says why nothing becomes durable; empty when it does.

    The daemon's engine and sources are looked up anew each time: a reload replaces them.
    """

    def __init__(self, daemon: Daemon, journal: Journal, outbox: JournalOutbox) -> None:
        self.journal = journal
        self.writer = JournalWriter(journal)
        self.problem = ""
        self._daemon = daemon
        self._outbox = outbox
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._base_wanted = True
        self._unwritten: list[bytes] = []
        self._written = Positions("", 0)

    def soon(self) -> None:
        """Do not wait for the next one: a broker waits for acknowledgements, or something urgent happened."""
        self._wanted.set()

    def start_over(self) -> None:
        """The engine is another one: the next checkpoint holds all of its state."""
        self._base_wanted = True

    async def run(self) -> None:
        """Take checkpoints until cancelled. While the disk refuses nobody hurries them."""
        while True:
            every_s = float(self._daemon.config.journal.every)
            if self.problem:
                await asyncio.sleep(every_s)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await self._wanted.wait()
            self._wanted.clear()
            await self.take()

    async def take(self) -> bool:
        """Take one now; False, and ``problem`` says why, when the disk refuses. Once begun it is not cut short: what
        became of it must be known."""
        return await asyncio.shield(asyncio.ensure_future(self._take()))

    async def _take(self) -> bool:
        async with self._turn:
            daemon, engine = self._daemon, self._daemon.engine
            marks = [(source, source.mark()) for source in daemon.sources]
            group, positions, is_base = self._group()
            staged = self._outbox.stage(group)
            try:
                await self.writer.commit(group)
            except BaseException as exc:
                self._outbox.undurable(staged)
                if isinstance(exc, JournalError):
                    self._refused(exc)
                    return False
                raise
            self._unwritten, self._written = [], positions
            if is_base and daemon.engine is engine:  # else a reload came between
                self._base_wanted = False
            self._outbox.durable(staged)
            for source, mark in marks:
                source.release(mark)
            if self.problem:
                log.info("journal_recovered")
                self.problem = ""
            return True

    def _group(self) -> tuple[Group, Positions, bool]:
        """What became of the state since the last checkpoint, and the positions it belongs to; whether it is a base."""
        engine, group = self._daemon.engine, Group()
        assert engine.inputs is not None
        change = engine.inputs.take()
        if change:
            self._unwritten.append(change)
        positions = self._positions()
        if self._base_wanted or self.journal.base_due or not _fit(self._unwritten):
            snapshot = engine.snapshot()
            group.base([snapshot[k : k + MIB] for k in range(0, len(snapshot), MIB)], positions.pack())
            return group, positions, True
        for change in self._unwritten:
            group.delta(change)
        packed = positions.pack()
        if positions.sources != self._written.sources or (self._unwritten and len(packed) <= SMALL):
            group.positions(packed)
        return group, positions, False

    def _positions(self) -> Positions:
        daemon = self._daemon
        sources = {source.name: at for source in daemon.sources if (at := source.position())}
        return Positions(daemon.config.gateway, daemon.clock.wall_ns(), sources)

    def _refused(self, exc: JournalError) -> None:
        """The disk refuses: everything is kept and offered again, within bounds."""
        if exc.message != self.problem:
            log.error("checkpoint_failed", error=exc.message, hint=exc.hint)
        self.problem = exc.message
        if not _fit(self._unwritten):
            self._unwritten, self._base_wanted = [], True


def _fit(changes: list[bytes]) -> bool:
    """Whether changes are to be written as such."""
    return sum(map(len, changes)) <= UNWRITTEN_BYTES_MAX and all(len(c) <= PAYLOAD_BYTES_MAX for c in changes)
