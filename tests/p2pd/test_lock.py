"""p2pd.lock: one daemon for one home, and a home that is private."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pd.lock import HomeLock, holder, make_private
from protocol.errors import Fault

HOLDER = """
import sys
from pathlib import Path
from p2pd.lock import HomeLock, holder
with HomeLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_second_daemon_is_told_who_holds_the_home_and_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Fault) as caught, HomeLock(home):
            pass
        assert caught.value.code == "refused"
        assert str(holder.pid) in caught.value.message
        assert str(home) in caught.value.message
        assert "p2pctl shutdown" in caught.value.hint
        assert "--home" in caught.value.hint
        holder.kill()
        holder.wait(10)
    with HomeLock(home):  # the kernel let go of it
        assert (home / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_it_excludes_within_one_process_and_is_let_go_at_the_end(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(Fault), HomeLock(tmp_path):
        pass
    with HomeLock(tmp_path):
        pass


def test_two_homes_do_not_disturb_each_other(tmp_path: Path) -> None:
    with HomeLock(tmp_path / "a"), HomeLock(tmp_path / "b"):
        assert (tmp_path / "a" / "lock").exists()


def test_what_is_left_over_in_the_file_means_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "lock").write_text("999999 and much more", encoding="ascii")
    with HomeLock(tmp_path):
        assert (tmp_path / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_a_new_home_and_its_lock_are_private(tmp_path: Path) -> None:
    home = tmp_path / "state" / "p2pd"
    before = os.umask(0)
    try:
        with HomeLock(home):
            assert mode(home) == 0o700
            assert mode(home / "lock") == 0o600
    finally:
        os.umask(before)


def test_an_empty_home_and_one_that_was_used_are_closed_to_others(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    empty.mkdir()
    used.mkdir()
    (used / "lock").touch()
    (used / "device.key").touch()
    for home in (empty, used):
        home.chmod(0o755)
        make_private(home)
        assert mode(home) == 0o700


def test_a_directory_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "somebody's file").touch()
    with pytest.raises(Fault) as caught:
        make_private(tmp_path)
    assert caught.value.code == "auth"
    assert f"chmod 700 {tmp_path}" in caught.value.hint
    assert mode(tmp_path) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_home_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(Fault) as caught, HomeLock(tmp_path):
        pass
    assert caught.value.code == "auth"


def test_a_home_that_is_a_file_and_a_lock_that_is_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fault) as caught, HomeLock(tmp_path / "file"):
        pass
    assert caught.value.code == "storage"
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "lock").symlink_to(tmp_path / "file")
    with pytest.raises(Fault) as caught, HomeLock(home):
        pass
    assert caught.value.code == "storage"
    assert (tmp_path / "file").read_bytes() == b""


def test_who_holds_a_home(tmp_path: Path) -> None:
    assert holder(tmp_path / "nowhere") == ""
    with HomeLock(tmp_path / "h"):
        assert holder(tmp_path / "h") == str(os.getpid())
    assert holder(tmp_path / "h") == ""
    with HomeLock(tmp_path / "h"):
        (tmp_path / "h" / "lock").write_text("")
        assert holder(tmp_path / "h") == "?"
