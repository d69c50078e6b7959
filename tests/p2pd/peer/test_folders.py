"""p2pd/peer/folders.py: a folder and its files are public as they were hashed, and only what changed is hashed again."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd.peer import folders as module
from p2pd.peer.catalogue import Catalogue
from p2pd.peer.folders import Folders, Report, member_served
from p2pd.storage.state import State
from p2pd.storage.state_folders import Hashed
from p2pd.storage.tree import Found, hash_members, walk
from protocol.collection import Collection, Member
from protocol.errors import Fault
from tests.fakes.swarm import manifest_of


class Bench:
    """Folders over a real directory `top`, with what is hashed counted."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = directory / "top"
        self.top.mkdir()
        self.store = State(directory / "peer.db")
        self.news = 0
        self.hashed: list[str] = []
        self.folders = Folders(self.store, self._changed)
        self.catalogue = Catalogue(
            self.store.manifest,
            lambda content_id: member_served(self.store, content_id),
            lambda content_id: bool(self.store.folders_by_content(content_id)),
        )

        def counting(top: str, found: list[Found], *more: object) -> object:
            self.hashed += [one.path for one in found]
            return hash_members(top, found, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "hash_members", counting)

    def _changed(self) -> None:
        self.news += 1

    def write(self, path: str, text: str = "") -> None:
        place = self.top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text or path)

    async def add(self, name: str | None = None, *excludes: str) -> Report:
        job = await self.folders.add(str(self.top), name, list(excludes), False)
        assert job.task is not None
        return await job.task

    async def rescan(self) -> Report:
        self.hashed.clear()
        job = self.folders.rescan(self.store.list_folders()[0])
        assert job.task is not None
        return await job.task

    def public(self) -> dict[str, bytes]:
        rows = {row.name: row.content_id for row in self.store.changes_since(0, 1000).added}
        return {name.removeprefix("top/"): content for name, content in rows.items()}


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    def runner(work: Callable[[Bench], Awaitable[None]]) -> None:
        async def main() -> None:
            bench = Bench(tmp_path, monkeypatch)
            try:
                await work(bench)
                await bench.folders.close()
            finally:
                bench.store.close()

        asyncio.run(main())

    return runner


Run = Callable[[Callable[[Bench], Awaitable[None]]], None]


async def fault(work: Awaitable[object]) -> Fault:
    with pytest.raises(Fault) as caught:
        await work
    return caught.value


def test_a_folder_is_public_with_each_of_its_files(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        bench.write("sub/b")
        (bench.top / "empty").mkdir()
        report = await bench.add()
        assert report.new == ["a", "sub/b"]
        expected = Collection(
            ["empty"],
            [Member(p, len(p), manifest_of(p.encode()).content_id) for p in ("a", "sub/b")],
        )
        assert report.folder.content_id == expected.content_id
        assert bench.public() == {
            "top": expected.content_id,
            "a": manifest_of(b"a").content_id,
            "sub/b": manifest_of(b"sub/b").content_id,
        }
        served = bench.catalogue.find(manifest_of(b"sub/b").content_id)
        assert served is not None
        assert served.path == str(bench.top / "sub/b")
        assert bench.catalogue.manifest(expected.content_id) == expected.encode()
        assert bench.catalogue.holds(expected.content_id)
        assert bench.news

    run(work)


def test_the_same_tree_elsewhere_has_the_same_id(run: Run, tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        bench.write("sub/b")
        first = await bench.add()
        shutil.copytree(bench.top, tmp_path / "copy")
        job = await bench.folders.add(str(tmp_path / "copy"), "other name", [], False)
        assert job.task is not None
        assert (await job.task).folder.content_id == first.folder.content_id

    run(work)


def test_rescan_hashes_only_what_changed_and_tells_it(run: Run) -> None:
    async def work(bench: Bench) -> None:
        for path in ("keep", "change", "go", "sub/go"):
            bench.write(path)
        first = await bench.add()
        bench.write("change", "other")
        bench.write("sub/new")
        (bench.top / "go").unlink()
        (bench.top / "sub/go").unlink()
        report = await bench.rescan()
        assert (report.new, report.changed, report.vanished) == (["sub/new"], ["change"], ["go", "sub/go"])
        assert bench.hashed == ["change", "sub/new"]
        assert report.previous == first.folder.content_id != report.folder.content_id
        assert sorted(bench.public()) == ["change", "keep", "sub/new", "top"]
        assert bench.public()["top"] == report.folder.content_id
        revision = bench.store.revision
        again = await bench.rescan()
        assert (again.new, again.changed, again.vanished, bench.hashed) == ([], [], [], [])
        assert bench.store.revision == revision

    run(work)


def test_the_watch_withdraws_and_hashes_what_is_known_and_shares_nothing_new(run: Run) -> None:
    async def work(bench: Bench) -> None:
        for path in ("keep", "change", "go"):
            bench.write(path)
        await bench.add()
        bench.write("change", "other")
        bench.write("new")
        (bench.top / "go").rename(bench.top.parent / "away")
        await bench.folders.watch()
        assert sorted(bench.public()) == ["change", "keep", "top"]
        assert bench.public()["change"] == manifest_of(b"other").content_id
        (bench.top.parent / "away").rename(bench.top / "go")
        bench.hashed.clear()
        await bench.folders.watch()
        assert sorted(bench.public()) == ["change", "go", "keep", "top"]
        assert bench.hashed == [], "it is as it was hashed"

    run(work)


def test_a_folder_that_is_away_is_withdrawn_and_comes_back_unhashed(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        report = await bench.add()
        bench.top.rename(bench.top.parent / "away")
        await bench.folders.watch()
        assert bench.public() == {}
        assert bench.store.list_folders()[0].state == "missing"
        assert not bench.catalogue.holds(report.folder.content_id or b"")
        (bench.top.parent / "away").rename(bench.top)
        bench.hashed.clear()
        await bench.folders.watch()
        assert sorted(bench.public()) == ["a", "top"]
        assert bench.hashed == []

    run(work)


def test_what_an_upload_found_is_withdrawn_at_once(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        bench.write("b")
        await bench.add()
        served = bench.catalogue.find(manifest_of(b"a").content_id)
        assert served is not None
        bench.write("a", "other")
        bench.folders.served_changed(served)
        assert sorted(bench.public()) == ["b", "top"]
        await bench.folders.watch()  # joins the look that this began
        assert bench.public()["a"] == manifest_of(b"other").content_id

    run(work)


def test_adding_again_changes_the_settings(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.c")
        bench.write("a.o")
        await bench.add()
        await bench.add("name", "*.o")
        assert {row.name for row in bench.store.changes_since(0, 100).added} == {"name", "name/a.c"}
        assert (await bench.add()).folder.name == "name"
        plan_name, tree = await bench.folders.plan(str(bench.top), None, ["*.c"], False)
        assert plan_name == "name"
        assert [found.path for found in tree.files] == ["a.o"]

    run(work)


def test_what_cannot_be_shared_leaves_nothing_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        assert (await fault(bench.add())).code == "usage"
        (bench.top / ".hidden").touch()
        empty = await fault(bench.add())
        assert empty.details["left_out"] == [{"path": ".hidden", "reason": "hidden"}]
        assert (await fault(bench.folders.add("/nonexistent", None, [], False))).code == "not_found"
        bench.write("a")
        bench.write("b")
        assert (await fault(bench.add("a:b"))).code == "usage"
        monkeypatch.setattr(module, "MAX_FILES_PER_DEVICE", 1)
        assert (await fault(bench.add())).code == "refused"
        assert bench.store.list_folders() == []

    run(work)


def test_removing_and_finding_the_folder_around_a_path(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("sub/a")
        folder = (await bench.add()).folder
        assert bench.folders.around(str(bench.top / "sub")) == folder
        assert bench.folders.around(str(bench.top) + "x") is None
        assert (await bench.folders.remove(folder)).name == "top"
        assert bench.public() == {}
        assert (bench.top / "sub/a").exists()

    run(work)


def test_a_stopped_one_is_taken_up_at_the_next_start(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        bench.write("b")
        job = await bench.folders.add(str(bench.top), None, [], False)
        await bench.folders.close()
        assert job.task is not None
        assert (await fault(job.task)).code == "failure"
        assert bench.store.list_folders()[0].state == "hashing"
        again = Folders(bench.store, lambda: None)
        again.start()
        started = again.rescan(bench.store.list_folders()[0])
        assert started.task is not None
        assert (await started.task).folder.state == "shared"
        assert sorted(bench.public()) == ["a", "b", "top"]

    run(work)


def test_a_finished_download_is_shared_without_hashing(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        hashed: list[Hashed]
        hashed, _ = hash_members(str(bench.top), walk(str(bench.top), "x").files)
        collection = Collection([], [Member("a", 1, hashed[0].manifest.content_id)])
        await bench.folders.take_download(str(bench.top), "tree", collection, hashed)
        folder = bench.store.list_folders()[0]
        assert (folder.name, folder.origin, folder.content_id) == ("top", "download", collection.content_id)
        assert sorted(bench.public()) == ["a", "top"]
        assert os.path.exists(folder.path)
        assert bench.hashed == []

    run(work)


def test_names_that_are_not_in_nfc_are_given_out_in_it_and_stay_on_disk(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("cafe\u0301/u\u0308.txt")
        (bench.top / "le\u0301er").mkdir()
        report = await bench.add("a\u0308")
        assert (report.folder.name, report.new) == ("\xe4", ["cafe\u0301/u\u0308.txt"])
        names = {"\xe4", "\xe4/caf\xe9/\xfc.txt"}
        assert set(bench.public()) == names
        content_id = bench.public()["\xe4/caf\xe9/\xfc.txt"]
        served = bench.catalogue.find(content_id)
        assert served is not None
        assert served.path == str(bench.top / "cafe\u0301/u\u0308.txt")
        octets = bench.store.manifest(report.folder.content_id or b"")
        made = Collection.decode(octets or b"", report.folder.content_id or b"")
        assert (made.directories, [file.path for file in made.files]) == (["l\xe9er"], ["caf\xe9/\xfc.txt"])

        again = await bench.rescan()
        assert (bench.hashed, again.new, again.changed, again.vanished) == ([], [], [], [])
        assert again.folder.content_id == report.folder.content_id
        os.utime(served.path, (1, 1))
        bench.folders.served_changed(served)
        assert (await bench.rescan()).folder.content_id == report.folder.content_id
        assert set(bench.public()) == names
        os.unlink(served.path)
        bench.write("plain")
        await bench.rescan()
        assert set(bench.public()) == {"\xe4", "\xe4/plain"}

    run(work)


def test_a_finished_download_under_a_name_that_is_not_in_nfc(run: Run) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a")
        bench.top = bench.top.rename(bench.top.with_name("to\u0308p"))
        hashed, _ = hash_members(str(bench.top), walk(str(bench.top), "x").files)
        collection = Collection([], [Member("a", 1, hashed[0].manifest.content_id)])
        await bench.folders.take_download(str(bench.top), "tree", collection, hashed)
        (folder,) = bench.store.list_folders()
        assert (folder.path, folder.name) == (str(bench.top), "t\xf6p")

    run(work)


def test_a_new_file_does_not_take_the_place_of_a_shared_one(run: Run) -> None:
    async def work(bench: Bench) -> None:
        for path in ("b", "e\u0301", "dir/x"):
            bench.write(path)
        await bench.add()
        before = bench.public()
        for path in ("B", "\xe9", "DIR/x"):
            bench.write(path, "another")
        await bench.folders.watch()
        assert bench.public() == before
        seen = await bench.rescan()
        assert (seen.new, seen.vanished) == ([], [])
        assert sorted(left.path for left in seen.left) == ["B", "DIR", "\xe9"]
        assert bench.public() == before

    run(work)
