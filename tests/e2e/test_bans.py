"""Bans with real processes: at once, told to the banned, over a restart, at a tracker and at a peer."""

from __future__ import annotations

from protocol.limits import MIB
from tests.fakes.processes import Daemon, Swarm, make_file, until


def device(daemon: Daemon) -> str:
    return str(daemon.status()["device_id"])


def tracker_state(daemon: Daemon) -> str:
    return str(daemon.status()["trackers"][0]["state"])


def test_a_tracker_bans_a_device_at_once_and_over_a_restart(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "song.ogg", 1000)
    alice.ok("add", original)
    assert [item["name"] for item in bob.ok("search", "song")] == ["song.ogg"]
    assert {item["device_id"] for item in tracker.ok("tracker", "peers")} == {device(alice), device(bob)}
    assert [item["name"] for item in tracker.ok("tracker", "files", "song")] == ["song.ogg"]
    [banned] = tracker.ok("ban", device(alice)[:8], "--for", "1h", "--reason", "out of tune")
    assert (banned["subject"], banned["kind"], banned["roles"]) == (device(alice), "device", ["tracker"])
    assert 3590 < banned["left_s"] <= 3600
    assert bob.ok("search", "song") == []
    until(lambda: tracker_state(alice) == "refused", 20, "alice knows")
    refused = until(
        lambda: result if "out of tune" in (result := alice.ctl("search", "song")).err else None,
        20,
        "she knows why",
    )
    assert refused.status == 13
    assert " s from now" in refused.err
    assert tracker.ok("tracker", "status")[0]["refusals_by_reason"]["banned"] >= 1
    tracker.kill()
    tracker.start()
    assert [item["subject"] for item in tracker.ok("bans")] == [device(alice)]
    until(lambda: tracker_state(bob) == "connected", 40, "bob is back")
    assert bob.ok("search", "song") == []
    assert tracker.ctl("unban", device(alice)[:8]).out == f"Unbanned {device(alice)}\n"
    assert tracker.ok("bans") == []
    again = tracker.ctl("unban", device(alice))
    assert (again.status, again.out) == (0, "")
    assert "was not banned" in again.err


def test_a_network_is_kept_out_and_comes_back(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    tracker.ok("ban", "127.0.0.0/8", "--for", "2")
    until(lambda: tracker_state(alice) == "refused", 20, "alice knows")
    refused = alice.ctl("--json", "search", "song")
    assert (refused.status, refused.error["code"]) == (13, "refused")
    alice.connected(30)


def test_a_peer_bans_a_downloader(swarm: Swarm) -> None:
    swarm.environ["P2PD_LIMIT_UP"] = "4M"
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "big.bin", 8 * MIB))
    transfer = bob.begin("big.bin", swarm.folder("in"))
    bob.received(transfer, 2 * MIB)
    alice.ok("ban", device(bob)[:6])
    until(lambda: bob.transfer(transfer)["state"] == "stalled", 20, "bob has no source")
    assert bob.transfer(transfer)["received_bytes"] < 8 * MIB
    alice.kill()
    alice.start()
    [kept] = alice.ok("bans")
    assert (kept["subject"], kept["cause"], kept["until_at"]) == (device(bob), "hand", None)
    alice.ok("unban", device(bob))
    bob.kill()
    bob.start()  # else it tries again in some seconds
    bob.finish(transfer, 60)


def test_what_cannot_be_done_is_said(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    no_tracker = alice.ctl("--json", "tracker", "peers")
    assert (no_tracker.status, no_tracker.error["code"]) == (13, "refused")
    assert "--home" in no_tracker.error["hint"]
    for words, status in (
        (("ban", "somebody!"), 2),
        (("ban", "abc"), 2),
        (("ban", "zzzzzzzz"), 4),
        (("ban", "10.0.0.0/99"), 2),
        (("ban", device(alice)), 2),
        (("ban", "10.0.0.1", "--for", "never"), 2),
    ):
        result = alice.ctl("--json", *words)
        assert (result.status, result.out) == (status, ""), result
        assert result.error["hint"] or status == 2
    assert alice.ok("bans") == []


def test_the_absent_are_forgotten_by_hand(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "a.bin", 1000))
    assert alice.end() == 0
    assert tracker.ok("tracker", "expire")[0]["forgotten"] == 2  # the device and its entry
    assert tracker.ok("tracker", "expire")[0]["forgotten"] == 0
    [forgotten] = tracker.ok("tracker", "expire", device(bob)[:6])
    assert forgotten["device_id"] == device(bob)
    assert tracker.ok("tracker", "peers") == []
    assert tracker.ctl("tracker", "expire", device(bob)).status == 4
