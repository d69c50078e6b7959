"""p2pd/peer/banning.py: kept, in force at once, and lifted; for both ends of a link."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.bans import FOR_EVER, Ban
from p2pd.net.bridge import run_on
from p2pd.peer import banning as banning_module
from p2pd.peer.banning import Banning
from p2pd.storage.state_bans import HAND, StoredBan
from protocol.errors import Fault
from protocol.ids import device_text
from tests.fakes.reactors import HOST
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm, look_often, manifest_of, octets

SMALL = octets(300_000)
SOMEBODY = "a" * 32


def kept(member: Member) -> list[tuple[str, str]]:
    return [(one.ban.subject, one.cause) for one in member.service.banning.all()]


@pytest.mark.parametrize("how", ["device", "network"])
def test_who_is_banned_gets_nothing_until_that_is_lifted(tmp_path: Path, how: str) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        look_often(bob)
        await alice.share("a.bin", SMALL)
        subject = device_text(bob.service.own_id) if how == "device" else f"{HOST}/32"
        alice.service.banning.ban(Ban(subject, FOR_EVER, "noise", time.time()))
        transfer = await bob.begin(manifest_of(SMALL))
        await eventually(lambda: any(peer.failures for peer in list(bob.service.links.peers.values())))
        assert transfer.verified == 0
        assert kept(alice) == [(subject, "hand")]
        assert alice.service.banning.unban(subject)
        assert not alice.service.banning.unban(subject)
        assert kept(alice) == []
        await bob.service.downloads.cancel(transfer.row.transfer_id)
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        await bob.fetch(manifest_of(SMALL))

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("how", ["device", "network"])
def test_who_is_banned_is_no_source(tmp_path: Path, how: str) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", SMALL)
        await bob.fetch(manifest_of(SMALL))
        links = bob.service.links
        assert links.peers
        subject = device_text(alice.service.own_id) if how == "device" else f"{HOST}/32"
        bob.service.banning.ban(Ban(subject, FOR_EVER, "", time.time()))
        await eventually(lambda: not links.peers)
        where = Endpoint(HOST, alice.service.router.port)
        await run_on(links.reactor, lambda: links.attach(alice.service.own_id, where, None))  # type: ignore[arg-type]
        assert not links.peers

    in_swarm(tmp_path, work)


def test_a_ban_ends_sessions_and_holds_over_a_restart(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", SMALL)
        await bob.fetch(manifest_of(SMALL))
        uploads = alice.service.router
        assert len(uploads.conns) == 1
        subject = device_text(bob.service.own_id)
        alice.service.banning.ban(Ban(subject, FOR_EVER, "", time.time()))
        await eventually(lambda: not uploads.conns)
        await swarm.leave(alice)
        alice = await swarm.peer("alice")
        assert kept(alice) == [(subject, "hand")]

    in_swarm(tmp_path, work)


def test_a_liar_is_known_after_a_restart_and_forgiven(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        alice.service.links.on_liar(SOMEBODY, 3, 600.0)
        await eventually(lambda: kept(alice) == [(SOMEBODY, "wrong_data")])
        await swarm.leave(alice)
        alice = await swarm.peer("alice")
        assert kept(alice) == [(SOMEBODY, "wrong_data")]
        links = alice.service.links

        async def banned() -> float:
            return await run_on(links.reactor, lambda: links.conduct.banned(SOMEBODY, links.reactor.clock()))

        assert 500 < await banned() <= 600
        assert alice.service.banning.unban(SOMEBODY)
        assert await banned() == 0.0
        assert kept(alice) == []

    in_swarm(tmp_path, work)


def test_those_who_guess_passwords_are_listed_and_forgiven(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        for _ in range(3):
            alice.service.admission.failed("198.51.100.7", time.monotonic())
        assert kept(alice) == [("198.51.100.7/32", "wrong_password")]
        assert alice.service.banning.unban("198.51.100.0/24")
        assert kept(alice) == []

    in_swarm(tmp_path, work)


def test_bans_are_bounded_and_over_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banning_module, "MAX_BANS", 2)

    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        now = time.time()
        banning: Banning = alice.service.banning
        banning.ban(Ban("10.0.0.0/8", now + 1000, "", now))
        banning.ban(Ban("10.0.1.0/24", FOR_EVER, "", now))
        banning.ban(Ban("10.0.1.0/24", FOR_EVER, "again", now))
        with pytest.raises(Fault) as caught:
            banning.ban(Ban("10.0.2.0/24", FOR_EVER, "", now))
        assert caught.value.code == "refused"
        alice.service.store.put_ban(StoredBan("192.0.2.0/24", HAND, now - 1, "", now - 9))
        assert kept(alice) == [("10.0.0.0/8", "hand"), ("10.0.1.0/24", "hand")]

    in_swarm(tmp_path, work)
