"""The tracker goes and comes back: transfers go on, peers announce again by themselves, nothing has to be added anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Swarm, make_file, sha256, until

SIZE = 24 * MIB + 1
RATE = 8 * MIB


def test_killed_during_a_transfer(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    proxy = make_proxy(rate=RATE)
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "big.bin", SIZE)
    alice.ok("add", original)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 2 * MIB)
    tracker.kill()
    until(lambda: bob.status()["trackers"][0]["state"] == "unreachable", 10.0, "the loss is noticed")
    before = bob.transfer(transfer)["received_bytes"]
    bob.received(transfer, before + 2 * MIB)  # peers need no tracker to go on
    # what is added while it is away is published when it is back
    late = make_file(swarm.directory / "late.bin", 1000, seed=2)
    assert alice.ok("add", late)[0]["published"] is False
    tracker.start()
    bob.finish(transfer)
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
    alice.connected()
    bob.connected()
    assert [item["name"] for item in bob.ok("search", "late")] == ["late.bin"]
    [hit] = bob.ok("search", "big.bin")
    assert sorted(hit["names"]) == ["big.bin", "downloaded_big.bin"]
    assert len(bob.ok("peers", hit["id"])) == 2


def test_registry_lost(swarm: Swarm) -> None:
    """A tracker that lost its database is told everything anew."""
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    for number in range(3):
        alice.ok("add", make_file(swarm.directory / f"file {number}.bin", 1000 + number, seed=number))
    alice.ok("remove", "file 1.bin")
    assert tracker.end() == 0
    for path in tracker.home.glob("tracker.db*"):
        path.unlink()
    tracker.start()
    for peer in (alice, bob):
        until(lambda peer=peer: peer.status()["trackers"][0]["state"] == "connected", 20.0, "it is back")  # type: ignore[misc]
        peer.connected()
    assert sorted(item["name"] for item in bob.ok("search", "file")) == ["file 0.bin", "file 2.bin"]


def test_another_tracker_in_its_place(swarm: Swarm) -> None:
    """A new device at the same address (the machine was set up anew) is as good."""
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "a.bin", 1000))
    assert tracker.end() == 0
    shutil.rmtree(tracker.home)
    tracker.start("--password-file", str(swarm.password_file))
    bob = swarm.peer("bob", tracker).connected()
    until(
        lambda: [item["name"] for item in bob.ok("search", "a.bin")] == ["a.bin"], 20.0, "it is found again"
    )
    assert bob.ctl("download", "a.bin", cwd=swarm.folder("in")).status == 0


def test_peers_that_started_first(swarm: Swarm) -> None:
    """The order of starting does not matter."""
    tracker = swarm.tracker()
    assert tracker.end() == 0
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker)
    assert alice.ok("add", make_file(swarm.directory / "a.bin", 1000))[0]["published"] is False
    assert bob.ctl("search", "a.bin").status == 7
    tracker.start()
    alice.connected()
    bob.connected()
    assert [item["name"] for item in bob.ok("search", "a.bin")] == ["a.bin"]
