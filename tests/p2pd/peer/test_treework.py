"""p2pd/peer/treework.py: only what was verified counts, also after a restart, and one content is written to all its paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.contents import Delivery, Want
from p2pd.peer.space import Space
from p2pd.peer.treework import Tree, TreeWork, named
from p2pd.storage.hashing import stamp_from
from p2pd.storage.root import DiskFull, Root
from p2pd.storage.state import Download, State
from protocol.bitfield import Bitfield
from protocol.collection import Collection, Member
from protocol.errors import Refusal
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.swarm import manifest_of, octets

LARGE = octets(MIB + 5)
FILES = {"a": b"one", "b/again": b"one", "c": b"", "d": b"second", "e": LARGE, "f/same": LARGE}


class Bench:
    """A row, its directory, and the work on it."""

    def __init__(self, directory: Path, exists: str = "fail") -> None:
        self.store = State(directory / "peer.db")
        (directory / "in").mkdir(exist_ok=True)
        self.root = Root(directory / "in")
        self.work = TreeWork(self.store, Space())
        self.collection = Collection(
            ["empty"], [Member(p, len(d), manifest_of(d).content_id) for p, d in FILES.items()]
        )
        self.name = self.store.add_download(
            self.collection.content_id, "tree", self.collection.size, self.root.path, "tree", 1.0,
            exists_policy=exists, files=len(FILES),
        ).transfer_id  # fmt: skip

    @property
    def row(self) -> Download:
        return self.store.get_download(self.name)

    def open(self) -> Tree:
        return self.work.open_tree(self.root, self.collection, self.row)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.root.path))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.root.close()
    made.store.close()


def delivery(*sent: tuple[bytes, bytes]) -> Delivery:
    """(what was asked for, what came)."""
    wants = [Want(manifest_of(asked).content_id, len(asked)) for asked, _ in sent]
    peer: Any = SimpleNamespace(name="alice")
    return Delivery(wants, [len(came) for _, came in sent], b"".join(came for _, came in sent), peer)


def add_large(tree: Tree) -> None:
    Path(tree.staging.path, "f-4").write_bytes(LARGE)
    tree.adopt("f-4", manifest_of(LARGE))


def test_from_nothing_to_its_name(bench: Bench) -> None:
    tree = bench.open()
    small, large = tree.missing()
    assert sorted(want.size for want in small) == [0, 3, 6]
    assert [tree.collection.files[index].path for index in large] == ["e"]
    good, wrong, refused = tree.put(delivery((b"one", b"one"), (b"", b""), (b"second", b"second")))
    assert (len(good), wrong, refused) == (3, [], [])
    assert tree.verified == 12
    add_large(tree)
    assert tree.missing() == ([], [])
    assert tree.verified == bench.collection.size
    bench.work.commit_tree(tree, bench.row, 9)
    assert Bitfield.from_bytes(bench.row.committed, len(FILES)).bits == (1 << len(FILES)) - 1
    path, unmoved = bench.work.finish_tree(tree, bench.row)
    tree.close()
    assert unmoved == []
    assert {p: Path(path, p).read_bytes() for p in FILES} == FILES
    assert Path(path, "empty").is_dir()
    assert bench.names() == ["tree"]


def test_wrong_octets_are_not_written(bench: Bench) -> None:
    tree = bench.open()
    sent = delivery((b"one", b"two"), (b"second", b"second"))
    refusing = Delivery(
        [*sent.wants, Want(bytes(32), 4)], [*sent.results, -Refusal.CHANGED], sent.octets, sent.peer
    )
    good, wrong, refused = tree.put(refusing)
    assert [want.size for want in good] == [6]
    assert [want.size for want in wrong] == [3]
    assert [code for _, code in refused] == [Refusal.CHANGED]
    assert tree.staging.tree.stat("a") is None
    tree.close()


def test_what_an_earlier_run_left_is_read_before_it_is_believed(bench: Bench) -> None:
    tree = bench.open()
    tree.put(delivery((b"one", b"one"), (b"second", b"second")))
    add_large(tree)
    tree.close()
    staging = Path(bench.root.path, bench.row.part_name, "tree")
    (staging / "a").write_bytes(b"xxx")  # as a power cut may leave it
    (staging / "e").write_bytes(LARGE[:-1] + b"x")
    again = bench.open()
    assert bench.work.resumed == again.verified == len(b"one") + len(b"second") + len(LARGE)
    small, large = again.missing()
    assert sorted(want.size for want in small) == [0, 3]
    assert [again.collection.files[index].path for index in large] == ["e"]
    again.put(delivery((b"one", b"one"), (b"", b"")))
    add_large(again)
    path, _ = bench.work.finish_tree(again, bench.row)
    again.close()
    assert {p: Path(path, p).read_bytes() for p in FILES} == FILES


def test_a_large_file_that_is_recorded_done_is_believed_unless_a_sync_failed(bench: Bench) -> None:
    tree = bench.open()
    manifest = manifest_of(LARGE)
    part = bench.store.add_download(
        manifest.content_id, "e", manifest.size, tree.staging.path, "f-4", 1.0, parent=bench.name
    )
    bench.store.put_manifest(manifest)
    add_large(tree)
    bench.store.set_state(part.transfer_id, "done")
    tree.close()
    path = Path(bench.root.path, bench.row.part_name, "tree", "e")
    path.write_bytes(LARGE[:-1] + b"x")
    believing = bench.open()
    assert believing.missing()[1] == []
    believing.close()
    bench.work.recheck = True
    checking = bench.open()
    assert [checking.collection.files[index].path for index in checking.missing()[1]] == ["e"]
    checking.close()


def test_after_a_kill_between_naming_and_its_record(bench: Bench) -> None:
    tree = bench.open()
    assert bench.work.finished_before(bench.root, bench.row) is None
    for data in (b"one", b"", b"second"):
        tree.put(delivery((data, data)))
    add_large(tree)
    path = tree.staging.finish("tree", "fail", False)
    tree.close()
    assert bench.work.finished_before(bench.root, bench.row) == path
    assert bench.names() == ["tree"]


def test_own_files_are_copied_if_they_are_what_they_should_be(bench: Bench, tmp_path: Path) -> None:
    catalogue = Catalogue(lambda content_id: None)
    for name, data, told in (("x", b"one", b"one"), ("y", b"tampered"[:6], b"second")):
        path = tmp_path / name
        path.write_bytes(data)
        stamp = stamp_from(os.stat(path))
        catalogue.put(Served(manifest_of(told).content_id, 1, str(path), stamp, len(told), MIB, 1))
    tree = bench.open()
    tree.copy_local(catalogue)
    assert sorted(want.size for want in tree.missing()[0]) == [0, 6]
    tree.close()


def test_a_copy_of_a_sparse_file_is_sparse(bench: Bench) -> None:
    size = 64 * MIB
    pieces = manifest_of(bytes(size))
    bench.collection = Collection([], [Member(p, size, pieces.content_id) for p in ("one", "two")])
    tree = bench.open()
    source = Path(tree.staging.path, "f-0")
    source.touch()
    os.truncate(source, size)
    tree.adopt("f-0", Manifest.decode(pieces.encode(), pieces.content_id))
    used = [os.stat(Path(tree.staging.path, "tree", p)).st_blocks for p in ("one", "two")]
    tree.close()
    assert max(used) * 512 < MIB


def test_it_begins_only_when_there_is_room(bench: Bench) -> None:
    bench.work = TreeWork(bench.store, Space(floor=1 << 60))
    with pytest.raises(DiskFull):
        bench.open()
    with pytest.raises(DiskFull):
        bench.work.check_storage(bench.row)


def test_giving_up_removes_everything_of_it(bench: Bench) -> None:
    tree = bench.open()
    bench.store.add_download(bytes(32), "e", 1, tree.staging.path, "f-4", 1.0, parent=bench.name)
    assert bench.store.active_downloads() == [bench.row]
    tree.close()
    bench.work.remove(bench.row)
    assert bench.names() == []
    assert bench.store.parts_of(bench.name) == []


def test_failures_in_a_message() -> None:
    assert named([("a\n", "gone")]) == "a\\u{a}: gone"
    assert named([(str(n), "x") for n in range(7)]).endswith("4: x; and 2 more")
