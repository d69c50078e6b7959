"""A change of the network key with real daemons: member by member, over restarts and kills, by time, by hand, and back."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from p2pctl.client import Client
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until, write_password

NEW = "another quite long password"


def rotate(daemon: Daemon, *words: str | Path) -> dict[str, object]:
    (item,) = daemon.ok("rotate", *words)
    return item


def state(daemon: Daemon) -> str:
    return str(daemon.status()["trackers"][0]["state"])


def on_old(daemon: Daemon) -> set[str]:
    """Device ids that were seen with the older key."""
    return {item["device_id"] for item in daemon.call("rotate_devices")["items"]}


def device(daemon: Daemon) -> str:
    return str(daemon.status()["device_id"])


def fetch(daemon: Daemon, name: str, directory: Path, source: Path) -> None:
    daemon.finish(daemon.begin(name, directory))
    assert sha256(directory / f"downloaded_{name}") == sha256(source)


def test_member_by_member(swarm: Swarm) -> None:
    """Tracker, alice, bob, one after the other; everybody reaches everybody all the time; a kill and a restart in each step."""
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    new = write_password(swarm.directory / "new", NEW)
    first, second = (
        make_file(swarm.directory / f"{name}.bin", 300_000, seed) for seed, name in enumerate("ab")
    )
    alice.ok("add", first)
    bob.ok("add", second)

    assert rotate(tracker, "--password-file", new, "--overlap", "2h")["epoch"] == 1
    until(
        lambda: on_old(tracker) == {device(alice), device(bob)}, 10, "the tracker sees both with the old key"
    )
    tracker.kill()
    # a service that still names the old password does not undo it
    tracker.password = ["--password-file", str(swarm.password_file)]
    tracker.start()
    assert "changes nothing" in tracker.log.read_text()
    assert tracker.status()["rotation"]["previous_epoch"] == 0
    alice.connected()
    bob.connected()

    assert rotate(alice, "--password-file", new)["changed"] is True
    assert rotate(alice, "--password-file", new)["changed"] is False
    alice.kill()
    alice.start().connected()
    bob.connected()
    until(lambda: on_old(tracker) == {device(bob)}, 10, "the tracker sees who is missing")
    assert tracker.ctl("-q", "rotate", "--status").out.split() == [device(bob)]
    rows = tracker.ctl("--tsv", "rotate", "--status", "--all", "--limit", "9").out.splitlines()
    assert {row.split("\t")[0]: row.split("\t")[3] for row in rows} == {
        device(alice): "new",
        device(bob): "old",
    }
    text = tracker.ctl("rotate", "--status").out
    assert "good until" in text
    assert device(bob) in text
    # new to old and old to new: fallback of the one, patience of the other
    fetch(alice, "b.bin", swarm.folder("to alice"), second)
    fetch(bob, "a.bin", swarm.folder("to bob"), first)
    assert bob.ok("all_files")

    assert rotate(bob, "--password-file", new)["changed"] is True
    bob.connected()
    until(lambda: not on_old(tracker), 10, "nobody uses the old key")
    for daemon in (tracker, alice, bob):
        assert daemon.call("rotate", action="finish")["state"] == "none"
    for daemon in (tracker, bob):
        daemon.kill()
        daemon.start()
    for daemon in (tracker, alice, bob):
        assert daemon.status()["rotation"] is None
        assert b"previous" not in (daemon.home / "network.key").read_bytes()
    alice.connected()
    bob.connected()
    assert len({daemon.status()["key_check"] for daemon in (tracker, alice, bob)}) == 1
    fetch(bob, "a.bin", swarm.folder("again"), first)


def test_the_old_key_ends_by_itself_and_its_sessions_with_it(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    new = write_password(swarm.directory / "new", NEW)
    assert rotate(tracker, "--password-file", new, "--overlap", "2s")["state"] == "overlap"
    assert alice.ok("all_files") == []
    until(lambda: state(alice) == "wrong_password", 15, "alice's session ended with its key")
    assert tracker.status()["rotation"] is None
    result = alice.ctl("--json", "all_files")
    assert (result.status, result.error["code"]) == (8, "auth")
    assert "p2pctl rotate" in result.error["hint"]
    # the password does it at once, without a restart
    assert rotate(alice, "--password-file", new)["state"] == "overlap"
    alice.connected(5)
    # whoever comes later names the epoch
    joiner = swarm.make("joiner", "peer", "--tracker", tracker.address, "--epoch", "1")
    joiner.password = ["--password-file", str(new)]
    joiner.start().connected()


def test_no_overlap_and_the_way_back(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    (swarm.directory / "new").touch(mode=0o600)
    item = rotate(tracker, "--invite")
    invite = str(item["invite"])
    (swarm.directory / "new").write_text(invite + "\n")
    assert rotate(tracker, "--abort")["epoch"] == 0
    assert rotate(tracker, "--abort")["changed"] is False
    alice.connected()
    assert alice.ok("all_files") == []
    # a leaked password: the old one is worth nothing from this moment
    assert rotate(tracker, "--password-file", swarm.directory / "new", "--overlap", "0")["state"] == "none"
    until(lambda: state(alice) == "wrong_password", 15, "alice is out")
    assert rotate(alice, "--password-file", swarm.directory / "new", "--overlap", "0")["epoch"] == 1
    alice.connected(5)
    for daemon in (tracker, alice):
        for path in [*daemon.home.rglob("*"), daemon.log]:
            if path.is_file():
                assert invite.encode() not in path.read_bytes(), path


def test_refused_and_asked_twice_at_a_hidden_prompt(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    loose = write_password(swarm.directory / "loose", NEW)
    loose.chmod(0o644)
    weak = write_password(swarm.directory / "weak", "short")
    for words, part in (
        (["--password-file", str(loose)], "others can read"),
        (["--password-file", str(weak)], "12 characters"),
        (["--password-file", str(swarm.password_file)], "secret in use"),
        ([], "no terminal to ask at"),
        (["--finish", "--overlap", "2h"], "--overlap"),
        (["--overlap", "400d", "--invite"], "at most 30 days"),
    ):
        result = tracker.ctl("rotate", *words)
        assert (result.status, part in result.err) == (2, True), result.err
    assert tracker.status()["epoch"] == 0

    main, terminal = pty.openpty()
    program = [sys.executable, "-m", "p2pctl", "--home", str(tracker.home), "rotate", "--overlap", "1h"]
    process = subprocess.Popen(
        program, stdin=terminal, stdout=terminal, stderr=terminal, env=tracker.environ, start_new_session=True
    )
    os.close(terminal)
    seen = b""
    for prompt in (b"New swarm password", b"The same again"):
        deadline = time.monotonic() + 20
        while prompt not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(main, 4096)
        os.write(main, f"{NEW}\n".encode())
    assert process.wait(20) == 0
    assert NEW.encode() not in seen
    os.close(main)
    assert tracker.status()["epoch"] == 1


def test_every_command_says_that_the_key_is_another(swarm: Swarm) -> None:
    """Exit 8, at once; what needs nobody else works and says so."""
    tracker = swarm.tracker()
    write_password(swarm.directory / "other", NEW)
    alice = swarm.make("alice", "peer", "--tracker", tracker.address)
    alice.password = ["--password-file", str(swarm.directory / "other")]
    alice.start()
    until(lambda: state(alice) == "wrong_password", 10, "alice knows")
    file = make_file(swarm.directory / "a.bin", 1000)
    client = Client([str(alice.socket)], 20.0)
    for method, params in (
        ("search", {"text": "x"}),
        ("all_files", {}),
        ("info", {"ref": "x"}),
        ("info", {"ref": "ab" * 32}),
        ("download", {"ref": "x", "directory": str(swarm.directory)}),
        ("download", {"ref": "ab" * 32, "directory": str(swarm.directory)}),
        ("stream", {"ref": "x"}),
        ("peers", {}),
        ("peers", {"ref": "x"}),
    ):
        ((_, answer),) = client.each(method, [params])
        assert getattr(answer, "code", answer) == "auth", (method, answer)
    client.close()
    began = time.monotonic()
    for words in (["search", "x"], ["download", "x"], ["peers"]):
        result = alice.ctl("--json", *words)
        assert (result.status, result.error["code"]) == (8, "auth"), words
    assert time.monotonic() - began < 10
    for words in (["add", file], ["rescan"]):
        result = alice.ctl("--json", *words)
        assert (result.status, result.error["code"]) == (8, "auth"), words
        assert "shared here, but nobody sees it" in result.error["message"]
    ping = alice.ctl("ping")
    assert (ping.status, "another password" in ping.err) == (0, True)
    status = alice.ctl("status")
    assert (status.status, "has another password" in status.out) == (0, True)
    assert alice.ok("list")[0]["name"] == "a.bin"
