"""p2pd/peer/shares.py: what is served is what was hashed, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd.peer import shares as shares_module
from p2pd.peer.catalogue import Catalogue
from p2pd.peer.shares import Shares
from p2pd.storage.hashing import FileChanged
from p2pd.storage.state import Share, State
from protocol.errors import Fault
from protocol.limits import MIB
from tests.fakes.swarm import eventually, manifest_of, octets

DATA = octets(2 * MIB + 3)
OTHER = octets(2 * MIB + 3, 2)
ID, OTHER_ID = manifest_of(DATA).content_id, manifest_of(OTHER).content_id


class Bench:
    """Shares over a real state and real files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "a.bin"
        self.path.write_bytes(DATA)
        self.store = State(directory / "peer.db")
        self.catalogue = Catalogue(self.store.manifest)
        self.changes = 0
        self.forgotten: list[bytes] = []
        self.shares = Shares(self.store, self.catalogue, self._changed, self.forgotten.append)

    def _changed(self) -> None:
        self.changes += 1

    async def add(self, path: Path | None = None, name: str | None = None) -> Share:
        """Adds and waits for the hashing."""
        share, job = await self.shares.add(str(path or self.path), name)
        if job is not None:
            assert job.task is not None
            share = await job.task
            assert job.done == job.size
        return share

    async def idle(self) -> None:
        """Nothing is being hashed."""
        await eventually(lambda: not self.shares.hashing and not self.shares._checks)

    def state(self) -> str:
        (share,) = self.store.list_shares()
        return share.state


def run(directory: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench(directory)
        with bench.store:
            await work(bench)
            await bench.shares.close()

    asyncio.run(main())


async def refused(work: Awaitable[object]) -> str:
    with pytest.raises(Fault) as caught:
        await work
    return caught.value.code


# -- adding -----------------------------------------------------------------------------------------------


def test_an_added_file_is_hashed_served_and_published(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        share = await bench.add()
        assert (share.state, share.name, share.content_id) == ("shared", "a.bin", ID)
        served = bench.catalogue.find(ID)
        assert served is not None
        assert (served.path, served.size, served.count) == (str(bench.path), len(DATA), 3)
        assert bench.catalogue.manifest(ID) == manifest_of(DATA).encode()
        assert bench.changes == 1
        assert bench.store.published_count() == 1

    run(tmp_path, work)


def test_adding_it_again_does_nothing_unless_it_changed(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        first = await bench.add()
        share, job = await bench.shares.add(str(bench.path), None)
        assert (share, job) == (first, None)
        bench.path.write_bytes(OTHER)
        assert (await bench.add()).content_id == OTHER_ID
        assert bench.catalogue.find(ID) is None
        assert bench.catalogue.find(OTHER_ID) is not None
        assert len(bench.store.list_shares()) == 1

    run(tmp_path, work)


def test_two_who_add_one_file_wait_for_one_hashing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        (first, job), (second, same) = await asyncio.gather(
            bench.shares.add(str(bench.path), None), bench.shares.add(str(bench.path), None)
        )
        assert first.share_id == second.share_id
        assert job is same is not None
        await bench.idle()
        assert bench.state() == "shared"

    run(tmp_path, work)


def test_a_new_name_takes_effect_without_hashing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        share, job = await bench.shares.add(str(bench.path), "b.bin")
        assert (share.name, job, bench.changes) == ("b.bin", None, 2)
        # without a name it keeps the one it has
        assert (await bench.add()).name == "b.bin"

    run(tmp_path, work)


def test_links_are_followed_to_the_file(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        link = tmp_path / "link.bin"
        link.symlink_to(bench.path)
        share = await bench.add(link)
        assert (share.path, share.name) == (str(bench.path), "link.bin")

    run(tmp_path, work)


def test_what_cannot_be_shared(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert await refused(bench.add(tmp_path / "missing")) == "not_found"
        assert await refused(bench.add(tmp_path)) == "usage"
        assert await refused(bench.add(tmp_path / "fifo")) == "usage"
        for name in ("", "a/b", "con.txt", "a:b", "x.p2pd-part", "\u202etxt"):
            assert await refused(bench.add(name=name)) == "usage"
        assert bench.store.list_shares() == []

    run(tmp_path, work)


def test_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares_module, "MAX_FILES_PER_DEVICE", 1)

    async def work(bench: Bench) -> None:
        await bench.add()
        other = tmp_path / "b.bin"
        other.write_bytes(OTHER)
        assert await refused(bench.add(other)) == "refused"
        await bench.add()

    run(tmp_path, work)


def test_a_file_that_keeps_changing_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shares_module.hash_file
    tries: list[int] = []

    def write_meanwhile(fd: int, *more: object) -> object:
        manifest = real(fd, *more)  # type: ignore[arg-type]
        tries.append(1)
        os.utime(tmp_path / "a.bin", ns=(len(tries), len(tries)))
        return manifest

    monkeypatch.setattr(shares_module, "hash_file", write_meanwhile)

    async def work(bench: Bench) -> None:
        assert await refused(bench.add()) == "storage"
        assert len(tries) == shares_module.ATTEMPTS
        assert bench.store.list_shares() == []
        assert len(bench.catalogue) == 0

    run(tmp_path, work)


def test_removing_ends_serving_and_hashing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        share = await bench.add()
        assert bench.shares.remove(share).share_id == share.share_id
        assert bench.catalogue.find(ID) is None
        assert bench.forgotten == [ID]
        assert bench.store.published_count() == 0
        assert bench.path.exists()
        share, job = await bench.shares.add(str(bench.path), None)
        assert job is not None
        bench.shares.remove(share)
        assert job.task is not None
        assert await refused(job.task) in ("failure", "not_found")
        assert bench.store.list_shares() == []
        assert len(bench.catalogue) == 0

    run(tmp_path, work)


def test_one_content_at_two_paths_is_served_from_the_other_when_one_goes(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        first = await bench.add()
        copy = tmp_path / "copy.bin"
        copy.write_bytes(DATA)
        second = await bench.add(copy)
        assert first.content_id == second.content_id
        bench.shares.remove(second)
        served = bench.catalogue.find(ID)
        assert served is not None
        assert served.path == str(bench.path)

    run(tmp_path, work)


def test_a_finished_download_is_shared_without_hashing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        share = bench.shares.add_download(str(bench.path), "b.bin", manifest_of(DATA))
        assert (share.state, share.name, share.origin) == ("shared", "a.bin", "download")
        strange = tmp_path / "11:30?"
        strange.write_bytes(DATA)
        assert bench.shares.add_download(str(strange), "folder/b.bin", manifest_of(DATA)).name == "b.bin"
        assert bench.catalogue.find(ID) is not None
        os.truncate(bench.path, 5)
        with pytest.raises(FileChanged):
            bench.shares.add_download(str(bench.path), "b.bin", manifest_of(DATA))
        bench.path.unlink()
        with pytest.raises(Fault):
            bench.shares.add_download(str(bench.path), "b.bin", manifest_of(DATA))

    run(tmp_path, work)


# -- watching ---------------------------------------------------------------------------------------------


def test_a_changed_file_is_withdrawn_first_and_hashed_then(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        bench.path.write_bytes(OTHER)
        await bench.shares.scan()
        assert bench.catalogue.find(ID) is None
        assert bench.store.published_count() == 0
        await bench.idle()
        assert bench.state() == "shared"
        assert bench.catalogue.find(OTHER_ID) is not None

    run(tmp_path, work)


def test_what_an_upload_found_is_looked_at(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        served = bench.catalogue.find(ID)
        assert served is not None
        bench.path.write_bytes(OTHER)
        bench.shares.served_changed(served)
        await eventually(lambda: bench.catalogue.find(OTHER_ID))
        # a false alarm brings it back
        found = bench.catalogue.find(OTHER_ID)
        assert found is not None
        bench.catalogue.remove(OTHER_ID, found.share_id)
        bench.shares.served_changed(found)
        await eventually(lambda: bench.catalogue.find(OTHER_ID))
        # one that is shared no more is nothing
        bench.shares.remove(bench.store.list_shares()[0])
        bench.shares.served_changed(found)
        await bench.idle()

    run(tmp_path, work)


def test_a_file_that_is_gone_is_missing_until_it_is_back(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        away = tmp_path / "away"
        bench.path.rename(away)
        await bench.shares.scan()
        await bench.shares.scan()
        assert bench.state() == "missing"
        assert bench.catalogue.find(ID) is None
        assert bench.changes == 2
        away.rename(bench.path)
        await bench.shares.scan()
        # unchanged: nothing is hashed
        assert not bench.shares.hashing
        assert bench.state() == "shared"
        assert bench.catalogue.find(ID) is not None
        assert bench.store.published_count() == 1

    run(tmp_path, work)


@pytest.mark.parametrize("what", ["folder", "link", "fifo"])
def test_something_else_in_the_place_of_a_file(tmp_path: Path, what: str) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        bench.path.rename(tmp_path / "away")
        if what == "folder":
            bench.path.mkdir()
        elif what == "fifo":
            os.mkfifo(bench.path)
        else:
            bench.path.symlink_to(tmp_path / "away")
        await bench.shares.scan()
        assert bench.state() == "missing"

    run(tmp_path, work)


def test_a_start_serves_what_is_unchanged_and_hashes_what_is_not(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        other = tmp_path / "b.bin"
        other.write_bytes(b"before")
        await bench.add(other)
        other.write_bytes(OTHER)
        fresh = Catalogue(bench.store.manifest)
        again = Shares(bench.store, fresh, lambda: None, lambda content_id: None)
        await again.start()
        assert fresh.find(ID) is not None
        await eventually(lambda: fresh.find(OTHER_ID))
        await again.close()

    run(tmp_path, work)


def test_a_file_that_cannot_be_read_is_an_error_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        raise Fault("storage", "input/output error")

    async def work(bench: Bench) -> None:
        await bench.add()
        bench.path.write_bytes(OTHER)
        with monkeypatch.context() as broken:
            broken.setattr(shares_module, "hash_file", fail)
            await bench.shares.scan()
            await bench.idle()
        (share,) = bench.store.list_shares()
        assert (share.state, share.error) == ("error", "input/output error")
        assert len(bench.catalogue) == 0
        await bench.shares.scan()
        await bench.idle()
        assert bench.state() == "shared"

    run(tmp_path, work)


def test_the_end_stops_hashing_and_the_next_start_takes_it_up(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.shares.add(str(bench.path), None)
        await bench.shares.close()
        assert not bench.shares.hashing
        await bench.shares.scan()
        assert not bench.shares.hashing

    run(tmp_path, work)


def test_a_file_being_hashed_at_the_end_is_hashed_at_the_next_start(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.add()
        bench.path.write_bytes(OTHER)
        await bench.shares.scan()
        await bench.shares.close()
        again = Shares(bench.store, bench.catalogue, lambda: None, lambda content_id: None)
        await again.start()
        await eventually(lambda: bench.catalogue.find(OTHER_ID))
        await again.close()

    run(tmp_path, work)


def test_a_download_that_cannot_be_shared_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(bench: Bench) -> None:
        await bench.shares.take_download(str(bench.path), "b.bin", manifest_of(DATA))
        assert bench.catalogue.find(ID) is not None
        await bench.shares.take_download(str(tmp_path / "gone"), "b.bin", manifest_of(DATA))
        assert "is not shared" in caplog.text

    run(tmp_path, work)
