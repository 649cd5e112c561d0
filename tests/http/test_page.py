"""The page: its policy, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
import shutil
from pathlib import Path

import aiohttp
import pytest

from edgetwin.http import serve
from edgetwin.http.page import Page, content_security_policy
from edgetwin.records import OUTCOMES
from tests.http.build import Asking, View
from tests.http.conftest import NAMES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


async def test_the_policy_names_the_script_and_style_served(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
    for kind in ("script", "style"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "connect-src 'self'" in policy


def test_nothing_is_loaded_from_elsewhere_and_nothing_escapes_the_policy() -> None:
    text = Page().html
    addresses = set(re.findall(r"""https?://[^\s"'`)]+""", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, not an address
    assert not re.search(r"\s(style|on\w+)=|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert re.search(r"<(script|style)\s", text) is None


def test_the_policy_follows_the_text() -> None:
    a, b = (content_security_policy(f"<style>x</style><script>{s}</script>") for s in "ab")
    assert a != b


def test_the_page_knows_every_outcome() -> None:
    listed = re.search(r"const OUTCOMES = \[(.*?)\]", Page().html)
    assert listed is not None
    assert tuple(re.findall(r'"(\w+)"', listed[1])) == OUTCOMES


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_the_twins(view: View, tmp_path: Path) -> None:
    view.sources.append(Asking("plc", last_error="<b>refused</b>"))
    async with serve(view, "127.0.0.1:0") as (host, port):
        page = await _dump(f"http://{host}:{port}/", tmp_path)
    assert "<title>g · edgetwin</title>" in page
    for name in NAMES:
        assert f'<button class="link" type="button">{html.escape(name)}</button>' in page
    assert page.count("<script>") == 1
    assert "&lt;b&gt;refused&lt;/b&gt;" in page
    assert "3 of 3" in page
    assert re.search(r'<span class="pill uncertain">uncertain</span>', page)
    assert re.search(r"± \d+\.\d+ bar", page)
    assert "ledger balances ✓" in page
    assert re.search(r'<p id="notice"[^>]* hidden=""', page)


async def _dump(url: str, profile: Path) -> str:
    """The document after its first answers."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(120):
            out, _ = await browser.communicate()
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return out.decode()
