"""p2pd/storage/checking.py: every wrong piece is found, and nothing but wrong pieces is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from p2pd.storage.checking import bad_pieces, mend
from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, hash_file, stamp_from
from p2pd.storage.root import StorageError
from protocol.errors import Fault
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.swarm import octets

DATA = octets(3 * MIB + 9)


class File:
    """A file, what was recorded of it, and ways to spoil it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(DATA)
        os.utime(path, ns=(1, 1_700_000_000_123_456_789))
        self.manifest: Manifest = hash_file(path)
        self.stamp = self.now()

    def now(self) -> Stamp:
        return stamp_from(self.path.stat())

    def rot(self, *offsets: int) -> None:
        """Other octets, the same time."""
        with self.path.open("r+b") as stream:
            for offset in offsets:
                stream.seek(offset)
                stream.write(bytes([DATA[offset] ^ 1]))
        os.utime(self.path, ns=(1, self.stamp.mtime_ns))

    def bad(self, wanted: int | None = None) -> int:
        with self.path.open("rb") as stream:
            return bad_pieces(stream.fileno(), self.manifest, wanted)

    def mend(self, bad: int, *, again: bool = False) -> None:
        mend(str(self.path), self.stamp, self.manifest, bad, read, again=again)


def read(offset: int, view: memoryview) -> None:
    view[:] = DATA[offset : offset + len(view)]


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "a")


# -- checking ---------------------------------------------------------------------------------------------


def test_every_wrong_piece_and_no_other(file: File) -> None:
    assert file.bad() == 0
    file.rot(0, 2 * MIB, len(DATA) - 1)
    assert file.bad() == 0b1101
    assert file.bad(0b0110) == 0b0100
    assert file.now() == file.stamp


def test_no_octets(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with path.open("rb") as stream:
        assert bad_pieces(stream.fileno(), hash_file(path)) == 0


def test_another_size_is_a_change(file: File) -> None:
    for size in (len(DATA) - 1, len(DATA) + 1):
        os.truncate(file.path, size)
        with pytest.raises(FileChanged):
            file.bad()


def test_progress_and_stopping(file: File) -> None:
    seen: list[int] = []
    with file.path.open("rb") as stream:
        bad_pieces(stream.fileno(), file.manifest, None, seen.append)
        assert seen == [MIB, 2 * MIB, 3 * MIB, len(DATA)]
        with pytest.raises(Cancelled):
            bad_pieces(stream.fileno(), file.manifest, cancelled=lambda: True)


def test_a_sector_that_cannot_be_read_is_a_wrong_piece(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def fail(fd: int, views: list[memoryview], offset: int) -> int:
        if MIB <= offset < 2 * MIB:
            raise OSError(errno.EIO, "input/output error")
        return real(fd, views, offset)

    monkeypatch.setattr(os, "preadv", fail)
    assert file.bad() == 0b0010

    def refuse(fd: int, views: list[memoryview], offset: int) -> int:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(StorageError):
        file.bad()


# -- mending ----------------------------------------------------------------------------------------------


def test_only_what_is_wrong_is_written_and_the_time_stays(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.rot(5, 3 * MIB)
    written: list[tuple[int, int]] = []
    real = os.pwrite

    def spy(fd: int, view: memoryview, offset: int) -> int:
        written.append((offset, len(view)))
        return real(fd, view, offset)

    monkeypatch.setattr(os, "pwrite", spy)
    file.mend(file.bad())
    assert written == [(0, MIB), (3 * MIB, 9)]
    assert file.path.read_bytes() == DATA
    assert file.now() == file.stamp


def test_a_changed_or_another_file_is_left_alone(file: File) -> None:
    file.rot(5)
    os.utime(file.path, ns=(1, file.stamp.mtime_ns + 1))
    before = file.path.read_bytes()
    with pytest.raises(FileChanged):
        file.mend(1)
    assert file.path.read_bytes() == before
    other = file.path.with_name("other")
    other.write_bytes(before)
    os.utime(other, ns=(1, file.stamp.mtime_ns))
    os.replace(other, file.path)
    for again in (False, True):
        with pytest.raises(FileChanged):
            file.mend(1, again=again)
    assert file.path.read_bytes() == before
    file.path.unlink()
    with pytest.raises(Fault):
        file.mend(1)


def test_what_was_cut_short_is_finished(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.rot(5, MIB + 5)
    bad = file.bad()
    real = os.pwrite
    calls = []

    def die(fd: int, view: memoryview, offset: int) -> int:
        calls.append(offset)
        real(fd, view[: len(view) // 2], offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", die)
    with pytest.raises(KeyboardInterrupt):
        file.mend(bad)
    monkeypatch.setattr(os, "pwrite", real)
    assert file.now() != file.stamp  # it looks like somebody's change
    file.mend(bad, again=True)
    assert file.path.read_bytes() == DATA
    assert file.now() == file.stamp
    file.mend(bad, again=True)  # once more is harmless


def test_after_a_cut_a_change_of_somebody_else_is_kept(file: File) -> None:
    file.rot(5)
    with file.path.open("r+b") as stream:
        stream.seek(2 * MIB)
        stream.write(b"mine")
    before = file.path.read_bytes()
    with pytest.raises(FileChanged):
        file.mend(1, again=True)
    assert file.path.read_bytes() == before


def test_a_piece_that_is_wrong_itself_is_never_written(file: File) -> None:
    file.rot(5)
    before = file.path.read_bytes()

    def lie(offset: int, view: memoryview) -> None:
        view[:] = bytes(len(view))

    with pytest.raises(StorageError):
        mend(str(file.path), file.stamp, file.manifest, 1, lie)
    assert file.path.read_bytes() == before
