"""p2pd/peer/driver.py: when pieces count, and what becomes of a run whose disk refuses or that is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.net.dealer import Lost
from p2pd.peer import commits as commits_module
from p2pd.peer.commits import SYNC_SECONDS
from p2pd.storage.root import DiskFull, StorageFailed
from protocol.limits import MIB
from protocol.peer import Cancel, Done
from tests.fakes.driving import Bench, give
from tests.fakes.manual import FakePeer


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_pieces_are_made_durable_after_a_second_and_one_commit_at_a_time(bench: Bench) -> None:
    peer = bench.source("a")
    give(peer)
    give(peer)
    assert bench.commits == []
    bench.reactor.advance(SYNC_SECONDS)
    assert bench.commits == [0b11]
    give(peer)
    bench.reactor.advance(SYNC_SECONDS)
    assert bench.commits == [0b11]
    bench.driver.committed(0b11)
    bench.reactor.advance(SYNC_SECONDS)
    assert bench.commits == [0b11, 0b111]
    bench.driver.committed(0b111)
    bench.reactor.advance(5 * SYNC_SECONDS)
    assert len(bench.commits) == 2


def test_many_octets_are_made_durable_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits_module, "SYNC_OCTETS", 2 * MIB)
    peer = bench.source("a")
    give(peer)
    assert bench.commits == []
    give(peer)
    assert bench.commits == [0b11]


def test_a_disk_that_cannot_sync_ends_the_run(bench: Bench) -> None:
    peer = bench.source("a")
    error = StorageFailed("no")
    bench.driver.commit_failed(error)
    assert bench.failures == [error]
    assert bench.driver.stopped
    assert peer.detached == [bench.driver]


def test_a_write_that_fails_ends_the_run(tmp_path: Path) -> None:
    def full(fd: int, data: bytes | memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    bench = Bench(tmp_path, write=full)
    peer = bench.source("a")
    give(peer)
    assert [type(error) for error in bench.failures] == [DiskFull]
    assert bench.state.pieces.have == 0
    give(peer)
    assert len(bench.failures) == 1
    bench.close()


def test_a_piece_counts_when_it_is_written_and_its_buffer_is_given_back(bench: Bench) -> None:
    bench.reactor.lanes = writes = []
    peer = bench.source("a")
    give(peer)
    give(peer)
    assert (bench.state.pieces.have, peer.kept, len(writes)) == (0, 2, 2)
    writes.pop(0)()
    assert (bench.state.pieces.have, peer.kept) == (0b1, 1)
    writes.pop(0)()
    assert (bench.state.pieces.have, peer.kept) == (0b11, 0)


def test_a_small_piece_is_written_at_once(bench: Bench) -> None:
    bench.reactor.lanes = []
    peer = bench.source("a")
    give(peer, index=-1)
    assert bench.state.pieces.have == 0b10000
    assert bench.part.verify(4)


def test_nobody_else_is_asked_for_a_right_piece_that_is_being_written(bench: Bench) -> None:
    bench.reactor.lanes = writes = []
    first, second = bench.source("a"), bench.source("b")
    give(first)
    bench.driver.peer_lost(first, Lost("lost", "gone"))  # type: ignore[arg-type]
    assert sorted(message.piece for message in second.messages) == [1, 2, 3, 4]
    writes.pop(0)()
    assert bench.state.pieces.have == 1
    bench.state.check()


def test_a_write_that_fails_later_ends_the_run_and_gives_the_buffer_back(tmp_path: Path) -> None:
    def full(fd: int, data: bytes | memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    bench = Bench(tmp_path, write=full)
    bench.reactor.lanes = writes = []
    peer = bench.source("a")
    give(peer)
    give(peer)
    assert not bench.failures
    writes.pop(0)()
    assert [type(error) for error in bench.failures] == [DiskFull]
    writes.pop(0)()
    assert (len(bench.failures), peer.kept, bench.state.pieces.have) == (1, 0, 0)
    bench.close()


def test_after_the_end_nothing_is_asked_or_told(bench: Bench) -> None:
    peer = bench.source("a")
    bench.driver.stop()
    bench.driver.stop()
    while not isinstance(peer.messages[0], Cancel):
        give(peer)
    peer.answer(Done(1))
    other = FakePeer("b")
    bench.driver.peer_ready(other)  # type: ignore[arg-type]
    bench.driver.peer_abandoned(other, Lost("lost", "x"))  # type: ignore[arg-type]
    bench.driver.committed(0)
    bench.reactor.advance(10)
    assert not other.asked
    assert (bench.completed, bench.commits, bench.lost) == (0, [], [])
    assert bench.state.pieces.have == 0


def test_with_a_window_more_is_asked_when_it_moves_and_each_piece_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, window=2)
    peer = bench.source("a")
    assert [message.piece for message, _ in peer.asked] == [0, 1]
    give(peer)
    assert (bench.pieces, len(peer.asked)) == ([0], 1)
    bench.driver.reach(3)
    assert [message.piece for message, _ in peer.asked] == [1, 2]
    bench.close()
