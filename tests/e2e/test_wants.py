"""Wants with real processes: told by the tracker, kept over restarts of every part, waited for, given up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until


def want_state(daemon: Daemon, want: str) -> str:
    return str(
        next(item for item in daemon.call("wants", all=True)["items"] if item["want"] == want)["state"]
    )


def waiting(tracker: Daemon, count: int) -> None:
    until(lambda: tracker.call("tracker_status")["wants"] == count, 20, f"{count} wants wait at the tracker")


def client(daemon: Daemon, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "p2pctl", "--home", str(daemon.home), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=daemon.environ,
        cwd=daemon.where,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have had it ignored
    )


def test_what_comes_is_downloaded_at_once_and_waited_for(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    folder = swarm.folder("in")
    process = client(bob, "-q", "want", "holiday", "video", "--wait", "-o", folder)
    waiting(tracker, 1)
    original = make_file(swarm.directory / "Holiday_video.mp4", 3_000_000)
    alice.ok("add", make_file(swarm.directory / "holiday.txt", 10), original)
    began = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, f"{folder}/downloaded_Holiday_video.mp4\n"), err
    assert time.monotonic() - began < 5
    assert sha256(Path(out.strip())) == sha256(original)
    assert bob.ok("wants") == []
    [done] = bob.ok("wants", "--all")
    assert (done["state"], done["transfer_state"]) == ("started", "done")
    there = bob.ctl("want", "name:holiday.txt", "--wait", "-o", folder)  # is there already
    assert (there.status, there.out) == (0, f"{folder}/downloaded_holiday.txt\n")


def test_wants_survive_a_kill_of_each_part(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker).connected(), swarm.peer("bob", tracker).connected()
    folder = swarm.folder("in")
    original = make_file(swarm.directory / "a.bin", 100_000)
    digest = sha256(original)
    [by_hash] = bob.ok("want", f"sha256:{digest}", "-o", folder)
    [by_words] = bob.ok("want", "tape", "--ext", "ogg", "-o", folder)
    assert bob.ok("want", "tape", "--ext", "ogg", "-o", folder)[0]["want"] == by_words["want"]
    waiting(tracker, 2)
    bob.kill()
    tracker.kill()
    tracker.start()
    bob.start()
    waiting(tracker, 2)
    alice.connected(40)
    alice.ok("add", original)
    until(lambda: want_state(bob, by_hash["want"]) == "started", 20, "the file is fetched")
    assert (
        sha256(folder / "downloaded_a.bin")
        if bob.finish(bob.call("transfers")["items"][0]["transfer"])
        else ""
    )
    # bob is not there when it comes
    assert bob.end() == 0
    alice.ok("add", make_file(swarm.directory / "tape 1.ogg", 1000))
    bob.start()
    until(lambda: want_state(bob, by_words["want"]) == "started", 20, "the tape is fetched")


def test_given_up_and_bad_wants(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    bob = swarm.peer("bob", tracker).connected()
    process = client(bob, "--json", "want", "never", "--wait")
    waiting(tracker, 1)
    [item] = bob.ok("wants")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, ""), err
    assert f"p2pctl unwant {item['want']}" in err
    timed = bob.ctl("--json", "want", "never", "--wait", "--timeout", "0.5")
    assert (timed.status, timed.error["code"], timed.error["details"]["want"]) == (6, "timeout", item["want"])
    assert bob.ctl("unwant", item["want"]).out == f"Gave up {item['want']} (never)\n"
    waiting(tracker, 0)
    for words, status in (
        (("want", "x", "-o", "-"), 2),
        (("want", "x", "-o", "/nowhere/"), 2),
        (("want", "sha256:zz"), 2),
        (("want", '"open'), 2),
        (("unwant", "w-99"), 4),
        (("unwant",), 2),
    ):
        assert bob.ctl("--json", *words).status == status, words
    folder = swarm.folder("in")
    (folder / "downloaded_taken.bin").write_bytes(b"here")
    failing = client(bob, "--json", "want", "taken", "--wait", "-o", folder)
    waiting(tracker, 1)
    alice = swarm.peer("alice", tracker).connected()
    alice.ok("add", make_file(swarm.directory / "taken.bin", 10))
    out, err = failing.communicate(timeout=20)
    assert (failing.returncode, out) == (11, ""), err
    assert (folder / "downloaded_taken.bin").read_bytes() == b"here"
