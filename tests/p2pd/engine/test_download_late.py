"""p2pd/engine/download.py: what is late is taken back, what is last is asked twice, and downloads share a source."""

from __future__ import annotations

from p2pd.engine.credit import START, Credits
from p2pd.engine.events import (
    Answered,
    Command,
    Complete,
    Resumed,
    Stopped,
    Suspend,
    Withdraw,
)
from protocol.limits import MIB
from tests.fakes.downloading import Harness, pieces

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
