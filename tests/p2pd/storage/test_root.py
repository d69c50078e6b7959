"""p2pd/storage/root.py: nothing is written outside one directory, and nothing is replaced unasked."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.root import (
    DiskFull,
    Root,
    StorageError,
    StorageFailed,
    StorageMissing,
    check_local_name,
    numbered,
    storage_error,
)
from protocol.errors import Fault
from protocol.names import BadName
from tests.fakes.programs import needs


class RootWithoutRenameat2(Root):
    """As on other systems, and on file systems that answer EINVAL."""

    def _try_renameat2(self, old: str, new: str) -> int:
        return errno.ENOSYS


class RootWithoutLinks(Root):
    """As on FAT over FUSE: neither renameat2 nor hard links."""

    def _try_renameat2(self, old: str, new: str) -> int:
        return errno.EINVAL

    def _link_and_unlink(self, old: str, new: str) -> int:
        return self._reserve_and_replace(old, new)


@pytest.fixture(params=[Root, RootWithoutRenameat2, RootWithoutLinks])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    directory = tmp_path / "downloads"
    directory.mkdir()
    with request.param(directory) as root:
        yield root


def put(root: Root, name: str, data: bytes) -> Path:
    path = Path(root.path, name)
    path.write_bytes(data)
    return path


def test_a_part_is_created_private_and_only_once(root: Root) -> None:
    fd = root.open_part("a")
    try:
        status = os.fstat(fd)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert os.pwrite(fd, b"x", 0) == 1
        assert os.pread(fd, 1, 0) == b"x"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
    with pytest.raises(Fault) as caught:
        root.open_part("a")
    assert caught.value.code == "exists"


@pytest.mark.parametrize("target", ["outside", "missing"])
def test_a_planted_link_is_not_followed(root: Root, target: str, tmp_path: Path) -> None:
    outside = tmp_path / target
    if target == "outside":
        outside.write_bytes(b"precious")
    Path(root.path, "a").symlink_to(outside)
    with pytest.raises(Fault) as caught:
        root.open_part("a")
    assert caught.value.code == "exists"
    with pytest.raises(StorageFailed):
        root.reopen_part("a")
    assert outside.exists() == (target == "outside")
    assert root.exists("a")  # also a dangling one is there
    assert root.unlink("a")
    assert not outside.exists() or outside.read_bytes() == b"precious"


def test_reopen(root: Root) -> None:
    put(root, "a", b"abc")
    fd = root.reopen_part("a")
    try:
        assert os.pread(fd, 9, 0) == b"abc"
    finally:
        os.close(fd)
    with pytest.raises(StorageMissing):
        root.reopen_part("b")
    os.mkfifo(Path(root.path, "fifo"))
    with pytest.raises(StorageFailed, match="not a plain file"):
        root.reopen_part("fifo")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../a", "a\0b"])
def test_no_method_takes_more_than_a_component(root: Root, name: str) -> None:
    put(root, "a", b"")
    for call in (
        lambda: root.open_part(name),
        lambda: root.reopen_part(name),
        lambda: root.stat(name),
        lambda: root.exists(name),
        lambda: root.unlink(name),
        lambda: root.rename_noreplace("a", name, from_user=True),
        lambda: root.rename_noreplace(name, "b", from_user=True),
        lambda: root.replace("a", name, from_user=True),
        lambda: root.replace(name, "b", from_user=True),
    ):
        with pytest.raises(Fault) as caught:
            call()
        assert caught.value.code == "usage"
    assert os.listdir(root.path) == ["a"]


@pytest.mark.parametrize("name", ["a:b", "nul", "a\n", "e\u0301", "trailing "])
def test_only_a_user_may_choose_an_odd_name(root: Root, name: str) -> None:
    put(root, "part", b"1")
    with pytest.raises(BadName):
        root.rename_noreplace("part", name)
    with pytest.raises(BadName):
        root.replace("part", name)
    assert os.listdir(root.path) == ["part"]
    root.rename_noreplace("part", name, from_user=True)
    assert os.listdir(root.path) == [name]


def test_rename_takes_a_free_name_only(root: Root) -> None:
    put(root, "part", b"new")
    there = put(root, "target", b"old")
    with pytest.raises(Fault) as caught:
        root.rename_noreplace("part", "target")
    assert caught.value.code == "exists"
    assert there.read_bytes() == b"old"
    assert Path(root.path, "part").read_bytes() == b"new"
    root.rename_noreplace("part", "other")
    assert sorted(os.listdir(root.path)) == ["other", "target"]


def test_rename_does_not_replace_a_dangling_link(root: Root) -> None:
    put(root, "part", b"new")
    Path(root.path, "target").symlink_to("nowhere")
    with pytest.raises(Fault):
        root.rename_noreplace("part", "target")
    assert Path(root.path, "target").is_symlink()


def test_rename_of_what_is_gone(root: Root) -> None:
    with pytest.raises(StorageMissing):
        root.rename_noreplace("part", "target")
    assert os.listdir(root.path) == []  # also no reserved name is left


def test_a_rename_stopped_between_link_and_unlink_is_finished(root: Root) -> None:
    part = put(root, "part", b"new")
    os.link(part, Path(root.path, "target"))
    root.rename_noreplace("part", "target")
    assert os.listdir(root.path) == ["target"]


def test_replace(root: Root, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    put(root, "target", b"old")
    put(root, "part", b"new")
    root.replace("part", "target")
    assert Path(root.path, "target").read_bytes() == b"new"
    # a link is replaced, what it points to is not touched
    Path(root.path, "link").symlink_to(outside)
    root.replace("target", "link")
    assert not Path(root.path, "link").is_symlink()
    assert outside.read_bytes() == b"precious"


def test_replace_spares_what_is_not_a_plain_file(root: Root) -> None:
    put(root, "part", b"new")
    os.mkfifo(Path(root.path, "fifo"))
    Path(root.path, "directory").mkdir()
    for name in ("fifo", "directory"):
        with pytest.raises(StorageFailed, match="not a plain file"):
            root.replace("part", name)
    assert sorted(os.listdir(root.path)) == ["directory", "fifo", "part"]


def test_unlink_says_whether_there_was_anything(root: Root) -> None:
    put(root, "a", b"")
    assert root.unlink("a")
    assert not root.unlink("a")
    Path(root.path, "directory").mkdir()
    with pytest.raises(StorageError):
        root.unlink("directory")


def test_the_directory_may_be_renamed_meanwhile(root: Root, tmp_path: Path) -> None:
    os.rename(root.path, tmp_path / "elsewhere")
    (tmp_path / "downloads").mkdir()
    os.close(root.open_part("a"))
    assert os.listdir(tmp_path / "elsewhere") == ["a"]
    assert os.listdir(tmp_path / "downloads") == []


def test_opening(tmp_path: Path) -> None:
    with pytest.raises(StorageMissing):
        Root(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed):
        Root(tmp_path / "file")
    with Root(tmp_path / "new" / "deeper", create=True) as root:
        assert stat.S_IMODE(os.stat(root.path).st_mode) == 0o700
    root.close()
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with Root(tmp_path / "link") as linked:
        assert os.listdir(linked.path) == ["deeper"]


def test_the_directory_itself(root: Root) -> None:
    room = os.statvfs(root.path)
    assert 0 <= root.free_bytes() <= room.f_blocks * room.f_frsize
    assert root.same_filesystem(root)
    root.fsync_dir()
    with Root("/proc") as other:
        assert not root.same_filesystem(other)


def test_a_directory_that_cannot_be_synced(root: Root) -> None:
    unsyncable = os.open(root.path, os.O_PATH)
    try:
        os.dup2(unsyncable, root.fd)
    finally:
        os.close(unsyncable)
    with pytest.raises(StorageFailed, match="cannot sync"):
        root.fsync_dir()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.ENOENT, StorageMissing),
        (errno.EIO, StorageMissing),
        (errno.ESTALE, StorageMissing),
        (errno.ENODEV, StorageMissing),
        (errno.EACCES, StorageFailed),
        (errno.EROFS, StorageFailed),
        (errno.EFBIG, StorageFailed),
        (errno.EINVAL, StorageFailed),
    ],
)
def test_errors_are_classed_by_remedy(number: int, kind: type[StorageError]) -> None:
    error = storage_error(OSError(number, ""), "cannot write x")
    assert type(error) is kind
    assert error.code == "storage"
    assert str(error) == f"cannot write x: {os.strerror(number)}"
    assert error.details == {"errno": errno.errorcode[number]}
    assert error.hint or number == errno.EINVAL


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("a.txt", 0, "a.txt"),
        ("a.txt", 1, "a (1).txt"),
        ("a.tar.gz", 2, "a.tar (2).gz"),
        ("plain", 3, "plain (3)"),
        (".bashrc", 1, ".bashrc (1)"),
        ("v1.a very long thing that is no extension", 1, "v1.a very long thing that is no extension (1)"),
    ],
)
def test_numbered(name: str, number: int, expected: str) -> None:
    assert numbered(name, number) == expected


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127 + ".txt", "日" * 83 + ".tar"])
def test_a_numbered_name_still_fits(name: str) -> None:
    made = numbered(name, 9999)
    assert len(made.encode()) <= 255
    assert " (9999)" in made
    assert made.rpartition(".")[2] == name.rpartition(".")[2] or "." not in name


def test_a_local_name_may_be_odd_but_is_one_component() -> None:
    for name in ("a:b", "con", "a ", "\udcff", "-"):
        assert check_local_name(name) == name


CHECK = """
import sys
from p2pd.storage.root import Root, StorageFailed
try:
    with Root(sys.argv[1]) as root:
        root.check_writable()
except StorageFailed as error:
    print(error, error.hint, sep="; ")
else:
    print("it may")
"""


@pytest.mark.parametrize(("options", "told"), [("rw", "it may"), ("ro", "read-only for the daemon")])
def test_whether_one_may_write_where_a_service_sees_it_read_only(
    options: str, told: str, tmp_path: Path
) -> None:
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mounted = 'mount --bind "$1" "$1" && mount -o "remount,bind,$2" "$1" && exec "$3" -c "$4" "$1"'
    words = ["--mount", "sh", "-c", mounted, "sh", str(tmp_path), options, sys.executable, CHECK]
    done = subprocess.run([needs("unshare"), *user, *words], capture_output=True, text=True, check=True)
    assert told in done.stdout


def test_a_directory_of_others_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    words = [sys.executable, "-c", CHECK, str(tmp_path)]
    if os.geteuid() == 0:
        words = [needs("setpriv"), "--bounding-set=-all", "--inh-caps=-all", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write in {tmp_path}; choose another directory with -o DIR\n"
