"""p2pctl doctor with real daemons, in good and in bad circumstances."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.fakes.processes import Daemon, Swarm, make_file, until, write_password


def examine(daemon: Daemon, status: int) -> dict[str, tuple[str, str, str]]:
    """id -> (status, message, hint) of the worst that each check found; p2pctl must end with `status`."""
    result = daemon.ctl("--json", "doctor")
    assert result.status == status, result.out
    worst: dict[str, tuple[str, str, str]] = {}
    for item in result.items:
        rank = ("ok", "warn", "fail").index
        if item["check"] not in worst or rank(item["status"]) > rank(worst[item["check"]][0]):
            worst[item["check"]] = (item["status"], item["message"], item["hint"])
    return worst


def bad(found: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    return {name: status for name, (status, _, _) in found.items() if status != "ok"}


def test_good_and_bad(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    shared = make_file(swarm.directory / "a.bin", 1000)
    alice.ok("add", shared)
    for daemon in (tracker, alice):
        assert bad(examine(daemon, 0)) == {}
    assert "all is well" in alice.ctl("doctor").out

    # a shared file that cannot be read, a home that others look into
    shared.unlink()
    shared.mkdir()
    alice.home.chmod(0o755)
    found = examine(alice, 1)
    assert bad(found) == {"shares": "fail", "home": "fail"}
    assert str(shared) in found["shares"][1]
    assert found["home"][2] == f"chmod 700 {alice.home}"
    alice.home.chmod(0o700)

    # while the password is replaced it is said who is missing, and to whom
    new = write_password(swarm.directory / "new", "another quite long password")
    tracker.ok("rotate", "--password-file", new)
    until(lambda: tracker.call("rotate")["devices_old"] == 1, 10, "alice is seen")
    assert bad(examine(tracker, 0)) == {"password": "warn"}
    found = examine(alice, 1)
    assert found["key"][0] == "warn"
    assert "p2pctl rotate" in found["key"][2]

    # no daemon: what can be looked at is looked at
    alice.kill()
    found = examine(alice, 1)
    assert bad(found) == {"daemon": "fail"}  # a kill leaves the socket file
    assert "p2pd is not running" in found["daemon"][1]
    tracker.end()
    assert bad(examine(tracker, 1)) == {"daemon": "fail", "socket": "fail"}


def test_a_peer_in_trouble(swarm: Swarm) -> None:
    """Nobody listens at its announced port, and its disk has less room than must stay free."""
    tracker = swarm.tracker()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        alice = swarm.make("alice", "peer", "--tracker", tracker.address, "--announce", f"127.0.0.1:{port}")
        alice.environ["P2PD_PEER_FREE_FLOOR"] = "900T"
        alice.start().connected()
        found = examine(alice, 1)
    assert bad(found) == {"reachable": "fail", "space": "fail"}
    assert f"nobody answers at 127.0.0.1:{port}" in found["reachable"][1]
    assert "firewall" in found["reachable"][2]
    assert "make room" in found["space"][2]
    text = alice.ctl("doctor")
    assert (text.status, "fail  space" in text.out) == (1, True)

    # another key than the tracker's, and then no tracker at all
    write_password(swarm.directory / "other", "another quite long password")
    bob = swarm.make("bob", "peer", "--tracker", tracker.address)
    bob.password = ["--password-file", str(swarm.directory / "other")]
    bob.start()
    until(lambda: bob.status()["trackers"][0]["state"] == "wrong_password", 10, "bob knows")
    found = examine(bob, 1)
    assert bad(found) == {"key": "fail"}
    assert "another password" in found["key"][1]
    tracker.kill()
    until(lambda: alice.status()["trackers"][0]["state"] == "unreachable", 10, "alice knows")
    assert bad(examine(alice, 1)) == {"tracker": "fail", "space": "fail"}


def test_a_settings_file_with_an_error(swarm: Swarm, tmp_path: Path) -> None:
    tracker = swarm.tracker()
    config = tmp_path / "config/p2pd"
    config.mkdir(parents=True)
    (config / "p2pd.toml").write_text("[peer\n")
    found = examine(tracker, 1)
    assert bad(found) == {"config": "fail"}
    assert "p2pd.toml" in found["config"][1]
