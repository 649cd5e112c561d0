"""One process per state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetwin.errors import JournalError
from edgetwin.runtime.lock import state_lock

HOLDER = """
import sys
from edgetwin.runtime.lock import state_lock
with state_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_makes_a_private_directory_and_writes_the_pid(tmp_path: Path) -> None:
    with state_lock(tmp_path / "a" / "state") as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"


def test_a_second_process_is_refused_with_the_owners_pid(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        with (
            pytest.raises(JournalError, match=rf"in use by process {holder.pid}\b") as caught,
            state_lock(tmp_path),
        ):
            pass
        assert caught.value.hint
        holder.kill()
    with state_lock(tmp_path):  # the lock dies with its process; the file it left does not matter
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_released_at_the_end_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), state_lock(tmp_path):
        raise RuntimeError
    with state_lock(tmp_path):
        pass


def test_a_longer_pid_of_an_earlier_owner_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012345\n")
    with state_lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("make", ["file", "under_a_file", "lock_is_a_directory", "lock_is_a_link"])
def test_a_directory_that_cannot_be_used(tmp_path: Path, make: str) -> None:
    target = tmp_path / "state"
    if make == "file":
        target.write_text("")
    elif make == "under_a_file":
        target.write_text("")
        target = target / "deeper"
    elif make == "lock_is_a_directory":
        (target / "lock").mkdir(parents=True)
    else:
        target.mkdir()
        (target / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be written") as caught, state_lock(target):
        pass
    assert "state_dir" in caught.value.hint
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="cannot be written"), state_lock(tmp_path):
        pass
