"""p2pctl events with real daemons: what happens is told in order, over a restart, and to readers that do not read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.frozen import freeze, thaw
from tests.fakes.processes import Daemon, Swarm, make_file, until

Follow = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Starts a p2pctl events that runs beside us; all end with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(daemon: Daemon, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2pctl", "--home", str(daemon.home), "--jsonl", "events", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=daemon.environ,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def so_far(daemon: Daemon, cursor: str = "0", *kinds: str) -> list[dict[str, Any]]:
    globs = [word for kind in kinds for word in ("--kind", kind)]
    return daemon.ok("events", "--no-follow", "--since", cursor, *globs)


def test_a_swarm_as_its_events_tell_it(swarm: Swarm, follow: Follow) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    bob = swarm.peer("bob", tracker).connected()
    watcher = follow(bob, "--since", "0", "--count", "40", "--kind", "transfer.done", "--kind", "daemon.*")
    first = make_file(swarm.directory / "a.bin", 3_000_000)
    alice.ok("add", first)
    bob.ok("download", "a.bin")
    bob.ok("limit", "up", "1M")
    bob.ok("remove", "downloaded_a.bin")
    kinds = [item["kind"] for item in so_far(bob)]
    assert kinds[0] == "tracker.connected" or kinds[0] == "daemon.started"
    for kind in (
        "daemon.started",
        "tracker.connected",
        "transfer.created",
        "transfer.done",
        "share.added",
        "limit.changed",
        "share.removed",
    ):
        assert kinds.count(kind) == 1, kinds
    assert kinds.index("transfer.created") < kinds.index("transfer.done") < kinds.index("share.added")
    seqs = [item["seq"] for item in so_far(bob)]
    assert seqs == list(range(1, len(seqs) + 1))
    tracker.end()
    last = str(so_far(bob)[-1]["cursor"])
    until(lambda: so_far(bob, "0", "tracker.lost"), 20, "bob tells that the tracker is gone")
    # Over a restart: the cursor of the run before is a gap, and so it is told.
    bob.end()
    out, err = watcher.communicate(timeout=20)
    followed = [json.loads(line)["kind"] for line in out.splitlines()]
    assert followed == ["daemon.started", "transfer.done", "daemon.stopping"]
    assert watcher.returncode == 3
    assert json.loads(err)["hint"].startswith("go on with: p2pctl events --since ")
    bob.start()
    again = so_far(bob, last)
    assert (again[0]["kind"], again[0]["reason"], again[1]["seq"]) == ("gap", "restarted", 1)
    assert "daemon.started" in [item["kind"] for item in again]


def test_a_reader_that_stops_holds_up_nobody_and_is_told_what_it_missed(swarm: Swarm, follow: Follow) -> None:
    bob = swarm.make("bob", "peer", "--with-tracker").start().connected()
    reader = follow(bob, "--since", "0", "--kind", "queue.*", "--timeout", "100")
    assert reader.stdout is not None
    bob.call("queue", max_active=999)
    assert json.loads(reader.stdout.readline())["max_active"] == 999
    freeze(reader.pid)
    before = bob.peak_memory()
    client = bob.client(60.0)
    try:
        for number in range(5000):
            client.call("queue", {"max_active": number % 998 + 1})
    finally:
        client.close()
    assert bob.peak_memory() - before < 40 << 20
    thaw(reader.pid)
    # What was on its way when it stopped comes first.
    gap = json.loads(reader.stdout.readline())
    while gap["kind"] == "queue.changed":
        before_gap = gap["seq"]
        gap = json.loads(reader.stdout.readline())
        assert gap["kind"] == "gap" or gap["seq"] == before_gap + 1
    assert gap["reason"] == "lost"
    rest = [json.loads(reader.stdout.readline()) for _ in range(4096)]
    assert rest[-1]["max_active"] == 4999 % 998 + 1
    assert rest[0]["seq"] == gap["seq"] + 1
    reader.send_signal(signal.SIGINT)
    assert reader.wait(20) == 130


def test_what_its_operator_does_is_told(swarm: Swarm) -> None:
    bob = swarm.make("bob", "peer", "--with-tracker").start().connected()
    last = str(so_far(bob)[-1]["cursor"])
    bob.ok("ban", "10.9.9.9", "--for", "1h")
    bob.ok("unban", "10.9.9.9")
    bob.ok("unban", "10.9.9.9")
    bob.ok("reload")
    bob.ok("transfers", "--max-active", "3")
    bob.call("rotate", action="begin", invite=True)
    found = [item for item in so_far(bob, last) if not item["kind"].startswith("tracker.")]
    assert [item["kind"] for item in found] == [
        "peer.banned",
        "peer.unbanned",
        "config.reloaded",
        "queue.changed",
        "key.changed",
    ]
    assert (found[0]["subject"], found[0]["duration_s"], found[0]["cause"]) == ("10.9.9.9/32", 3600, "hand")
    assert (found[4]["epoch"], found[4]["previous_epoch"]) == (1, 0)
    assert {"changed": found[2]["changed"], "waiting": found[2]["waiting"]} == {"changed": [], "waiting": []}
