"""kill -9 of either end in the middle of a transfer, and links that break: what was committed is kept, and it completes.

Links are slowed by the proxy, so that every kill falls inside the transfer however fast the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SIZE = 48 * MIB + 12_345
RATE = 16 * MIB  # octets a second

MakeProxy = Callable[..., Proxy]


def pair(swarm: Swarm, proxy: Proxy, size: int = SIZE) -> tuple[Daemon, Daemon, Path]:
    """A seeder that is reached through the proxy only, a downloader, and the seeder's file."""
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "big.bin", size)
    alice.ok("add", original)
    return alice, bob, original


def test_downloader_killed(swarm: Swarm, make_proxy: MakeProxy) -> None:
    size, rate = 128 * MIB, 40 * MIB
    proxy = make_proxy(rate=rate)
    alice, bob, original = pair(swarm, proxy, size)
    at_start = bob.octets_read()
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 96 * MIB)
    bob.kill()
    assert [path.suffix for path in folder.iterdir()] == [".p2pd-part"]
    uploaded = alice.status()["peer"]["uploaded_bytes"]
    proxy.rate = rate / 10
    bob.start()
    until(
        lambda: bob.transfer(transfer)["state"] == "downloading", 20.0, "it goes on, and nobody asked it to"
    )
    # a commit comes each second: what is older is neither fetched nor hashed again, what is younger is looked at
    assert bob.transfer(transfer)["resumed_bytes"] >= 96 * MIB - 2 * rate
    assert bob.octets_read() - at_start < 1.5 * rate
    proxy.rate = 0
    item = bob.finish(transfer)
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
    assert bob.status()["peer"]["downloaded_bytes"] == size - item["resumed_bytes"]
    # the seeder sent the rest only (and what was under way when the first run ended)
    assert alice.status()["peer"]["uploaded_bytes"] - uploaded <= size - item["resumed_bytes"] + 16 * MIB
    assert [path.name for path in folder.iterdir()] == ["downloaded_big.bin"]


def test_downloader_killed_again_and_again(swarm: Swarm, make_proxy: MakeProxy) -> None:
    """At five moments, the first before the first octet; what counts only grows."""
    proxy = make_proxy(rate=4 * RATE)
    _, bob, original = pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    kept = 0
    for share in (0, 10, 30, 50, 80):
        bob.received(transfer, max(kept, SIZE * share // 100))
        bob.kill()
        bob.start()
        until(lambda: bob.transfer(transfer)["state"] in ("downloading", "done"), 20.0, "it goes on")
        resumed = bob.transfer(transfer)["resumed_bytes"]
        assert resumed >= kept, "what was kept once is kept"
        kept = resumed
    proxy.rate = 0
    bob.finish(transfer)
    assert sha256(folder / "downloaded_big.bin") == sha256(original)


def test_seeder_killed(swarm: Swarm, make_proxy: MakeProxy) -> None:
    proxy = make_proxy(rate=RATE)
    alice, bob, original = pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 8 * MIB)
    alice.kill()
    until(lambda: bob.transfer(transfer)["sources"] == 0, 10.0, "the loss is noticed")
    kept = bob.transfer(transfer)["received_bytes"]
    assert kept >= 8 * MIB
    proxy.rate = 0
    alice.start()
    bob.finish(transfer)
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
    assert bob.status()["peer"]["downloaded_bytes"] == SIZE, "nothing was fetched twice"
    assert alice.status()["peer"]["uploaded_bytes"] <= SIZE - kept


def test_seeder_gone_for_good_and_another_one_comes(swarm: Swarm, make_proxy: MakeProxy) -> None:
    """A download that began waits, and any device with the same octets under any name completes it."""
    proxy = make_proxy(rate=RATE)
    alice, bob, original = pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 8 * MIB)
    alice.kill()
    until(lambda: bob.transfer(transfer)["sources"] == 0, 10.0, "the loss is noticed")
    assert bob.transfer(transfer)["state"] in ("downloading", "stalled")
    carol = swarm.peer("carol", next(d for d in swarm.daemons if d.name == "tracker"))
    same = swarm.folder("other") / "another name.bin"
    same.write_bytes(original.read_bytes())
    carol.ok("add", same)
    item = bob.finish(transfer)
    assert carol.address in item["from"]
    assert sha256(folder / "downloaded_big.bin") == sha256(original)


def test_link_cut(swarm: Swarm, make_proxy: MakeProxy) -> None:
    """Reset again and again after some megabytes: it is dialled anew and completes."""
    proxy = make_proxy(seed=7)
    alice, bob, original = pair(swarm, proxy)
    proxy.cut_after(9 * MIB, 20 * MIB)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    item = bob.finish(transfer)
    assert proxy.cuts >= 2
    assert item["sources"] == 1
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
    assert bob.status()["peer"]["downloaded_bytes"] == SIZE
    assert alice.status()["peer"]["uploaded_bytes"] >= SIZE


def test_link_far_and_stalled(swarm: Swarm, make_proxy: MakeProxy) -> None:
    """40 ms each way and a stall of some seconds: the session lives through it."""
    proxy = make_proxy(delay=0.04, rate=RATE)
    _, bob, original = pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    until(lambda: bob.transfer(transfer)["rate_bytes_per_s"] > 0, 5.0, "it flows")
    proxy.stalled = True
    before = bob.transfer(transfer)
    until(
        lambda: bob.transfer(transfer)["rate_bytes_per_s"] < before["rate_bytes_per_s"] / 3, 10.0, "it shows"
    )
    assert bob.transfer(transfer)["received_bytes"] <= before["received_bytes"] + 8 * MIB
    proxy.stalled = False
    proxy.rate = 0
    bob.finish(transfer)
    assert proxy.connections == 1
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
