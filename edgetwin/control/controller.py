"""Carries out what the gate lets through, verifies it, and brings outputs back when control is lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping

import structlog

from edgetwin.clock import NS, Clock
from edgetwin.control.audit import Audit, Entry
from edgetwin.control.gate import judge
from edgetwin.control.output import Output
from edgetwin.control.past import Past, read_past
from edgetwin.control.ports import Writer
from edgetwin.control.records import Command, Decision, Outlook, Result
from edgetwin.control.rules import Rule
from edgetwin.errors import ControlError, JournalError
from edgetwin.records import Quality, Scalar

log = structlog.get_logger()

READ_AGAIN_S = 0.1
WRITE_TIMEOUT_S = 5.0
RULE_TTL_NS = NS
OWED_AGAIN_NS = 2 * NS
COUNTED = ("refused", "shadow", "renewed", "written", "failed")

Tell = Callable[[str, int, Mapping[str, Scalar]], None]


class Controller:
    """The outputs of all twins.

    ``outlook`` tells what is known of a twin now; ``tell`` enters an event for the cloud. ``counts`` is commands by
    outcome, ``fallbacks`` how often one was written.
    """

    def __init__(self, clock: Clock, audit: Audit, outlook: Callable[[str], Outlook], tell: Tell) -> None:
        self.counts = dict.fromkeys(COUNTED, 0)
        self.fallbacks = 0
        self.outputs: dict[tuple[str, str], Output] = {}
        self.audit = audit
        self._clock = clock
        self._outlook = outlook
        self._tell = tell
        self._writers: dict[tuple[str, str], Writer] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._rules: list[Rule] = []
        self._busy: set[tuple[str, str]] = set()
        self._number = 0
        self._past: dict[str, Past] = {}
        self._unread: set[tuple[str, str]] = set()

    def add(self, output: Output, writer: Writer) -> None:
        """One more output, from what :meth:`remember` knows of it; its device is read before it is written."""
        key = (output.twin, output.name)
        self.outputs[key], self._writers[key], self._turns[key] = output, writer, asyncio.Lock()
        self._unread.add(key)
        self._recall(output)

    def add_rule(self, rule: Rule) -> None:
        """One more rule."""
        self._rules.append(rule)

    def clock_stepped(self, step_ns: int) -> None:
        """The wall clock was wrong and has been set: leases, rates and the ``for`` of rules go on as they were."""
        for output in self.outputs.values():
            output.clock_stepped(step_ns)
        for rule in self._rules:
            rule.since_ns += step_ns if rule.since_ns else 0

    # ---- from one run to the next

    def remember(self, entries: Iterable[Entry]) -> None:
        """Take in what earlier runs audited: used ids, writes of the day, and what has not been brought back. What is
        about outputs of templates waits until their twins appear."""
        self._past = read_past(entries)
        for output in self.outputs.values():
            self._recall(output)

    def _recall(self, output: Output) -> None:
        past = self._past.pop(output.key, None)
        if past is None:
            return
        output.ids |= past.ids
        for t_ns in past.writes:
            output.note_write(t_ns)
        output.fallen = not (past.owed and output.active)

    async def _look(self, output: Output) -> None:
        """What the device holds now, where it can tell."""
        key = (output.twin, output.name)
        self._unread.discard(key)
        try:
            held = await self._writers[key].read()
        except ControlError as exc:
            log.warning("output_unread", output=output.key, error=exc.message)
            return
        if held is not None:
            output.written = held

    # ---- commands

    async def submit(self, command: Command) -> tuple[Decision, Result | None]:
        """Judge, audit and carry out one command. JournalError when it cannot be audited: then nothing is written."""
        key = (command.twin, command.output)
        output = self.outputs.get(key)
        if output is None:
            return await self._refuse(judge(command, None, {}, self._clock.wall_ns())), None
        async with self._turns[key]:
            if key in self._unread:
                await self._look(output)
            decision = judge(command, output, self._outlook(command.twin), self._clock.wall_ns())
            if not decision.accepted:
                return await self._refuse(decision), None
            output.remember(command)
            await self._audit_decision(decision)
            output.renew(command, self._clock.wall_ns())
            if not decision.writes:
                self.counts["renewed"] += 1
                return decision, Result.RENEWED
            return decision, await self._act(output, command)

    async def _refuse(self, decision: Decision) -> Decision:
        assert decision.step is not None
        self.counts["shadow" if decision.step.value == "shadow" else "refused"] += 1
        await self._audit_decision(decision)
        return decision

    async def _audit_decision(self, decision: Decision) -> None:
        command = decision.command
        data: dict[str, Scalar] = {
            "output": f"{command.twin}/{command.output}",
            "id": command.id,
            "commander": command.commander,
            "origin": command.origin,
            "value": command.value if math.isfinite(command.value) else str(command.value),
            "step": decision.step.value if decision.step else None,
            "reason": decision.reason,
            "writes": decision.writes,
            "used": decision.accepted,
            "expires": command.issued_ns + command.ttl_ns,
        }
        await self._record("decision", data)

    async def _act(self, output: Output, command: Command) -> Result:
        """Intent, write, verification, result; the fallback if anything fails."""
        data: dict[str, Scalar] = {"output": output.key, "id": command.id, "value": command.value}
        await self._record("intent", data)
        output.note_write(self._clock.wall_ns())
        try:
            await self._write(output, command.value)
        except ControlError as exc:
            self.counts["failed"] += 1
            output.fault = str(exc)
            try:
                await self._record("result", {**data, "outcome": Result.FAILED.value, "error": str(exc)})
            finally:
                await self._fall_back(output, f"a write failed: {exc}", disarm=True)
            return Result.FAILED
        output.fault = ""
        self.counts["written"] += 1
        await self._record("result", {**data, "outcome": Result.WRITTEN.value})
        return Result.WRITTEN

    async def _write(self, output: Output, value: float) -> None:
        """Write and read back until the device holds it. ControlError otherwise; then it is not known what it holds."""
        writer = self._writers[output.twin, output.name]
        output.written = math.nan
        verify = output.spec.read_back
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await writer.write(value)
        except TimeoutError as exc:
            raise ControlError("the device did not acknowledge the write in time", sent=True) from exc
        held: float | None = None
        try:
            async with asyncio.timeout(verify.within):
                while True:
                    held = await writer.read()
                    if held is None and verify.signal is None:
                        break  # it cannot be read: the acknowledgement is all there is
                    near = verify.tolerance + writer.resolution + 1e-9 * abs(value)
                    if held is not None and abs(held - value) <= near:
                        break
                    await asyncio.sleep(READ_AGAIN_S)
        except TimeoutError as exc:
            shown = "nothing" if held is None else f"{held:g}"
            raise ControlError(f"{value:g} was written and {shown} read back", sent=True) from exc
        output.written = value

    # ---- losing control

    def look_after(self, tasks: asyncio.TaskGroup) -> None:
        """One round: rules ask, leases that ran out and estimates that went bad bring the fallback, and a fallback that
        a device did not take is tried again.

        What has to wait for devices is given to ``tasks``; an output that is being seen to is left for the next round.
        """
        now_ns = self._clock.wall_ns()
        for rule in self._rules:
            command = self._asked(rule, now_ns)
            if command is not None:
                tasks.create_task(self._obey(rule, command))
        for key, output in self.outputs.items():
            if key in self._busy or self._turns[key].locked():
                continue
            if key in self._unread or self._lost(output, now_ns):
                self._busy.add(key)
                tasks.create_task(self._bring_back(output))

    def _lost(self, output: Output, now_ns: int) -> str:
        """Why the output has to fall back; empty when it has not."""
        if output.fallen:
            again = output.owed and now_ns - output.owed_ns >= OWED_AGAIN_NS
            return "the device did not take the fallback before" if again else ""
        if output.held(now_ns):
            return unusable(output.interlock.names, self._outlook(output.twin)) if output.interlock else ""
        if output.written == output.spec.fallback:
            output.release()
            output.fallen = True
            return ""
        if not output.holder:
            return "the daemon was restarted while the output was under control"
        return f"the lease of {output.holder} ran out"

    async def _bring_back(self, output: Output) -> None:
        key = (output.twin, output.name)
        try:
            async with self._turns[key]:
                if key in self._unread:
                    await self._look(output)
                reason = self._lost(output, self._clock.wall_ns())
                if reason:
                    await self._fall_back(output, reason)
        finally:
            self._busy.discard(key)

    async def safe(self, reason: str) -> None:
        """Disarm all outputs, and bring those under control to their fallback, all at once: the daemon stops."""
        for output in self.outputs.values():
            output.armed, output.fault = False, output.fault or reason
        async with asyncio.TaskGroup() as tasks:
            for output in self.outputs.values():
                tasks.create_task(self._let_go(output, reason))

    async def _let_go(self, output: Output, reason: str) -> None:
        async with self._turns[output.twin, output.name]:
            if not output.fallen or output.owed:
                await self._fall_back(output, reason)

    async def arm(self, twin: str, name: str, armed: bool, who: str) -> None:
        """Arm or disarm an output; a disarmed one falls back. KeyError when there is none."""
        output = self.outputs[twin, name]
        await self._record("armed" if armed else "disarmed", {"output": output.key, "who": who})
        output.armed = armed
        if not armed:
            await self._let_go(output, f"disarmed by {who}")
            return
        output.fault = ""
        async with self._turns[twin, name]:
            await self._look(output)

    async def _fall_back(self, output: Output, reason: str, *, disarm: bool = False) -> None:
        """Write the fallback, whatever the gate says, until the device has it; an alarm tells of it once."""
        again = output.fallen and output.owed
        output.release()
        output.fallen = True
        output.armed = output.armed and not disarm
        error = ""
        if output.active:
            output.owed, output.owed_ns = True, self._clock.wall_ns()  # also when this is cancelled
            try:
                await self._write(output, output.spec.fallback)
            except ControlError as exc:
                error = str(exc)
                output.fault = output.fault or error
            output.owed = bool(error)
            self.fallbacks += not error
        if again and error:
            return
        data: dict[str, Scalar] = {"output": output.key, "value": output.spec.fallback, "reason": reason}
        data |= {"error": error, "priority": "high"}
        try:
            await self._record("fallback", data)
        except JournalError as exc:  # the safe value comes before its record
            log.error("audit_failed", error=str(exc))
            self._tell("output_fallback", self._clock.wall_ns(), {"twin": output.twin, **data})

    # ---- rules

    def _asked(self, rule: Rule, now_ns: int) -> Command | None:
        """What a rule asks for now, if that is news."""
        key = (rule.twin, rule.spec.set)
        output = self.outputs.get(key)
        if output is None or key in self._busy:
            return None
        outlook = self._outlook(rule.twin)
        if unusable(rule.names, outlook):
            return None  # and its lease runs out
        value = rule.wish(outlook, now_ns)
        if value is None:
            return None
        if output.held(now_ns) and output.holder == rule.commander and not _due(output, value, now_ns):
            return None
        self._number += 1
        command = Command(
            f"{now_ns}-{self._number}", rule.commander, rule.twin, rule.spec.set, value, now_ns, RULE_TTL_NS, "rule"
        )
        foreseen = judge(command, output, outlook, now_ns)
        told = "" if foreseen.accepted else f"{foreseen.step}{value:.3g}"
        if told and told == rule.told:
            return None
        rule.told = told
        self._busy.add(key)
        return command

    async def _obey(self, rule: Rule, command: Command) -> None:
        try:
            decision, result = await self.submit(command)
            if not rule.on and decision.accepted and result is not Result.FAILED:
                rule.settled()
        except JournalError as exc:
            log.error("audit_failed", error=str(exc), consequence="nothing is written to devices")
        finally:
            self._busy.discard((command.twin, command.output))

    async def _record(self, kind: str, data: Mapping[str, Scalar]) -> None:
        now_ns = self._clock.wall_ns()
        await self.audit.append(kind, now_ns, data)
        self._tell(f"output_{kind}", now_ns, {"twin": str(data["output"]).rpartition("/")[0], **data})


def unusable(names: Iterable[str], outlook: Outlook) -> str:
    """Which of the states nothing may be built on; empty when there is none."""
    for name in sorted(names):
        state = outlook.get(name)
        if state is None or state.quality is Quality.BAD:
            return f"the estimate of {name} is bad"
    return ""


def _due(output: Output, value: float, now_ns: int) -> bool:
    """Whether a rule that holds the output has anything to say: another value, or half of its lease is over."""
    half_ns = round(output.spec.lease * NS / 2)
    return not abs(output.written - value) <= 0.0 or output.until_ns - now_ns < half_ns
