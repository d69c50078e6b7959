"""Two trackers on one PostgreSQL: whatever a peer tells one is known at the other, and both wait for their database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.postgres import Server
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until


@pytest.fixture
def address(postgres: Server) -> str:
    return postgres.make_database()


def trackers(swarm: Swarm, address: str) -> list[Daemon]:
    return [swarm.make(name, "tracker", "--registry", address).start() for name in ("one", "two")]


def found(peer: Daemon, word: str) -> list[str]:
    return sorted(name for item in peer.ok("search", word) for name in item["names"])


def test_what_one_tracker_knows_the_other_knows(swarm: Swarm, address: str, tmp_path: Path) -> None:
    one, two = trackers(swarm, address)
    shared = make_file(tmp_path / "song.ogg", 3_000_000)
    alice = swarm.peer("alice", one).connected()
    alice.ok("add", shared)
    bob = swarm.peer("bob", two).connected()
    assert found(bob, "song") == ["song.ogg"]
    folder = swarm.folder("got")
    [item] = bob.ok("download", "song.ogg", cwd=folder)
    assert sha256(Path(item["path"])) == sha256(shared)
    until(lambda: alice.ok("info", "song.ogg")[0]["sources"], 10.0, "alice hears of bob's copy")
    for tracker in (one, two):
        status = tracker.status()["tracker"]
        assert (status["devices"], status["files"], status["trouble"]) == (2, 2, None)
        assert "p2pd@" not in status["registry"]

    # a ban that is made at one holds at the other
    one.ok("ban", alice.status()["device_id"], "--reason", "test")
    until(lambda: len(bob.ok("peers")) == 1, 20.0, "alice is gone")
    one.ok("unban", alice.status()["device_id"])

    # a device that changes its tracker publishes nothing anew
    alice.end()
    alice.start("--tracker", two.address).connected(60.0)
    assert len(bob.ok("peers")) == 2
    assert two.ok("tracker", "status")[0]["files"] == 2

    # the first tracker is killed: the second serves all the same
    one.kill()
    assert found(bob, "song") == ["downloaded_song.ogg", "song.ogg"]


def test_a_database_that_goes_away_is_waited_for(
    swarm: Swarm, address: str, postgres: Server, tmp_path: Path
) -> None:
    [one, two] = trackers(swarm, address)
    alice = (
        swarm.make("alice", "peer", "--tracker", one.address, "--tracker", two.address).start().connected()
    )
    alice.ok("add", make_file(tmp_path / "before.bin", 1000))
    postgres.stop()
    try:
        until(lambda: one.status()["tracker"]["trouble"], 20.0, "the tracker notices")
        human = one.ctl("status")
        assert human.status == 0
        assert "cannot be used" in human.out
        result = alice.ctl("--json", "search", "before")
        assert (result.status, result.error["code"]) in ((13, "refused"), (7, "network")), result
    finally:
        postgres.start()
    until(lambda: not one.status()["tracker"]["trouble"], 30.0, "the tracker finds it again")
    alice.connected(60.0)
    alice.ok("add", make_file(tmp_path / "after.bin", 1000, seed=2))
    bob = swarm.peer("bob", two).connected(60.0)
    assert found(bob, "bin") == ["after.bin", "before.bin"]
    log = one.log.read_text()
    assert "does not answer" in log
    assert "answers again" in log


def test_a_tracker_without_its_database_says_so(swarm: Swarm, tmp_path: Path) -> None:
    tracker = swarm.make("tracker", "tracker", "--registry", f"postgresql://u:hidden@/x?host={tmp_path}")
    tracker.launch()
    assert tracker.wait() == 10
    log = tracker.log.read_text()
    assert "cannot reach the registry" in log
    assert "hint: is PostgreSQL running there" in log
    assert "warning: everybody on this machine can read the password" in log
    assert "hidden" not in log
