"""Requests of the command line to a running gateway."""

from __future__ import annotations


def post(base: str, path: str, body: bytes, *, token: str = "", timeout_s: float | None = None) -> tuple[int, bytes]:
    """POST JSON to ``path`` below ``/api/v1``: status and body of the answer. EdgetwinError when none comes."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from edgetwin.errors import EdgetwinError

    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(Request(f"{base.rstrip('/')}/api/v1/{path}", body, headers), timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except HTTPError as exc:
        return exc.code, exc.read()
    except (OSError, HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", exc)
        raise EdgetwinError(f"{base} cannot be asked ({reason})", hint="name the URL of a running gateway") from exc
