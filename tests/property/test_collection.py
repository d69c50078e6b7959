"""A collection has one encoding, every change of it is seen, and none leads out of its folder."""

from __future__ import annotations

import msgpack
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from protocol.collection import Collection, Member
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.names import check_path, fold

component = st.sampled_from(["a", "b", "A", "é", "日本", "x y", ".hidden", "n.txt"]) | st.text(max_size=4)
path = st.lists(component, min_size=1, max_size=4).map("/".join)
member = st.tuples(path, st.integers(0, 9), st.sampled_from([bytes(32), b"\1" * 32])).map(
    lambda fields: Member(fields[0], len(fields[2].strip(b"\0")) or fields[1] % 2, fields[2])
)


@given(st.lists(path, max_size=3), st.lists(member, max_size=8))
def test_what_can_be_built_comes_back_and_is_safe(directories: list[str], files: list[Member]) -> None:
    try:
        collection = Collection(directories, files)
    except LocalProtocolError:
        return
    again = Collection.decode(collection.encode(), collection.content_id)
    assert again == collection
    paths = [*again.directories, *(file.path for file in again.files)]
    for one in paths:
        check_path(one)
    folded = {fold(one) for one in paths}
    assert len(folded) == len(paths), "no two are one file anywhere"
    assert Collection(reversed(directories), reversed(files)).content_id == collection.content_id


@given(st.lists(member, min_size=1, max_size=4), st.data())
def test_a_change_is_rejected_or_is_itself_canonical(files: list[Member], data: st.DataObject) -> None:
    try:
        collection = Collection([], files)
    except LocalProtocolError:
        return
    flipped = bytearray(collection.encode())
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError):
        Collection.decode(flipped, collection.content_id)
    try:
        other = Collection.decode(flipped, blake3(bytes(flipped)).digest())
    except RemoteProtocolError:
        return
    assert other.encode() == bytes(flipped)
    assert other.content_id != collection.content_id


@given(st.binary(max_size=80))
def test_any_octets_are_rejected_or_come_back(octets: bytes) -> None:
    try:
        collection = Collection.decode(octets, blake3(octets).digest())
    except RemoteProtocolError:
        return
    assert collection.encode() == octets


@given(st.lists(st.text(max_size=30), max_size=4), st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_hostile_trees(directories: list[str], paths: list[str]) -> None:
    """Whatever a liar lists: it is refused, or all of it is plain names below the folder."""
    octets = msgpack.packb([2, sorted(directories), [[one, 1, bytes(32)] for one in sorted(paths)]])
    try:
        collection = Collection.decode(octets, blake3(octets).digest())
    except RemoteProtocolError:
        return
    for one in [*collection.directories, *(file.path for file in collection.files)]:
        assert not one.startswith("/")
        assert not {"", ".", ".."} & set(one.split("/"))
        assert "\\" not in one
        assert one.isprintable() or not one.isascii()
