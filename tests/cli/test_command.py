"""`edgetwin command` and `edgetwin arm` where there is no gateway to talk to; the rest is in tests/control."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from edgetwin.cli.main import main
from tests.conftest import free_port

TOKEN = "t" * 40
PLANT = """\
gateway: g
sources: [{name: plant, kind: mqtt, url: "mqtt://127.0.0.1"}]
twins: [{name: oven, signals: {T: {source: plant, topic: oven/T}}}]
"""


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return str(path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1", "http://x:abc", "http://", "http://a b"])
def test_nobody_answers(url: str, token: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["command", url, "oven", "fan", "1"], ["arm", url, "oven", "fan"]):
        assert main([*words, "--token-file", token]) == 1
        assert f"{url} cannot be asked (" in capsys.readouterr().err


def test_who_answers_is_no_gateway(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    server = http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler)  # knows no POST
    with server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        assert main(["arm", f"http://127.0.0.1:{port}", "oven", "fan", "--token-file", token]) == 1
        serving.join()
    assert "is this the URL of edgetwin's HTTP API?" in capsys.readouterr().err


def test_tokens(tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "plant.yaml"
    config.write_text(PLANT)
    two_lines = tmp_path / "lines"
    two_lines.write_text("secret\nsecret\n")
    url = "http://127.0.0.1:1"
    for words, said in (
        ([url], "a token is needed: add --token-file FILE"),
        ([str(config)], "commands.token_file: there is no token: set it"),
        ([url, "--token-file", str(tmp_path / "none")], "No such file"),
        ([url, "--token-file", str(two_lines)], "does not hold a token: one line of printable ASCII"),
    ):
        assert main(["command", words[0], "oven", "fan", "1", *words[1:]]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert "secret" not in err
