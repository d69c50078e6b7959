"""p2pd/engine/download.py: what is asked of whom after each event (p2pd/engine/STATE.md)."""

from __future__ import annotations

import random

import pytest

from p2pd.engine.credit import FIRST_BLOCK, START
from p2pd.engine.download import BUSY_SECONDS, FAILURES, DownloadState
from p2pd.engine.events import (
    Answered,
    Complete,
    FetchBlock,
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
    Withdraw,
)
from protocol.errors import Refusal
from protocol.limits import KIB, MIB
from tests.fakes.downloading import Harness, pieces

SILENT = 0
FIRST_PIECES = START * FIRST_BLOCK // MIB  # what a new source is asked for


# -- asking -----------------------------------------------------------------------------------------------


def test_a_new_source_is_asked_for_a_few_small_blocks_in_order() -> None:
    download = Harness(100)
    blocks = download.ready("a")
    first = download.asked("a")[0]
    assert blocks == [
        FetchBlock("a", first + number // 4, number % 4 * FIRST_BLOCK, FIRST_BLOCK, number + 1)
        for number in range(START)
    ]


def test_a_quick_source_is_asked_for_whole_pieces_and_a_slow_one_for_small_parts() -> None:
    quick, slow = Harness(100), Harness(100)
    assert {c.length for c in quick.ready("a", rate=100 * MIB) if isinstance(c, FetchBlock)} == {MIB}
    assert len(quick.asked("a")) == START
    assert {c.length for c in slow.ready("a", rate=300 * KIB) if isinstance(c, FetchBlock)} == {32 * KIB}
    assert len(slow.asked("a")) == 1


def test_large_pieces_are_asked_for_in_blocks_as_credit_allows() -> None:
    download = Harness(4, piece_size=64 * MIB)
    download.ready("a", rate=100 * MIB)
    (job,) = download.state.sources["a"].jobs.values()
    assert (len(job.open), job.next) == (START, START * MIB)
    assert download(Answered(min(job.open), MIB)) == [FetchBlock("a", job.piece, START * MIB, MIB, START + 1)]


def test_the_last_piece_may_be_short() -> None:
    state = DownloadState(MIB + 5, MIB, 0b01, random.Random(1))
    assert state.apply(SourceReady("a", 0b11), 0.0) == [FetchBlock("a", 1, 0, 5, 1)]


def test_done_pieces_are_replaced_until_the_file_is_complete() -> None:
    download = Harness(30)
    download.ready("a")
    order = []
    while not download.state.finished:
        piece = download.asked("a")[0]
        order.append(piece)
        commands = download.give("a", piece)
        assert (Complete() in commands) == (len(order) == 30)
    assert sorted(order) == list(range(30))
    assert not download.state.tickets


def test_complete_is_said_once_and_again_after_a_loss() -> None:
    download = Harness(1, have=1)
    assert download(Resumed()) == [Complete()]
    assert download(Resumed()) == []
    assert download(PieceLost(0)) == []
    assert not download.state.finished
    download.ready("a")
    assert Complete() in download.give("a")


def test_a_file_without_pieces_is_complete_at_once() -> None:
    assert Harness(0)(Resumed()) == [Complete()]


def test_only_what_a_source_has_is_asked_of_it() -> None:
    download = Harness(8, have=0b1)
    assert pieces(download.ready("a", 0b0000_0111), "a") == {1, 2}
    assert pieces(download(SourceGained("a", 0b1000_0001)), "a") == {7}
    assert download(SourceGained("a", 0b1000_0001)) == []


def test_bits_beyond_the_end_are_ignored() -> None:
    download = Harness(2)
    assert pieces(download.ready("a", 0xFF), "a") == {0, 1}
    assert download(SourceGained("a", 0xF00)) == []


def test_two_sources_are_not_asked_for_the_same_piece_while_there_is_another() -> None:
    download = Harness(100)
    first, second = pieces(download.ready("a"), "a"), pieces(download.ready("b"), "b")
    assert len(second) == FIRST_PIECES
    assert not first & second


def test_what_only_one_has_is_fetched_first_from_it() -> None:
    download = Harness(64)
    rare = 1 << 63
    download.ready("b", download.everything ^ rare)
    download.ready("c", rare | 0b1)
    assert download.asked("c")[0] == 63


def test_a_download_with_a_window_asks_in_order_and_not_beyond_it() -> None:
    download = Harness(100, have=0b11, window=4)
    download.ready("a", rate=100 * MIB)
    assert download.asked("a") == [2, 3, 4, 5]
    # Those that two have a part of are not put last: order is all.
    download.ready("b", 0b1111_1100, rate=100 * MIB)
    download.ready("c", 0b1100_0000, rate=100 * MIB)
    assert pieces(download(Reached(8)), "a") == {6, 7}
    assert download(Reached(7)) == []
    assert not download.state.pieces.wanted & 0xFF
    assert download.state.pieces.wanted & 0xF00 == 0xF00


def test_a_window_that_moved_to_the_end_lets_it_complete() -> None:
    download = Harness(3, window=1)
    download.ready("a")
    for piece in (0, 1):
        assert download.asked("a") == [piece]
        assert not pieces(download.give("a", piece), "a") - {piece}
        assert pieces(download(Reached(piece + 2)), "a") == {piece + 1}
    assert Complete() in download.give("a", 2)


def test_a_source_that_comes_later_is_asked_at_once() -> None:
    download = Harness(100)
    download.ready("a")
    for _ in range(20):
        download.give("a")
    assert pieces(download.ready("late"), "late")


# -- sources that leave, lie and refuse -------------------------------------------------------------------


def test_a_source_that_leaves_gives_its_pieces_to_the_others() -> None:
    download = Harness(FIRST_PIECES + 2)
    first = pieces(download.ready("a"), "a")
    assert len(pieces(download.ready("b"), "b")) == 2
    commands = download(SourceGone("a"))
    assert pieces(commands, "b") == first - {max(first)} or len(pieces(commands, "b")) == 2
    assert not any(isinstance(c, Withdraw) for c in commands)
    assert {ticket.source for ticket in download.state.tickets.values()} == {"b"}
    assert download(SourceGone("a")) == []


def test_a_source_that_comes_again_starts_anew() -> None:
    download = Harness(4)
    download.ready("a", 0b0011)
    commands = download.ready("a", 0b1100)
    assert isinstance(commands[0], Withdraw)
    assert pieces(commands, "a") == {2, 3}
    assert pieces(download.ready("b", 0b0011), "b") == {0, 1}


def test_a_liar_is_suspended_for_good_and_its_piece_goes_to_another() -> None:
    download = Harness(2)
    download.ready("a", 0b01)
    download.ready("b", 0b10)
    download(SourceGained("b", 0b01))
    commands = download(PieceBad("a", 0))
    assert commands[:2] == [Withdraw("a", (0,)), Suspend("a", True)]
    assert pieces(commands, "b") == {0}
    assert download.ready("a") == []
    assert download(SourceGained("a", 0b11)) == []
    assert "a" not in download.state.sources


def test_answers_of_a_suspended_source_still_free_its_credit() -> None:
    download = Harness(2)
    download.ready("a")
    download(PieceBad("a", 0))
    credit = download.state.credits.of("a")
    assert credit.open == 8
    for number in list(download.state.tickets):
        assert download(Answered(number, FIRST_BLOCK)) == []
    assert (credit.open, credit.by_user) == (0, {})


@pytest.mark.parametrize("code", [Refusal.BUSY, Refusal.LIMIT, Refusal.CANCELLED])
def test_a_busy_source_is_left_in_peace_for_a_while_however_often_it_refuses(code: int) -> None:
    download = Harness(1)
    download.ready("a", rate=100 * MIB)
    for _ in range(FAILURES + 2):
        assert not pieces(download.refuse("a", 0, code), "a")
        assert not pieces(download.tick(BUSY_SECONDS * 0.8, 0.1), "a")
        assert pieces(download.tick(BUSY_SECONDS * 0.5, 0.1), "a") == {0}
    assert "a" in download.state.sources


def test_a_busy_source_may_say_when_to_ask_again() -> None:
    download = Harness(1)
    download.ready("a")
    download.refuse("a", 0, Refusal.BUSY, 7.0)
    assert not pieces(download.tick(6.5), "a")
    assert pieces(download.tick(1.0), "a") == {0}


def test_a_busy_source_is_asked_for_less() -> None:
    download = Harness(100)
    download.ready("a")
    for _ in range(3):
        download.refuse("a", download.asked("a")[0], Refusal.BUSY)
    assert download.state.sources["a"].credit.size == START // 2


def test_the_piece_of_a_busy_source_goes_to_another() -> None:
    download = Harness(10)
    download.ready("a", 0b1)
    download.ready("b", rate=100 * MIB)
    download(SourceGained("b", download.everything))
    assert pieces(download.refuse("a", 0, Refusal.BUSY), "b") == {0}


def test_failures_in_a_row_end_with_a_source_being_left() -> None:
    download = Harness(100)
    download.ready("a", rate=100 * MIB)
    asked = download.asked("a")
    for piece in asked[: FAILURES - 1]:
        assert not any(isinstance(c, Suspend) for c in download.refuse("a", piece, SILENT))
    assert Suspend("a", False) in download.refuse("a", asked[FAILURES - 1], SILENT)
    # It did not lie: it may come again.
    assert pieces(download.ready("a"), "a")


def test_a_good_piece_between_failures_starts_the_count_anew() -> None:
    download = Harness(100)
    download.ready("a", rate=100 * MIB)
    for _ in range(2 * FAILURES):
        asked = download.asked("a")
        download.refuse("a", asked[0], SILENT)
        download.give("a", asked[1])
    assert "a" in download.state.sources


@pytest.mark.parametrize("code", [Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.STORAGE])
def test_a_source_without_the_file_is_left_at_once(code: int) -> None:
    download = Harness(2)
    download.ready("a")
    download.ready("b")
    commands = download.refuse("a", 0, code)
    assert Suspend("a", False) in commands
    assert set(download.asked("b")) == {0, 1}


def test_news_of_strangers_and_settled_pieces_change_nothing() -> None:
    download = Harness(3, have=0b001)
    download.ready("a", 0b010)
    before = (download.state.pieces.have, download.state.pieces.wanted, dict(download.state.pieces.in_flight))
    for event in (
        SourceGained("x", 0b111),
        SourceGone("x"),
        PieceBad("x", 1),
        PieceFailed("x", 1, Refusal.BUSY),
        PieceLost(1),
        PieceDone("a", 0),
        Answered(99, 5),
    ):
        assert download(event) == []
    after = (download.state.pieces.have, download.state.pieces.wanted, dict(download.state.pieces.in_flight))
    assert before == after


def test_a_late_piece_of_a_source_that_left_counts_and_frees_whoever_was_asked_since() -> None:
    download = Harness(1)
    download.ready("a")
    download(SourceGone("a"))
    assert pieces(download.ready("b"), "b") == {0}
    assert download(PieceDone("a", 0)) == [Withdraw("b", (0,)), Complete()]
    assert not download.state.sources["b"].jobs


def test_a_block_without_data_or_verdict_is_asked_for_again_but_not_at_once() -> None:
    download = Harness(1)
    download.ready("a", rate=100 * MIB)
    (number,) = download.state.tickets
    assert download(Answered(number, 0)) == []
    assert pieces(download.tick(1.2), "a") == {0}


def test_check_finds_a_broken_state() -> None:
    download = Harness(2)
    download.ready("a")
    del download.state.sources["a"].jobs[0]
    with pytest.raises(AssertionError):
        download.state.check()
