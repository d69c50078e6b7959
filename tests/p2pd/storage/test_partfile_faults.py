"""A kill and a full disk, for real: a process that is killed while it downloads, and a file system of four
MiB."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from p2pd.storage.partfile import PartFile, PartGone, find_finished
from p2pd.storage.root import DiskFull, Root
from p2pd.storage.state import State
from protocol.bitfield import Bitfield
from protocol.limits import MIB
from protocol.manifest import Manifest

REPOSITORY = Path(__file__).parents[3]
COUNT = 6
DATA = random.Random(1).randbytes(COUNT * MIB - 100)
MANIFEST = Manifest(
    len(DATA),
    MIB,
    hashlib.sha256(DATA).digest(),
    b"".join(blake3(DATA[start : start + MIB]).digest() for start in range(0, len(DATA), MIB)),
)

CHILD = """
import os, random, sys
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import Root
from p2pd.storage.state import State
from protocol.bitfield import Bitfield
from protocol.limits import MIB
from protocol.manifest import Manifest

directory, point = sys.argv[1], int(sys.argv[2])
state = State(os.path.join(directory, "state.db"))
state.opened()
data = random.Random(1).randbytes(6 * MIB - 100)
content_id = bytes.fromhex(sys.argv[3])
manifest = Manifest.decode(state.manifest(content_id), content_id)
row = state.add_download(content_id, "a.bin", manifest.size, directory, "a.bin", 1.0)
step = written = 0

def here():
    global step
    step += 1
    if step == point:
        print("written", written, flush=True)
        sys.stdin.read()

here()
root = Root(directory)
part = PartFile.create(root, "part", manifest)
here()
state.set_part(row.transfer_id, "part", part.identity)
here()
held = Bitfield(manifest.count)
for index in (4, 0, 5, 2, 1, 3):
    start, length = manifest.piece_offset(index), manifest.piece_length(index)
    part.write(start, data[start : start + length // 2])
    here()
    part.write(start + length // 2, data[start + length // 2 : start + length])
    written += 1
    here()
    held.add(index)
    if index in (0, 2, 3):
        part.sync()
        here()
        state.commit_pieces(row.transfer_id, held.to_bytes(), len(held) * MIB)
        here()
path = part.finish("a.bin", "rename")
here()
state.set_state(row.transfer_id, "done", path=path, finished_at=2.0)
here()
sys.stdin.read()
"""
LAST = 3 + 2 * COUNT + 2 * 3 + 2


@pytest.mark.parametrize("point", range(1, LAST + 1))
def test_killed_at_any_step_nothing_verified_is_lost(tmp_path: Path, point: int) -> None:
    with State(tmp_path / "state.db") as state:
        state.put_manifest(MANIFEST)
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(point), MANIFEST.content_id.hex()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as child:
        assert child.stdout is not None
        word, number = child.stdout.readline().split()
        child.send_signal(signal.SIGKILL)
    assert word == "written"
    with State(tmp_path / "state.db") as state, Root(tmp_path) as root:
        assert not state.opened()
        (row,) = state.list_downloads()
        if row.state == "done":
            assert row.path is not None
            assert Path(row.path).read_bytes() == DATA
            return
        try:
            part, trusted = PartFile.reopen(root, row.part_name or "part", MANIFEST, row.part_stamp)
        except PartGone:
            path = find_finished(root, row.target_name, row.size, row.part_stamp)
            if point > 1:
                assert path is not None
                assert Path(path).read_bytes() == DATA
            return
        with part:
            assert trusted == (point > 2)
            committed = Bitfield.from_bytes(row.committed, COUNT) if row.committed else Bitfield(COUNT)
            assert all(part.verify(index) for index in committed)
            found = part.recover(committed)
            assert len(committed | found) == int(number)
            for index in (committed | found).missing():
                start = MANIFEST.piece_offset(index)
                part.write(start, DATA[start : start + MANIFEST.piece_length(index)])
            assert Path(part.finish("a.bin")).read_bytes() == DATA


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int, bytes | memoryview, int], int]]]:
    """A directory where 4 MiB can be written, and the function to write with: a real file system, or else a
    count of our own."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)]
    try:
        real = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        real = False
    if real:
        try:
            yield mounted, os.pwrite
        finally:
            subprocess.run(["umount", str(mounted)], check=True, capture_output=True)
        return

    def counted(fd: int, data: bytes | memoryview, offset: int) -> int:
        used = sum(path.stat().st_blocks * 512 for path in mounted.iterdir())
        room = 4 * MIB - used
        if room <= 0:
            raise OSError(28, "No space left on device")
        return os.pwrite(fd, data[:room], offset)

    yield mounted, counted


def test_a_full_disk_stops_at_a_piece_and_goes_on_when_there_is_room(
    small_disk: tuple[Path, Callable[[int, bytes | memoryview, int], int]],
) -> None:
    directory, write = small_disk
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(2 * MIB))
    small = Manifest(3 * MIB, MIB, bytes(32), MANIFEST.pieces[: 3 * 32])
    with Root(directory) as root, PartFile.create(root, "part", small, write=write) as part:
        held: list[int] = []

        def fill() -> None:
            for index in range(3):
                part.write(index * MIB, DATA[index * MIB : (index + 1) * MIB])
                held.append(index)

        with pytest.raises(DiskFull) as caught:
            fill()
        assert caught.value.hint
        assert 1 <= len(held) < 3
        part.sync()
        assert all(part.verify(index) for index in held)
        identity = part.identity
        part.close()
        ballast.unlink()
        again, trusted = PartFile.reopen(root, "part", small, identity, write=write)
        with again:
            assert trusted
            for index in range(len(held), 3):
                again.write(index * MIB, DATA[index * MIB : (index + 1) * MIB])
                assert again.verify(index)
            assert Path(again.finish("a")).read_bytes() == DATA[: 3 * MIB]
