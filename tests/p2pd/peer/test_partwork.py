"""p2pd/peer/partwork.py: what is here is not fetched, what is on the disk is not lost, and disks fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer import commits as commits_module
from p2pd.peer import driver as driver_module
from p2pd.peer import partwork as partwork_module
from p2pd.peer import trackers as trackers_module
from p2pd.peer import transfer as transfer_module
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import Root
from protocol.errors import Refusal
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.swarm import Swarm, eventually, in_swarm, look_often, manifest_of, octets, spoil

DATA = octets(7 * MIB)
MANIFEST = manifest_of(DATA)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 0.02)
    monkeypatch.setattr(driver_module, "TICK_SECONDS", 0.05)


# -- our own files ----------------------------------------------------------------------------------------


def test_what_is_shared_here_is_copied_and_not_fetched(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        await bob.share("mine.bin", DATA)
        transfer = await bob.begin(MANIFEST)
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA
        assert transfer.received == 0

    in_swarm(tmp_path, work)


def test_a_hole_is_not_fetched(tmp_path: Path) -> None:
    sparse = bytes(4 * MIB) + DATA[:MIB]

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", sparse)
        transfer = await bob.begin(manifest_of(sparse))
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("downloaded_a.bin") == sparse
        assert transfer.received == MIB

    in_swarm(tmp_path, work)


def test_a_kept_part_file_is_gone_on_with(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = [3 * MIB]

        def stop_after_three(view: memoryview) -> int:
            left[0] -= len(view)
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, stop_after_three)
        look_often(bob)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.verified == 3 * MIB)
        await swarm.leave(bob)
        assert bob.parts()
        bob = await swarm.peer("bob")
        (transfer,) = bob.service.downloads.active
        await eventually(lambda: transfer.resumed)
        assert transfer.resumed == 3 * MIB
        left[0] = 1000 * MIB
        row = await bob.ended(transfer)
        assert (row.state, row.resumed_bytes) == ("done", 3 * MIB)
        assert transfer.received == len(DATA) - 3 * MIB
        assert bob.read("downloaded_a.bin") == DATA
        assert not bob.parts()

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("harm", ["removed", "damaged", "replaced"])
def test_a_part_file_that_was_harmed_is_not_believed(tmp_path: Path, harm: str) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = [3 * MIB]

        def stop_after_three(view: memoryview) -> int:
            left[0] -= len(view)
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, stop_after_three)
        look_often(bob)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.verified == 3 * MIB)
        await swarm.leave(bob)
        part = bob.files / bob.parts()[0]
        if harm == "removed":
            part.unlink()
        elif harm == "replaced":
            part.rename(bob.files / "away")
            part.write_bytes(bytes(len(DATA)))
        else:
            part.write_bytes(b"short")
        left[0] = 1000 * MIB
        bob = await swarm.peer("bob")
        (transfer,) = bob.service.downloads.active
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA
        assert transfer.received == len(DATA)

    in_swarm(tmp_path, work)


def test_a_kill_between_the_rename_and_its_record(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, share=False)
        bob.service.store.set_state(row.transfer_id, "running")
        await swarm.leave(bob)
        uploaded = alice.service.uploads.uploaded
        bob = await swarm.peer("bob")
        await eventually(lambda: bob.service.store.get_download(row.transfer_id).state == "done")
        assert bob.service.store.get_download(row.transfer_id).path == str(bob.files / "downloaded_a.bin")
        assert alice.service.uploads.uploaded == uploaded
        assert os.listdir(bob.files) == ["downloaded_a.bin"]

    in_swarm(tmp_path, work)


# -- disks ------------------------------------------------------------------------------------------------


class FaultyPartFile(PartFile):
    """A part file on a disk that refuses to write while `error` is set."""

    error: OSError | None = None
    sync_error: OSError | None = None

    @classmethod
    def _pwrite(cls, fd: int, data: bytes | memoryview, offset: int) -> int:
        if cls.error is not None:
            raise cls.error
        return os.pwrite(fd, data, offset)

    @classmethod
    def create(cls, root: Root, part_name: str, manifest: Manifest, **more: Any) -> PartFile:
        return super().create(root, part_name, manifest, write=cls._pwrite)

    @classmethod
    def reopen(
        cls, root: Root, part_name: str, manifest: Manifest, recorded: Any, **more: Any
    ) -> tuple[PartFile, bool]:
        return super().reopen(root, part_name, manifest, recorded, recheck=more["recheck"], write=cls._pwrite)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> type[FaultyPartFile]:
    """A disk that can be told to fail."""
    FaultyPartFile.error = None
    monkeypatch.setattr(partwork_module, "PartFile", FaultyPartFile)
    return FaultyPartFile


def test_a_full_disk_is_a_state_that_ends_by_itself(tmp_path: Path, disk: type[FaultyPartFile]) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        disk.error = OSError(28, "No space left on device")
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.row.state == "disk_full")
        assert transfer.row.error_code == "storage"
        assert transfer.problem is not None
        disk.error = None
        row = await bob.ended(transfer)
        assert (row.state, row.error) == ("done", None)
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_disk_that_fails_otherwise_ends_the_download_and_keeps_what_is_there(
    tmp_path: Path, disk: type[FaultyPartFile]
) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        disk.error = OSError(30, "Read-only file system")
        row = await bob.fetch(MANIFEST)
        assert (row.state, row.error_code) == ("failed", "storage")
        assert len(bob.parts()) == 1

    in_swarm(tmp_path, work)


def test_a_failed_sync_means_looking_at_the_disk_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: type[FaultyPartFile]
) -> None:
    monkeypatch.setattr(commits_module, "SYNC_OCTETS", MIB)
    failing = [True]
    rechecks: list[bool] = []
    real, reopen = os.fdatasync, disk.reopen

    def fail_once(fd: int) -> None:
        if failing.pop() if failing else False:
            raise OSError(28, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fail_once)
    monkeypatch.setattr(
        disk,
        "reopen",
        classmethod(lambda cls, *args, **more: (rechecks.append(more["recheck"]), reopen(*args, **more))[1]),
    )

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST)
        assert row.state == "done"
        assert rechecks == [True]
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_drive_that_is_away_for_a_while(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = bob.service.store.add_download(
            MANIFEST.content_id, "a.bin", MANIFEST.size, str(bob.files / "drive"), "a.bin", 1.0
        )
        transfer = bob.service.downloads._begin(row)
        await eventually(lambda: transfer.row.state == "missing_storage")
        (bob.files / "drive").mkdir()
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("drive/a.bin") == DATA

    in_swarm(tmp_path, work)
