"""Folders between real daemons: round trip with odd names, excludes, rescan, and a kill in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.fakes.processes import Swarm, make_file, until

ODD = [
    "plain.txt",
    "two words/and more.bin",
    "naïve/日本語 ファイル.txt",
    "-rf",
    "$HOME/`x`",
    "quote'\"",
    "[glob]*?",
    "deep/" * 20 + "leaf",
    "empty file",
]


def tree(top: Path) -> dict[str, bytes]:
    """Every file below `top`, and empty directories with a "/" at the end."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_file() and not path.is_symlink():
            found[name] = path.read_bytes()
        elif path.is_dir() and not any(path.iterdir()):
            found[name + "/"] = b""
    return found


def make(top: Path) -> Path:
    for number, name in enumerate(ODD):
        place = top / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"" if name == "empty file" else f"{number} {name}".encode())
    (top / "empty" / "directory").mkdir(parents=True)
    make_file(top / "large.bin", 3_000_000)
    return top


def test_round_trip_excludes_and_rescan(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    source = make(swarm.folder("source"))
    (source / "left.o").touch()
    (source / ".git").mkdir()
    (source / "bad:name").touch()
    (source / "link").symlink_to("plain.txt")
    plan = alice.ctl("add", "-r", source, "--exclude", "*.o", "--dry-run")
    assert plan.status == 12
    assert "leaves out left.o: excluded" in plan.out
    assert "leaves out link: a symbolic link" in plan.out
    assert "bad:name" in plan.err
    assert alice.ok("list") == []
    assert alice.ctl("add", "-r", source, "--exclude", "*.o").status == 12
    for path in ("left.o", "bad:name", "link"):
        (source / path).unlink()
    (source / ".git").rmdir()
    assert alice.ctl("rescan", source).status == 0
    target = swarm.folder("in")
    item = bob.ok("download", "source", "-o", target)[0]
    assert item["path"] == str(target / "downloaded_source")
    assert tree(target / "downloaded_source") == tree(source)
    assert [share["files"] for share in bob.ok("list")] == [len(ODD) + 1]

    single = bob.ok("download", "source/" + ODD[2], "-o", target)[0]
    assert Path(single["path"]).read_bytes() == (source / ODD[2]).read_bytes()

    (source / "plain.txt").write_text("changed")
    (source / "new.txt").write_text("new")
    (source / "large.bin").unlink()
    seen = alice.ok("rescan")[0]
    assert (seen["new"], seen["changed"], seen["vanished"]) == (["new.txt"], ["plain.txt"], ["large.bin"])
    assert bob.ok("info", "source/new.txt")[0]["size_bytes"] == 3
    assert bob.ctl("download", "source", "-o", target).status == 11
    again = bob.ok("download", "source", "-o", target, "--exists", "rename")[0]
    assert tree(Path(again["path"])) == tree(source)
    assert alice.ok("remove", "source")[0]["removed"]
    assert alice.ok("list") == []


def test_killed_in_the_middle_it_goes_on(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    source = swarm.folder("source")
    for number in range(7):
        (source / f"{number}").mkdir()
    for number in range(600):
        make_file(source / f"{number % 7}" / f"{number}.bin", 20_000, seed=number)
    make_file(source / "large.bin", 8_000_000)
    alice.ok("add", "-r", source)
    target = swarm.folder("in")
    # Under a limit, so that the kill comes in the middle of it.
    transfer = bob.begin("source", target, limit_bytes_per_s=4_000_000)
    bob.received(transfer, 2_000_000)
    assert bob.process is not None
    bob.process.send_signal(signal.SIGKILL)
    bob.wait()
    assert not (target / "downloaded_source").exists()
    assert len(os.listdir(target)) == 1
    bob.start().connected()
    item = bob.finish(transfer)
    assert item["resumed_bytes"] >= 2_000_000
    assert tree(target / "downloaded_source") == tree(source)
    assert os.listdir(target) == ["downloaded_source"]
    until(lambda: [share["files"] for share in bob.ok("list")] == [601], 20.0, "it is shared")
