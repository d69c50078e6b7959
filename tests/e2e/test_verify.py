"""verify with real processes: a flipped bit is found and mended, a change is kept, a kill in the middle costs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Swarm, make_file, sha256, until

SIZE = 6 * MIB + 77


def rot(path: Path, offset: int) -> None:
    """One bit turns over; size, time and inode stay."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(offset)
        octet = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([octet ^ 0x10]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_flipped_bit_is_found_and_mended(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "a.bin", SIZE)
    alice.ok("add", original)
    folder = swarm.folder("in")
    [item] = bob.ok("download", "a.bin", cwd=folder)
    path = Path(item["path"])
    assert bob.ctl("verify", "--all").status == 0
    before = path.stat()
    rot(path, 3 * MIB + 1)
    rot(path, SIZE - 1)
    found = bob.ctl("--json", "verify", "--all")
    assert found.status == 9
    [bad] = found.items
    assert (bad["state"], bad["bad"], bad["path"]) == ("damaged", [3, 6], str(path))
    # nobody is given what is damaged, also after a restart
    assert bob.share(path)["state"] == "missing"
    assert bob.end() == 0
    bob.start().connected()
    assert bob.share(path)["state"] == "missing"
    progress = bob.ctl("verify", item["id"], "--repair", "--progress", "json")
    assert progress.status == 0, progress.err
    assert progress.out == f"repaired  {path} (2 of 7 pieces)\n"
    assert json.loads(progress.err.splitlines()[0])["schema"] == "p2p.progress/1"
    assert sha256(path) == sha256(original)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, SIZE)
    assert bob.share(path)["state"] == "shared"
    assert bob.ctl("verify", "--all").status == 0


def test_what_somebody_changed_is_kept_unless_told_otherwise(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "a.bin", SIZE)
    alice.ok("add", original)
    folder = swarm.folder("in")
    [item] = bob.ok("download", "a.bin", "--no-share", cwd=folder)
    path = Path(item["path"])
    with path.open("r+b") as stream:
        stream.write(b"my own words")
    mine = path.read_bytes()
    result = bob.ctl("verify", item["transfer"], "--repair")
    assert result.status == 9
    assert "changed by somebody" in result.err
    assert "--restore-changed" in result.err
    assert path.read_bytes() == mine
    assert bob.ctl("verify", "--all", "--repair").status == 0
    assert path.read_bytes() == mine
    assert bob.ctl("verify", str(path), "--repair", "--restore-changed").status == 0
    assert sha256(path) == sha256(original)


def test_killed_while_pieces_are_fetched(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    proxy = make_proxy(rate=MIB)
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "a.bin", SIZE)
    alice.ok("add", original)
    copy = swarm.directory / "copy.bin"
    copy.write_bytes(original.read_bytes())
    bob.ok("add", copy)
    for piece in range(6):
        rot(copy, piece * MIB)
    damaged = sha256(copy)
    command = [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "verify", "--all", "--repair"]
    asking = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=bob.environ)
    try:
        side = bob.home / "mending"
        until(lambda: side.is_dir() and any(side.iterdir()), 20.0, "pieces are being fetched")
        bob.kill()
        assert asking.wait(20.0) == 3
    finally:
        asking.kill()
        asking.wait()
    assert sha256(copy) == damaged
    proxy.rate = 0
    bob.start().connected()
    assert list(side.iterdir()) == []
    assert bob.ctl("verify", "--all", "--repair").status == 0
    assert sha256(copy) == sha256(original)


def test_an_interrupted_client_ends_the_reading(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    tracker = swarm.tracker()
    bob = swarm.peer("bob", tracker).connected()
    copy = make_file(swarm.directory / "a.bin", SIZE)
    bob.ok("add", copy)
    rot(copy, 5)
    command = [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "verify", "a.bin", "--repair"]
    asking = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bob.environ, text=True
    )
    try:
        side = bob.home / "mending"
        until(lambda: side.is_dir() and any(side.iterdir()), 20.0, "it looks for somebody who has the piece")
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=20.0)
    finally:
        asking.kill()
    assert (asking.returncode, out) == (130, "")
    assert "stopped verifying" in err
    until(lambda: not any(side.iterdir()), 20.0, "the daemon has stopped too")
    assert bob.ctl("verify", "a.bin").status == 9
