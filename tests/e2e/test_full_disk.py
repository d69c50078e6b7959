"""A full disk is a state of its own: refused at once when it cannot fit, waited for when space vanishes in between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pd.peer.transfer import RETRY_SPACE_SECONDS
from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

DISK = 56 * MIB
SIZE = 30 * MIB + 7
RATE = 8 * MIB
FLOOR = 16 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of DISK octets."""
    path = tmp_path / "small"
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("no right to mount a tmpfs: tests/p2pd/storage covers the states with faults of its own")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def occupy(path: Path, octets: int) -> Path:
    """Somebody else's file that takes so much room."""
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, octets)
    return path


def room(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def pair(swarm: Swarm, proxy: Proxy) -> tuple[Daemon, Daemon, Path]:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    swarm.environ["P2PD_PEER_FREE_FLOOR"] = str(FLOOR)
    bob = swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "big.bin", SIZE)
    alice.ok("add", original)
    return alice, bob, original


def test_refused_when_it_cannot_fit(small_disk: Path, swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    _, bob, original = pair(swarm, make_proxy())
    other = occupy(small_disk / "other", DISK - SIZE - FLOOR + MIB)
    for _ in range(2):
        result = bob.ctl("--json", "download", "big.bin", cwd=small_disk)
        assert (result.status, result.out) == (10, "")
        assert "not enough room" in result.error["message"]
        assert "make room" in result.error["hint"]
    assert [path.name for path in small_disk.iterdir()] == ["other"]
    other.unlink()
    [item] = bob.ok("download", "big.bin", cwd=small_disk)
    assert sha256(Path(item["path"])) == sha256(original)


def test_space_vanishes_in_the_middle(
    small_disk: Path, swarm: Swarm, make_proxy: Callable[..., Proxy]
) -> None:
    proxy = make_proxy(rate=RATE)
    _, bob, original = pair(swarm, proxy)
    transfer = bob.begin("big.bin", small_disk)
    bob.received(transfer, 6 * MIB)
    other = occupy(small_disk / "other", room(small_disk) - MIB)
    proxy.rate = 0
    until(lambda: bob.transfer(transfer)["state"] == "disk_full", 20.0, "it says that the disk is full")
    item = bob.transfer(transfer)
    assert item["error"]["code"] == "storage"
    assert "hint" in item["error"]
    assert item["received_bytes"] >= 6 * MIB - RATE
    # the daemon does everything else meanwhile, and still waits after another try
    assert bob.ctl("search", "big").status == 0
    assert "disk_full" in bob.ctl("transfers").out
    other.unlink()
    bob.finish(transfer, RETRY_SPACE_SECONDS + 20.0)
    assert sha256(small_disk / "downloaded_big.bin") == sha256(original)
    assert [path.name for path in small_disk.iterdir()] == ["downloaded_big.bin"]


def test_killed_while_the_disk_is_full(
    small_disk: Path, swarm: Swarm, make_proxy: Callable[..., Proxy]
) -> None:
    proxy = make_proxy(rate=RATE)
    _, bob, original = pair(swarm, proxy)
    transfer = bob.begin("big.bin", small_disk)
    bob.received(transfer, 6 * MIB)
    other = occupy(small_disk / "other", room(small_disk))
    proxy.rate = 0
    until(lambda: bob.transfer(transfer)["state"] == "disk_full", 20.0, "it says that the disk is full")
    bob.kill()
    bob.start()
    until(lambda: bob.transfer(transfer)["state"] == "disk_full", 20.0, "it says so after the start too")
    other.unlink()
    item = bob.finish(transfer, RETRY_SPACE_SECONDS + 20.0)
    assert item["resumed_bytes"] > 0
    assert sha256(small_disk / "downloaded_big.bin") == sha256(original)


def test_missing_drive(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    """The directory is gone at the start of the daemon (a drive that is not connected), and comes back."""
    proxy = make_proxy(rate=RATE)
    _, bob, original = pair(swarm, proxy)
    folder = swarm.folder("drive")
    transfer = bob.begin("big.bin", folder)
    bob.received(transfer, 12 * MIB)
    assert bob.end() == 0
    away = folder.rename(swarm.directory / "away")
    bob.start()
    proxy.rate = 0
    until(
        lambda: bob.transfer(transfer)["state"] == "missing_storage",
        20.0,
        "it says that the directory is missing",
    )
    assert bob.transfer(transfer)["error"]["code"] == "storage"
    assert not folder.exists(), "nothing is made in place of a drive"
    away.rename(folder)
    item = bob.finish(transfer, RETRY_SPACE_SECONDS + 20.0)
    assert item["resumed_bytes"] >= 12 * MIB
    assert sha256(folder / "downloaded_big.bin") == sha256(original)


def test_home_on_a_full_disk(small_disk: Path, swarm: Swarm) -> None:
    """A daemon whose own state cannot be written says so and exits with the status for storage."""
    occupy(small_disk / "other", room(small_disk))
    bob = swarm.make("bob", "peer", "--tracker", "127.0.0.1:9")
    bob.home = small_disk / "home"
    bob.launch()
    assert bob.wait(20.0) == 10
    assert "No space left" in bob.log.read_text()
