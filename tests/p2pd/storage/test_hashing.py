"""p2pd/storage/hashing.py: a manifest of one state of a file, whatever its shape."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
import tracemalloc
from pathlib import Path

import pytest
from blake3 import blake3

from p2pd.storage import hashing
from p2pd.storage.hashing import (
    Cancelled,
    FileChanged,
    Stamp,
    data_extents,
    hash_file,
    open_shared,
    stamp_from,
    stamp_of,
)
from p2pd.storage.root import StorageFailed
from protocol.errors import Fault
from protocol.limits import MAX_FILE, MIB
from protocol.manifest import Manifest


def expected(data: bytes) -> Manifest:
    """The manifest by its definition."""
    pieces = b"".join(blake3(data[start : start + MIB]).digest() for start in range(0, len(data), MIB))
    return Manifest(len(data), MIB, hashlib.sha256(data).digest(), pieces)


@pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, 9 * MIB + 12345])
def test_against_the_definition(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "a"
    path.write_bytes(data)
    assert hash_file(path) == expected(data)
    assert hash_file(str(path), size) == expected(data)
    with path.open("rb") as file:
        file.seek(size // 2)
        assert hash_file(file.fileno()) == expected(data)


@pytest.mark.parametrize("buffer", [MIB, 64 * 1024, 700_001])
@pytest.mark.parametrize(
    "writes",
    [
        [],
        [(0, 10)],
        [(5 * MIB - 10, 20)],
        [(2 * MIB, MIB)],
        [(MIB + 5000, 1), (6 * MIB, 4096)],
        [(0, MIB), (2 * MIB, 1), (4 * MIB, 3 * MIB + 77)],
    ],
)
def test_holes_hash_as_zeros(
    tmp_path: Path, writes: list[tuple[int, int]], buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "BUFFER", buffer)  # smaller than a piece: as for files above 64 GiB
    size = 7 * MIB + 77
    data = bytearray(size)
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(size)
        for offset, length in writes:
            data[offset : offset + length] = random.Random(offset).randbytes(length)
            file.seek(offset)
            file.write(data[offset : offset + length])
    progress: list[int] = []
    assert hash_file(path, on_progress=progress.append) == expected(bytes(data))
    assert progress == sorted(progress)
    assert progress[-1] == size


def test_extents_name_all_data(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("w+b") as file:
        file.truncate(8 * MIB)
        assert list(data_extents(file.fileno(), 8 * MIB)) in ([], [(0, 8 * MIB)])
        os.pwrite(file.fileno(), b"x", 3 * MIB)
        os.pwrite(file.fileno(), b"x", 8 * MIB - 1)
        extents = list(data_extents(file.fileno(), 8 * MIB))
    for offset in (3 * MIB, 8 * MIB - 1):
        assert any(start <= offset < end for start, end in extents)
    assert all(start < end <= 8 * MIB for start, end in extents)
    path.write_bytes(b"")
    with path.open("rb") as file:
        assert list(data_extents(file.fileno(), 0)) == []


def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(24 * MIB))
    tracemalloc.start()
    try:
        hash_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MIB


def test_a_write_meanwhile_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(4 * MIB))
    os.utime(path, ns=(0, 0))

    def write(done: int) -> None:
        if done == 2 * MIB:
            with path.open("r+b") as file:
                file.write(b"x")

    with pytest.raises(FileChanged, match="written"):
        hash_file(path, on_progress=write)


def test_a_cut_meanwhile_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(8 * MIB))
    with pytest.raises(FileChanged):
        hash_file(path, on_progress=lambda done: os.truncate(path, MIB))


def test_growth_meanwhile_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    def grow(done: int) -> None:
        with path.open("ab") as file:
            file.write(b"d")

    with pytest.raises(FileChanged):
        hash_file(path, on_progress=grow)


def test_a_size_that_is_not_what_the_caller_believed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with pytest.raises(FileChanged, match="3 octets instead of 4"):
        hash_file(path, 4)


def test_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(5 * MIB))
    progress: list[int] = []
    with pytest.raises(Cancelled):
        hash_file(path, on_progress=progress.append, cancelled=lambda: len(progress) == 2)
    assert progress == [MIB, 2 * MIB]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sha256")]


def test_open_and_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    fd, stamp = open_shared(path)
    try:
        status = path.stat()
        assert stamp == Stamp(3, status.st_mtime_ns, status.st_ino, status.st_dev)
        assert stamp_of(fd) == stamp == stamp_from(status)
        assert stamp.identity == (status.st_ino, status.st_dev)
        assert not os.get_inheritable(fd)
        os.utime(path, ns=(1, 1))
        assert stamp_of(fd) != stamp
    finally:
        os.close(fd)


def test_stamps_differ_in_all_but_the_device() -> None:
    stamp = Stamp(1, 2, 3, 4)
    assert stamp == Stamp(1, 2, 3, 99)
    assert stamp not in (Stamp(9, 2, 3, 4), Stamp(1, 9, 3, 4), Stamp(1, 2, 9, 4))


def test_what_cannot_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    Path("link").symlink_to("file")
    os.mkfifo("fifo")
    Path("directory").mkdir()
    with Path("huge").open("wb") as file:
        try:
            file.truncate(MAX_FILE + 1)
        except OSError:  # a file system with smaller files cannot hold one that is refused
            Path("huge").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name, code, words in [
            ("missing", "not_found", "does not exist"),
            ("file/below", "not_found", "part of the path is a file"),
            ("link", "usage", "symbolic link"),
            ("directory", "usage", "folder"),
            ("fifo", "usage", "FIFO"),
            ("socket", "usage", "socket"),
            ("/dev/null", "usage", "device"),
            ("huge", "usage", "larger than 1 TiB"),
        ]:
            if name == "huge" and not Path(name).exists():
                continue
            with pytest.raises(Fault) as caught:
                open_shared(name)
            assert (caught.value.code, words in caught.value.message) == (code, True), caught.value.message
            assert caught.value.hint or name == "file/below"


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(StorageFailed, match="no permission") as caught:
            open_shared(path)
    finally:
        if root:
            os.seteuid(0)
    assert "daemon's user" in caught.value.hint


def test_names_in_messages_are_safe_to_print(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        open_shared(tmp_path / "a\x1b[2J\udcff")
    assert caught.value.message.isprintable()
