"""p2pd/peer/sharenews.py: what is told of shares, by what happens to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pd.events import Events
from protocol.errors import Fault
from tests.fakes.swarm import Swarm, eventually, in_swarm


def kinds(events: Events, *wanted: str) -> list[tuple[str, ...]]:
    """Kinds of shares so far, each with these fields."""
    items = events.read(0, True, None, 1000).items
    return [(item["kind"], *(item.get(name) for name in wanted)) for item in items if "share" in item["kind"]]


def test_a_file_that_changes_goes_and_comes_back(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        shares, events = alice.service.shares, alice.service.events
        share = await alice.share("a.bin", b"one")
        path = alice.files / "a.bin"
        path.write_bytes(b"three")
        await shares.scan()
        await eventually(lambda: not shares.hashing)
        os.utime(path, (1, 1))
        await shares.scan()
        await eventually(lambda: not shares.hashing)
        path.rename(alice.files / "elsewhere")
        await shares.scan()
        (alice.files / "elsewhere").rename(path)
        await shares.scan()
        shares.remove(alice.service.store.get_share(share.share_id))
        assert kinds(events, "state") == [
            ("share.added", None),
            ("share.withdrawn", "changed"),
            ("share.changed", None),
            ("share.withdrawn", "changed"),
            ("share.restored", None),
            ("share.withdrawn", "missing"),
            ("share.restored", None),
            ("share.removed", None),
        ]
        changed = events.read(0, True, frozenset({"share.changed"}), 9).items[0]
        assert share.content_id is not None
        assert changed["previous_id"] == share.content_id.hex() != changed["id"]
        assert (changed["name"], changed["size_bytes"], changed["files"]) == ("a.bin", 5, None)

    in_swarm(tmp_path, work)


def test_a_folder(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        folders, events = alice.service.folders, alice.service.events
        await alice.share_folder("tree", {"a": b"1", "b": b"22"})
        (alice.files / "tree/c").write_bytes(b"333")

        async def look() -> None:
            task = folders.rescan(alice.service.store.list_folders()[0]).task
            assert task is not None
            await task

        await look()
        await look()  # nothing is new: nothing is told
        (alice.files / "tree").rename(alice.files / "gone")
        with pytest.raises(Fault):
            await look()
        (alice.files / "gone").rename(alice.files / "tree")
        await look()
        await folders.remove(alice.service.store.list_folders()[0])
        assert kinds(events, "files") == [
            ("share.added", 2),
            ("share.changed", 3),
            ("share.withdrawn", None),
            ("share.restored", None),
            ("share.removed", None),
        ]

    in_swarm(tmp_path, work)


def test_what_cannot_be_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> None:
        raise Fault("storage", "it cannot be read")

    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        monkeypatch.setattr("p2pd.peer.shares.hash_file", unreadable)
        with pytest.raises(Fault):
            await alice.share("a.bin", b"one", publish=False)
        (item,) = alice.service.events.read(0, True, frozenset({"share.failed"}), 9).items
        assert (item["name"], item["error"]["code"]) == ("a.bin", "storage")

    in_swarm(tmp_path, work)
