"""The four troubles that the seed names: each has its own message, hint and exit status, for people and for scripts."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.peer.attempt import HOPE_SECONDS
from tests.fakes.processes import Daemon, Swarm, make_file, until, write_password


def check(daemon: Daemon, words: list[str], status: int, code: str, part: str, hint: str, cwd: Path) -> None:
    """The command fails in this way, in both shapes."""
    human = daemon.ctl(*words, cwd=cwd)
    assert (human.status, human.out) == (status, ""), human.err
    assert human.err.startswith("p2pctl: ")
    assert part in human.err
    assert "\n  hint: " in human.err
    assert hint in human.err
    machine = daemon.ctl("--json", *words, cwd=cwd)
    assert (machine.status, machine.out) == (status, "")
    assert (machine.error["code"], machine.error["exit"]) == (code, status)
    assert part in machine.error["message"]
    assert hint in machine.error["hint"]


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def module_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A peer whose tracker is not there."""
    with Swarm(tmp_path_factory.mktemp("alone")) as swarm:
        yield swarm.peer("alone", f"127.0.0.1:{closed_port()}")


@pytest.mark.parametrize("words", [["search", "x"], ["all_files"], ["peers"], ["download", "x"]])
def test_no_tracker(module_peer: Daemon, tmp_path: Path, words: list[str]) -> None:
    check(
        module_peer,
        words,
        7,
        "network",
        "no tracker answers at 127.0.0.1:",
        "is `p2pd tracker` running",
        tmp_path,
    )


def test_without_a_tracker_own_work_goes_on(module_peer: Daemon, tmp_path: Path) -> None:
    result = module_peer.ctl("--json", "add", make_file(tmp_path / "mine", 1000))
    assert result.status == 0
    assert result.items[0]["published"] is False
    assert "not published yet: no tracker answers" in result.document["warnings"][0]
    [tracker] = module_peer.ok("status")[0]["trackers"]
    assert (tracker["state"], tracker["error"]["code"]) == ("unreachable", "network")


def test_tracker_goes_away(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    bob = swarm.peer("bob", tracker).connected()
    tracker.kill()
    until(lambda: bob.status()["trackers"][0]["state"] == "unreachable", 10.0, "the loss is noticed")
    check(
        bob,
        ["search", "x"],
        7,
        "network",
        "no tracker answers at",
        "is `p2pd tracker` running",
        swarm.directory,
    )


def test_no_such_file(swarm: Swarm) -> None:
    bob = swarm.peer("bob", swarm.tracker()).connected()
    search = "p2pctl search TEXT finds names"
    check(
        bob,
        ["download", "nothing.bin"],
        4,
        "not_found",
        "nobody shares 'nothing.bin'",
        search,
        swarm.directory,
    )
    check(bob, ["info", "nothing.bin"], 4, "not_found", "nobody shares", search, swarm.directory)
    check(
        bob, ["remove", "nothing.bin"], 4, "not_found", "is not shared here", "p2pctl list", swarm.directory
    )
    found = bob.ctl("--json", "search", "nothing")
    assert (found.status, found.items) == (0, [])
    assert bob.ctl("search", "nothing", "--require").status == 4


def test_no_peer_has_it_any_more(swarm: Swarm) -> None:
    """The only one that shares it is killed after the search: its lease still runs, but nobody answers."""
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "lost.bin", 1_000_000))
    assert bob.ok("search", "lost")[0]["sources"] == 1
    alice.kill()
    folder = swarm.folder("in")
    began = time.monotonic()
    result = bob.ctl("--json", "download", "lost.bin", cwd=folder)
    assert time.monotonic() - began < HOPE_SECONDS + 12
    assert (result.status, result.out) == (7, "")
    assert result.error["code"] == "network"
    assert "lost.bin" in result.error["message"] or "nobody" in result.error["message"]
    assert result.error["hint"]
    assert list(folder.iterdir()) == []
    assert bob.transfer(result.error["details"]["transfer"])["state"] == "retrying"
    # when it is back, the same command works
    alice.start().connected()
    assert bob.ctl("download", "lost.bin", cwd=folder).status == 0


def test_wrong_password(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    carol = swarm.make("carol", "peer", "--tracker", tracker.address)
    other = write_password(swarm.directory / "other", "Correct horse battery staple")  # case matters
    carol.password = ["--password-file", str(other)]
    carol.start()
    for words in (["search", "x"], ["download", "x"]):
        part, hint = "uses another password or network name", "compare the key check"
        check(carol, words, 8, "auth", part, hint, swarm.directory)
    [status] = carol.ok("status")
    assert status["trackers"][0]["state"] == "wrong_password"
    assert status["key_check"] != alice.ok("status")[0]["key_check"]
    assert "has another password" in carol.ctl("status").out
    # those who were here are not disturbed, even though they share an address with the one who guesses
    assert alice.ctl("search", "x").status == 0
    # the right password, given anew, is the way out
    carol.end()
    carol.start("--password-file", str(swarm.password_file)).connected()
    assert carol.ctl("search", "x").status == 0
