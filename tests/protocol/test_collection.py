"""protocol/collection.py: the same tree has one list, and one content id."""

from __future__ import annotations

import msgpack
import pytest
from blake3 import blake3

from protocol.collection import Collection, Member, is_collection
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_COLLECTION, MAX_COLLECTION_ENTRIES, MAX_FILE, MAX_PATH

ONE, TWO = bytes(32), b"\1" * 32
TREE = Collection(["x"], [Member("b/c", 5, TWO), Member("a", 3, ONE)])


def packed(*fields: object) -> tuple[bytes, bytes]:
    """Octets and their BLAKE3: what a liar could offer under an id of its own making."""
    data: bytes = msgpack.packb(list(fields))
    return data, blake3(data).digest()


def test_it_is_sorted_and_counted() -> None:
    assert [file.path for file in TREE.files] == ["a", "b/c"]
    assert TREE.size == 8
    assert TREE.encode() == packed(2, ["x"], [["a", 3, ONE], ["b/c", 5, TWO]])[0]
    assert TREE.content_id == blake3(TREE.encode()).digest()
    assert is_collection(TREE.encode())
    assert not is_collection(b"\x95\1")
    assert "2 files, 8 octets" in repr(TREE)


def test_round_trip() -> None:
    again = Collection.decode(TREE.encode(), TREE.content_id)
    assert again == TREE
    assert hash(again) == hash(TREE)
    assert again.files == TREE.files
    assert again.directories == ["x"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((1, [], [["a", 1, ONE]]), "format"),
        ((2, [], []), "malformed"),
        ((2, [], [["b", 1, ONE], ["a", 1, ONE]]), "out of order"),
        ((2, [], [["a", 1, ONE], ["a", 1, ONE]]), "out of order"),
        ((2, ["y", "x"], [["a", 1, ONE]]), "out of order"),
        ((2, [], [["a", 1, ONE], ["b", 2, ONE]]), "two sizes"),
        ((2, [], [["../a", 1, ONE]]), "means a directory"),
        ((2, [], [["/a", 1, ONE]]), "is absolute"),
        ((2, [], [["a//b", 1, ONE]]), "is empty"),
        ((2, [], [["a\\b", 1, ONE]]), "separates paths"),
        ((2, [], [["a", 1, ONE], ["a/b", 1, ONE]]), "both a file and a directory"),
        ((2, ["b"], [["b/c", 1, ONE]]), "both a file and a directory"),
        ((2, ["b"], [["b", 1, ONE]]), "appears twice"),
        ((2, [], [["A/x", 1, ONE], ["a/y", 1, ONE]]), "case of a directory"),
        ((2, [], [["README", 1, ONE], ["readme", 1, ONE]]), "appears twice"),
        ((2, [], [["a", -1, ONE]]), "malformed"),
        ((2, [], [["a", MAX_FILE + 1, ONE]]), "malformed"),
        ((2, [], [["a", MAX_FILE, ONE], ["b", 1, TWO]]), "octets"),
        ((2, [], [["a", 1, ONE[:31]]]), "malformed"),
        ((2, [], [["a", 1, ONE, 0]]), "malformed"),
        ((2, [], [["", 1, ONE]]), "malformed"),
        ((2, [], [["a" * (MAX_PATH + 1), 1, ONE]]), "malformed"),
        ((2, [], [["a", 1, ONE]], 0), "malformed"),
    ],
)
def test_what_is_not_one_is_refused(fields: tuple[object, ...], reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        Collection.decode(*packed(*fields))


def test_another_form_of_the_same_list_is_refused() -> None:
    data = TREE.encode().replace(b"\xa1a\x03", b"\xa1a\xcc\x03")
    with pytest.raises(RemoteProtocolError, match="canonical"):
        Collection.decode(data, blake3(data).digest())


def test_the_hash_is_looked_at_first() -> None:
    with pytest.raises(RemoteProtocolError, match="does not match"):
        Collection.decode(b"\xff" * 10, ONE)
    with pytest.raises(RemoteProtocolError, match="too long"):
        Collection.decode(bytes(MAX_COLLECTION + 1), ONE)


@pytest.mark.parametrize(
    ("directories", "files"),
    [
        ([], []),
        (["a"], [Member("a/b", 1, ONE)]),
        ([], [Member("a\n", 1, ONE)]),
        ([], [Member("a", MAX_FILE, ONE), Member("b", 1, TWO)]),
        ([f"d{i}" for i in range(MAX_COLLECTION_ENTRIES)], [Member("a", 1, ONE)]),
    ],
)
def test_an_inconsistent_one_cannot_be_built(directories: list[str], files: list[Member]) -> None:
    with pytest.raises(LocalProtocolError):
        Collection(directories, files)


def test_the_list_is_bounded() -> None:
    long = "/".join(["d" * 200] * 4)
    files = [Member(f"{long}/{number}", 1, ONE) for number in range(40_000)]
    with pytest.raises(LocalProtocolError, match="a list of more than"):
        Collection([], files)
