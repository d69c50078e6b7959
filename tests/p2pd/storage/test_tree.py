"""p2pd/storage/tree.py: what of a folder is shared, what is left out and why, and that nothing leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pd.storage import tree as module
from p2pd.storage.hashing import Cancelled
from p2pd.storage.tree import Patterns, Tree, hash_members, small_manifest, walk
from protocol.errors import Fault
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of, octets


def make(top: Path, *paths: str) -> Path:
    for path in paths:
        place = top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path)
    return top


def paths(tree: Tree) -> list[str]:
    return [found.path for found in tree.files]


def reasons(tree: Tree) -> dict[str, str]:
    return {left.path: left.reason for left in tree.left}


def test_files_by_path_and_empty_directories(tmp_path: Path) -> None:
    make(tmp_path, "b", "a/2", "a/1", "a.txt")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    tree = walk(str(tmp_path), "x")
    assert paths(tree) == ["a.txt", "a/1", "a/2", "b"]
    assert tree.directories == ["empty/below"]
    assert tree.left == []
    assert tree.size == sum(len(path) for path in paths(tree))


def test_links_and_special_files_are_left_out_unopened(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "secret")
    top = make(tmp_path / "top", "plain")
    (top / "file").symlink_to(outside / "secret")
    (top / "folder").symlink_to(outside)
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "fifo")
    tree = walk(str(top), "x")
    assert paths(tree) == ["plain"]
    assert reasons(tree) == {
        "file": "a symbolic link",
        "folder": "a symbolic link",
        "dangling": "a symbolic link",
        "fifo": "not a plain file",
    }
    assert not any(left.failed for left in tree.left)


def test_hidden_names_are_shared_when_asked_for(tmp_path: Path) -> None:
    make(tmp_path, ".env", ".git/config", "a")
    assert paths(walk(str(tmp_path), "x")) == ["a"]
    assert reasons(walk(str(tmp_path), "x")) == {".env": "hidden", ".git": "hidden"}
    assert paths(walk(str(tmp_path), "x", hidden=True)) == [".env", ".git/config", "a"]


def test_keys_and_unfinished_downloads_never(tmp_path: Path) -> None:
    make(tmp_path, "home/network.key", "home/peer.db", "a", ".t-1-x.p2pd-part")
    tree = walk(str(tmp_path), "x", hidden=True)
    assert paths(tree) == ["a"]
    assert reasons(tree) == {
        "home": "a home of p2pd, with its keys",
        ".t-1-x.p2pd-part": "an unfinished download",
    }


def test_names_that_nobody_accepts_are_failures_and_stop_nothing(tmp_path: Path) -> None:
    make(tmp_path, "good", "with:colon", "trailing. ", "nul.txt", "sub\\dir/inside", "e\u0301\u200b")
    (tmp_path / os.fsdecode(b"\xff\xfe")).touch()
    make(tmp_path, "README", "readme")
    tree = walk(str(tmp_path), "x")
    assert paths(tree) == ["README", "good"]
    assert all(left.failed for left in tree.left)
    assert reasons(tree)["readme"] == "its name differs from another's only in case"
    assert len(tree.left) == 7


def test_names_that_are_not_in_nfc_are_what_others_call_them(tmp_path: Path) -> None:
    make(tmp_path, "cafe\u0301/menu\u0308.txt", "cafe\u0301/x.o", "a\u0301.o")
    os.mkdir(tmp_path / "le\u0301er")
    tree = walk(str(tmp_path), "x", ["\xe1.*", "caf\xe9/*.o"])
    assert paths(tree) == ["cafe\u0301/menu\u0308.txt"], "as it is on disk, to be opened"
    assert tree.directories == ["le\u0301er"]
    assert reasons(tree) == {"a\u0301.o": "excluded", "cafe\u0301/x.o": "excluded"}


def test_of_two_names_with_the_same_nfc_the_one_that_is_in_it_is_shared(tmp_path: Path) -> None:
    make(tmp_path, "e\u0301", "\xe9", "d\u0323/in", "\u1e0d/in", "E\u0302", "\xea")
    tree = walk(str(tmp_path), "x")
    assert paths(tree) == ["\xe9", "\xea", "\u1e0d/in"]
    assert reasons(tree) == {
        "e\u0301": "its name differs from another's only in the Unicode normal form",
        "d\u0323": "its name differs from another's only in the Unicode normal form",
        "E\u0302": "its name differs from another's only in case",
    }
    assert all(left.failed for left in tree.left)


def test_what_is_known_keeps_its_place(tmp_path: Path) -> None:
    make(tmp_path, "A", "a", "e\u0301", "\xe9", "DIR/x/1", "dir/x/1", "u\u0308/1", "\xfc/1")
    known = ["a", "e\u0301", "dir/x/1", "u\u0308/1"]
    assert paths(walk(str(tmp_path), "x", known=known)) == sorted(known)
    assert paths(walk(str(tmp_path), "x")) == ["A", "DIR/x/1", "\xe9", "\xfc/1"]


def test_paths_too_long_or_too_deep_under_the_folders_name(tmp_path: Path) -> None:
    deep = "/".join("d" * 33) + "/leaf"
    long = "/".join(["n" * 250] * 4) + "/leaf"
    make(tmp_path, deep, long, "a")
    tree = walk(str(tmp_path), "x" * 20)
    assert paths(tree) == ["a"]
    assert all(left.failed for left in tree.left)


@pytest.mark.parametrize(
    ("globs", "kept"),
    [
        (["*.o"], ["a.c", "cache/x", "sub/cache/y", "sub/d.c"]),
        (["cache/"], ["a.c", "b.o", "sub/d.c", "sub/e.o"]),
        (["cache"], ["a.c", "b.o", "sub/d.c", "sub/e.o"]),
        (["sub/cache"], ["a.c", "b.o", "cache/x", "sub/d.c", "sub/e.o"]),
        (["sub/*.o"], ["a.c", "b.o", "cache/x", "sub/cache/y", "sub/d.c"]),
        (["sub/", "?.[co]"], ["cache/x"]),
        (["a.c/"], ["a.c", "b.o", "cache/x", "sub/cache/y", "sub/d.c", "sub/e.o"]),
    ],
)
def test_excludes(tmp_path: Path, globs: list[str], kept: list[str]) -> None:
    make(tmp_path, "a.c", "b.o", "cache/x", "sub/d.c", "sub/e.o", "sub/cache/y")
    tree = walk(str(tmp_path), "x", globs)
    assert paths(tree) == kept
    assert set(reasons(tree).values()) <= {"excluded"}


def test_patterns_are_case_sensitive() -> None:
    assert not Patterns(["*.O"]).match("a.o", "a.o", False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    make(tmp_path, "closed/a", "b")
    (tmp_path / "closed").chmod(0)
    tree = walk(str(tmp_path), "x")
    (tmp_path / "closed").chmod(0o700)
    assert paths(tree) == ["b"]
    assert reasons(tree) == {"closed": "no permission to read it"}


def test_a_file_that_cannot_be_read_is_known_before_it_is_opened(tmp_path: Path) -> None:
    make(tmp_path, "closed", "b")
    (tmp_path / "closed").chmod(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("this user may read everything")
    tree = walk(str(tmp_path), "x")
    assert paths(tree) == ["b"]
    assert reasons(tree) == {"closed": "no permission to read it"}


def test_what_is_no_folder(tmp_path: Path) -> None:
    make(tmp_path, "file")
    for name, code in (("file", "usage"), ("missing", "not_found")):
        with pytest.raises(Fault) as caught:
            walk(str(tmp_path / name), "x")
        assert caught.value.code == code


def test_there_is_a_limit_and_it_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a", "b", "c")
    with pytest.raises(Cancelled):
        walk(str(tmp_path), "x", cancelled=lambda: True)
    with pytest.raises(Cancelled):
        hash_members(str(tmp_path), walk(str(tmp_path), "x").files, cancelled=lambda: True)
    monkeypatch.setattr(module, "MAX_COLLECTION_ENTRIES", 2)
    with pytest.raises(Fault, match="more than 2 files"):
        walk(str(tmp_path), "x")


def test_hashing_small_large_and_empty_files(tmp_path: Path) -> None:
    large = octets(2 * MIB + 5)
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "piece").write_bytes(large[:MIB])
    (tmp_path / "empty").touch()
    told: list[int] = []
    hashed, left = hash_members(str(tmp_path), walk(str(tmp_path), "x").files, told.append)
    assert left == []
    assert [(one.path, one.manifest) for one in hashed] == [
        ("empty", manifest_of(b"")),
        ("large", manifest_of(large)),
        ("piece", manifest_of(large[:MIB])),
    ]
    assert [one.stamp.size for one in hashed] == [0, 2 * MIB + 5, MIB]
    assert sum(told) == 3 * MIB + 5
    assert small_manifest(large[:MIB]) == manifest_of(large[:MIB])


def test_what_changed_since_the_walk_is_not_hashed_as_it_was(tmp_path: Path) -> None:
    top = make(tmp_path / "top", "sub/gone", "sub/swapped", "sub/written", "sub/link")
    outside = make(tmp_path / "outside", "link")
    found = walk(str(top), "x").files
    (top / "sub/gone").unlink()
    (top / "sub/written").write_text("other octets")
    (top / "new").write_text("replaced")
    (top / "new").replace(top / "sub/swapped")
    hashed, left = hash_members(str(top), found)
    assert [(one.path, one.manifest) for one in hashed] == [
        ("sub/link", manifest_of(b"sub/link")),
        ("sub/written", manifest_of(b"other octets")),
    ]
    assert [one.path for one in left] == ["sub/swapped"]
    (top / "sub").rename(tmp_path / "away")
    (top / "sub").symlink_to(outside)
    hashed, left = hash_members(str(top), [one for one in found if one.path == "sub/link"])
    assert hashed == [], "a link on the way leads out of the folder"
    assert [one.reason for one in left] == ["keeps changing while it is hashed"]
