"""p2pd/peer/writer.py: blocks to the disk in order, buffers given back, no more waiting than there may be."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from p2pd.peer import writer as writer_module
from p2pd.peer.writer import WRITE_HERE, Writer
from p2pd.storage.root import DiskFull, StorageError, StorageFailed
from tests.fakes.manual import ManualReactor

BIG = memoryview(bytearray(WRITE_HERE))
SMALL = memoryview(bytearray(10))


class Bench:
    """A writer to a list, whose threads work when told."""

    def __init__(self) -> None:
        self.reactor = ManualReactor()
        self.reactor.lanes = []
        self.written: list[int] = []
        self.error: Exception | None = None
        self.told: list[StorageError | None] = []
        self.kept = 0
        self.writer = Writer(self.reactor, self)  # type: ignore[arg-type]

    def write(self, offset: int, data: memoryview, /) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(offset)

    def keep(self) -> Callable[[], None]:
        self.kept += 1
        return self.release

    def release(self) -> None:
        self.kept -= 1

    def put(self, piece: int, offset: int, data: memoryview = BIG, verified: bool = True) -> None:
        self.writer.write(piece, offset, data, verified, self.keep, self.told.append)

    def work(self) -> None:
        """One write of a thread."""
        assert self.reactor.lanes
        self.reactor.lanes.pop(0)()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_large_block_is_written_by_another_thread_and_its_buffer_given_back(bench: Bench) -> None:
    bench.put(0, 5)
    assert (bench.written, bench.told, bench.kept) == ([], [], 1)
    bench.work()
    assert (bench.written, bench.told, bench.kept) == ([5], [None], 0)


def test_writes_under_way_can_be_waited_for(bench: Bench) -> None:
    bench.put(0, 5)
    bench.put(1, 6)
    bench.work()
    [left] = bench.writer.under_way()
    assert not left.done()
    bench.work()
    assert left.done()
    assert bench.writer.under_way() == []


def test_a_small_verified_block_is_written_at_once(bench: Bench) -> None:
    bench.put(0, 5, SMALL)
    assert (bench.written, bench.told, bench.kept) == ([5], [None], 0)


def test_a_small_block_of_a_piece_that_is_not_known_to_be_right_keeps_its_place(bench: Bench) -> None:
    bench.put(0, 5, SMALL, verified=False)
    assert bench.written == []
    bench.work()
    assert bench.written == [5]


def test_a_right_block_is_not_passed_by_a_write_of_its_piece_from_before(bench: Bench) -> None:
    bench.put(3, 1, verified=False)
    bench.put(3, 2, SMALL)
    assert bench.written == []
    bench.put(4, 3, SMALL)  # another piece
    assert bench.written == [3]
    bench.work()
    bench.work()
    assert bench.written == [3, 1, 2]
    bench.put(3, 4, SMALL)
    assert bench.written == [3, 1, 2, 4]


@pytest.mark.parametrize("data", [BIG, SMALL])
def test_what_the_disk_refuses_is_told(bench: Bench, data: memoryview) -> None:
    bench.error = DiskFull("no room")
    bench.put(0, 0, data)
    while bench.reactor.lanes:
        bench.work()
    assert bench.told == [bench.error]
    assert bench.kept == 0


def test_any_other_failure_is_told_as_one_of_the_disk(bench: Bench) -> None:
    bench.error = ValueError("closed")
    bench.put(0, 0)
    bench.work()
    assert [(type(error), str(error)) for error in bench.told] == [(StorageFailed, "closed")]
    assert bench.kept == 0


def test_the_caller_waits_for_a_disk_that_does_not_keep_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_UNWRITTEN", 1)
    bench.put(0, 0)
    disk = threading.Timer(0.05, bench.work)
    disk.start()
    bench.put(1, 1)  # comes back when the first is written
    disk.join()
    assert bench.written == [0]
    bench.work()
    assert bench.written == [0, 1]
