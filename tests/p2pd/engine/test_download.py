"""p2pd/engine/download.py: what is asked of whom after each event (p2pd/engine/STATE.md)."""

from __future__ import annotations

import random

import pytest

from p2pd.engine.credit import FIRST_BLOCK, START, Credits
from p2pd.engine.download import BUSY_SECONDS, FAILURES, DownloadState
from p2pd.engine.events import (
    Answered,
    Asked,
    Command,
    Complete,
    Event,
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
    Stopped,
    Suspend,
    Withdraw,
)
from protocol.errors import Refusal
from protocol.limits import KIB, MIB

SILENT = 0
FIRST_PIECES = START * FIRST_BLOCK // MIB  # what a new source is asked for


class Harness:
    """A state with a clock that steps 10 ms an event, and `check()` after each."""

    def __init__(
        self, count: int, have: int = 0, piece_size: int = MIB, credits: Credits | None = None, **more: int
    ) -> None:
        self.state = DownloadState(count * piece_size, piece_size, have, random.Random(1), credits, **more)
        self.everything = (1 << count) - 1
        self.now = 0.0

    def __call__(self, event: Event, seconds: float = 0.01) -> list[Command]:
        self.now += seconds
        commands = self.state.apply(event, self.now)
        self.state.check()
        for command in commands:
            if isinstance(command, FetchBlock):
                assert self.state.apply(Asked(command.ticket), self.now) == []
        return commands

    def ready(self, name: str, pieces: int | None = None, rate: int = 0) -> list[Command]:
        """A source comes; with `rate` (octets a second) one that was used before."""
        if rate:
            credit = self.state.credits.of(name)
            credit.rate, credit.round_trip, credit.heard = float(rate), 0.001, self.now
        return self(SourceReady(name, self.everything if pieces is None else pieces))

    def asked(self, name: str) -> list[int]:
        """Its pieces in the order in which they were asked for."""
        return list(self.state.sources[name].jobs)

    def give(self, name: str, piece: int | None = None, seconds: float = 0.01) -> list[Command]:
        """A piece comes, block by block, as fast as it is asked for."""
        if piece is None:
            piece = self.asked(name)[0]
        commands: list[Command] = []
        while job := self.state.sources[name].jobs.get(piece):
            number = min(job.open)
            length = self.state.tickets[number].length
            if job.came + length == job.length:
                commands += self(PieceDone(name, piece), seconds)
            commands += self(Answered(number, length), 0.0)
        return commands

    def refuse(self, name: str, piece: int, code: int, retry: float = 0.0) -> list[Command]:
        """The first open block of a piece is refused."""
        number = min(self.state.sources[name].jobs[piece].open)
        return self(Answered(number, 0)) + self(PieceFailed(name, piece, code, retry), 0.0)

    def tick(self, seconds: float, step: float = 0.25) -> list[Command]:
        """Time passes."""
        commands: list[Command] = []
        end = self.now + seconds
        while self.now < end:
            commands += self(Resumed(), step)
        return commands


def pieces(commands: list[Command], source: str) -> set[int]:
    """What is asked of this source."""
    return {c.piece for c in commands if isinstance(c, FetchBlock) and c.source == source}


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


# -- the overdue ------------------------------------------------------------------------------------------


def test_what_a_silent_source_was_asked_for_goes_to_others_and_it_stays() -> None:
    download = Harness(200)
    download.ready("silent", rate=10 * MIB)
    download.ready("good", rate=10 * MIB)
    asked = set(download.asked("silent"))
    commands: list[Command] = []
    for _ in range(15):
        commands += download.give("good", seconds=0.1) + download(Resumed())
    (taken,) = (c for c in commands if isinstance(c, Withdraw))
    assert (taken.source, set(taken.pieces)) == ("silent", asked)
    assert not any(isinstance(c, Suspend) for c in commands)
    assert download.state.sources["silent"].probation
    assert not download.asked("silent")


def test_a_source_on_probation_is_asked_again_when_it_gives_something() -> None:
    download = Harness(200)
    download.ready("silent", rate=10 * MIB)
    download.ready("good", rate=10 * MIB)
    old = [number for number, ticket in download.state.tickets.items() if ticket.source == "silent"]
    for _ in range(15):
        download.give("good", seconds=0.1)
        download(Resumed())
    assert not download.tick(0.5) or not download.asked("silent")
    download(Answered(old[0], MIB))
    assert not download.state.sources["silent"].probation
    # The others of then are still open at it, and count.
    for number in old[1:6]:
        download(Answered(number, 0))
    assert 1 <= len(download.asked("silent")) <= 6


def test_a_source_that_refuses_all_that_was_taken_back_is_tried_with_one_block() -> None:
    download = Harness(200)
    download.ready("silent", rate=10 * MIB)
    download.ready("good", rate=10 * MIB)
    old = [number for number, ticket in download.state.tickets.items() if ticket.source == "silent"]
    for _ in range(15):
        download.give("good", seconds=0.1)
        download(Resumed())
    for number in old:
        assert not download.asked("silent")
        download(Answered(number, 0))
    assert download.asked("silent")


def test_an_only_source_is_waited_for() -> None:
    download = Harness(10)
    download.ready("a", rate=10 * MIB)
    assert download.tick(30.0) == []
    assert len(download.asked("a")) == 10


def test_when_all_are_silent_the_trouble_is_ours() -> None:
    download = Harness(200)
    download.ready("a", rate=10 * MIB)
    download.ready("b", rate=10 * MIB)
    assert not any(isinstance(c, Withdraw) for c in download.tick(30.0))


def test_after_a_sleep_of_ours_nobody_is_blamed() -> None:
    download = Harness(200)
    download.ready("a", rate=10 * MIB)
    download.ready("b", rate=10 * MIB)
    download.tick(0.25)
    download.give("b", seconds=50.0)
    assert not any(isinstance(c, Withdraw) for c in download(Resumed()))


# -- the end ----------------------------------------------------------------------------------------------


def test_the_last_pieces_of_a_slow_source_are_asked_of_an_idle_one_and_withdrawn() -> None:
    download = Harness(8)
    download.ready("slow", rate=2 * MIB)
    slow = download.asked("slow")
    download.ready("quick", rate=100 * MIB)
    quick = download.asked("quick")
    # First what nobody else was asked for, then the latest of the slow one's.
    assert quick[-4:] == slow[::-1]
    copied = quick[-4]
    assert download.state.pieces.in_flight[copied] == {"slow", "quick"}
    assert Withdraw("slow", (copied,)) in download.give("quick", copied)
    assert copied not in download.asked("slow")


def test_a_copy_that_loses_is_withdrawn_too() -> None:
    download = Harness(1)
    download.ready("slow", rate=2 * MIB)
    assert pieces(download.ready("quick", rate=100 * MIB), "quick") == {0}
    commands = download.give("slow", 0)
    assert Withdraw("quick", (0,)) in commands
    assert Complete() in commands


def test_equals_do_not_copy_each_other() -> None:
    download = Harness(40)
    download.ready("a", rate=10 * MIB)
    download.ready("b", rate=10 * MIB)
    given = 0
    while not download.state.finished:
        for name in ("a", "b"):
            if download.asked(name):
                download.give(name, seconds=0.05)
                given += 1
            assert all(len(askers) == 1 for askers in download.state.pieces.in_flight.values())
    assert given == 40


def test_stopped_withdraws_everything_and_asks_for_nothing() -> None:
    download = Harness(100)
    download.ready("a")
    asked = tuple(download.asked("a"))
    tickets = list(download.state.tickets)
    assert download(Stopped()) == [Withdraw("a", asked)]
    assert download.ready("b") == []
    assert download(Resumed()) == []
    for number in tickets:
        assert download(Answered(number, 0)) == []
    assert not download.state.credits.of("a").open


# -- several downloads ------------------------------------------------------------------------------------


def test_downloads_share_what_one_source_may_have_open() -> None:
    credits = Credits()
    one, two = Harness(100, credits=credits), Harness(100, credits=credits)
    one.ready("a", rate=100 * MIB)
    two.ready("a")
    credit = credits.of("a")
    assert credit.by_user == {one.state: START, two.state: START // 2}
    for _ in range(START):
        one.give("a")
        two.give("a")
    assert credit.by_user[one.state] == credit.by_user[two.state] == credit.size // 2
    one(Stopped())
    for number in list(one.state.tickets):
        one(Answered(number, 0))
    two.give("a")
    assert credit.by_user == {two.state: credit.size}


def test_check_finds_a_broken_state() -> None:
    download = Harness(2)
    download.ready("a")
    del download.state.sources["a"].jobs[0]
    with pytest.raises(AssertionError):
        download.state.check()
