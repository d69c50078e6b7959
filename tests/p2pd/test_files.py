"""p2pd.files: whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from p2pd.files import create_private, sync_directory, write_private
from protocol.errors import Fault


def test_a_file_is_replaced_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault) as caught:
        write_private(path, b"new")
    assert (caught.value.code, "No space left" in caught.value.message) == ("storage", True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "a")


def test_a_new_file_is_private_and_takes_no_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "directory" / "a"
    create_private(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(Fault) as caught:
        create_private(path, b"y")
    assert caught.value.code == "exists"
    assert path.read_bytes() == b"x"
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_private(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(Fault) as caught:
        create_private(tmp_path / "file" / "a", b"x")
    assert caught.value.code == "storage"
