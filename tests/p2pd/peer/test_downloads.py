"""p2pd/peer/downloads.py: what is begun, what waits its turn, and what is answered about each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd.peer.transfer import Transfer
from p2pd.storage.root import Root
from p2pd.storage.state import Download
from protocol.errors import Fault
from protocol.limits import MAX_FILE
from tests.fakes.swarm import Member, Swarm, eventually, manifest_of, octets, wanted

DATA = octets(5000)
MANIFEST = manifest_of(DATA)


def with_bob(directory: Path, work: Callable[[Member], Awaitable[None]], shared: bool = False) -> None:
    """Runs `work(bob)`; with `shared` alice has the file."""

    async def main() -> None:
        async with Swarm(directory) as swarm:
            if shared:
                await (await swarm.peer("alice")).share("a.bin", DATA)
            await work(await swarm.peer("bob"))

    asyncio.run(main())


async def fault(work: Awaitable[object]) -> Fault:
    """The Fault that is raised."""
    with pytest.raises(Fault) as caught:
        await work
    return caught.value


def test_the_same_download_twice_is_one(tmp_path: Path) -> None:
    async def work(bob: Member) -> None:
        first = await bob.begin(MANIFEST)
        assert await bob.begin(MANIFEST) is first
        assert await bob.begin(MANIFEST, file="other") is not first
        assert len(bob.service.downloads.active) == 2

    with_bob(tmp_path, work)


@pytest.mark.parametrize(
    ("more", "target"),
    [
        ({}, "downloaded_a.bin"),
        ({"prefix": ""}, "a.bin"),
        ({"name": "folder/b.bin"}, "downloaded_b.bin"),
        ({"file": "mine: yes"}, "mine: yes"),
    ],
)
def test_names_of_files(tmp_path: Path, more: dict[str, str], target: str) -> None:
    async def work(bob: Member) -> None:
        row = await bob.fetch(MANIFEST, **more)
        assert row.path == str(bob.files / target)
        assert bob.read(target) == DATA
        assert row.from_user == ("file" in more)

    with_bob(tmp_path, work, shared=True)


@pytest.mark.parametrize(
    "more",
    [
        {"file": "a/b"},
        {"file": ".."},
        {"file": ""},
        {"name": "a\u202eb"},
        {"prefix": "x/"},
        {"prefix": "n" * 251},
    ],
)
def test_names_that_cannot_be(tmp_path: Path, more: dict[str, str]) -> None:
    async def work(bob: Member) -> None:
        assert (await fault(bob.begin(MANIFEST, **more))).code == "usage"
        assert not bob.service.downloads.active

    with_bob(tmp_path, work)


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_taken_target_is_told_with_its_path(tmp_path: Path, policy: str) -> None:
    async def work(bob: Member) -> None:
        path = bob.files / "downloaded_a.bin"
        path.write_bytes(b"mine")
        told = await fault(bob.begin(MANIFEST, exists=policy))
        assert (told.code, told.details) == ("exists", {"path": str(path)})
        assert (await bob.begin(MANIFEST, exists="rename")).row.state in ("queued", "running")

    with_bob(tmp_path, work)


def test_places_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bob: Member) -> None:
        downloads = bob.service.downloads
        missing = await fault(downloads.add(wanted(MANIFEST, bob.files / "missing")))
        file = bob.files / "file"
        file.write_bytes(b"")
        not_a_directory = await fault(downloads.add(wanted(MANIFEST, file)))
        too_large = await fault(downloads.add(wanted(MANIFEST, bob.files, size=MAX_FILE)))
        monkeypatch.setattr(Root, "free_bytes", lambda self: len(DATA))
        too_full = await fault(bob.begin(MANIFEST))
        for told in (missing, not_a_directory, too_large, too_full):
            assert told.code == "storage"
        assert too_full.hint
        assert downloads.page(10, None) == []

    with_bob(tmp_path, work)


def test_only_so_many_run_and_the_others_follow(tmp_path: Path) -> None:
    async def work(bob: Member) -> None:
        bob.service.downloads.set_max_active(2)
        transfers = [await bob.begin(MANIFEST, file=f"{number}") for number in range(5)]
        assert [transfer.running for transfer in transfers] == [True, True, False, False, False]
        assert transfers[2].phase == "queued"
        await bob.service.downloads.cancel(transfers[0].row.transfer_id)
        await eventually(lambda: transfers[2].running)
        assert not transfers[3].running
        # one that never began is given up too
        assert (await bob.service.downloads.cancel(transfers[4].row.transfer_id)) == (transfers[4], True)
        assert transfers[4].row.state == "cancelled"
        await eventually(lambda: len(bob.service.downloads.active) == 3)

    with_bob(tmp_path, work)


def test_every_one_of_many_comes(tmp_path: Path) -> None:
    async def work(bob: Member) -> None:
        bob.service.downloads.set_max_active(2)
        transfers = [await bob.begin(MANIFEST, file=f"{number}", share=False) for number in range(6)]
        for number, transfer in enumerate(transfers):
            assert (await bob.ended(transfer)).state == "done"
            assert bob.read(f"{number}") == DATA
        await eventually(lambda: not bob.service.downloads.active)
        assert bob.service.downloads.received == 6 * len(DATA)
        assert bob.service.downloads.counts() == {
            "queued": 0,
            "active": 0,
            "paused": 0,
            "done": 6,
            "failed": 0,
        }

    with_bob(tmp_path, work, shared=True)


def test_what_is_told_about_downloads(tmp_path: Path) -> None:
    async def work(bob: Member) -> None:
        downloads = bob.service.downloads
        done = await bob.fetch(MANIFEST, file="0", share=False)
        await eventually(lambda: not downloads.active)
        running = await bob.begin(manifest_of(b"nobody has this"))
        assert downloads.page(10, None) == [running, downloads.get(done.transfer_id)]
        assert downloads.page(1, None) == [running]
        assert downloads.page(10, running.row.transfer_id) == [downloads.get(done.transfer_id)]
        assert downloads.get(running.row.transfer_id) is running
        assert isinstance(downloads.get(done.transfer_id), Download)
        for unknown in ("t-99", "nonsense"):
            with pytest.raises(Fault) as caught:
                downloads.get(unknown)
            assert caught.value.code == "not_found"
        # what is over is left as it is
        over, changed = await downloads.cancel(done.transfer_id)
        assert not changed
        assert isinstance(over, Download)
        assert over.state == "done"
        assert bob.read("0") == DATA

    with_bob(tmp_path, work, shared=True)


def test_what_was_not_finished_is_taken_up_at_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            bob = await swarm.peer("bob")
            transfer = await bob.begin(MANIFEST)
            cancelled = await bob.begin(MANIFEST, file="other")
            await bob.service.downloads.cancel(cancelled.row.transfer_id)
            await swarm.leave(bob)
            assert not transfer.done.is_set()
            alice = await swarm.peer("alice")
            await alice.share("a.bin", DATA)
            bob = await swarm.peer("bob")
            (again,) = bob.service.downloads.active
            assert isinstance(again, Transfer)
            assert again.row.transfer_id == transfer.row.transfer_id
            assert (await bob.ended(again)).state == "done"

    asyncio.run(main())


def test_wake_reaches_every_download(tmp_path: Path) -> None:
    async def work(bob: Member) -> None:
        transfers = [await bob.begin(MANIFEST, file=f"{number}") for number in range(2)]
        for transfer in transfers:
            transfer._wake.clear()
        bob.service.downloads.wake()
        assert all(transfer._wake.is_set() for transfer in transfers)

    with_bob(tmp_path, work)
