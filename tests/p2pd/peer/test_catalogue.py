"""p2pd/peer/catalogue.py: what is served, by content id."""

from __future__ import annotations

import os
from pathlib import Path

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.growing import Growing
from p2pd.storage.hashing import Stamp
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of, octets

ID = bytes(32)


def served(share_id: int = 1, size: int = 2 * MIB + 5, content_id: bytes = ID) -> Served:
    return Served(
        content_id, share_id, f"/files/{share_id}", Stamp(size, 1, 2, 3), size, MIB, -(-size // MIB)
    )


def test_the_last_piece_may_be_short() -> None:
    assert [served().piece_length(piece) for piece in range(3)] == [MIB, MIB, 5]
    assert served(size=MIB).piece_length(0) == MIB


def test_an_entry_is_replaced_whole() -> None:
    catalogue = Catalogue(lambda content_id: b"manifest")
    assert catalogue.find(ID) is None
    first, second = served(1), served(2)
    catalogue.put(first)
    assert catalogue.find(ID) is first
    catalogue.put(second)
    assert catalogue.find(ID) is second
    assert len(catalogue) == 1


def test_only_the_share_that_serves_can_withdraw() -> None:
    catalogue = Catalogue(lambda content_id: b"manifest")
    catalogue.put(served(2))
    catalogue.remove(ID, 1)
    assert len(catalogue) == 1
    catalogue.remove(ID, 2)
    catalogue.remove(ID, 2)
    assert len(catalogue) == 0


def test_manifests_are_given_for_what_is_served_only() -> None:
    asked: list[bytes] = []

    def load(content_id: bytes) -> bytes:
        asked.append(content_id)
        return b"manifest"

    catalogue = Catalogue(load)
    assert catalogue.manifest(ID) is None
    assert asked == []
    catalogue.put(served())
    assert catalogue.manifest(ID) == b"manifest"


def test_what_grows_is_served_until_the_whole_is(tmp_path: Path) -> None:
    data = octets(2 * MIB)
    manifest = manifest_of(data)
    (tmp_path / "part").write_bytes(data)
    catalogue = Catalogue(lambda content_id: b"")
    first, second = [Growing(manifest, os.open(tmp_path / "part", os.O_RDONLY), 0) for _ in range(2)]
    assert catalogue.grow(first)
    assert not catalogue.grow(second)
    assert catalogue.growing(manifest.content_id) is first
    assert (catalogue.fetched, len(catalogue)) == ([manifest.content_id], 0)
    assert catalogue.manifest(manifest.content_id) == manifest.encode()
    catalogue.ungrow(second)
    assert catalogue.growing(manifest.content_id) is first
    catalogue.put(served(1, 2 * MIB, manifest.content_id))
    assert catalogue.growing(manifest.content_id) is None
    catalogue.ungrow(first)
    catalogue.remove(manifest.content_id, 1)
    assert catalogue.growing(manifest.content_id) is None
    for growing in (first, second):
        growing.close()
