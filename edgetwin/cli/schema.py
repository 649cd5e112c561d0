"""`edgetwin schema`: print the JSON Schema of the configuration."""

from __future__ import annotations

import argparse
import json

from edgetwin.config.json_schema import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 - every command has the same face
    """Print the schema to standard output."""
    print(json.dumps(json_schema(), indent=2))
    return 0
