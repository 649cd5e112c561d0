"""`edgetwin check`: validate a configuration, compile its models and print what would run.

Exit code 0 when the daemon, or `edgetwin replay`, can run the file, 2 when there are faults or parts that this release
cannot run, and with --strict also when there are warnings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from edgetwin.config.check import Finding, check, hinders
from edgetwin.config.durations import format_duration
from edgetwin.config.load import InvalidConfigError, load
from edgetwin.config.plan import Plan, PlannedOutput, PlannedTwin, plan
from edgetwin.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help="the YAML file")
    parser.add_argument("--strict", action="store_true", help="take warnings for faults")
    parser.add_argument("--json", action="store_true", help="print the plan, or the faults, as JSON")


def run(args: argparse.Namespace) -> int:
    """Faults go to standard error, one line each; the plan, and with --json the faults too, to output."""
    path = Path(args.config)
    try:
        config = load(path)
    except InvalidConfigError as exc:
        return _refuse([_finding(e) for e in exc.errors], args.json)
    findings = check(config, path.parent)
    if not any(map(hinders, findings)):
        from edgetwin.runtime.soundness import unsound  # brings numba, which a file with faults does not wait for

        findings = [*findings, *unsound(config)]
    if any(args.strict or hinders(finding) for finding in findings):
        return _refuse(findings, args.json)
    _tell(findings)
    planned = plan(config)
    if args.json:
        _print_json({"ok": True, "plan": planned, "warnings": findings})
    else:
        print("\n".join([f"{args.config}: OK", *_lines(planned)]))
    return 0


def _finding(error: ConfigError) -> Finding:
    return Finding("error", error.path, error.message, error.hint, error.file, error.line, error.column)


def _refuse(findings: list[Finding], as_json: bool) -> int:
    _tell(findings)
    if as_json:
        _print_json({"ok": False, "findings": findings})
    return 2


def _tell(findings: list[Finding]) -> None:
    """One line each to standard error."""
    notes = {"error": "", "not_yet": "not yet: ", "warning": "warning: "}
    for finding in findings:
        print(f"{notes[finding.severity]}{finding.error()}", file=sys.stderr)


def _print_json(data: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def _lines(planned: Plan) -> list[str]:
    lines = [f"gateway  {planned.gateway}", f"state    {planned.state_dir or 'not kept'}"]
    for source in planned.sources:
        tls = " TLS" if source.tls else ""
        lines.append(f"source   {source.name}: {source.kind} {source.endpoint}{tls} ({source.detail})")
    for twin in planned.twins:
        lines += _twin_lines(twin)
    if planned.uplink is None:
        lines.append("uplink   none")
    else:
        up = planned.uplink
        tls = " TLS" if up.tls else ""
        topic = f", topic {up.topic}" if up.topic else ""
        lines.append(f"uplink   {up.endpoint}{tls}{topic}, every {format_duration(up.every)}")
    if planned.command == "replay":
        return [*lines, "runs with `edgetwin replay CONFIG --out DIR`, not as a daemon"]
    return [*lines, f"http     {planned.http or 'off'}"]


def _twin_lines(twin: PlannedTwin) -> list[str]:
    kind = "template" if twin.template else "twin    "
    lines = [f"{kind} {twin.name}: model {twin.model}, report every {format_duration(twin.report_every)}"]
    for signal in twin.signals:
        to = f" → {signal.converted_to}" if signal.converted_to else ""
        unit = f" [{signal.unit}{to}]" if signal.unit else ""
        lines.append(f"  signal {signal.name}{unit} from {signal.source}: {signal.binding}")
    lines += [_output_line(output) for output in twin.outputs]
    states = [f"{s} ±{twin.tolerance[s]:g}" if s in twin.tolerance else s for s in twin.states]
    return [*lines, f"  states {', '.join(states)}"]


def _output_line(output: PlannedOutput) -> str:
    unit = f" [{output.unit}]" if output.unit else ""
    low, high = output.range
    what = (
        f"{output.mode}, {'armed' if output.armed else 'disarmed'}, {low:g} to {high:g}, fallback {output.fallback:g}"
    )
    what += f", while {output.interlock}" if output.interlock else ""
    what += f", set by {', '.join(output.rules)}" if output.rules else ""
    return f"  output {output.name}{unit} to {output.source}: {output.binding} ({what})"
