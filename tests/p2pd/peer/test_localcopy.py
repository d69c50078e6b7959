"""p2pd/peer/localcopy.py: pieces of our own file are taken when they are right, and only then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.localcopy import copy_local
from p2pd.storage.hashing import stamp_from
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import DiskFull, Root
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of, octets

DATA = octets(3 * MIB + 7)
MANIFEST = manifest_of(DATA)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[PartFile]:
    with Root(tmp_path) as root, PartFile.create(root, "part", MANIFEST) as part:
        yield part


def catalogue_of(path: Path) -> Catalogue:
    catalogue = Catalogue(lambda content_id: None)
    stamp = stamp_from(os.stat(path))
    catalogue.put(Served(MANIFEST.content_id, 1, str(path), stamp, MANIFEST.size, MIB, MANIFEST.count))
    return catalogue


def test_nothing_of_our_own(part: PartFile) -> None:
    assert copy_local(Catalogue(lambda content_id: None), part, MANIFEST, 0) == 0


def test_the_whole_file(part: PartFile, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(DATA)
    assert copy_local(catalogue_of(path), part, MANIFEST, 0) == 0b1111
    assert (tmp_path / "part").read_bytes() == DATA


def test_only_what_is_missing(part: PartFile, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(DATA)
    assert copy_local(catalogue_of(path), part, MANIFEST, 0b0101) == 0b1010
    assert not part.verify(0)
    assert copy_local(catalogue_of(path), part, MANIFEST, 0b1111) == 0


def test_pieces_that_changed_are_left_out(part: PartFile, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(DATA[:MIB] + b"?" + DATA[MIB + 1 :])
    assert copy_local(catalogue_of(path), part, MANIFEST, 0) == 0b1101


@pytest.mark.parametrize("length", [0, MIB, MIB + 5])
def test_a_file_that_became_shorter_gives_what_is_there(part: PartFile, tmp_path: Path, length: int) -> None:
    path = tmp_path / "mine"
    path.write_bytes(DATA)
    catalogue = catalogue_of(path)
    os.truncate(path, length)
    assert copy_local(catalogue, part, MANIFEST, 0) == (1 << length // MIB) - 1


def test_a_file_that_is_gone_gives_nothing(part: PartFile, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(DATA)
    catalogue = catalogue_of(path)
    path.unlink()
    assert copy_local(catalogue, part, MANIFEST, 0) == 0


def test_a_full_disk_is_an_error_and_nothing_stays_open(tmp_path: Path) -> None:
    def full(fd: int, data: bytes | memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "mine"
    path.write_bytes(DATA)
    with Root(tmp_path) as root, PartFile.create(root, "full", MANIFEST, write=full) as part:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(DiskFull):
            copy_local(catalogue_of(path), part, MANIFEST, 0)
        assert len(os.listdir("/proc/self/fd")) == before
