"""p2pd/peer/swarming.py: downloaders give each other what they have, from the first piece to the finished file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from p2pd.peer import swarming
from protocol.errors import Refusal
from protocol.limits import MIB
from protocol.tracker import Find, Sources
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm, look_often, manifest_of, octets, spoil

DATA = octets(12 * MIB + 17)
MANIFEST = manifest_of(DATA)


async def sources(member: Member) -> list[bytes]:
    reply = await member.service.trackers[0].request(Find(0, MANIFEST.content_id))
    assert isinstance(reply, Sources)
    return [source.device_id for source in reply.items]


async def named(asker: Member, device_id: bytes, wanted: bool) -> None:
    """Waits until the tracker names this device as a source, or no longer does."""
    for _ in range(1000):
        if (device_id in await sources(asker)) is wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the tracker did not learn of it")


def hold_after(member: Member, octets_: int) -> list[int]:
    """An uploader that gives so many octets and then is busy; the number may be changed."""
    left = [octets_]

    def some(view: memoryview) -> int:
        left[0] -= len(view)
        return 0 if left[0] >= 0 else Refusal.BUSY

    spoil(member, some)
    return left


def test_who_has_a_part_gives_it_and_is_found(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob, carol = [await swarm.peer(name) for name in ("alice", "bob", "carol")]
        await alice.share("a.bin", DATA)
        left = hold_after(alice, 4 * MIB)
        look_often(carol)
        first = await bob.begin(MANIFEST)
        await eventually(lambda: first.received >= 2 * MIB)
        own_id = bob.service.own_id
        await named(carol, own_id, True)
        second = await carol.begin(MANIFEST)
        await eventually(lambda: second.received >= 2 * MIB)
        assert carol.service.uploads.uploaded == 0
        assert bob.service.uploads.uploaded >= 2 * MIB
        left[0] = 100 * MIB
        assert (await bob.ended(first)).state == (await carol.ended(second)).state == "done"
        assert bob.read("downloaded_a.bin") == carol.read("downloaded_a.bin") == DATA
        # Nothing grows any more: the finished files are served, and trackers know.
        assert bob.service.catalogue.fetched == carol.service.catalogue.fetched == []
        assert bob.service.catalogue.find(MANIFEST.content_id)

    in_swarm(tmp_path, work)


def test_who_does_not_share_gives_nothing(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = hold_after(alice, 4 * MIB)
        transfer = await bob.begin(MANIFEST, share=False)
        await eventually(lambda: transfer.received >= 2 * MIB)
        assert bob.service.catalogue.growing(MANIFEST.content_id) is None
        left[0] = 100 * MIB
        assert (await bob.ended(transfer)).state == "done"

    in_swarm(tmp_path, work)


def test_a_download_that_is_given_up_gives_nothing_more(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob, carol = [await swarm.peer(name) for name in ("alice", "bob", "carol")]
        await alice.share("a.bin", DATA)
        hold_after(alice, 4 * MIB)
        transfer = await bob.begin(MANIFEST)
        own_id = bob.service.own_id
        await named(carol, own_id, True)
        growing = bob.service.catalogue.growing(MANIFEST.content_id)
        assert growing is not None
        await bob.service.downloads.cancel(transfer.row.transfer_id)
        assert not growing.read_into(0, 0, memoryview(bytearray(1)))
        assert bob.service.catalogue.growing(MANIFEST.content_id) is None
        await named(carol, own_id, False)

    in_swarm(tmp_path, work)


def test_a_quick_download_is_told_to_nobody(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        said: list[list[bytes]] = []
        tracker = bob.service.trackers[0]
        tracker.fetched = lambda: said.append(bob.service.catalogue.fetched) or []  # type: ignore[func-returns-value]
        await alice.share("a.bin", DATA[: 2 * MIB])
        await bob.fetch(manifest_of(DATA[: 2 * MIB]))
        await bob.published()
        assert not any(said)

    real, swarming.TELL_SECONDS = swarming.TELL_SECONDS, 30.0
    try:
        in_swarm(tmp_path, work)
    finally:
        swarming.TELL_SECONDS = real
