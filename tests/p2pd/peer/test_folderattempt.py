"""p2pd/peer/folderattempt.py: a folder comes as it was, whatever its sources and the daemon's life do to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2pd.peer import attempt as attempt_module
from p2pd.peer import folderattempt as module
from p2pd.peer import retries
from p2pd.peer.folderattempt import FolderAttempt
from p2pd.peer.treework import Tree
from p2pd.storage.root import DiskFull
from protocol.collection import Collection, Member
from protocol.errors import Fault
from protocol.frames import Info
from protocol.limits import MIB
from tests.fakes.swarm import Member as Device
from tests.fakes.swarm import Swarm, in_swarm, look_often, manifest_of, octets, wanted

LARGE = octets(2 * MIB + 7)
FILES: dict[str, bytes] = {
    "a": b"one",
    "same as a": b"one",
    "nothing": b"",
    "sub/nothing too": b"",
    "sub/deep/b": b"second",
    "sub/large": LARGE,
    "large again": LARGE,
    "piece": LARGE[:MIB],
    "empty/": b"",
    "naïve 日本.txt": b"text",
    **{f"many/{number:03}": str(number).encode() for number in range(600)},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short patience."""
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 2.0)
    monkeypatch.setattr(module, "IDLE_SECONDS", 4.0)
    monkeypatch.setattr(retries, "RETRIES", 0)


def check(top: Path, files: Mapping[str, bytes]) -> None:
    """Exactly these files are there."""
    found = {
        path.relative_to(top).as_posix() + ("/" if path.is_dir() else "")
        for path in top.rglob("*")
        if not path.is_dir() or not any(path.iterdir())
    }
    assert found == set(files)
    for path, data in files.items():
        assert path.endswith("/") or (top / path).read_bytes() == data


def received(device: Device) -> int:
    return device.service.downloads.received


def test_a_folder_comes_as_it_was_and_is_shared_again(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob, carol = [await swarm.peer(name) for name in ("alice", "bob", "carol")]
        collection = await alice.share_folder("tree", FILES)
        transfer = await bob.begin_folder(collection)
        row = await bob.ended(transfer)
        assert (row.state, row.path) == ("done", str(bob.files / "downloaded_tree"))
        check(bob.files / "downloaded_tree", FILES)
        assert bob.parts() == []
        once = {manifest_of(data).content_id: len(data) for data in FILES.values()}
        assert received(bob) == sum(once.values()), "one content under two names is fetched once"
        assert transfer.verified == row.size == collection.size
        assert bob.service.store.parts_of(row.transfer_id) == []
        folder = bob.service.store.list_folders()[0]
        assert (folder.content_id, folder.name) == (collection.content_id, "downloaded_tree")
        await bob.published()
        await swarm.leave(alice)
        again = await carol.ended(await carol.begin_folder(collection))
        assert again.state == "done"
        check(carol.files / "downloaded_tree", FILES)

    in_swarm(tmp_path, work)


def test_one_file_of_it_by_itself(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share_folder("tree", {"sub/large": LARGE, "x": b"x"})
        row = await bob.fetch(manifest_of(LARGE), name="tree/sub/large")
        assert (row.state, bob.read("downloaded_large") == LARGE) == ("done", True)

    in_swarm(tmp_path, work)


def test_what_is_here_already_is_not_fetched(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"a": b"one", "large": LARGE, "c": b"third"})
        await bob.share("elsewhere", b"one")
        await bob.share("elsewhere too", LARGE)
        row = await bob.ended(await bob.begin_folder(collection))
        assert row.state == "done"
        check(bob.files / "downloaded_tree", {"a": b"one", "large": LARGE, "c": b"third"})
        assert received(bob) == len(b"third")

    in_swarm(tmp_path, work)


@pytest.mark.parametrize(
    ("exists", "state", "mine"), [("skip", "done", b"mine"), ("overwrite", "done", b"one")]
)
def test_into_a_folder_that_is_there(tmp_path: Path, exists: str, state: str, mine: bytes) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"a": b"one", "sub/b": b"second", "c": b"third"})
        top = bob.files / "downloaded_tree"
        top.mkdir()
        (top / "a").write_bytes(b"mine")
        (top / "c").write_bytes(b"third")
        (top / "own").write_bytes(b"own")
        row = await bob.ended(await bob.begin_folder(collection, exists=exists))
        assert row.state == state
        check(top, {"a": mine, "sub/b": b"second", "c": b"third", "own": b"own"})
        assert received(bob) == len(b"second") + (len(b"one") if exists == "overwrite" else 0)
        shared = bob.service.store.list_folders()
        assert len(shared) == (exists == "overwrite"), "shared as the collection only if it is that"
        assert bob.parts() == []

    in_swarm(tmp_path, work)


def test_a_target_that_is_there_is_refused_or_left_alone(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"a": b"one"})
        (bob.files / "downloaded_tree").mkdir()
        with pytest.raises(Fault, match="exists already"):
            await bob.begin_folder(collection)
        row = await bob.ended(await bob.begin_folder(collection, exists="rename"))
        assert row.path == str(bob.files / "downloaded_tree (1)")
        check(bob.files / "downloaded_tree", {})
        check(bob.files / "downloaded_tree (1)", {"a": b"one"})

    in_swarm(tmp_path, work)


def test_a_file_that_cannot_be_had_leaves_the_others_and_is_named(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"a": b"one", "gone": b"gone", "large": LARGE})
        (alice.files / "tree/gone").unlink()
        (alice.files / "tree/large").write_bytes(b"other")
        # The collection as it was is still known to bob, as it would be had he asked a moment ago.
        bob.service.store.put_manifest(collection)
        look_often(bob)
        transfer = await bob.begin_folder(collection)
        row = await bob.ended(transfer)
        assert (row.state, row.error_code) == ("failed", "partial")
        assert "2 of 3 files" in (row.error or "")
        assert "gone" in (row.error or "")
        assert "large" in (row.error or "")
        check(bob.files / "downloaded_tree", {"a": b"one"})
        assert bob.parts() == []
        assert (row.exists_policy, row.target_name) == ("skip", "downloaded_tree")
        (alice.files / "tree/gone").write_bytes(b"gone")
        (alice.files / "tree/large").write_bytes(LARGE)
        job = alice.service.folders.rescan(alice.service.store.list_folders()[0])
        assert job.task is not None
        await job.task
        await alice.published()
        retried, _ = bob.service.downloads.retry(row.transfer_id)
        assert (await bob.ended(retried)).state == "done"  # type: ignore[arg-type]
        check(bob.files / "downloaded_tree", {"a": b"one", "gone": b"gone", "large": LARGE})

    in_swarm(tmp_path, work)


def test_nobody_there_fails_it_and_leaves_nothing(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        look_often(bob)
        collection = Collection([], [Member("a", 3, manifest_of(b"one").content_id)])
        row = await bob.ended(await bob.begin_folder(collection))
        assert (row.state, row.error_code) == ("failed", "network")
        assert os.listdir(bob.files) == []

    in_swarm(tmp_path, work)


def test_wrong_octets_cost_their_sender_and_come_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(swarm: Swarm) -> None:
        liar, honest, bob = [await swarm.peer(name) for name in ("liar", "honest", "bob")]
        collection = await liar.share_folder("tree", {"a": b"one", "b": b"second"})
        await honest.share_folder("tree", {"a": b"one", "b": b"second"})
        real = liar.service.uploads._smalls.read

        def lie(contents: list[bytes]) -> tuple[list[int], memoryview]:
            results, view = real(contents)
            return results, memoryview(bytes(len(view)))

        monkeypatch.setattr(liar.service.uploads._smalls, "read", lie)
        row = await bob.ended(await bob.begin_folder(collection))
        assert row.state == "done"
        check(bob.files / "downloaded_tree", {"a": b"one", "b": b"second"})

    in_swarm(tmp_path, work)


def test_from_one_who_cannot_send_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)
        identity = alice.service.router._identity
        monkeypatch.setattr(identity.__class__, "info", Info("p2pd/old"), raising=False)
        collection = await alice.share_folder("tree", {"a": b"one", "n": b"", "b": b"second"})
        look_often(bob)
        row = await bob.ended(await bob.begin_folder(collection))
        assert row.state == "done"
        check(bob.files / "downloaded_tree", {"a": b"one", "n": b"", "b": b"second"})

    in_swarm(tmp_path, work)


def test_a_full_disk_waits_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pd.peer import transfer as transfer_module

    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 0.02)
    calls: list[int] = []
    real = Tree.put

    def full_once(self: Tree, delivery: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise DiskFull("no space", "make room")
        return real(self, delivery)  # type: ignore[arg-type]

    monkeypatch.setattr(Tree, "put", full_once)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"a": b"one", "b": b"second"})
        assert (await bob.ended(await bob.begin_folder(collection))).state == "done"
        assert len(calls) > 1
        check(bob.files / "downloaded_tree", {"a": b"one", "b": b"second"})

    in_swarm(tmp_path, work)


def test_stopped_in_the_middle_it_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", FILES)

        async def stop(self: FolderAttempt, tree: Tree, indexes: list[int]) -> dict[int, Fault]:
            raise Fault("network", "cut off")

        with monkeypatch.context() as patch:
            patch.setattr(FolderAttempt, "_one_by_one", stop)
            patch.setattr(retries, "RETRIES", 5)
            transfer = await bob.begin_folder(collection)
            while transfer.row.retry_at is None:
                await bob.service.downloads._services.finder.find(collection.content_id)
        before = received(bob)
        assert before > 0
        bob.service.downloads.retry(transfer.row.transfer_id)
        row = await bob.ended(transfer)
        assert row.state == "done"
        check(bob.files / "downloaded_tree", FILES)
        assert received(bob) - before == len(LARGE), "what was there is not fetched again"

    in_swarm(tmp_path, work)


def test_cancelled_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", FILES)
        transfer = await bob.begin_folder(collection)
        await bob.service.downloads.cancel(transfer.row.transfer_id)
        assert transfer.row.state in ("cancelled", "done")
        if transfer.row.state == "cancelled":
            assert os.listdir(bob.files) == []
        assert bob.service.store.parts_of(transfer.row.transfer_id) == []

    in_swarm(tmp_path, work)


def test_a_wrong_claim_about_what_it_is_fails_with_a_reason(tmp_path: Path) -> None:
    """Somebody published a file's id as a folder, or a folder's as a file."""

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        look_often(bob)
        await alice.share("a.bin", LARGE)
        manifest = manifest_of(LARGE)
        transfer = await bob.service.downloads.add(wanted(manifest, bob.files, files=3))
        assert (await bob.ended(transfer)).state == "failed"  # type: ignore[arg-type]
        collection = await alice.share_folder("tree", {"a": b"one"})
        transfer = await bob.service.downloads.add(wanted(collection, bob.files))
        assert (await bob.ended(transfer)).state == "failed"  # type: ignore[arg-type]

    in_swarm(tmp_path, work)
