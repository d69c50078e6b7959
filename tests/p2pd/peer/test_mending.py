"""p2pd/peer/mending.py: what a kill cut short is finished at the next start, or left alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from p2pd.storage.hashing import FileChanged, Stamp, stamp_from
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import DiskFull, Root
from p2pd.storage.state_mending import Mending
from protocol.limits import MIB
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm, manifest_of, octets

DATA = octets(3 * MIB + 9)
MANIFEST = manifest_of(DATA)
BAD = 0b0110


def rotten(member: Member) -> tuple[Path, Stamp]:
    """A file with damaged pieces, and its stamp."""
    path = member.files / "a.bin"
    path.write_bytes(DATA[:MIB] + bytes(2 * MIB) + DATA[3 * MIB :])
    return path, stamp_from(path.stat())


def fetched(member: Member, mending: Mending) -> None:
    """The state after the record was made and before anything was written."""
    with (
        Root(member.home / "mending", create=True) as root,
        PartFile.create(root, mending.side_name, MANIFEST) as side,
    ):
        side.write(MIB, DATA[MIB : 3 * MIB])
        side.sync()
    member.service.store.add_mending(mending)


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_cut_short_is_finished_at_the_next_start(tmp_path: Path, begun: bool) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        path, stamp = rotten(bob)
        fetched(bob, Mending(str(path), MANIFEST, BAD, ".side", stamp))
        if begun:
            with path.open("r+b") as stream:
                stream.seek(MIB)
                stream.write(DATA[MIB : MIB + 5])
            os.utime(path)
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        assert path.read_bytes() == DATA
        assert stamp_from(path.stat()) == stamp
        assert bob.service.store.mendings() == []
        assert list((bob.home / "mending").iterdir()) == []

    in_swarm(tmp_path, work)


def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        path, stamp = rotten(bob)
        fetched(bob, Mending(str(path), MANIFEST, BAD, ".side", stamp))
        with path.open("r+b") as stream:
            stream.write(b"mine")
        before = path.read_bytes()
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        assert path.read_bytes() == before
        assert bob.service.store.mendings() == []
        assert list((bob.home / "mending").iterdir()) == []

    in_swarm(tmp_path, work)


def test_a_side_file_that_is_gone_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        path, stamp = rotten(bob)
        before = path.read_bytes()
        bob.service.store.add_mending(Mending(str(path), MANIFEST, BAD, ".side", stamp))
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        assert path.read_bytes() == before
        assert bob.service.store.mendings() == []

    in_swarm(tmp_path, work)


def test_a_change_while_pieces_are_fetched_is_seen(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        path, stamp = rotten(bob)
        os.utime(path)
        before = path.read_bytes()
        with pytest.raises(FileChanged):
            await bob.service._mender.mend(str(path), stamp, MANIFEST, BAD)
        assert path.read_bytes() == before
        assert bob.service.store.mendings() == []

    in_swarm(tmp_path, work)


def test_no_room_for_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        path, stamp = rotten(bob)
        space = bob.service.downloads._services.space
        monkeypatch.setattr(Root, "free_bytes", lambda self: space.floor + 2 * MIB - 1)
        with pytest.raises(DiskFull):
            await bob.service._mender.mend(str(path), stamp, MANIFEST, BAD)
        with Root(bob.home) as root:
            space.check(root, "other", 2 * MIB - 1)  # nothing stays promised

    in_swarm(tmp_path, work)


def test_whoever_asked_may_go_while_pieces_are_fetched(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        path, stamp = rotten(bob)
        before = path.read_bytes()
        task = asyncio.create_task(bob.service._mender.mend(str(path), stamp, MANIFEST, BAD))
        side = bob.home / "mending"
        await eventually(lambda: side.is_dir() and any(side.iterdir()))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert path.read_bytes() == before
        assert list(side.iterdir()) == []

    in_swarm(tmp_path, work)
