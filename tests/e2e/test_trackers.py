"""Several trackers with real processes: one answer out of all, in one order; what goes on when some or all of them are gone."""

from __future__ import annotations

import time
from pathlib import Path

from protocol.limits import MIB
from tests.fakes.frozen import freeze, thaw
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SOON = 5.0  # seconds within which everything goes on


def two_trackers(swarm: Swarm) -> list[Daemon]:
    return [swarm.make(name, "tracker").start() for name in ("one", "two")]


def options(trackers: list[Daemon]) -> list[str]:
    return [word for tracker in trackers[1:] for word in ("--tracker", tracker.address)]


def peer(swarm: Swarm, name: str, trackers: list[Daemon]) -> Daemon:
    return swarm.peer(name, trackers[0].address, *options(trackers)).connected()


def small(swarm: Swarm, name: str) -> Path:
    return make_file(swarm.directory / name, 100 + len(name), seed=sum(name.encode()))


def pages(daemon: Daemon, *words: str) -> list[str]:
    """Names of all hits, two at a time by cursors."""
    names: list[str] = []
    cursor: list[str] = []
    for _ in range(50):
        document = daemon.ctl("--json", *words, "--limit", "2", *cursor).document
        assert not document["partial"]
        names += [item["name"] for item in document["items"]]
        if document["next"] is None:
            return names
        cursor = ["--cursor", document["next"]]
    raise AssertionError("the pages do not end")


def test_what_several_trackers_know_is_one_list_in_one_order(swarm: Swarm) -> None:
    trackers = two_trackers(swarm)
    alice, carol = peer(swarm, "alice", trackers[:1]), peer(swarm, "carol", trackers[1:])
    bob = peer(swarm, "bob", trackers)
    alice.ok("add", small(swarm, "tape a.ogg"), small(swarm, "tapes ccc.ogg"), small(swarm, "both tape.ogg"))
    carol.ok(
        "add", small(swarm, "tape bb.ogg"), small(swarm, "xtape dddd.ogg"), swarm.directory / "both tape.ogg"
    )
    bob.ok("add", small(swarm, "tape of bob.ogg"))
    everything = [item["name"] for item in bob.ok("search", "tape")]
    assert everything[-2:] == ["tapes ccc.ogg", "xtape dddd.ogg"]  # whole words, beginnings, the rest
    assert sorted(everything) == sorted({path.name for path in swarm.directory.glob("*.ogg")})
    assert pages(bob, "search", "tape") == everything
    assert pages(bob, "all_files") == sorted(everything)
    assert len({item["device_id"] for item in bob.ok("peers")}) == len(bob.ok("peers")) == 3
    [both] = bob.ok("search", "both")
    bob.finish(bob.begin(both["id"], swarm.folder("in")))


def test_one_that_is_silent_or_dead_holds_up_nobody(swarm: Swarm) -> None:
    swarm.environ["P2PD_LIMIT_UP"] = "2M"
    trackers = two_trackers(swarm)
    alice, bob = peer(swarm, "alice", trackers), peer(swarm, "bob", trackers)
    original = make_file(swarm.directory / "big.bin", 6 * MIB)
    alice.ok("add", original, small(swarm, "small.bin"))
    folder = swarm.folder("in")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 1)
    one = trackers[0].process
    assert one is not None
    freeze(one.pid)
    took = []
    for _ in range(2):
        began = time.monotonic()
        document = bob.ctl("--json", "search", "small").document
        took.append(time.monotonic() - began)
        assert [item["name"] for item in document["items"]] == ["small.bin"]
        assert document["partial"]
        assert trackers[0].address in document["warnings"][0]
    assert took[0] < SOON
    assert took[1] < 2.0  # it is known to be silent
    began = time.monotonic()
    bob.finish(bob.begin("small.bin", folder))
    assert time.monotonic() - began < SOON
    thaw(one.pid)
    until(lambda: not bob.ctl("--json", "search", "small").document["partial"], 15, "it is asked again")
    trackers[0].kill()
    began = time.monotonic()
    until(lambda: bob.status()["trackers"][0]["state"] == "unreachable", SOON, "its end is noticed")
    document = bob.ctl("--json", "search", "small").document
    assert document["partial"]
    assert time.monotonic() - began < SOON
    trackers[1].kill()
    bob.finish(transfer)  # a download that runs needs no tracker
    assert sha256(folder / "downloaded_big.bin") == sha256(original)
    gone = bob.ctl("--json", "search", "small")
    assert (gone.status, gone.error["code"]) == (7, "network")
    # nor does one of what was fetched before, from sources that are known
    elsewhere = swarm.folder("again")
    (folder / "downloaded_small.bin").unlink()
    identifier = next(item["id"] for item in bob.call("transfers")["items"] if item["name"] == "small.bin")
    began = time.monotonic()
    bob.finish(bob.begin(identifier, elsewhere))
    assert time.monotonic() - began < SOON
    assert sha256(elsewhere / "downloaded_small.bin") == sha256(swarm.directory / "small.bin")
