"""p2pd/engine/download.py: what is asked of whom after each event (p2pd/engine/STATE.md)."""

from __future__ import annotations

import random

import pytest

from p2pd.engine.credit import START
from p2pd.engine.download import FAILURES, DownloadState
from p2pd.engine.events import (
    Command,
    Complete,
    Event,
    FetchPiece,
    PieceBad,
    PieceDone,
    PieceFailed,
    PieceLost,
    Reached,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Suspend,
)
from protocol.errors import Refusal
from protocol.limits import MIB

SILENT = 0


class Harness:
    """A state with a clock that steps 10 ms an event, and `check()` after each."""

    def __init__(self, count: int, have: int = 0, piece_size: int = MIB, window: int | None = None) -> None:
        self.state = DownloadState(count, piece_size, have, random.Random(1), window=window)
        self.everything = (1 << count) - 1
        self.now = 0.0

    def __call__(self, event: Event) -> list[Command]:
        self.now += 0.01
        commands = self.state.apply(event, self.now)
        self.state.check()
        return commands

    def asked(self, commands: list[Command], source: str = "a") -> list[int]:
        return [c.piece for c in commands if isinstance(c, FetchPiece) and c.source == source]


def test_a_source_is_asked_for_as_much_as_its_credit_allows() -> None:
    download = Harness(100)
    assert download.asked(download(SourceReady("a", download.everything))) == list(range(START))


def test_pieces_of_many_blocks_are_counted_in_blocks() -> None:
    download = Harness(100, piece_size=4 * MIB)
    assert len(download(SourceReady("a", download.everything))) == START // 4


def test_a_piece_larger_than_the_credit_is_asked_all_the_same() -> None:
    download = Harness(100, piece_size=16 * MIB)
    assert download(SourceReady("a", download.everything)) == [FetchPiece("a", 0)]


def test_done_pieces_are_replaced_until_the_file_is_complete() -> None:
    download = Harness(30)
    queue = download.asked(download(SourceReady("a", download.everything)))
    order = []
    while queue:
        piece = queue.pop(0)
        order.append(piece)
        commands = download(PieceDone("a", piece, 0.01))
        queue += download.asked(commands)
        assert (Complete() in commands) == (len(order) == 30)
    assert order == list(range(30))
    assert download.state.pieces.complete


def test_complete_is_said_once_and_again_after_a_loss() -> None:
    download = Harness(1, have=1)
    assert download(Resumed()) == [Complete()]
    assert download(Resumed()) == []
    assert download(PieceLost(0)) == []
    assert not download.state.finished
    assert download(SourceReady("a", 1)) == [FetchPiece("a", 0)]
    assert download(PieceDone("a", 0, 0.01)) == [Complete()]


def test_a_file_without_pieces_is_complete_at_once() -> None:
    assert Harness(0)(Resumed()) == [Complete()]


def test_only_what_a_source_has_is_asked_of_it() -> None:
    download = Harness(8, have=0b1)
    assert download.asked(download(SourceReady("a", 0b0000_0111))) == [1, 2]
    assert download.asked(download(SourceGained("a", 0b1000_0001))) == [7]
    assert download(SourceGained("a", 0b1000_0001)) == []


def test_bits_beyond_the_end_are_ignored() -> None:
    download = Harness(2)
    assert sorted(download.asked(download(SourceReady("a", 0xFF)))) == [0, 1]
    assert download(SourceGained("a", 0xF00)) == []


def test_two_sources_are_never_asked_for_the_same_piece() -> None:
    download = Harness(100)
    first = download.asked(download(SourceReady("a", download.everything)), "a")
    second = download.asked(download(SourceReady("b", download.everything)), "b")
    assert len(second) == START
    assert not set(first) & set(second)


def test_what_only_one_has_is_fetched_first_from_it() -> None:
    download = Harness(64)
    rare = 1 << 63
    download(SourceReady("b", download.everything ^ rare))
    assert download.asked(download(SourceReady("c", (1 << 63) | 0b1)), "c")[0] == 63


def test_a_source_that_leaves_gives_its_pieces_to_the_others() -> None:
    download = Harness(START + 2)
    first = download.asked(download(SourceReady("a", download.everything)))
    assert len(download.asked(download(SourceReady("b", download.everything)), "b")) == 2
    taken = download.asked(download(SourceGone("a")), "b")
    assert len(taken) == START - 2
    assert set(taken) <= set(first)
    assert download(SourceGone("a")) == []


def test_a_source_that_comes_again_starts_anew() -> None:
    download = Harness(4)
    download(SourceReady("a", 0b0011))
    assert sorted(download.asked(download(SourceReady("a", 0b1100)))) == [2, 3]
    assert sorted(download.asked(download(SourceReady("b", 0b0011)), "b")) == [0, 1]


def test_a_liar_is_suspended_for_good_and_its_piece_goes_to_another() -> None:
    download = Harness(2)
    download(SourceReady("a", 0b01))
    download(SourceReady("b", 0b10))
    download(SourceGained("b", 0b01))
    commands = download(PieceBad("a", 0))
    assert commands == [Suspend("a", True), FetchPiece("b", 0)]
    assert download(SourceReady("a", 0b11)) == []
    assert download(SourceGained("a", 0b11)) == []
    assert "a" not in download.state.sources


def test_a_busy_source_is_asked_for_less_and_not_at_once() -> None:
    download = Harness(100)
    asked = download.asked(download(SourceReady("a", download.everything)))
    assert download(PieceFailed("a", asked[0], Refusal.BUSY)) == []
    assert download.state.sources["a"].window.size == START // 2
    assert download.state.pieces.wanted & 1
    for piece in asked[1:]:
        download(PieceDone("a", piece, 0.01))
    assert download.state.pieces.in_flight


def test_a_tick_asks_a_busy_source_again() -> None:
    download = Harness(1)
    download(SourceReady("a", 1))
    assert download(PieceFailed("a", 0, Refusal.BUSY)) == []
    assert download(Resumed()) == [FetchPiece("a", 0)]


def test_failures_in_a_row_end_with_a_source_being_left() -> None:
    download = Harness(10)
    asked = download.asked(download(SourceReady("a", download.everything)))
    for piece in asked[: FAILURES - 1]:
        assert not any(isinstance(c, Suspend) for c in download(PieceFailed("a", piece, SILENT)))
    assert Suspend("a", False) in download(PieceFailed("a", asked[FAILURES - 1], SILENT))
    # It did not lie: it may come again.
    assert download.asked(download(SourceReady("a", download.everything)))


def test_a_good_piece_between_failures_starts_the_count_anew() -> None:
    download = Harness(100)
    asked = download.asked(download(SourceReady("a", download.everything)))
    for index in range(0, 6, 2):
        download(PieceFailed("a", asked[index], SILENT))
        download(PieceDone("a", asked[index + 1], 0.01))
    assert "a" in download.state.sources


@pytest.mark.parametrize("code", [Refusal.BUSY, Refusal.LIMIT])
def test_load_is_no_failure(code: int) -> None:
    download = Harness(10)
    asked = download.asked(download(SourceReady("a", download.everything)))
    for piece in asked[: FAILURES + 1]:
        assert not any(isinstance(c, Suspend) for c in download(PieceFailed("a", piece, code)))
    assert "a" in download.state.sources


@pytest.mark.parametrize("code", [Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.STORAGE])
def test_a_source_without_the_file_is_left_at_once(code: int) -> None:
    download = Harness(2)
    download(SourceReady("a", 0b11))
    download(SourceReady("b", 0b11))
    commands = download(PieceFailed("a", 0, code))
    assert commands[0] == Suspend("a", False)
    assert sorted(download.asked(commands, "b")) == [0, 1]


def test_news_of_strangers_and_settled_pieces_change_nothing() -> None:
    download = Harness(3, have=0b001)
    download(SourceReady("a", 0b010))
    before = (download.state.pieces.have, download.state.pieces.wanted, dict(download.state.pieces.in_flight))
    for event in (
        SourceGained("x", 0b111),
        SourceGone("x"),
        PieceBad("x", 1),
        PieceFailed("x", 1, Refusal.BUSY),
        PieceLost(1),
        PieceDone("a", 0, 0.01),
    ):
        assert download(event) == []
    after = (download.state.pieces.have, download.state.pieces.wanted, dict(download.state.pieces.in_flight))
    assert before == after


def test_a_late_piece_of_a_source_that_left_counts_and_frees_whoever_was_asked_since() -> None:
    download = Harness(1)
    download(SourceReady("a", 1))
    download(SourceGone("a"))
    assert download(SourceReady("b", 1)) == [FetchPiece("b", 0)]
    assert download(PieceDone("a", 0, 0.01)) == [Complete()]
    assert not download.state.sources["b"].asked


def test_a_download_with_a_window_asks_in_order_and_not_beyond_it() -> None:
    download = Harness(100, have=0b11, window=4)
    asked = download.asked(download(SourceReady("a", download.everything)))
    assert asked == [2, 3, 4, 5]
    # Those that two have a part of are not put last: order is all.
    assert download.asked(download(SourceReady("b", 0b1111_1100)), "b") == []
    assert download.asked(download(SourceReady("c", 0b1100_0000)), "c") == []
    assert [c.piece for c in download(Reached(8)) if isinstance(c, FetchPiece)] == [6, 7]
    assert download(Reached(7)) == []
    assert download(PieceDone("a", 2, 0.01)) == []


def test_a_window_that_moved_to_the_end_lets_it_complete() -> None:
    download = Harness(3, window=1)
    assert download.asked(download(SourceReady("a", download.everything))) == [0]
    for piece in (0, 1):
        assert download(PieceDone("a", piece, 0.01)) == []
        assert download.asked(download(Reached(piece + 2))) == [piece + 1]
    assert download(PieceDone("a", 2, 0.01)) == [Complete()]


def test_check_finds_a_broken_state() -> None:
    download = Harness(2)
    download(SourceReady("a", 0b11))
    download.state.sources["a"].asked.discard(0)
    with pytest.raises(AssertionError):
        download.state.check()
