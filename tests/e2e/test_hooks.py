"""Hooks with real daemons: once for each end of a download, also when the daemon is killed in between."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.fakes.processes import Daemon, Swarm, make_file, until

HOOK = """#!/bin/sh
echo "hello from $P2PD_HOOK"
if [ -e slow ]; then echo $$ > running; sleep 600; fi
cat >> ran
"""


def hooked(swarm: Swarm, tracker: Daemon) -> Daemon:
    """A peer whose hook appends its document to HOME/ran, and never ends while HOME/slow is there."""
    program = swarm.directory / "hook.sh"
    program.write_text(HOOK)
    program.chmod(0o700)
    config = swarm.directory / "bob.toml"
    config.write_text(f'[hooks]\ndownload_done = ["{program}"]\ndownload_failed = ["{program}"]\n')
    address = f"127.0.0.1:{tracker.ports['Tracker']}"
    return swarm.make("bob", "peer", "--tracker", address, "--config", str(config)).start().connected()


def ran(home: Path) -> list[dict[str, Any]]:
    path = home / "ran"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_hooks_run_once_over_kills(swarm: Swarm) -> None:
    alice = swarm.make("alice", "peer", "--with-tracker").start().connected()
    bob = hooked(swarm, alice)
    for name in ("a", "b", "c"):
        alice.ok("add", make_file(swarm.directory / f"{name}.bin", 100_000, ord(name)))
    (item,) = bob.ok("download", "a.bin")
    (document,) = until(lambda: ran(bob.home), 20, "the hook ran")
    assert (document["schema"], document["hook"]) == ("p2p.hook/1", "download_done")
    assert {**document["transfer"], "duration_s": 0} == {**item, "duration_s": 0}
    until(lambda: "hello from download_done" in bob.log.read_text(), 20, "what it printed is logged")
    events = bob.ok("events", "--no-follow", "--kind", "hook.*")
    assert [event["kind"] for event in events] == ["hook.started", "hook.done"]

    # Killed while it runs: told at the next start, and not run again.
    slow = bob.home / "slow"
    slow.touch()
    bob.ok("download", "b.bin")
    until((bob.home / "running").exists, 20, "the slow one runs")
    bob.kill()
    slow.unlink()
    bob.start().connected()
    (event,) = bob.ok("events", "--no-follow", "--kind", "hook.*")
    assert (event["kind"], event["transfer"]) == ("hook.failed", "t-2")
    assert event["reason"] == "p2pd was killed while it ran"
    bob.ok("download", "c.bin")
    until(lambda: len(ran(bob.home)) == 2, 20, "the third one ran")
    assert [document["transfer"]["transfer"] for document in ran(bob.home)] == ["t-1", "t-3"]
    pid = int((bob.home / "running").read_text())
    until(lambda: _end(pid), 20, "the orphan is gone")


def _end(pid: int) -> bool:
    """The hook of the killed daemon is our own to bury."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    return False
