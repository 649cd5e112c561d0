"""Commands that are run in a process of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgetwin.runtime.process import own_command


def test_what_lies_in_the_current_directory_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "edgetwin").mkdir()
    (tmp_path / "edgetwin" / "__init__.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run(own_command("--version"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("edgetwin ")
