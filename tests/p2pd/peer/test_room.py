"""p2pd/peer/room.py: a sparse file needs the room of its data only, also when it is far larger than the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from p2pd.peer import room as module
from p2pd.peer.room import octets_needed
from p2pd.storage.hashing import stamp_from
from p2pd.storage.root import Root
from protocol.errors import Fault
from protocol.limits import GIB, MIB
from protocol.manifest import Manifest, piece_count, piece_size_for, zero_hash
from tests.fakes.swarm import Member, Swarm, in_swarm, manifest_of, octets, wanted

SIZE = 64 * GIB
TAIL = octets(MIB)


def sparse(path: Path) -> Manifest:
    """A file of 64 GiB with data in its last piece only, and its manifest, whose SHA-256 nobody computed."""
    with path.open("wb") as stream:
        stream.truncate(SIZE)
        stream.seek(SIZE - MIB)
        stream.write(TAIL)
    pieces = zero_hash(MIB) * (piece_count(SIZE) - 1) + manifest_of(TAIL).pieces
    return Manifest(SIZE, piece_size_for(SIZE), bytes(32), pieces)


def share(member: Member) -> Manifest:
    path = member.files / "huge"
    manifest = sparse(path)
    store = member.service.store
    share = store.add_share(str(path), "huge", time.time())
    share = store.set_shared(share.share_id, manifest, stamp_from(os.stat(path)), time.time())
    member.service.shares._serve(share, manifest.piece_size, manifest.count)
    member.service._changed()
    return manifest


def test_64_gib_of_holes_fit_where_there_is_room_for_the_rest(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        manifest = share(alice)
        await alice.published()
        with Root(bob.files) as root:
            bob.service.downloads._services.space.floor = root.free_bytes() - GIB
        began = time.monotonic()
        row = await bob.fetch(manifest, name="huge")
        assert row.state == "done"
        assert bob.service.downloads.received == MIB, "zeros do not travel"
        arrived = bob.files / "downloaded_huge"
        assert arrived.stat().st_size == SIZE
        assert arrived.stat().st_blocks * 512 < 4 * MIB
        with arrived.open("rb") as stream:
            stream.seek(SIZE - MIB)
            assert stream.read() == TAIL
        assert time.monotonic() - began < 8.0

    in_swarm(tmp_path, work)


def test_what_does_not_fit_is_refused_at_once(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        data = octets(3 * MIB)
        await alice.share("a.bin", data)
        with Root(bob.files) as root:
            bob.service.downloads._services.space.floor = root.free_bytes() - MIB
        with pytest.raises(Fault, match="not enough room"):
            await bob.begin(manifest_of(data))
        with pytest.raises(Fault, match="not enough room"):
            await bob.service.downloads.add(wanted(manifest_of(data), bob.files, files=2))

    in_swarm(tmp_path, work)


def test_without_a_manifest_the_size_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        services = bob.service.downloads._services
        assert await octets_needed(services, bytes(32), 77) == 77
        manifest = manifest_of(bytes(2 * MIB) + b"x")
        services.store.put_manifest(manifest)
        assert await octets_needed(services, manifest.content_id, 77) == 1

    in_swarm(tmp_path, work)
