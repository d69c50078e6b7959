"""Sizes at the edges of pieces and beyond 4 GiB, and memory that does not grow with them."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.limits import GIB, MIB
from tests.fakes.processes import Swarm, make_file, sha256

MEMORY = 150 * MIB
PEAK_FILE = 320 * MIB


def extents(path: Path) -> list[tuple[int, int]]:
    """Where a file holds data: (start, end) of each part that is no hole."""
    found: list[tuple[int, int]] = []
    with path.open("rb") as stream:
        end = 0
        while True:
            try:
                start = os.lseek(stream.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: no more data
                return found
            end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))


def test_edges(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    folder = swarm.folder("in")
    sizes = (0, 1, MIB - 1, MIB, MIB + 1)
    originals = [make_file(swarm.directory / f"{size}.bin", size, seed=size) for size in sizes]
    assert [item["size_bytes"] for item in alice.ok("add", *originals)] == list(sizes)
    items = bob.ok("download", *(f"name:{path.name}" for path in originals), cwd=folder)
    assert [item["size_bytes"] for item in items] == list(sizes)
    for original in originals:
        target = folder / f"downloaded_{original.name}"
        assert target.stat().st_size == original.stat().st_size
        assert sha256(target) == sha256(original)


def test_beyond_4_gib_sparse(swarm: Swarm) -> None:
    """Random data at the start, across the border of 32 bits and at the end; holes are neither sent nor stored."""
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    original = swarm.directory / "sparse.img"
    size = 4 * GIB + 9 * MIB + 5
    places = [(0, 100_000), (4 * GIB - 2 * MIB - 77, 5 * MIB), (size - 70_001, 70_001)]
    with original.open("wb") as stream:
        stream.truncate(size)
        for seed, (offset, length) in enumerate(places):
            stream.seek(offset)
            stream.write(_random(swarm.directory, length, seed))
    alice.ok("add", original)
    [item] = bob.ok("download", "sparse.img", cwd=swarm.folder("in"))
    target = Path(item["path"])
    assert target.stat().st_size == size
    assert item["sha256"] == alice.share(original)["sha256"]
    # what is a hole in both is zero in both; everything else is compared
    for start, end in [*extents(original), *extents(target)]:
        assert end - start < 16 * MIB
        with target.open("rb") as copy, original.open("rb") as stream:
            assert os.pread(copy.fileno(), end - start, start) == os.pread(
                stream.fileno(), end - start, start
            )
    assert len(extents(original)) >= len(places)
    assert target.stat().st_blocks * 512 < 32 * MIB
    assert bob.status()["peer"]["downloaded_bytes"] < 32 * MIB
    _check_memory(alice.peak_memory(), bob.peak_memory())


def test_memory_is_flat(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    original = make_file(swarm.directory / "large.bin", PEAK_FILE)
    alice.ok("add", original)
    [item] = bob.ok("download", "large.bin", cwd=swarm.folder("in"))
    _check_memory(alice.peak_memory(), bob.peak_memory())
    assert sha256(Path(item["path"])) == sha256(original)


def _check_memory(*peaks: int) -> None:
    assert max(peaks) < MEMORY, f"peak memory in MiB: {[peak // MIB for peak in peaks]}"


def _random(directory: Path, length: int, seed: int) -> bytes:
    path = make_file(directory / f"random-{seed}", length, seed)
    return path.read_bytes()
