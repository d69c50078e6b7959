"""p2pd/peer/space.py: several downloads do not fill a disk together, and none goes below the floor."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.peer.space import FREE_FLOOR, Space, check_mounted
from p2pd.storage.root import DiskFull, Root, StorageMissing
from protocol.limits import MIB


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A directory on a disk with 100 octets free."""
    monkeypatch.setattr(Root, "free_bytes", lambda self: 100)
    return Root(tmp_path)


def test_what_fits_above_the_floor(root: Root) -> None:
    with root:
        space = Space(30)
        space.check(root, "t-1", 70)
        with pytest.raises(DiskFull) as caught:
            space.check(root, "t-1", 71)
        assert caught.value.hint
        Space(0).check(root, "t-1", 100)


def test_room_is_promised_once(root: Root) -> None:
    with root:
        space = Space(30)
        space.promise(root, "t-1", 40)
        space.promise(root, "t-1", 70)  # its own promise does not stand in its way
        with pytest.raises(DiskFull) as caught:
            space.promise(root, "t-2", 1)
        assert "promised to other downloads" in caught.value.message
        space.written(root, "t-1", 20)
        space.promise(root, "t-2", 50)
        space.release("t-2")
        space.release("t-1")
        space.promise(root, "t-3", 70)


def test_a_promise_that_could_not_be_given_is_not_kept(root: Root) -> None:
    with root:
        space = Space(30)
        with pytest.raises(DiskFull):
            space.promise(root, "t-1", 71)
        space.promise(root, "t-2", 70)


def test_another_disk_is_another_matter(root: Root) -> None:
    with root:
        space = Space(30)
        space.promise(root, "t-1", 70)
        root.device += 1
        space.promise(root, "t-2", 70)


def test_the_floor_holds_for_running_ones(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    with root:
        space = Space(30)
        space.promise(root, "t-1", 50)
        monkeypatch.setattr(Root, "free_bytes", lambda self: 29)
        with pytest.raises(DiskFull):
            space.written(root, "t-1", 10)
        space.written(root, "t-1", 0)  # complete: nothing more is written


def test_a_directory_that_is_elsewhere_now(tmp_path: Path) -> None:
    place = tmp_path / "drive"
    place.mkdir()
    with Root(place) as root:
        check_mounted(root)
        place.rename(tmp_path / "away")
        with pytest.raises(StorageMissing):
            check_mounted(root)
        place.mkdir()
        with pytest.raises(StorageMissing):
            check_mounted(root)
        place.rmdir()
        (tmp_path / "away").rename(place)
        check_mounted(root)


def test_the_floor_covers_what_is_written_between_two_looks() -> None:
    from p2pd.peer.commits import SYNC_OCTETS

    assert FREE_FLOOR >= SYNC_OCTETS
    assert FREE_FLOOR == 64 * MIB
