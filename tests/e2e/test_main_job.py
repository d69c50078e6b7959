"""The main job with real processes: a file goes from one daemon to another, by the commands of the README."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SIZE = 3 * 1024 * 1024 + 17


@pytest.fixture(scope="module")
def module_swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    with Swarm(tmp_path_factory.mktemp("job")) as made:
        yield made


@pytest.fixture(scope="module")
def peers(module_swarm: Swarm) -> tuple[Daemon, Daemon]:
    """Two peers of one tracker; the first shares `example.txt`."""
    tracker = module_swarm.tracker()
    alice, bob = module_swarm.peer("alice", tracker), module_swarm.peer("bob", tracker)
    make_file(module_swarm.folder("files") / "example.txt", SIZE)
    alice.ok("add", module_swarm.directory / "files" / "example.txt")
    return alice, bob


@pytest.fixture
def original(module_swarm: Swarm) -> Path:
    return module_swarm.directory / "files" / "example.txt"


class TestHuman:
    """As a person sees it."""

    def test_add_says_what_the_seed_said(self, peers: tuple[Daemon, Daemon], original: Path) -> None:
        other = make_file(original.with_name("notes.md"), 1000, seed=2)
        result = peers[0].ctl("add", other)
        assert (result.status, result.out, result.err) == (0, "Added notes.md to shared files\n", "")
        assert peers[0].ctl("add", other).out == "notes.md is shared already\n"
        assert "notes.md - Size: 1000 bytes" in peers[0].ctl("list").out.splitlines()
        result = peers[0].ctl("remove", "notes.md")
        assert (result.status, result.out) == (0, "Removed notes.md from shared files\n")
        assert "notes.md" not in peers[0].ctl("list").out
        until(
            lambda: "notes.md" not in peers[1].ctl("all_files").out, 10.0, "the removed file is found no more"
        )
        assert other.exists()

    def test_search_in_any_order_case_and_part(self, peers: tuple[Daemon, Daemon]) -> None:
        for words in (["example.txt"], ["EXAMPLE"], ["txt", "exam"], ["ampl"]):
            result = peers[1].ctl("search", *words)
            assert result.status == 0
            assert result.out.splitlines()[1].endswith("  example.txt"), result.out

    def test_download(self, peers: tuple[Daemon, Daemon], module_swarm: Swarm, original: Path) -> None:
        alice, bob = peers
        folder = module_swarm.folder("human")
        result = bob.ctl("download", "example.txt", cwd=folder)
        assert result.status == 0, result.err
        path = folder / "downloaded_example.txt"
        assert result.out == f"{path}\n"
        assert f"Downloaded example.txt from {alice.address}" in result.err
        assert "verified" in result.err
        assert sha256(path) == sha256(original)
        assert path.stat().st_mode & 0o777 == 0o600
        assert [entry.name for entry in folder.iterdir()] == ["downloaded_example.txt"]
        assert f"downloaded_example.txt - Size: {SIZE} bytes" in bob.ctl("list").out.splitlines()
        again = bob.ctl("download", "example.txt", cwd=folder)
        assert again.status == 11
        assert "exists already" in again.err
        assert "hint: " in again.err

    def test_the_rest_of_the_heart(self, peers: tuple[Daemon, Daemon]) -> None:
        alice, bob = peers
        assert "example.txt" in bob.ctl("all_files").out
        assert alice.address in bob.ctl("peers").out
        assert alice.address in bob.ctl("peers", "example.txt").out
        status = bob.ctl("status").out
        assert "connected, 2 peers" in status
        assert "key check k-" in status
        assert "answers (pid" in bob.ctl("ping").out
        assert "download" in bob.ctl("help").out
        assert bob.ctl("version").out.startswith("p2pctl ")
        assert bob.ctl("transfers").status == 0


class TestJson:
    """As a script sees it."""

    def test_download_by_id(self, peers: tuple[Daemon, Daemon], module_swarm: Swarm, original: Path) -> None:
        bob = peers[1]
        [hit] = [item for item in bob.ok("search", "example") if "example.txt" in item["names"]]
        assert hit["size_bytes"] == SIZE
        assert hit["sha256"] == sha256(original)
        target = module_swarm.folder("json") / "mine.bin"
        [item] = bob.ok("download", hit["id"][:8], "-o", target, "--no-share")
        assert item["state"] == "done"
        assert item["path"] == str(target)
        assert item["sha256"] == sha256(target) == hit["sha256"]
        assert item["verified"] is True
        assert str(target) not in [share["path"] for share in bob.ok("list")]
        assert item["transfer"] in [one["transfer"] for one in bob.ok("transfers")]

    def test_by_sha256_and_name(
        self, peers: tuple[Daemon, Daemon], module_swarm: Swarm, original: Path
    ) -> None:
        bob = peers[1]
        folder = module_swarm.folder("refs")
        for number, ref in enumerate((f"sha256:{sha256(original)}", "name:example.txt")):
            [item] = bob.ok("download", ref, "-o", folder / str(number))
            assert sha256(Path(item["path"])) == sha256(original)

    def test_no_wait_then_wait(
        self, peers: tuple[Daemon, Daemon], module_swarm: Swarm, original: Path
    ) -> None:
        bob = peers[1]
        folder = module_swarm.folder("no-wait")
        begun = bob.ctl("-q", "download", "name:example.txt", "-o", folder, "--no-wait")
        assert begun.status == 0
        [item] = bob.ok("wait", begun.out.strip())
        assert item["state"] == "done"
        assert sha256(folder / "downloaded_example.txt") == sha256(original)

    def test_documents(self, peers: tuple[Daemon, Daemon]) -> None:
        alice, bob = peers
        for command in ("list", "all_files", "peers", "status", "transfers", "ping", "version"):
            document = json.loads(bob.ctl("--json", command).out)
            assert document["schema"] == f"p2p.{command}/1"
            assert document["items"]
            assert document["partial"] is False
        [status] = bob.ok("status")
        assert status["roles"] == ["peer"]
        assert [tracker["state"] for tracker in status["trackers"]] == ["connected"]
        assert status["key_check"] == alice.ok("status")[0]["key_check"]
        [found] = [item for item in alice.ok("peers", "example.txt") if item["self"]]
        assert found["port"] == alice.ports["Peer"]

    def test_progress_for_machines(self, peers: tuple[Daemon, Daemon], module_swarm: Swarm) -> None:
        folder = module_swarm.folder("progress")
        result = peers[1].ctl("--progress", "json", "--json", "download", "name:example.txt", "-o", folder)
        assert result.status == 0
        for line in result.err.splitlines():
            assert json.loads(line)["schema"] == "p2p.progress/1"


def test_peer_with_tracker_and_orderly_end(swarm: Swarm) -> None:
    """Both roles in one process, a second peer, and a daemon that is waited for and shut down by the client."""
    both = swarm.make("both", "peer", "--with-tracker").start()
    assert both.ctl("status", "--json").items[0]["roles"] == ["peer", "tracker"]
    bob = swarm.make("bob", "peer", "--tracker", f"127.0.0.1:{both.ports['Tracker']}")
    bob.launch()
    assert bob.ctl("ping", "--wait-daemon", "20").status == 0
    bob.password = []
    original = make_file(swarm.directory / "one.bin", 2_000_000)
    both.ok("add", original)
    [item] = bob.ok("download", "one.bin", cwd=swarm.folder("in"))
    assert sha256(Path(item["path"])) == sha256(original)
    assert both.ok("status")[0]["tracker"]["devices"] == 2
    # a goodbye is told to the tracker at once
    result = bob.ctl("shutdown")
    assert (result.status, result.out) == (0, f"p2pd (pid {bob.pid}) has stopped\n")
    assert bob.wait(5.0) == 0
    until(lambda: both.ok("status")[0]["tracker"]["devices"] == 1, 5.0, "the device that left is gone")
    assert bob.ctl("ping").status == 3
