"""The control of outputs within the daemon: twins to outputs, sources to writers, commands in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from edgetwin.config.credentials import password_of, read_secret_file, read_token
from edgetwin.config.models import state_names
from edgetwin.config.schema import ModbusSource, MqttSource, Output
from edgetwin.control.audit import Audit
from edgetwin.control.commands import NotAuthorisedError, NotUnderstoodError, open_envelope, read_command
from edgetwin.control.controller import Controller
from edgetwin.control.outlooks import outlook
from edgetwin.control.output import make_output
from edgetwin.control.ports import Writer
from edgetwin.control.records import Decision, Outlook, Result
from edgetwin.control.rules import make_rule
from edgetwin.engine.twins import TwinInstance, substitute
from edgetwin.errors import ControlError, JournalError
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Scalar
from edgetwin.runtime.supervisor import Supervisor
from edgetwin.sources.modbus.link import Link
from edgetwin.sources.modbus.writer import ModbusWriter
from edgetwin.sources.mqtt.control import ControlConnection, MqttWriter

if TYPE_CHECKING:
    from edgetwin.runtime.daemon import Daemon

log = structlog.get_logger()

PERIOD_S = 0.1


class Acting:
    """Outputs and rules of the daemon's twins. There is one only when the configuration has outputs."""

    def __init__(self, daemon: Daemon, audit: Audit) -> None:
        config = daemon.config
        commands = config.commands
        self.token = read_token(commands.token_file, daemon.base) if commands.token_file else None
        self._daemon = daemon
        self._audit = audit
        self.controller = Controller(daemon.clock, audit, self._outlook, self._tell)
        self._keys = {name: read_secret_file(file, daemon.base).encode() for name, file in commands.keys.items()}
        self._limiter = RateLimiter(every_s=10.0, keys_max=16, clock=daemon.clock)
        self._connections: dict[str, ControlConnection] = {}
        self._links: list[Link] = []
        for source in config.sources:
            if isinstance(source, MqttSource) and self._is_used(source.name):
                password = password_of(source, daemon.base)
                self._connections[source.name] = ControlConnection(source, config.gateway, password, daemon.base)
        if commands.source is not None:
            topic = substitute(commands.topic, {"gateway": config.gateway})
            self._connections[commands.source].listen(topic, self._take)

    @property
    def connections(self) -> list[ControlConnection]:
        """The MQTT connections of outputs and commands."""
        return list(self._connections.values())

    def _is_used(self, source: str) -> bool:
        config = self._daemon.config
        outputs = (output for twin in config.twins for output in twin.outputs.values())
        return source == config.commands.source or any(output.source == source for output in outputs)

    def start(self, supervisor: Supervisor) -> None:
        """Take in what earlier runs left, bind to the twins, and go."""
        self.controller.remember(self._audit.load())
        self.attach()
        for name, connection in self._connections.items():
            supervisor.start(f"control:{name}", connection.run)
        supervisor.start("acting", self._run)

    def attach(self) -> None:
        """Bind to the daemon's engine, which may be a new one; outputs that exist stay as they are."""
        self._daemon.engine.on_twin(self._add)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self.controller.look_after(tasks)
                await asyncio.sleep(PERIOD_S)

    async def stop(self, supervisor: Supervisor) -> None:
        """Bring what is under control to its fallback while the connections are still there, then end."""
        await supervisor.stop("acting")
        try:
            await self.controller.safe("the daemon stops")
        finally:
            for name in self._connections:
                await supervisor.stop(f"control:{name}")
            while self._links:
                self._links.pop().release()

    # ---- twins

    def _add(self, twin: TwinInstance) -> None:
        states = frozenset(state_names(self._daemon.config, twin.spec))
        for name, spec in twin.spec.outputs.items():
            if (twin.name, name) not in self.controller.outputs:
                self.controller.add(make_output(twin.name, name, spec, states), self._writer(twin, spec))
                for rule in twin.spec.rules:
                    if rule.set == name:
                        self.controller.add_rule(make_rule(twin.name, rule, states, spec.fallback))

    def _writer(self, twin: TwinInstance, spec: Output) -> Writer:
        source = next(s for s in self._daemon.config.sources if s.name == spec.source)
        if isinstance(source, ModbusSource):
            assert spec.register is not None
            return ModbusWriter(self._link(source), source, spec.register)
        topic = substitute(spec.topic or "", twin.captures)
        signal = spec.read_back.signal

        def shown() -> tuple[int, float] | None:
            if signal is None:
                return None
            status = self._daemon.engine.estimate(twin.name, None, 0).signals[signal]
            return status.fused + status.gated, status.value

        return MqttWriter(self._connections[spec.source], topic, spec.payload, shown)

    def _link(self, source: ModbusSource) -> Link:
        link = self._daemon.links.link(source)
        if link not in self._links:
            link.retain()
            self._links.append(link)
        return link

    def _outlook(self, twin: str) -> Outlook:
        return outlook(self._daemon.engine, twin, self._daemon.clock.wall_ns())

    def _tell(self, kind: str, t_ns: int, data: Mapping[str, Scalar]) -> None:
        self._daemon.engine.tell(kind, t_ns, **data)

    # ---- commands over MQTT

    async def _take(self, payload: bytes) -> bytes | None:
        """One message; the answer to it. Who is not authorised gets none."""
        now_ns = self._daemon.clock.wall_ns()
        try:
            commander, data = open_envelope(payload, self._keys)
            ttl_max = float(self._daemon.config.commands.ttl_max)
            command = read_command(
                data, commander=commander, twin=None, now_ns=now_ns, ttl_max_s=ttl_max, origin="mqtt"
            )
            decision, result = await self.controller.submit(command)
        except NotAuthorisedError as exc:
            await self.refused(exc, "mqtt")
            return None
        except NotUnderstoodError as exc:
            await self.refused(exc, "mqtt")
            return msgspec.json.encode({"error": str(exc)})
        except JournalError as exc:
            return msgspec.json.encode({"id": command.id, "error": str(exc)})
        return msgspec.json.encode(answer(decision, result))

    async def refused(self, error: ControlError, origin: str) -> None:
        """Audit what never became a command; a flood of it is kept back."""
        suppressed = self._limiter.allow((origin, type(error)))
        if suppressed is None:
            return
        step = "authorised" if isinstance(error, NotAuthorisedError) else "understood"
        data: dict[str, Scalar] = {"origin": origin, "step": step, "reason": error.message}
        data["similar_suppressed"] = suppressed
        try:
            await self._audit.append("refused", self._daemon.clock.wall_ns(), data)
        except JournalError as exc:
            log.error("audit_failed", error=str(exc))
        self._tell("output_refused", self._daemon.clock.wall_ns(), data)


def answer(decision: Decision, result: Result | None) -> dict[str, object]:
    """What a commander is told."""
    command = decision.command
    outcome = result.value if result is not None else "refused"
    found: dict[str, object] = {"id": command.id, "twin": command.twin, "output": command.output, "outcome": outcome}
    if decision.step is not None:
        found |= {"step": decision.step.value, "reason": decision.reason}
    return found
