"""p2pd/storage/state_folders.py: folders and their files, and what of them is public."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.hashing import Stamp
from p2pd.storage.state import State
from p2pd.storage.state_folders import Hashed
from protocol.collection import Collection, Member
from protocol.errors import Fault
from protocol.names import own_name
from tests.fakes.swarm import manifest_of

ONE, TWO = manifest_of(b"one"), manifest_of(b"second")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "peer.db") as opened:
        yield opened


def hashed(path: str, data: bytes, inode: int = 1) -> Hashed:
    return Hashed(path, manifest_of(data), Stamp(len(data), 5, inode, 7))


def collection(*files: Hashed) -> Collection:
    return Collection([], [Member(own_name(f.path), f.manifest.size, f.manifest.content_id) for f in files])


def public(state: State) -> dict[str, bytes]:
    return {row.name: row.content_id for row in state.changes_since(0, 1000).added}


def made(state: State, *files: Hashed, path: str = "/f", name: str = "f") -> int:
    folder = state.add_folder(path, name, [], False, 1.0)
    state.put_members(folder.folder_id, files, 1.0)
    state.set_collection(folder.folder_id, collection(*files), 1.0)
    return folder.folder_id


def test_a_folder_and_its_files_are_public(state: State) -> None:
    files = [hashed("a", b"one"), hashed("d/b", b"second")]
    folder = state.get_folder(made(state, *files))
    assert (folder.state, folder.files, folder.size, folder.origin) == ("shared", 2, 9, "add")
    assert folder.content_id == collection(*files).content_id
    assert public(state) == {"f": folder.content_id, "f/a": ONE.content_id, "f/d/b": TWO.content_id}
    entry = next(row for row in state.changes_since(0).added if row.name == "f")
    assert (entry.files, entry.size, entry.sha256) == (2, 9, collection(*files).sha256)
    assert state.manifest(folder.content_id or b"") == collection(*files).encode()
    assert [member.path for member in state.members(folder.folder_id)] == ["a", "d/b"]
    assert state.folder_by_path("/f") == folder
    assert state.folders_by_content(folder.content_id or b"") == [folder]
    assert state.list_folders() == [folder]
    found = state.member_by_content(TWO.content_id)
    assert found is not None
    assert found[:2] == (folder.folder_id, "/f")
    assert found[2].stamp == files[1].stamp


def test_doing_it_again_is_no_news(state: State) -> None:
    made(state, hashed("a", b"one"))
    revision = state.revision
    made(state, hashed("a", b"one"))
    assert state.revision == revision


def test_a_changed_file_replaces_what_it_was(state: State) -> None:
    folder_id = made(state, hashed("a", b"one"), hashed("b", b"second"))
    old = state.get_folder(folder_id).content_id or b""
    now = [hashed("a", b"third"), hashed("b", b"second")]
    state.put_members(folder_id, now[:1], 2.0)
    state.set_collection(folder_id, collection(*now), 2.0)
    assert public(state) == {
        "f": collection(*now).content_id,
        "f/a": now[0].manifest.content_id,
        "f/b": TWO.content_id,
    }
    assert state.manifest(old) is None
    assert state.manifest(ONE.content_id) is None


def test_hidden_and_shown_again(state: State) -> None:
    folder_id = made(state, hashed("a", b"one"), hashed("b", b"one"))
    state.hide_members(folder_id, ["a"])
    assert sorted(public(state)) == ["f", "f/b"]
    found = state.member_by_content(ONE.content_id)
    assert found is not None
    assert found[2].path == "b"
    state.show_members(folder_id, ["a"], 3.0)
    assert sorted(public(state)) == ["f", "f/a", "f/b"]
    state.drop_members(folder_id, ["a", "b"])
    assert state.members(folder_id) == []
    assert state.member_by_content(ONE.content_id) is None


def test_a_folder_that_is_gone_and_comes_back(state: State) -> None:
    folder_id = made(state, hashed("a", b"one"))
    assert state.withdraw_folder(folder_id, "not there").state == "missing"
    assert public(state) == {}
    assert state.member_by_content(ONE.content_id) is None
    assert state.folders_by_content(collection(hashed("a", b"one")).content_id) == []
    assert state.manifest(ONE.content_id) is not None
    state.show_members(folder_id, ["a"], 2.0)
    state.set_collection(folder_id, collection(hashed("a", b"one")), 2.0)
    assert sorted(public(state)) == ["f", "f/a"]


def test_removing_forgets_everything(state: State) -> None:
    folder_id = made(state, hashed("a", b"one"))
    assert state.remove_folder(folder_id).name == "f"
    assert public(state) == {}
    assert state.query("SELECT * FROM manifest") == []
    assert state.query("SELECT * FROM member") == []
    with pytest.raises(Fault, match="no folder"):
        state.get_folder(folder_id)


def test_what_another_has_stays_public(state: State) -> None:
    first = made(state, hashed("a", b"one"), path="/x/f")
    second = made(state, hashed("a", b"one"), path="/y/f")
    share = state.add_share("/single", "f/a", 1.0)
    state.set_shared(share.share_id, ONE, Stamp(3, 1, 1, 1), 1.0)
    state.remove_folder(first)
    assert sorted(public(state)) == ["f", "f/a"]
    state.remove_folder(second)
    assert sorted(public(state)) == ["f/a"]
    state.remove_share(share.share_id)
    assert public(state) == {}
    assert state.query("SELECT * FROM manifest") == []


def test_a_share_withdrawn_leaves_what_a_folder_has(state: State) -> None:
    made(state, hashed("a", b"one"))
    share = state.add_share("/single", "f/a", 1.0)
    state.set_shared(share.share_id, ONE, Stamp(3, 1, 1, 1), 1.0)
    state.remove_share(share.share_id)
    assert "f/a" in public(state)
    assert state.manifest(ONE.content_id) is not None


def test_a_new_name_takes_effect_at_once(state: State) -> None:
    folder_id = made(state, hashed("a", b"one"))
    folder = state.add_folder("/f", "g", ["*.o", "tmp/"], True, 2.0)
    assert (folder.folder_id, folder.name, folder.excludes, folder.hidden) == (
        folder_id,
        "g",
        ("*.o", "tmp/"),
        True,
    )
    assert sorted(public(state)) == ["g", "g/a"]


def test_what_a_file_holds_whose_path_is_not_in_nfc_stays_public_when_another_goes(state: State) -> None:
    decomposed = hashed("u\u0308", b"one")
    made(state, decomposed, path="/decomposed")
    other = made(state, hashed("\xfc", b"one"), path="/composed")
    state.remove_folder(other)
    assert public(state).get("f/\xfc") == ONE.content_id
    again = made(state, hashed("\xfc", b"one"), path="/composed")
    state.hide_members(state.list_folders()[0].folder_id, ["u\u0308"])
    assert public(state).get("f/\xfc") == ONE.content_id
    state.hide_members(again, ["\xfc"])
    assert "f/\xfc" not in public(state)
    with state.transaction():
        state.add_folder("/decomposed", "g", [], False, 2.0)
        state.show_members(state.list_folders()[0].folder_id, ["u\u0308"], 2.0)
    assert public(state).get("g/\xfc") == ONE.content_id
