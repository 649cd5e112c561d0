from __future__ import annotations

import subprocess
import sys

import pytest

from edgetwin.cli import main as cli
from edgetwin.errors import ConfigError, EdgetwinError, SourceError


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out and text.split()[0] in out for name, text in cli.COMMANDS.items())


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["chekc"])
    assert caught.value.code == 2
    assert "chekc" in capsys.readouterr().err


def test_help_and_check_import_no_compiler() -> None:
    code = (
        "import sys; from edgetwin.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "main(['check', 'nowhere.yaml'])\n"
        "sys.exit(bool({'numba', 'numpy', 'aiomqtt', 'pymodbus', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("bad", hint="mend it", path="a", file="f", line=1, column=2), 2, "f:1:2: a: bad: mend it\n"),
        (SourceError("gone", hint="look"), 1, "edgetwin schema: gone: look\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr("edgetwin.cli.schema.run", fail)
    assert cli.main(["schema"]) == code
    assert capsys.readouterr().err == text
    assert issubclass(ConfigError, EdgetwinError)
