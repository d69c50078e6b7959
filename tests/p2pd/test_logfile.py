"""p2pd.logfile: it turns, stays private and bounded, and outlives a disk that refuses."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from p2pd.logfile import LogFile
from protocol.errors import Fault


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_turns_and_keeps_so_many(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", 20, 2)
    for number in range(7):
        log.write(f"line {number} ....\n")
    log.close()
    assert names(tmp_path) == ["log", "log.1", "log.2"]
    assert (tmp_path / "log").read_text() == "line 6 ....\n"
    assert (tmp_path / "log.1").read_text() == "line 5 ....\n"
    assert (tmp_path / "log.2").read_text() == "line 4 ....\n"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_what_was_there_is_gone_on_with(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        log = LogFile(tmp_path / "log", 100, 1)
        log.write(text)
        log.close()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_that_another_user_put_there_gets_no_lines(tmp_path: Path) -> None:
    (tmp_path / "log").touch(0o666)
    os.chown(tmp_path / "log", 65534, 65534)
    with pytest.raises(Fault, match="belongs to another user"):
        LogFile(tmp_path / "log", 100, 1)
    assert (tmp_path / "log").read_bytes() == b""


def test_no_older_ones(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", 5, 0)
    log.write("a long line\n")
    log.write("another\n")
    log.close()
    assert names(tmp_path) == ["log"]
    assert (tmp_path / "log").read_text() == "another\n"


def test_lines_that_a_full_disk_refuses_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "log", 1000, 1)
    write = os.write

    def full(fd: int, octets: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write("lost\n")
    log.write("lost\n")
    monkeypatch.setattr(os, "write", write)
    log.write("here\n")
    log.close()
    assert (tmp_path / "log").read_text() == "... 2 lines could not be written here\nhere\n"


def test_a_directory_that_is_taken_away_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    log = LogFile(home / "log", 5, 1)
    log.write("first line\n")
    home.rename(tmp_path / "away")
    log.write("lost as it turns\n")
    home.mkdir()
    log.write("back\n")
    log.close()
    assert (home / "log").read_text() == "... 1 lines could not be written here\nback\n"


@pytest.mark.parametrize("kind", ["missing directory", "link", "fifo"])
def test_what_cannot_be_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "missing directory":
        path = path / "log"
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)  # without a reader it must not wait
    with pytest.raises(Fault) as caught:
        LogFile(path, 10, 1)
    assert caught.value.code == "storage"
