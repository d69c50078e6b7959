"""p2pd/storage/unbuffered.py: large aligned writes past the page cache, everything else the usual way."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.root import Root
from p2pd.storage.unbuffered import ALIGNMENT, LEAST_FILE, LEAST_WRITE, Unbuffered


class Disk:
    """os.pwrite that keeps count, or refuses."""

    def __init__(self) -> None:
        self.error = 0
        self.calls: list[tuple[int, int]] = []

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self.calls.append((offset, len(data)))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return os.pwrite(fd, data, offset)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    with Root(tmp_path) as root:
        yield root


@pytest.fixture
def fd(root: Root) -> Iterator[int]:
    fd = root.open_part("part")
    os.ftruncate(fd, LEAST_FILE)
    yield fd
    os.close(fd)


def buffer(octets: int = LEAST_WRITE) -> memoryview:
    view = memoryview(mmap.mmap(-1, octets))
    view[:] = os.urandom(octets)
    return view


def test_a_large_aligned_write_is_there_for_readers(root: Root, fd: int) -> None:
    disk = Disk()
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, disk.write)
    if not unbuffered.usable:
        pytest.skip("this file system has no unbuffered writes")
    data = buffer()
    assert unbuffered.write(LEAST_WRITE, data) == LEAST_WRITE
    assert os.pread(fd, LEAST_WRITE, LEAST_WRITE) == bytes(data)
    unbuffered.close()
    assert unbuffered.write(LEAST_WRITE, data) == 0


def test_both_ways_may_be_mixed(root: Root, fd: int) -> None:
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, os.pwrite)
    os.pwrite(fd, b"o" * (2 * LEAST_WRITE), 0)  # dirty pages under what follows
    data = buffer()
    if not unbuffered.write(0, data):
        pytest.skip("this file system has no unbuffered writes")
    os.pwrite(fd, b"n" * 10, 100)
    expected = bytes(data[:100]) + b"n" * 10 + bytes(data[110:]) + b"o" * LEAST_WRITE
    assert os.pread(fd, 2 * LEAST_WRITE, 0) == expected
    unbuffered.close()


@pytest.mark.parametrize(
    ("offset", "start", "length"),
    [
        (1, 0, LEAST_WRITE),
        (0, 1, LEAST_WRITE),
        (0, 0, LEAST_WRITE + 1),
        (0, 0, LEAST_WRITE - ALIGNMENT),
    ],
)
def test_what_is_not_aligned_or_small_goes_the_usual_way(
    root: Root, fd: int, offset: int, start: int, length: int
) -> None:
    disk = Disk()
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, disk.write)
    data = buffer(2 * LEAST_WRITE)
    assert unbuffered.write(offset, data[start : start + length]) == 0
    assert not disk.calls
    unbuffered.close()


def test_octets_that_nobody_may_write_to_go_the_usual_way(root: Root, fd: int) -> None:
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, os.pwrite)
    assert unbuffered.write(0, memoryview(bytes(LEAST_WRITE))) == 0
    unbuffered.close()


def test_a_small_file_is_left_to_the_page_cache(root: Root, fd: int) -> None:
    assert not Unbuffered(root, "part", fd, LEAST_FILE - 1, os.pwrite).usable


def test_a_file_system_that_refuses_is_asked_once(root: Root, fd: int) -> None:
    disk = Disk()
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, disk.write)
    if not unbuffered.usable:
        pytest.skip("this file system has no unbuffered writes")
    disk.error = errno.EINVAL
    assert unbuffered.write(0, buffer()) == 0
    assert not unbuffered.usable
    assert unbuffered.write(0, buffer()) == 0
    assert len(disk.calls) == 1
    unbuffered.close()


def test_a_full_disk_is_told(root: Root, fd: int) -> None:
    disk = Disk()
    unbuffered = Unbuffered(root, "part", fd, LEAST_FILE, disk.write)
    if not unbuffered.usable:
        pytest.skip("this file system has no unbuffered writes")
    disk.error = errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        unbuffered.write(0, buffer())
    assert unbuffered.usable
    unbuffered.close()
    unbuffered.close()


def test_another_file_under_the_name_is_not_opened(root: Root, fd: int, tmp_path: Path) -> None:
    (tmp_path / "part").unlink()
    (tmp_path / "part").write_bytes(b"another's")
    assert not Unbuffered(root, "part", fd, LEAST_FILE, os.pwrite).usable
    (tmp_path / "part").unlink()
    assert not Unbuffered(root, "part", fd, LEAST_FILE, os.pwrite).usable
