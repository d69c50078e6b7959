"""p2pd/storage/staging.py: a tree gets its name whole or not at all, and nothing leads a write out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage import root as root_module
from p2pd.storage import staging as module
from p2pd.storage.root import Root, StorageError, StorageFailed
from p2pd.storage.staging import Staging, find_finished, remove
from protocol.collection import Collection, Member
from protocol.errors import Fault
from protocol.names import BadName

NAME = ".t-1-00112233-abcdef01.p2pd-part"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "in").mkdir()
    with Root(tmp_path / "in") as opened:
        yield opened


@pytest.fixture
def staging(root: Root) -> Iterator[Staging]:
    made = Staging.create(root, NAME)
    yield made
    made.close()


def collection(*paths: str, directories: tuple[str, ...] = ()) -> Collection:
    return Collection(
        directories, [Member(path, len(path), bytes(32)[:31] + bytes([n])) for n, path in enumerate(paths)]
    )


def fill(staging: Staging, *paths: str) -> None:
    for path in paths:
        staging.tree.write(path, path.encode())


def read(directory: str, path: str) -> str:
    return Path(directory, path).read_text()


def names(root: Root) -> list[str]:
    return sorted(os.listdir(root.path))


def test_a_tree_gets_its_name_at_the_end(root: Root, staging: Staging) -> None:
    fill(staging, "a", "sub/b", "sub/deep/c", "other/d")
    staging.tree.make("empty/below")
    assert names(root) == [NAME]
    staging.sync()
    path = staging.finish("tree", "fail", False)
    assert path == os.path.join(root.path, "tree")
    assert [read(path, p) for p in ("a", "sub/b", "sub/deep/c", "other/d")] == [
        "a",
        "sub/b",
        "sub/deep/c",
        "other/d",
    ]
    assert os.path.isdir(os.path.join(path, "empty/below"))
    assert os.stat(os.path.join(path, "sub")).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(path, "a")).st_mode & 0o777 == 0o600


def test_a_name_that_is_taken_is_left_alone(root: Root, staging: Staging) -> None:
    fill(staging, "a")
    (Path(root.path) / "tree").mkdir()
    for policy in ("fail", "skip", "overwrite"):
        with pytest.raises(Fault, match="exists already"):
            staging.finish("tree", policy, False)
    assert staging.finish("tree", "rename", False).endswith("tree (1)")
    assert os.listdir(os.path.join(root.path, "tree")) == []


@pytest.mark.parametrize("name", ["..", "a/b", "", "nul.txt", "x.p2pd-part"])
def test_bad_names_of_the_whole(staging: Staging, name: str) -> None:
    with pytest.raises(BadName):
        staging.finish(name, "fail", False)


def test_where_the_system_cannot_rename_without_replacing(
    root: Root, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_module, "_renameat2", lambda: None)
    fill(staging, "a")
    (Path(root.path) / "full").mkdir()
    (Path(root.path) / "full/b").touch()
    with pytest.raises(Fault, match="exists already"):
        staging.finish("full", "fail", False)
    path = staging.finish("tree", "fail", False)
    assert read(path, "a") == "a"


def test_a_link_planted_in_the_tree_is_not_followed(tmp_path: Path, root: Root, staging: Staging) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = Path(root.path, NAME, "tree")
    (tree / "sub").symlink_to(outside)
    (tree / "leaf").symlink_to(outside / "leaf")
    with pytest.raises(StorageError):
        staging.tree.write("sub/a", b"x")
    staging.tree.write("leaf", b"x")
    assert os.listdir(outside) == []
    assert not (tree / "leaf").is_symlink()
    assert staging.tree.stat("sub/a") is None
    with pytest.raises(BadName):
        staging.tree.write("../../x/a", b"x")


def test_taken_up_after_a_stop(root: Root, staging: Staging) -> None:
    fill(staging, "sub/a")
    again = Staging.reopen(root, NAME)
    assert again is not None
    assert again.identity == staging.identity
    assert again.tree.stat("sub/a") is not None
    assert again.tree.stat("sub") is None, "a directory is no file"
    assert again.tree.exists("sub")
    assert not again.tree.exists("b")
    stamp = again.tree.write("sub/a", b"other")
    assert stamp.size == 5
    again.close()
    remove(root, NAME)
    assert Staging.reopen(root, NAME) is None
    remove(root, NAME)


def test_after_a_kill_between_naming_and_its_record(root: Root, staging: Staging) -> None:
    fill(staging, "a")
    identity = staging.identity
    (Path(root.path) / "tree").mkdir()
    assert find_finished(root, "tree", identity) is None
    path = staging.finish("tree", "rename", False)
    assert find_finished(root, "tree", identity) == path
    assert Staging.reopen(root, NAME) is None


def test_single_files_are_adopted(root: Root, staging: Staging) -> None:
    Path(staging.path, "f-1").write_text("large")
    assert staging.adopt("f-1", "sub/large").size == 5
    assert read(staging.finish("tree", "fail", False), "sub/large") == "large"


def test_merging_leaves_what_is_there(tmp_path: Path, root: Root, staging: Staging) -> None:
    target = Path(root.path, "tree")
    (target / "sub").mkdir(parents=True)
    (target / "a").write_text("mine")
    (target / "dir").mkdir()
    fill(staging, "a", "sub/b", "new/c", "dir")
    tree = collection("a", "sub/b", "new/c", "dir", directories=("e",))
    assert staging.merge("tree", tree, overwrite=False) == []
    assert {p: read(str(target), p) for p in ("a", "sub/b", "new/c")} == {
        "a": "mine",
        "sub/b": "sub/b",
        "new/c": "new/c",
    }
    assert (target / "e").is_dir()


def test_overwriting_replaces_files_and_links_and_nothing_else(
    tmp_path: Path, root: Root, staging: Staging
) -> None:
    target, outside = Path(root.path, "tree"), tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    target.mkdir()
    (target / "a").write_text("mine")
    (target / "link").symlink_to(outside / "precious")
    (target / "dir").mkdir()
    (target / "way").symlink_to(outside)
    fill(staging, "a", "link", "dir", "way/b")
    refused = staging.merge("tree", collection("a", "link", "dir", "way/b"), overwrite=True)
    assert [path for path, _ in refused] == ["dir", "way/b"]
    assert read(str(target), "a") == "a"
    assert not (target / "link").is_symlink()
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_text() == "precious"


def test_a_failed_sync_is_final(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_syncfs", lambda fd: errno.EIO)
    with pytest.raises(StorageFailed) as caught:
        staging.sync()
    assert caught.value.details == {"verify": True}
    monkeypatch.setattr(module, "_libc", lambda: None)
    assert module._syncfs is not None


def test_removing_follows_no_link(tmp_path: Path, root: Root, staging: Staging) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").touch()
    fill(staging, "sub/x")
    Path(root.path, NAME, "tree/link").symlink_to(outside)
    remove(root, NAME)
    assert names(root) == []
    assert os.listdir(outside) == ["a"]
