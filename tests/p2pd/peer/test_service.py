"""p2pd/peer/service.py: a peer as a whole, from its start to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pd.storage.state import State
from protocol.limits import MIB
from tests.fakes.swarm import Swarm, eventually, manifest_of, octets

DATA = octets(3 * MIB + 17)


def test_what_one_shares_another_downloads_and_shares_in_turn(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob, carol = [await swarm.peer(name) for name in ("alice", "bob", "carol")]
            share = await alice.share("a.bin", DATA)
            assert share.content_id == manifest_of(DATA).content_id
            row = await bob.fetch(manifest_of(DATA))
            assert (row.state, row.path) == ("done", str(bob.files / "downloaded_a.bin"))
            assert bob.read("downloaded_a.bin") == DATA
            assert alice.service.uploads.uploaded == len(DATA)
            assert not bob.parts()
            await eventually(lambda: len(bob.service.catalogue) == 1)
            await bob.published()
            await swarm.leave(alice)
            row = await carol.fetch(manifest_of(DATA))
            assert row.state == "done"
            assert carol.read("downloaded_a.bin") == DATA
            assert bob.service.uploads.uploaded == len(DATA)

    asyncio.run(main())


def test_an_orderly_end_is_remembered_and_another_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            await alice.share("a.bin", DATA)
            await swarm.leave(alice)
            with State(alice.home / "peer.db") as state:
                assert state.opened()
            # opened, but never marked clean: as after a kill
            alice = await swarm.peer("alice")
            assert alice.service.catalogue.find(manifest_of(DATA).content_id) is not None
            await alice.published()

    asyncio.run(main())


def test_the_sha256_of_what_is_known(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            manifest = manifest_of(DATA)
            assert alice.service.sha256_of(manifest.content_id) is None
            await alice.share("a.bin", DATA, publish=False)
            assert alice.service.sha256_of(manifest.content_id) == manifest.sha256.hex()

    asyncio.run(main())


def test_a_peer_ends_quickly_without_a_tracker(tmp_path: Path) -> None:
    async def main() -> float:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            alice = await swarm.peer("alice", connected=False)
            await alice.share("a.bin", DATA, publish=False)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await swarm.leave(alice)
            return loop.time() - began

    assert asyncio.run(main()) < 3.0


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1])
def test_files_of_awkward_sizes(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            data = octets(size)
            await alice.share("a.bin", data)
            assert (await bob.fetch(manifest_of(data))).state == "done"
            assert bob.read("downloaded_a.bin") == data

    asyncio.run(main())
