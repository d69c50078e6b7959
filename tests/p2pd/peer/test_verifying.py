"""p2pd/peer/verifying.py: damage is told from change, found wherever it is, and mended only where that is asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd.peer import mending as mending_module
from p2pd.peer.transfer import Transfer
from p2pd.peer.verifying import Run, Verdict
from protocol.bitfield import Bitfield
from protocol.errors import Fault, Refusal
from protocol.limits import MIB
from tests.fakes.swarm import Member, Swarm, eventually, manifest_of, octets, spoil

DATA = octets(3 * MIB + 9)
MANIFEST = manifest_of(DATA)


def in_swarm(directory: Path, work: Callable[[Swarm], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Swarm(directory) as swarm:
            await work(swarm)

    asyncio.run(main())


def rot(path: Path, offset: int = MIB + 5, later_ns: int = 0) -> None:
    """One bit turns over; the time stays unless `later_ns` is given."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(offset)
        octet = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([octet ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later_ns))


async def verify(member: Member, *refs: str, repair: bool = False, restore: bool = False) -> list[Verdict]:
    verifier = member.service.verifier
    targets = [one for ref in refs for one in verifier.find(ref)] if refs else verifier.targets()
    return [v async for v in verifier.run(Run(targets), targets, repair=repair, restore=restore)]


def test_a_damaged_share_is_found_withdrawn_mended_and_served_again(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        share = await bob.share("a.bin", DATA)
        path = bob.files / "a.bin"
        before = path.stat()
        assert [verdict.state for verdict in await verify(bob)] == ["good"]
        rot(path)
        (verdict,) = await verify(bob, "a.bin")
        assert (verdict.state, verdict.bad, verdict.pieces) == ("damaged", [1], 4)
        assert verdict.fault is not None
        assert "p2pctl verify --all --repair" in verdict.fault.hint
        assert verdict.fault.code == "integrity"
        catalogue = bob.service.catalogue
        assert catalogue.find(MANIFEST.content_id) is None
        await bob.service.shares.scan()  # the watch does not take it for good again, nor for another file
        assert catalogue.find(MANIFEST.content_id) is None
        assert bob.service.store.get_share(share.share_id).content_id == MANIFEST.content_id
        (verdict,) = await verify(bob, "a.bin", repair=True)
        assert (verdict.state, verdict.bad, verdict.fault) == ("repaired", [1], None)
        assert path.read_bytes() == DATA
        after = path.stat()
        assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
        assert catalogue.find(MANIFEST.content_id) is not None
        assert alice.service.uploads.uploaded == MIB
        assert not list((bob.home / "mending").iterdir())
        assert bob.service.store.mendings() == []

    in_swarm(tmp_path, work)


def test_somebodys_change_is_told_and_kept(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, share=False)
        assert row.path is not None
        path = Path(row.path)
        rot(path, later_ns=1)
        changed = path.read_bytes()
        for repair in (False, True):
            (verdict,) = await verify(bob, row.transfer_id, repair=repair)
            assert (verdict.state, verdict.bad) == ("changed", [1])
            assert path.read_bytes() == changed
        (verdict,) = await verify(bob, str(path), repair=True, restore=True)
        assert verdict.state == "repaired"
        assert path.read_bytes() == DATA
        # the same octets with another time are good
        os.utime(path)
        assert [verdict.state for verdict in await verify(bob)] == ["good"]
        os.truncate(path, 7)
        (verdict,) = await verify(bob, str(path), repair=True, restore=True)
        assert verdict.state == "changed"
        assert path.stat().st_size == 7
        path.unlink()
        assert [verdict.state for verdict in await verify(bob)] == ["missing"]

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("share", [False, True])
def test_a_finished_download_is_mended(tmp_path: Path, share: bool) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, share=share)
        assert row.path is not None
        await eventually(lambda: not bob.service.downloads.active)
        path = Path(row.path)
        rot(path, 0)
        rot(path, len(DATA) - 1)
        (verdict,) = await verify(bob, repair=True)
        assert (verdict.state, verdict.bad) == ("repaired", [0, 3])
        assert verdict.target.kind == ("share" if share else "download")
        assert [verdict.state for verdict in await verify(bob, row.transfer_id)] == ["good"]
        assert path.read_bytes() == DATA

    in_swarm(tmp_path, work)


def test_nobody_has_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending_module, "HOPE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        bob.service.downloads._services.finder.interval = 0.05
        await bob.share("a.bin", DATA)
        rot(bob.files / "a.bin")
        damaged = (bob.files / "a.bin").read_bytes()
        (verdict,) = await verify(bob, repair=True)
        assert verdict.state == "damaged"
        assert verdict.fault is not None
        assert verdict.fault.code == "network"
        assert (bob.files / "a.bin").read_bytes() == damaged
        assert not list((bob.home / "mending").iterdir())

    in_swarm(tmp_path, work)


def test_pieces_of_an_unfinished_download_are_fetched_again(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = [2 * MIB]

        def stop_after_two(view: memoryview) -> int:
            left[0] -= len(view)
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, stop_after_two)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.verified >= MIB)
        name = transfer.row.transfer_id
        await bob.service.downloads.pause(name)
        (part,) = bob.parts()
        spoilt = min(Bitfield.from_bytes(transfer.row.committed, MANIFEST.count))
        rot(bob.files / part, spoilt * MIB + 3)
        (verdict,) = await verify(bob, name)
        assert (verdict.target.kind, verdict.state, verdict.bad) == ("part", "damaged", [spoilt])
        assert [verdict.state for verdict in await verify(bob, repair=True)] == ["repaired"]
        left[0] = 1000 * MIB
        bob.service.downloads.resume(name)
        found = bob.service.downloads.get(name)
        assert isinstance(found, Transfer)
        assert (await bob.ended(found)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_files_of_a_folder_by_any_name(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        folder = bob.files / "tree"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/a.bin").write_bytes(DATA)
        (folder / "b.bin").write_bytes(b"b")
        job = await bob.service.folders.add(str(folder), None, [], False)
        assert job.task is not None
        await job.task
        verifier = bob.service.verifier
        for ref in ("tree", str(folder)):
            assert sorted(one.name for one in verifier.find(ref)) == ["tree/b.bin", "tree/deep/a.bin"]
        for ref in (
            "a.bin",
            "tree/deep/a.bin",
            MANIFEST.content_id.hex()[:8],
            f"sha256:{MANIFEST.sha256.hex()}",
        ):
            assert [one.name for one in verifier.find(ref)] == ["tree/deep/a.bin"]
        with pytest.raises(Fault) as caught:
            verifier.find("nothing")
        assert caught.value.code == "not_found"
        rot(folder / "deep/a.bin")
        states = {v.target.name: v.state for v in await verify(bob, repair=True)}
        assert states == {"tree/b.bin": "good", "tree/deep/a.bin": "repaired"}
        assert (folder / "deep/a.bin").read_bytes() == DATA

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("share", [False, True])
def test_a_folder_that_was_downloaded_is_verified_and_mended(tmp_path: Path, share: bool) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        files = {"deep/a.bin": DATA, "b.txt": b"b" * 99, "empty": b""}
        collection = await alice.share_folder("tree", files)
        row = await bob.ended(await bob.begin_folder(collection, share=share))
        assert row.path is not None
        top = Path(row.path)
        name = top.name if share else row.name
        for ref in (row.transfer_id, str(top), name, collection.content_id.hex()):
            assert {v.target.name: v.state for v in await verify(bob, ref)} == {
                f"{name}/{path}": "good" for path in files
            }
        rot(top / "deep/a.bin")
        rot(top / "b.txt", 7)
        states = {v.target.path: (v.state, v.bad) for v in await verify(bob)}
        bad_large = [1] if share else []  # its manifest is not kept
        assert states[str(top / "deep/a.bin")] == ("damaged", bad_large)
        assert states[str(top / "b.txt")] == ("damaged", [0])
        assert states[str(top / "empty")] == ("good", [])
        mended = {v.target.path: (v.state, v.bad) for v in await verify(bob, row.transfer_id, repair=True)}
        assert mended[str(top / "deep/a.bin")] == ("repaired", [1])
        assert mended[str(top / "b.txt")] == ("repaired", [0])
        assert {path: (top / path).read_bytes() for path in files} == files
        rot(top / "b.txt", 7, later_ns=3600 * 10**9)
        changed = {v.target.path: v.state for v in await verify(bob, row.transfer_id, repair=True)}
        assert changed[str(top / "b.txt")] == "changed"

    in_swarm(tmp_path, work)


def test_nobody_has_what_a_folder_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending_module, "HOPE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        collection = await alice.share_folder("tree", {"b.txt": b"b" * 99})
        row = await bob.ended(await bob.begin_folder(collection, share=False))
        await swarm.leave(alice)
        bob.service.downloads._services.finder.interval = 0.05
        rot(Path(row.path or "") / "b.txt", 7)
        (verdict,) = await verify(bob, row.transfer_id, repair=True)
        assert (verdict.state, verdict.bad) == ("damaged", [0])
        assert verdict.fault is not None
        assert verdict.fault.code == "network"

    in_swarm(tmp_path, work)


def test_a_run_that_is_given_up_stops_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        await bob.share("a.bin", DATA)
        verifier = bob.service.verifier
        targets = verifier.targets()
        run = Run(targets)
        started = asyncio.Event()
        loop = asyncio.get_running_loop()
        real = run.read

        def read(octets: int) -> None:
            loop.call_soon_threadsafe(started.set)
            real(octets)

        monkeypatch.setattr(run, "read", read)

        async def consume() -> None:
            async for _ in verifier.run(run, targets, repair=False, restore=False):
                pass

        task = asyncio.create_task(consume())
        await asyncio.wait_for(started.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # the next one is not kept waiting
        assert [verdict.state for verdict in await verify(bob)] == ["good"]

    in_swarm(tmp_path, work)
