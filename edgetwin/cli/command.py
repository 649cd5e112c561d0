"""`edgetwin command`: set an output of a twin through the running daemon; `edgetwin arm` arms one.

The answer comes when the device has been read back. Exit code 0 when it was written or held already, 1 when it was
refused or failed; the gate's step and its reason are printed.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path
from typing import Any

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
    return report(post(args, "commands", body))


def report(answer: tuple[int, Any]) -> int:
    """Print an answer; the exit code."""
    import msgspec

    status, body = answer
    print(
        msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
        file=sys.stdout if status < 300 else sys.stderr,
    )
    return 0 if status < 300 else 1


def post(args: argparse.Namespace, path: str, body: object) -> tuple[int, Any]:
    """POST to the daemon: status and JSON. EdgetwinError when it cannot be reached."""
    import json
    import urllib.error
    import urllib.request
    from urllib.parse import quote

    from edgetwin.errors import EdgetwinError

    url, token = daemon(args)
    request = urllib.request.Request(
        f"{url}/api/v1/twins/{quote(args.twin, safe='')}/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as exc:
        text = exc.read()
        try:
            return exc.code, json.loads(text)
        except ValueError:
            return exc.code, {"detail": text[:200].decode(errors="replace")}
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", exc)
        raise EdgetwinError(f"the daemon at {url} cannot be reached: {reason}", hint="does it run?") from exc


def daemon(args: argparse.Namespace) -> tuple[str, str]:
    """URL and token of the daemon. ConfigError when they cannot be found."""
    from edgetwin.config.load import load
    from edgetwin.config.urls import listen_address
    from edgetwin.errors import ConfigError

    if args.daemon.startswith(("http://", "https://")):
        if not args.token_file:
            raise ConfigError("a token is needed", hint="add --token-file FILE")
        return args.daemon.rstrip("/"), _secret(Path(args.token_file))
    path = Path(args.daemon)
    config = load(path)
    if config.http is None:
        raise ConfigError("the daemon has no HTTP", path="http", file=str(path), hint="give it http.listen")
    host, port = listen_address(config.http.listen)
    file = args.token_file or config.commands.token_file
    if not file:
        raise ConfigError("there is no token", path="commands.token_file", file=str(path), hint="set it")
    token = _secret(Path(file) if args.token_file else path.parent / file)
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}", token


def _secret(path: Path) -> str:
    from edgetwin.config.environment import read_secret
    from edgetwin.errors import ConfigError

    try:
        return read_secret(path)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}", hint="check the path and its permissions") from exc
