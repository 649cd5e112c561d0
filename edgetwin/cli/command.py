"""`edgetwin command`: set an output of a twin through the running daemon; `edgetwin arm` arms one.

The answer comes when the device has been read back. Exit code 0 when it was written or held already, 1 when it was
refused or failed; the gate's step and its reason are printed.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

TIMEOUT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_target(parser)
    parser.add_argument("value", metavar="VALUE", type=float, help="number to set, in the unit of the output")
    parser.add_argument("--ttl", metavar="SECONDS", type=float, default=5.0, help="time in which it may be carried out")
    parser.add_argument("--id", default="", help="id of the command, never to be used twice (default: a new one)")


def add_target(parser: argparse.ArgumentParser) -> None:
    """Which daemon, which output."""
    parser.add_argument("daemon", metavar="CONFIG|URL", help="configuration of the daemon, or http://host:port")
    parser.add_argument("twin", metavar="TWIN")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("--token-file", metavar="FILE", help="file with the bearer token; needed with a URL")


def run(args: argparse.Namespace) -> int:
    """Send the command and print what became of it."""
    from datetime import UTC, datetime

    body = {
        "id": args.id or str(uuid.uuid4()),
        "output": args.output,
        "value": args.value,
        "issued": datetime.now(UTC).isoformat(),
        "ttl": args.ttl,
    }
    return report(ask(args, "commands", body))


def report(answer: tuple[int, bytes]) -> int:
    """Print an answer; the exit code."""
    import msgspec

    status, body = answer
    try:
        text = msgspec.json.format(body, indent=2).decode()
    except msgspec.DecodeError:
        text = f"HTTP {status}: is this the URL of edgetwin's HTTP API?"
    print(text, file=sys.stdout if status < 300 else sys.stderr)
    return 0 if status < 300 else 1


def ask(args: argparse.Namespace, path: str, body: object) -> tuple[int, bytes]:
    """POST to the daemon, below the twin: status and body. EdgetwinError when it cannot be reached."""
    import json
    from urllib.parse import quote

    from edgetwin.cli.gateway import post

    url, token = daemon(args)
    return post(
        url, f"twins/{quote(args.twin, safe='')}/{path}", json.dumps(body).encode(), token=token, timeout_s=TIMEOUT_S
    )


def daemon(args: argparse.Namespace) -> tuple[str, str]:
    """URL and token of the daemon. ConfigError when they cannot be found."""
    from edgetwin.config.credentials import read_token
    from edgetwin.config.load import load
    from edgetwin.config.urls import listen_address
    from edgetwin.errors import ConfigError

    if args.daemon.startswith(("http://", "https://")):
        if not args.token_file:
            raise ConfigError("a token is needed", hint="add --token-file FILE")
        return args.daemon, read_token(args.token_file, Path())
    path = Path(args.daemon)
    config = load(path)
    if config.http is None:
        raise ConfigError("the daemon has no HTTP", path="http", file=str(path), hint="give it http.listen")
    host, port = listen_address(config.http.listen)
    if args.token_file:
        token = read_token(args.token_file, Path())
    elif config.commands.token_file:
        token = read_token(config.commands.token_file, path.parent)
    else:
        raise ConfigError("there is no token", path="commands.token_file", file=str(path), hint="set it")
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}", token
