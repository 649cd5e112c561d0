"""`edgetwin arm`: arm an output at the gateway, so that commands and rules may write it; --disarm takes it back."""

from __future__ import annotations

import argparse

from edgetwin.cli.command import add_target, ask, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_target(parser)
    parser.add_argument("--disarm", action="store_true", help="disarm instead: the output falls back")


def run(args: argparse.Namespace) -> int:
    """Arm or disarm and print the output."""
    from urllib.parse import quote

    verb = "disarm" if args.disarm else "arm"
    return report(ask(args, f"outputs/{quote(args.output, safe='')}/{verb}", {}))
