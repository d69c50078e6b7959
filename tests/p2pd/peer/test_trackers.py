"""p2pd/peer/trackers.py: connected, announced and up to date, whatever happens to the tracker."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from p2pd.net.keyring import Ring
from p2pd.peer import changes as changes_module
from p2pd.peer import redial as redial_module
from p2pd.peer import trackers as trackers_module
from p2pd.peer.finding import Query
from protocol.errors import Fault, Refusal
from protocol.keys import NetworkSecret
from protocol.tracker import By, Find, Hits, PeerList, Peers, Search, Sources
from tests.fakes.reactors import HOST
from tests.fakes.swarm import SECRET, Member, Swarm, eventually, manifest_of, octets

SMALL = octets(1000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(redial_module, "WRONG_PASSWORD_SECONDS", 0.05)


async def names(member: Member) -> list[str]:
    """What the tracker lists, asked by a member."""
    hits = await member.service.trackers[0].request(Search(0, By.ALL))
    assert isinstance(hits, Hits)
    return sorted(name for hit in hits.items for name in hit.names)


def test_shares_are_published_and_withdrawn(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            tracker = alice.service.trackers[0]
            assert (tracker.state, tracker.error, tracker.observed, tracker.loopback) == (
                "connected",
                None,
                HOST,
                True,
            )
            share = await alice.share("a.bin", SMALL)
            await alice.share("b.bin", octets(10, 2))
            assert await names(bob) == ["a.bin", "b.bin"]
            sources = await bob.service.trackers[0].request(Find(0, manifest_of(SMALL).content_id))
            assert isinstance(sources, Sources)
            assert [(s.device_id, s.host, s.port) for s in sources.items] == [
                (alice.service.own_id, HOST, alice.service.router.port)
            ]
            alice.service.shares.remove(share)
            await alice.published()
            assert await names(bob) == ["b.bin"]

    asyncio.run(main())


def test_a_long_list_is_published_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 7)

    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            alice = await swarm.peer("alice", connected=False)
            for number in range(21):
                await alice.share(f"{number:02}", b"%d" % number, publish=False)
            await swarm.tracker_up()
            await eventually(lambda: alice.service.trackers[0].connected)
            await alice.published()
            bob = await swarm.peer("bob")
            assert await names(bob) == [f"{number:02}" for number in range(21)]

    asyncio.run(main())


def test_a_tracker_that_comes_back_is_told_only_what_it_missed(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            tracker = alice.service.trackers[0]
            woken: list[str] = []
            tracker.on_connected = lambda: woken.append(tracker.state)
            await alice.share("a.bin", SMALL)
            await swarm.tracker_down()
            await eventually(lambda: not tracker.connected)
            assert tracker.state == "unreachable"
            assert tracker.published is None
            with pytest.raises(Fault) as caught:
                await tracker.request(Peers(0))
            assert caught.value.code == "network"
            await alice.share("b.bin", octets(10, 2), publish=False)
            await swarm.tracker_up()
            assert await tracker.wait_published(10**6, 0.01) is False
            await eventually(lambda: tracker.connected)
            assert woken == ["connected"]
            await alice.published()
            assert await names(alice) == ["a.bin", "b.bin"]

    asyncio.run(main())


def test_whoever_asks_does_not_wait_for_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            await alice.share("a.bin", SMALL)
            for name in ("BACKOFF_FIRST", "BACKOFF_MAX"):
                monkeypatch.setattr(trackers_module, name, 3600.0)
            await swarm.tracker_down()
            tracker, finder = bob.service.trackers[0], bob.service.finder
            await eventually(lambda: tracker.state == "unreachable")
            monkeypatch.setattr(redial_module, "LEAST_SECONDS", 0.0)
            with pytest.raises(Fault) as caught:
                await finder.search(Query(By.ALL), 10, "")
            assert caught.value.code == "network"
            await swarm.tracker_up()
            found = await finder.search(Query(By.ALL), 10, "")
            assert [hit.names for hit in found.hits] == [["a.bin"]]

    asyncio.run(main())


def test_a_tracker_that_forgot_everything_is_told_everything(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            await alice.share("a.bin", SMALL)
            alice.service.shares.remove(await alice.share("b.bin", octets(10, 2)))
            await swarm.tracker_down()
            for path in tmp_path.glob("tracker.db*"):
                path.unlink()
            await eventually(lambda: not alice.service.trackers[0].connected)
            await swarm.tracker_up()
            await eventually(lambda: alice.service.trackers[0].connected)
            await alice.published()
            assert await names(alice) == ["a.bin"]

    asyncio.run(main())


def test_forgotten_withdrawals_mean_a_complete_listing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            shares = [await alice.share(name, octets(10, seed)) for seed, name in enumerate(["a", "b", "c"])]
            await swarm.tracker_down()
            await eventually(lambda: not alice.service.trackers[0].connected)
            alice.service.shares.remove(shares[0])
            alice.service.shares.remove(shares[1])
            alice.service.store.prune_tombstones(keep=0)
            await swarm.tracker_up()
            await eventually(lambda: alice.service.trackers[0].connected)
            await alice.published()
            assert await names(alice) == ["c"]

    asyncio.run(main())


def test_bye_takes_a_peer_off_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            await alice.share("a.bin", SMALL)
            await swarm.leave(alice)
            members = await bob.service.trackers[0].request(Peers(0))
            assert isinstance(members, PeerList)
            assert [member.device_id for member in members.items] == [bob.service.own_id]
            assert await names(bob) == []

    asyncio.run(main())


def test_a_wrong_password_is_told_and_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            await swarm.tracker_up(NetworkSecret(bytes(32), "test", 0))
            alice = await swarm.peer("alice", connected=False)
            tracker = alice.service.trackers[0]
            await tracker.settled(10)
            assert tracker.state == "wrong_password"
            assert tracker.error is not None
            assert tracker.error.code == "auth"
            with pytest.raises(Fault) as caught:
                await tracker.request(Peers(0))
            assert caught.value.code == "auth"
            assert await tracker.wait_published(1, 10) is False
            await swarm.tracker_down()
            await swarm.tracker_up()
            await eventually(lambda: tracker.connected)

    asyncio.run(main())


def test_a_name_that_cannot_be_resolved_and_a_port_where_nobody_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            with socket.socket() as free:
                free.bind((HOST, 0))
                nobody = Endpoint(HOST, free.getsockname()[1])
                alice = await swarm.peer(
                    "alice", [Endpoint("nowhere.invalid", 9000), nobody], connected=False
                )
                for tracker in alice.service.trackers:
                    await tracker.settled(10)
                    assert tracker.state == "unreachable"
                    assert tracker.error is not None
                    assert tracker.error.code == "network"

    asyncio.run(main())


def test_a_request_that_is_refused_is_a_fault(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            with pytest.raises(Fault) as caught:
                await alice.service.trackers[0].request(Peers(0, b"", "no cursor"))
            assert caught.value.code == "usage"

    asyncio.run(main())


def test_keys_that_change_mean_another_connection_and_no_gap(tmp_path: Path) -> None:
    """Whoever asks meanwhile waits for it."""

    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            (tracker,) = alice.service.trackers
            before = tracker._link
            new = NetworkSecret(bytes(32), SECRET.network, 1)
            alice.keyring.set(alice.keyring.ring.rotated(new, alice.keyring.now(), 60.0))
            tracker.renew()
            assert tracker.state == "connecting"
            answer = await alice.service.finder.search(Query(By.ALL), 10, "")
            assert (answer.hits, answer.faults) == ([], [])
            assert tracker._link is not before
            assert tracker._link is not None
            # the tracker has the older key only
            assert tracker._link.secret == SECRET

    asyncio.run(main())


def test_a_tracker_under_the_older_key_is_tried_with_the_newer_at_each_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers_module, "REFRESH_MIN", 0.0)

    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            (tracker,) = alice.service.trackers
            new = NetworkSecret(bytes(32), SECRET.network, 1)
            alice.keyring.set(alice.keyring.ring.rotated(new, alice.keyring.now(), 60.0))
            tracker.renew()
            await eventually(lambda: tracker.connected)
            await swarm.tracker_down()
            await swarm.tracker_up(Ring(SECRET).rotated(new, 0.0, 1e12))
            await eventually(lambda: tracker._link is not None and tracker._link.secret == new)
            await eventually(lambda: tracker.connected)

    asyncio.run(main())


def test_a_wrong_password_is_tried_again_at_once_when_the_keys_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redial_module, "WRONG_PASSWORD_SECONDS", 3600.0)

    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            (tracker,) = alice.service.trackers
            new = NetworkSecret(bytes(32), SECRET.network, 1)
            await swarm.tracker_down()
            await swarm.tracker_up(Ring(new))
            await eventually(lambda: tracker.state == "wrong_password")
            alice.keyring.set(alice.keyring.ring.rotated(new, alice.keyring.now(), 0.0))
            tracker.renew()
            await eventually(lambda: tracker.connected)

    asyncio.run(main())


def test_banned_for_a_wrong_password_is_still_a_wrong_password(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            (tracker,) = alice.service.trackers
            await tracker._fell(Lost("auth", "", Refusal.BAD_PROOF))
            await tracker._fell(Lost("unreachable", "hung up", Refusal.BUSY))
            assert tracker.state == "wrong_password"
            await tracker._fell(Lost("unreachable", "nobody answers"))
            assert tracker.state == "unreachable"

    asyncio.run(main())
