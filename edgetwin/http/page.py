"""The overview page: one file, nothing loaded from elsewhere, its script and style named by hash in the CSP."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from aiohttp import web

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """page.html with its Content-Security-Policy."""

    def __init__(self) -> None:
        self.html = resources.files(__package__).joinpath("page.html").read_text("utf-8")
        self.policy = content_security_policy(self.html)

    async def get(self, _request: web.Request) -> web.Response:
        """The page."""
        return web.Response(text=self.html, content_type="text/html", headers={"Content-Security-Policy": self.policy})


def content_security_policy(html: str) -> str:
    """Only the inline script and style of ``html`` may run; only its own origin may be asked."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = hashlib.sha256(text.encode()).digest()
        hashes[kind].append(f"'sha256-{base64.b64encode(digest).decode()}'")
    return (
        f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
