"""The queue of downloads with real processes: what is paused, waits or failed is so after a restart, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.limits import MIB
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SIZE = 12 * MIB + 3
RATE = 4 * MIB
FLOOR = 16 * MIB


def slow_pair(swarm: Swarm, proxy: Proxy, files: int = 1) -> tuple[Daemon, Daemon, list[Path]]:
    """Alice shares files `0.bin` and so on through a proxy; bob is connected."""
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker, "--announce", proxy.address)
    proxy.target = ("127.0.0.1", alice.ports["Peer"])
    bob = swarm.peer("bob", tracker).connected()
    originals = [make_file(swarm.directory / f"{n}.bin", SIZE, seed=n + 1) for n in range(files)]
    alice.ok("add", *originals)
    return alice, bob, originals


def state(daemon: Daemon, transfer: str) -> str:
    return str(daemon.transfer(transfer)["state"])


def test_paused_over_a_kill_and_a_restart(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    proxy = make_proxy(rate=RATE)
    _, bob, [original] = slow_pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("0.bin", folder)
    bob.received(transfer, 4 * MIB)
    [item] = bob.ok("pause", transfer)
    assert (item["state"], item["changed"]) == ("paused", True)
    assert item["received_bytes"] >= 4 * MIB
    again = bob.ctl("pause", transfer)
    assert (again.status, again.out) == (0, "")
    assert f"p2pctl resume {transfer}" in again.err
    bob.kill()
    bob.start()
    assert bob.end() == 0
    bob.start().connected()
    assert state(bob, transfer) == "paused"
    assert [path.name.startswith(".") for path in folder.iterdir()] == [True]
    waited = bob.ctl("--json", "wait", transfer, "--timeout", "1")
    assert (waited.status, waited.error["code"]) == (6, "timeout")
    proxy.rate = 0
    assert bob.ctl("resume", "--all").out == f"Resumed {transfer} (0.bin)\n"
    done = bob.finish(transfer)
    assert done["resumed_bytes"] >= 4 * MIB
    assert sha256(folder / "downloaded_0.bin") == sha256(original)


def test_so_many_at_a_time_in_order(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    swarm.environ["P2PD_PEER_MAX_DOWNLOADS"] = "1"
    proxy = make_proxy(rate=RATE)
    _, bob, originals = slow_pair(swarm, proxy, 3)
    folder = swarm.folder("in")
    ids = [bob.begin(f"{n}.bin", folder) for n in range(3)]
    bob.received(ids[0], MIB)
    assert [state(bob, name) for name in ids[1:]] == ["queued", "queued"]
    counts = bob.status()["transfers"]
    assert (counts["active"], counts["queued"]) == (1, 2)
    bob.kill()
    bob.start().connected()
    bob.received(ids[0], 2 * MIB)
    assert [state(bob, name) for name in ids[1:]] == ["queued", "queued"]
    bob.ok("pause", ids[0])
    bob.received(ids[1], 1)
    assert state(bob, ids[2]) == "queued"
    assert "2 run at a time" in bob.ctl("transfers", "--max-active", "2").err
    bob.received(ids[2], 1)
    bob.ok("resume", "--all")
    proxy.rate = 0
    first = bob.ctl("-q", "wait", "--any", *ids)
    assert first.status == 0
    assert Path(first.out.strip()).exists()
    done = bob.ok("wait", *ids)
    assert [item["state"] for item in done] == ["done"] * 3
    for n, original in enumerate(originals):
        assert sha256(folder / f"downloaded_{n}.bin") == sha256(original)


def test_a_failed_one_is_tried_again_by_hand_and_by_itself(
    swarm: Swarm, make_proxy: Callable[..., Proxy]
) -> None:
    proxy = make_proxy()
    alice, bob, [original] = slow_pair(swarm, proxy)
    folder = swarm.folder("in")
    content = alice.share(original)["id"]
    alice.kill()
    failed = bob.ctl("--json", "download", content, cwd=folder)
    assert (failed.status, failed.error["code"]) == (7, "network")
    transfer = failed.error["details"]["transfer"]
    item = bob.transfer(transfer)
    assert (item["state"], item["retries"]) == ("retrying", 1)
    bob.kill()
    bob.start()
    kept = bob.transfer(transfer)
    assert kept["retries"] == 1
    alice.start().connected()
    bob.connected()
    assert bob.ctl("retry", transfer).status == 0
    bob.finish(transfer)
    assert sha256(folder / "downloaded_0.bin") == sha256(original)
    again = bob.ctl("retry", transfer)
    assert (again.status, again.out) == (0, "")
    assert "had ended: done" in again.err


def test_watching_in_a_pipe(swarm: Swarm, make_proxy: Callable[..., Proxy]) -> None:
    proxy = make_proxy(rate=2 * RATE)
    _, bob, _ = slow_pair(swarm, proxy)
    folder = swarm.folder("in")
    transfer = bob.begin("0.bin", folder)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "--jsonl", "transfers", "--watch"],
        stdout=subprocess.PIPE,
        env=bob.environ,
        text=True,
    )
    try:
        assert watcher.stdout is not None
        seen = []
        for line in watcher.stdout:
            item = json.loads(line)
            assert item["transfer"] == transfer
            seen.append(item["state"])
            if item["state"] == "done":
                break
        assert "downloading" in seen
    finally:
        watcher.terminate()
        watcher.wait(10)
        assert watcher.stdout is not None
        watcher.stdout.close()


# -- drives -----------------------------------------------------------------------------------------------


def mount(*words: str) -> None:
    if subprocess.run(["mount", *words], capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount")


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system of its own and the place where it is mounted a second time."""
    inner, place = tmp_path / "inner", tmp_path / "drive"
    inner.mkdir()
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(inner))
    mount("--bind", str(inner), str(place))
    yield inner, place
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
    subprocess.run(["umount", "-l", str(inner)], check=True)


def test_a_drive_unmounted_in_the_middle(
    drive: tuple[Path, Path], swarm: Swarm, make_proxy: Callable[..., Proxy]
) -> None:
    inner, place = drive
    swarm.environ["P2PD_PEER_FREE_FLOOR"] = "1M"
    proxy = make_proxy(rate=RATE / 2)
    _, bob, originals = slow_pair(swarm, proxy, 2)
    ids = [bob.begin(f"{n}.bin", place) for n in range(2)]
    until(
        lambda: sum(bob.transfer(name)["received_bytes"] for name in ids) >= 2 * MIB,
        20.0,
        "something came",
    )
    subprocess.run(["umount", "-l", str(place)], check=True)
    for name in ids:
        until(lambda: state(bob, name) == "missing_storage", 20.0, "it says that the drive is gone")  # noqa: B023
        assert bob.transfer(name)["error"]["code"] == "storage"
    assert list(place.iterdir()) == [], "nothing is written in place of the drive"
    proxy.rate = 0
    mount("--bind", str(inner), str(place))
    for n, name in enumerate(ids):
        bob.finish(name)
        assert sha256(place / f"downloaded_{n}.bin") == sha256(originals[n])


def test_several_share_a_disk_that_holds_one_at_a_time(
    tmp_path: Path, swarm: Swarm, make_proxy: Callable[..., Proxy]
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={2 * SIZE + MIB}", "tmpfs", str(place))
    try:
        swarm.environ["P2PD_PEER_FREE_FLOOR"] = str(2 * MIB)
        proxy = make_proxy(rate=2 * RATE)
        _, bob, originals = slow_pair(swarm, proxy, 3)
        ids = [bob.begin(f"{n}.bin", place, exists="rename") for n in range(3)]
        for count in (1, 2, 3):
            done = until(
                lambda: (
                    found
                    if len(found := [n for n in range(3) if state(bob, ids[n]) == "done"]) == count  # noqa: B023
                    else None
                ),
                40.0,
                f"{count} of them are done",
            )
            waiting = [state(bob, name) for n, name in enumerate(ids) if n not in done]
            assert waiting == ["disk_full"] * (3 - count)
            for n in done:
                path = place / f"downloaded_{n}.bin"
                if path.exists():
                    assert sha256(path) == sha256(originals[n])
                    path.unlink()  # room for the next
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
