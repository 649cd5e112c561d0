"""The `edgetwin` command: finds the command, imports only its module, runs it.

A command module has ``add_arguments(parser)`` and ``run(args) -> int``. Exit codes: 0 done, 1 failed at run
time, 2 configuration error or wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from edgetwin.errors import ConfigError, EdgetwinError

COMMANDS = {
    "run": "run the daemon",
    "check": "validate a configuration and print what would run",
    "schema": "print the JSON Schema of the configuration",
    "demo": "show the whole thing on this machine, with nothing to set up",
    "replay": "run recorded files through the twins",
    "simulate": "ask what a twin would do under a scenario",
    "fit": "learn parameters and noise from recorded files",
    "receive": "decode frames on the cloud side",
    "command": "set an output of a twin through the running daemon",
    "arm": "arm an output at the gateway, or disarm it",
    "codec": "encode a CSV within a tolerance, and decode it",
    "warmup": "compile every kernel into the cache",
    "modbus": "probe a Modbus device",
    "inspect": "print what a state directory holds",
}
"""Each command is the module of that name in this package."""

DONE, FAILED, MISCONFIGURED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(_command_of(words))
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help()
        return MISCONFIGURED
    try:
        return int(import_module(f"edgetwin.cli.{args.command}").run(args))
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return MISCONFIGURED
    except EdgetwinError as exc:
        print(f"edgetwin {args.command}: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; keep the interpreter from flushing into the void at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _command_of(words: Sequence[str]) -> str | None:
    """The command among the words, so that only its module is imported."""
    return next((w for w in words if not w.startswith("-")), None)


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgetwin", description="Real-time digital twins on an edge gateway.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"edgetwin {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        if name == chosen:
            import_module(f"edgetwin.cli.{name}").add_arguments(command)
    return parser


def _version() -> str:
    try:
        return version("edgetwin")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
