"""p2pd/control/status.py: figures of whichever roles there are."""

from __future__ import annotations

import asyncio
from pathlib import Path

from p2pd.control.status import Status
from p2pd.net.bridge import run_on
from p2pd.net.keyring import Keyring
from p2pd.peer.service import PeerService
from protocol.ids import device_text
from tests.fakes.swarm import SECRET, Swarm, eventually, manifest_of, octets

DATA = octets(5000)


def make_status(peer: PeerService | None, stats: object = None) -> Status:
    return Status(
        keyring=Keyring(SECRET),
        device_id=bytes(20),
        roles=["peer"] if peer else ["tracker"],
        home="/home",
        peer=peer,
        peer_listen="here:1",
        tracker_listen="here:2",
        tracker_stats=stats,  # type: ignore[arg-type]
    )


def test_a_pure_tracker() -> None:
    async def stats() -> dict[str, int]:
        return {
            "devices": 1,
            "files": 2,
            "searches": 3,
            "announces": 4,
            "refusals": 5,
            "publishes": 6,
            "registry": "/h/tracker.db",
            "trouble": "",
        }

    status = make_status(None, stats)
    report = asyncio.run(status.report())
    assert report["tracker"] == {
        "listen": "here:2", "devices": 1, "files": 2, "searches": 3, "announces": 4, "refusals": 5,
        "registry": "/h/tracker.db", "trouble": None,
    }  # fmt: skip
    assert (report["peer"], report["trackers"], report["roles"]) == (None, [], ["tracker"])
    assert report["device_id"] == device_text(bytes(20))
    assert report["uptime_s"] <= status.uptime()


def test_a_peer(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            await alice.share("a.bin", DATA)
            await bob.fetch(manifest_of(DATA), share=False)
            await eventually(lambda: not bob.service.downloads.active)
            waiting = await bob.begin(manifest_of(b"nobody has this"), file="x")
            report = await make_status(bob.service).report()
            assert report["peer"]["downloaded_bytes"] == len(DATA)
            assert report["peer"]["shares"] == 0
            assert report["transfers"] == {"queued": 0, "active": 1, "paused": 0, "done": 1, "failed": 0}
            (tracker,) = report["trackers"]
            assert (tracker["address"], tracker["state"], tracker["error"]) == (
                str(swarm.endpoint),
                "connected",
                None,
            )
            assert report["tracker"] is None
            await bob.service.downloads.cancel(waiting.row.transfer_id)
            report = await make_status(alice.service).report()
            assert (report["peer"]["shares"], report["peer"]["shared_bytes"]) == (1, len(DATA))
            assert report["peer"]["uploaded_bytes"] == len(DATA)
            assert report["trackers"][0]["published_revision"] == report["trackers"][0]["revision"] > 0
            await swarm.tracker_down()
            await eventually(lambda: not alice.service.trackers[0].connected)
            (tracker,) = (await make_status(alice.service).report())["trackers"]
            assert (tracker["state"], tracker["error"]["code"]) == ("unreachable", "network")

    asyncio.run(main())


def test_a_tracker_in_the_same_process(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            await alice.share("a.bin", DATA)
            assert swarm.tracker_reactor is not None
            assert swarm.tracker_router is not None
            reactor, server = swarm.tracker_reactor, swarm.tracker_router.handler

            async def stats() -> dict[str, object]:
                found: dict[str, object] = await run_on(reactor, server.stats)  # type: ignore[attr-defined]
                return {**found, "registry": "somewhere"}

            report = await make_status(alice.service, stats).report()
            assert (report["tracker"]["devices"], report["tracker"]["files"]) == (1, 1)

    asyncio.run(main())
