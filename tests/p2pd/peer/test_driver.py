"""p2pd/peer/driver.py: requests out, pieces verified and written, made durable from time to time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from p2pd.net.dealer import Lost
from protocol.errors import Refusal
from protocol.limits import GIB, KIB, MIB
from protocol.manifest import Manifest, zero_hash
from protocol.peer import Available, Block, Cancel, Done, GetBlock, Have, Refused
from tests.fakes.driving import DATA, MANIFEST, Bench, give
from tests.fakes.manual import FakePeer
from tests.fakes.swarm import octets


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_file_comes_piece_by_piece_and_is_complete_once(bench: Bench, tmp_path: Path) -> None:
    peer = bench.source("a")
    assert peer.messages == [
        GetBlock(0, MANIFEST.content_id, piece, 0, MANIFEST.piece_length(piece))
        for piece in range(MANIFEST.count)
    ]
    while peer.asked:
        give(peer)
    bench.reactor.run()
    assert bench.completed == 1
    assert bench.givers == ["a"]
    assert bench.driver.stopped
    assert (bench.driver.received, bench.driver.verified) == (len(DATA), len(DATA))
    assert peer.detached == [bench.driver]
    assert (tmp_path / "part").read_bytes() == DATA


def test_what_is_here_already_is_not_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, have=0b01110)
    peer = bench.source("a")
    assert [message.piece for message in peer.messages] == [0, 4]
    assert bench.driver.verified == 3 * MIB
    give(peer)
    assert (bench.driver.received, bench.driver.verified) == (MIB, 4 * MIB)
    bench.close()


def test_a_complete_file_needs_no_source(tmp_path: Path) -> None:
    bench = Bench(tmp_path, have=0b11111)
    assert bench.completed == 1
    bench.close()


def test_a_partial_source_is_asked_for_what_it_has_and_gets(bench: Bench) -> None:
    peer = bench.source("a", False, bytes((0b0100_0000,)))
    assert [message.piece for message in peer.messages] == [1]
    bench.driver.peer_push(peer, Have(bytes(32), [0, 2]))
    bench.driver.peer_push(peer, Block(1))
    assert len(peer.messages) == 1
    bench.driver.peer_push(peer, Have(MANIFEST.content_id, [0, 60_000]))
    assert sorted(message.piece for message in peer.messages) == [0, 1]


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", b"\xff"])
def test_a_malformed_bitfield_ends_the_link(bench: Bench, payload: bytes) -> None:
    peer = bench.source("a", False, payload)
    assert peer.dropped
    assert not peer.asked


def test_a_source_without_the_file_is_left(bench: Bench) -> None:
    peer = FakePeer("a")
    bench.driver.peer_ready(peer)  # type: ignore[arg-type]
    peer.answer(Refused(1, Refusal.NOT_FOUND))
    assert peer.detached == [bench.driver]
    assert bench.lost == [("a", "no longer has the file")]


def test_a_wrong_piece_costs_its_sender_the_file_and_comes_from_another(bench: Bench) -> None:
    liar = bench.source("liar")
    honest = bench.source("honest")
    assert not honest.asked
    liar.answer(Block(1), bytes(MIB))
    assert bench.lost == [("liar", "sent wrong data")]
    assert liar.detached == [bench.driver]
    assert len(honest.asked) == MANIFEST.count
    while honest.asked:
        give(honest)
    bench.reactor.run()
    assert bench.completed == 1
    # It may come again, and is asked for nothing.
    again = FakePeer("liar")
    bench.driver.peer_ready(again)  # type: ignore[arg-type]
    assert bench.completed == 1


def test_a_suspended_source_that_comes_again_is_asked_for_nothing(bench: Bench) -> None:
    liar = bench.source("liar")
    liar.answer(Block(1), bytes(MIB))
    assert not bench.source("liar").asked


@pytest.mark.parametrize("length", [0, 1, MIB - 1])
def test_a_block_of_another_length_counts_as_a_lie(bench: Bench, length: int) -> None:
    peer = bench.source("liar")
    peer.answer(Block(1), DATA[:length])
    assert bench.lost == [("liar", "sent wrong data")]
    assert not bench.source("liar").asked


def test_another_kind_of_answer_ends_the_link(bench: Bench) -> None:
    peer = bench.source("a")
    peer.answer(Done(1))
    assert peer.dropped


def test_a_busy_source_is_asked_again_when_it_said_however_often_it_refuses(bench: Bench) -> None:
    peer = bench.source("a")
    for _ in range(4):
        give(peer, index=-1)
    for retry in (2, 0, 0, 0, 0):
        peer.answer(Refused(2, Refusal.BUSY, retry))
        bench.reactor.advance(0.9 * max(1, retry))
        assert not peer.asked
        bench.reactor.advance(0.5)
        assert [message.piece for message in peer.messages] == [0]
    give(peer)
    bench.reactor.run()
    assert bench.completed == 1
    assert not bench.lost


def test_a_source_that_stays_silent_is_left(bench: Bench) -> None:
    peer = bench.source("a")
    for _ in range(3):
        peer.answer(Lost("timeout", "no"))
    assert bench.lost == [("a", "keeps refusing")]
    assert bench.source("a").asked


def test_the_pieces_of_a_lost_link_go_to_another_and_its_late_news_are_nothing(bench: Bench) -> None:
    first, second = bench.source("a"), bench.source("b")
    for _ in range(len(first.asked)):
        first.answer(Lost("lost", "gone"))
    bench.driver.peer_lost(first, Lost("lost", "gone"))  # type: ignore[arg-type]
    assert len(second.asked) == MANIFEST.count
    assert bench.driver.sources == 1
    bench.driver.peer_abandoned(first, Lost("unreachable", "nobody"))  # type: ignore[arg-type]
    assert bench.lost == [("a", "nobody")]


def test_a_late_block_is_not_written_over_those_of_the_source_asked_since(tmp_path: Path) -> None:
    """Pieces of two blocks, as in files of over 64 GiB: a block counts only when its whole piece has come."""
    good = octets(2 * MIB)
    count = 64 * GIB // (2 * MIB) + 1
    pieces = [blake3(good).digest()] * 2 + [zero_hash(2 * MIB)] * (count - 3) + [zero_hash(1)]
    manifest = Manifest(64 * GIB + 1, 2 * MIB, bytes(32), b"".join(pieces))
    everything = (1 << count) - 1
    bench = Bench(tmp_path, manifest, everything & ~0b11)
    bad, honest = bench.source("bad"), bench.source("honest")
    assert [(m.piece, m.offset) for m in bad.messages] == [(0, 0), (0, MIB), (1, 0), (1, MIB)]
    bad.answer(Refused(3, Refusal.NOT_FOUND), index=2)
    assert bench.lost == [("bad", "keeps refusing")]
    blocks = sorted(honest.messages, key=lambda m: (m.piece, m.offset))
    assert [(m.piece, m.offset) for m in blocks] == [(0, 0), (0, MIB), (1, 0), (1, MIB)]

    def answer(piece: int, offset: int) -> None:
        index = next(i for i, m in enumerate(honest.messages) if (m.piece, m.offset) == (piece, offset))
        honest.answer(Block(1), good[offset : offset + MIB], index)

    answer(0, 0)
    bad.answer(Block(1), bytes(MIB))  # piece 0, block 0, too late
    answer(0, MIB)
    bad.answer(Block(2), bytes(MIB))  # piece 0, block 1, after the piece was verified
    assert bench.state.pieces.have & 1
    assert bench.part.verify(0)
    answer(1, 0)
    answer(1, MIB)
    bench.reactor.run()
    assert bench.completed == 1
    assert bench.part.verify(1)
    bench.close()


def test_blocks_of_a_slow_source_are_small_and_make_pieces(bench: Bench) -> None:
    peer = bench.source("a", rate=64 * KIB)
    assert {(m.piece, m.length) for m in peer.messages} == {(0, 16 * KIB)}
    for _ in range(MIB // (16 * KIB)):
        assert bench.state.pieces.have == 0
        give(peer)
    assert bench.state.pieces.have == 1
    assert bench.part.verify(0)


def silenced(bench: Bench) -> tuple[FakePeer, FakePeer]:
    """Two sources; the first was asked for everything and says nothing, so the second is asked for it too."""
    silent = bench.source("silent")
    good = bench.source("good")
    assert not good.asked
    bench.reactor.advance(2.0)
    return silent, good


def test_what_is_late_is_asked_of_another_and_withdrawn_when_it_came(bench: Bench) -> None:
    silent, good = silenced(bench)
    assert {message.piece for message in good.messages} == {0, 1, 2, 3, 4}
    first = good.messages[0].piece
    give(good)
    assert silent.messages[-1] == Cancel(0, MANIFEST.content_id, [first])
    silent.answer(Refused(1, Refusal.CANCELLED), index=first)
    silent.answer(Done(1), index=-1)
    assert not bench.lost
    while good.asked:
        give(good)
    bench.reactor.run()
    assert bench.completed == 1
    assert bench.givers == ["good"]


def test_a_late_whole_piece_counts_and_is_withdrawn_from_the_other(bench: Bench, tmp_path: Path) -> None:
    silent, good = silenced(bench)
    give(silent)
    assert bench.state.pieces.have == 1
    assert good.messages[5] == Cancel(0, MANIFEST.content_id, [0])
    before = bench.driver.received
    give(good, index=next(i for i, message in enumerate(good.messages) if message.piece == 0))
    assert bench.driver.received == before == MIB
    assert (tmp_path / "part").read_bytes()[:MIB] == DATA[:MIB]


def test_a_late_wrong_piece_costs_its_sender_and_not_the_other(bench: Bench) -> None:
    silent, good = silenced(bench)
    silent.answer(Block(1), bytes(MIB))
    assert bench.lost == [("silent", "sent wrong data")]
    assert (silent.lies, good.lies) == (1, 0)
    while good.asked:
        give(good)
    bench.reactor.run()
    assert bench.completed == 1


def test_what_was_asked_counts_as_open_until_it_is_answered_also_after_the_end(bench: Bench) -> None:
    peer = bench.source("a")
    credit = bench.state.credits.of("a")
    bench.driver.stop()
    assert peer.messages[-1] == Cancel(0, MANIFEST.content_id, [0, 1, 2, 3, 4])
    assert credit.open == 5
    peer.answer(Block(1), DATA[:MIB])
    peer.answer(Refused(1, Refusal.CANCELLED))
    for _ in range(3):
        peer.answer(Lost("lost", "gone"))
    assert credit.open == 0
    assert bench.state.pieces.have == 0


def test_a_disk_that_refuses_leaves_nothing_open(tmp_path: Path) -> None:
    def full(fd: int, data: bytes | memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    bench = Bench(tmp_path, write=full)
    peer = bench.source("a")
    for _ in range(5):
        peer.answer(Block(1), DATA[:MIB])
    assert bench.state.credits.of("a").open == 0
    bench.close()


# -- under limits -----------------------------------------------------------------------------------------


def queued(peer: FakePeer) -> list[Any]:
    """From now on requests of this peer wait for their turn here."""
    waiting: list[Any] = []
    peer.ask_in_turn = lambda asker, work, *, first=False: waiting.append(work)  # type: ignore[method-assign]
    return waiting


def test_what_waits_for_its_turn_and_is_withdrawn_is_never_asked(bench: Bench) -> None:
    first, second = FakePeer("a"), bench.source("b", complete=False, payload=bytes(1))
    waiting = queued(first)
    bench.driver.peer_ready(first)  # type: ignore[arg-type]
    bench.state.credits.of("a").rate = 1e9
    first.answer(Available(1, True))
    assert (len(waiting), first.messages) == (5, [])
    bench.driver.peer_lost(first, Lost("lost", "gone"))  # type: ignore[arg-type]
    assert bench.state.credits.of("a").open == 0
    assert [work() for work in waiting] == [0] * 5
    assert first.messages == []
    assert second.messages == []


def test_what_waits_at_the_end_is_in_nobodys_books(bench: Bench) -> None:
    peer = FakePeer("a")
    waiting = queued(peer)
    bench.driver.peer_ready(peer)  # type: ignore[arg-type]
    peer.answer(Available(1, True))
    bench.driver.stop()
    assert bench.state.credits.of("a").open == 0
    assert [work() for work in waiting] == [0] * len(waiting)


def test_a_lower_limit_makes_shorter_blocks(bench: Bench) -> None:
    peer = FakePeer("a")
    waiting = queued(peer)
    bench.state.credits.of("a").rate = 1e9
    bench.driver.peer_ready(peer)  # type: ignore[arg-type]
    peer.answer(Available(1, True))
    peer.pace = 16 * KIB
    # A piece of 1 MiB is asked for again in parts; 100 octets are short enough.
    assert [work() for work in waiting] == [0, 0, 0, 0, 100]
    waiting.clear()
    bench.reactor.advance(2.0)
    assert waiting
    assert waiting[0]() == 16 * KIB
