"""A file that changes while it is shared is withdrawn, never served wrong, and offered anew as what it is now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pd.peer.shares import SCAN_SECONDS
from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SIZE = 24 * MIB + 3
RATE = 8 * MIB


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def rewrite(path: Path) -> None:
    """In place, same size."""
    with path.open("r+b") as stream:
        stream.write(os.urandom(path.stat().st_size))


def replace(path: Path) -> None:
    """By another file of the same size, as editors do."""
    new = make_file(path.with_name("new"), path.stat().st_size, seed=99)
    new.replace(path)


def forge(path: Path) -> None:
    """In place, and the time of change set back."""
    status = path.stat()
    rewrite(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def hits(daemon: Daemon, name: str) -> list[str]:
    return [str(item["id"]) for item in daemon.ok("search", name) if name in item["names"]]


class Idle:
    """Files that were changed while nobody looked, and a download of one whose change cannot be seen from outside.

    Made once: the watch and the hope of a download take their time, side by side.
    """

    def __init__(self, swarm: Swarm) -> None:
        tracker = swarm.tracker()
        self.alice, self.bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
        self.directory = swarm.directory
        changes = (append, rewrite, replace, truncate)
        self.changed = [make_file(swarm.directory / f"{change.__name__}.bin", 300_000) for change in changes]
        self.deleted = make_file(swarm.directory / "deleted.bin", 300_000, seed=5)
        self.forged = make_file(swarm.directory / "forged.bin", 3 * MIB, seed=6)
        paths = [*self.changed, self.deleted, self.forged]
        self.before = {path: str(self.alice.ok("add", path)[0]["id"]) for path in paths}
        for change, path in zip(changes, self.changed, strict=True):
            change(path)
        self.deleted.unlink()
        forge(self.forged)
        self.forged_folder = swarm.folder("forged")
        self.forged_transfer = self.bob.begin("forged.bin", self.forged_folder)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idle]:
    with Swarm(tmp_path_factory.mktemp("idle")) as swarm:
        yield Idle(swarm)


def test_changed_while_nobody_looks(idle: Idle) -> None:
    """Found by the watch: the old id is served no more, the new one is found."""
    alice, bob = idle.alice, idle.bob
    for path in idle.changed:
        until(
            lambda path=path: (s := alice.share(path))["state"] == "shared" and s["id"] != idle.before[path],  # type: ignore[misc]
            SCAN_SECONDS + 5,
            f"{path.name} is shared under its new id",
        )
    alice.connected()
    folder = idle.directory / "in"
    folder.mkdir()
    for path in idle.changed:
        assert hits(bob, path.name) == [alice.share(path)["id"]]
        [item] = bob.ok("download", f"name:{path.name}", cwd=folder)
        assert sha256(Path(item["path"])) == sha256(path)
        assert bob.ctl("download", idle.before[path], cwd=folder).status == 4


def test_deleted_while_nobody_looks(idle: Idle) -> None:
    alice, bob = idle.alice, idle.bob
    until(lambda: alice.share(idle.deleted)["state"] == "missing", SCAN_SECONDS + 5, "it is withdrawn")
    alice.connected()
    assert hits(bob, "deleted.bin") == []
    assert bob.ctl("download", "deleted.bin", cwd=idle.directory).status == 4
    assert "deleted.bin - Size: 300000 bytes (missing)" in alice.ctl("list").out
    # and when it comes back as it was
    make_file(idle.deleted, 300_000, seed=5)
    assert alice.ok("add", idle.deleted)[0]["id"] == idle.before[idle.deleted]


def test_changed_behind_its_stamp(idle: Idle) -> None:
    """Same size, time and inode, other octets: only a hash can tell, and the downloader's does."""
    result = idle.bob.ctl("--json", "wait", idle.forged_transfer)
    assert result.status == 9
    assert "wrong data" in result.error["message"]
    assert result.error["hint"]
    assert list(idle.forged_folder.iterdir()) == []
    assert "sent a wrong piece" in idle.bob.log.read_text()


@pytest.mark.parametrize("change", [append, rewrite, truncate])
def test_in_the_middle_of_a_transfer(
    swarm: Swarm, make_proxy: Callable[..., Proxy], change: Callable[[Path], None]
) -> None:
    proxy = make_proxy(rate=RATE)
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "moving.bin", SIZE)
    expected = sha256(original)
    content_id = alice.ok("add", original)[0]["id"]
    folder = swarm.folder("in")
    transfer = bob.begin("moving.bin", folder)
    bob.received(transfer, 2 * MIB)
    change(original)
    proxy.rate = 0
    # noticed by the next request, long before the watch looks, and hashed again
    until(
        lambda: alice.share(original)["state"] != "shared" or alice.share(original)["id"] != content_id,
        5.0,
        "gone",
    )
    until(lambda: alice.share(original)["state"] == "shared", 10.0, "hashed again")
    alice.connected()
    assert hits(bob, "moving.bin") == [alice.share(original)["id"]]
    assert bob.transfer(transfer)["state"] not in ("done", "failed")
    assert not (folder / "downloaded_moving.bin").exists()
    # somebody who still has the old octets completes it
    make_file(swarm.directory / "old copy.bin", SIZE)
    assert alice.ok("add", swarm.directory / "old copy.bin")[0]["id"] == content_id
    bob.finish(transfer)
    assert sha256(folder / "downloaded_moving.bin") == expected


@pytest.mark.parametrize("change", [replace, Path.unlink])
def test_old_octets_under_an_open_descriptor(
    swarm: Swarm, make_proxy: Callable[..., Proxy], change: Callable[[Path], None]
) -> None:
    """Replaced by rename, or deleted: what is being served is still the old file, so it may end, but never wrong."""
    proxy = make_proxy(rate=RATE)
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "moving.bin", SIZE)
    expected = sha256(original)
    alice.ok("add", original)
    folder = swarm.folder("in")
    transfer = bob.begin("moving.bin", folder)
    bob.received(transfer, 2 * MIB)
    change(original)
    proxy.rate = 0
    until(lambda: bob.transfer(transfer)["state"] in ("done", "stalled"), 10.0, "it ends or waits")
    if bob.transfer(transfer)["state"] == "done":
        assert sha256(folder / "downloaded_moving.bin") == expected
    else:
        assert not (folder / "downloaded_moving.bin").exists()
