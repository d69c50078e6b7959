"""p2pd/engine/credit.py: the window follows rate times round trip, blocks follow the rate, and users share."""

from __future__ import annotations

import pytest

from p2pd.engine import credit as credit_module
from p2pd.engine.credit import (
    FIRST_BLOCK,
    FLOOR,
    MIN_BLOCK,
    PATIENCE_FIRST,
    PATIENCE_MIN,
    START,
    Credit,
    Credits,
)
from protocol.limits import KIB, MAX_BLOCK, MAX_OUTSTANDING_BLOCKS, MIB

ME, OTHER, THIRD = "me", "other", "third"


def feed(credit: Credit, rate: float, round_trip: float, seconds: float, since: float = 0.0) -> float:
    """Blocks at `rate` MiB a second for a time, always one open; the time after."""
    now = since
    if not credit.open:
        credit.take(ME, now)
    while now < since + seconds:
        octets = credit.block
        credit.take(ME, now)
        now += octets / (rate * MIB)
        credit.give_back(ME, octets, round_trip, now)
    return now


def test_a_new_source_gets_a_few_small_blocks() -> None:
    assert (Credit().size, Credit().block) == (START, FIRST_BLOCK)


@pytest.mark.parametrize(
    ("rate", "round_trip", "size"),
    [(100, 0.1, 20), (100, 0.0005, FLOOR), (1, 0.001, FLOOR), (1000, 1.0, MAX_OUTSTANDING_BLOCKS)],
)
def test_the_window_covers_twice_rate_times_round_trip(rate: float, round_trip: float, size: int) -> None:
    credit = Credit()
    feed(credit, rate, round_trip, 5.0)
    assert credit.size == pytest.approx(size, abs=1)
    assert credit.rate == pytest.approx(rate * MIB, rel=0.02)


@pytest.mark.parametrize(
    ("rate", "block"),
    [
        (0.01, MIN_BLOCK),
        (0.5, 64 * KIB),
        (1.1, 128 * KIB),
        (4.1, 512 * KIB),
        (9, MAX_BLOCK),
        (900, MAX_BLOCK),
    ],
)
def test_a_block_is_what_comes_in_an_eighth_of_a_second(rate: float, block: int) -> None:
    credit = Credit()
    feed(credit, rate, 0.01, 30.0)
    assert credit.block == block


def test_a_change_of_the_rate_is_noticed_in_a_few_seconds() -> None:
    credit = Credit()
    now = feed(credit, 100, 0.01, 3.0)
    now = feed(credit, 1, 0.01, 6.0, now)
    assert credit.rate == pytest.approx(MIB, rel=0.3)
    feed(credit, 100, 0.01, 3.0, now)
    assert credit.rate == pytest.approx(100 * MIB, rel=0.1)


def test_our_own_queue_does_not_inflate_the_window() -> None:
    credit = Credit()
    now = feed(credit, 100, 0.1, 2.0)
    before = credit.size
    feed(credit, 100, 0.9, 60.0, now)
    assert credit.size == pytest.approx(before, abs=1)


def test_a_short_question_tells_the_round_trip_of_an_empty_queue() -> None:
    credit = Credit()
    credit.answered_in(0.0)
    credit.answered_in(0.02)
    feed(credit, 100, 0.9, 2.0)
    assert credit.round_trip == 0.02
    assert credit.size == FLOOR


def test_the_window_shrinks_step_by_step() -> None:
    credit = Credit()
    now = feed(credit, 1000, 1.0, 2.0)
    assert credit.size == MAX_OUTSTANDING_BLOCKS
    credit.answered_in(0.0001)
    feed(credit, 1000, 0.0001, credit_module.INTERVAL * 0.99, now)
    assert credit.size == MAX_OUTSTANDING_BLOCKS - 1


def test_trouble_halves_down_to_one_block_and_is_forgotten_step_by_step() -> None:
    credit = Credit()
    sizes = []
    for _ in range(6):
        credit.trouble()
        sizes.append(credit.size)
    assert sizes == [START // 2, START // 4, START // 8, START // 16, 1, 1]
    now = feed(credit, 100, 0.001, 0.35)
    assert 1 < credit.size < FLOOR
    feed(credit, 100, 0.001, 3.0, now)
    assert credit.size == FLOOR


def test_answers_of_one_moment_do_not_divide_by_zero() -> None:
    credit = Credit()
    for _ in range(4):
        credit.take(ME, 1.0)
    for _ in range(3):
        credit.give_back(ME, MIB, 0.0, 1.0)
    assert credit.rate == 0.0
    credit.give_back(ME, MIB, 0.0, 2.0)
    assert credit.rate == 4 * MIB


def test_time_in_which_nothing_was_asked_does_not_count() -> None:
    credit = Credit()
    feed(credit, 100, 0.01, 2.0)
    credit.give_back(ME, 0, 0.0, 2.0)
    assert not credit.open
    before = credit.rate
    credit.take(ME, 1000.0)
    credit.give_back(ME, 20 * MIB, 0.2, 1000.2)
    assert credit.rate == pytest.approx(before, rel=0.01)


def test_a_refusal_is_no_octet() -> None:
    credit = Credit()
    credit.take(ME, 0.0)
    credit.give_back(ME, 0, 5.0, 5.0)
    assert (credit.open, credit.by_user, credit.rate) == (0, {}, 0.0)
    assert credit.heard < 0


# -- patience ---------------------------------------------------------------------------------------------


def test_patience_is_a_few_blocks_and_never_short() -> None:
    credit = Credit()
    assert credit.patience == PATIENCE_FIRST
    now = feed(credit, 100, 0.001, 2.0)
    assert credit.patience == pytest.approx(PATIENCE_MIN)
    feed(credit, 0.01, 0.001, 160.0, now)
    assert credit.patience == pytest.approx(6 * MIN_BLOCK / (0.01 * MIB), rel=0.1)


def test_a_long_way_takes_patience() -> None:
    credit = Credit()
    feed(credit, 100, 0.5, 2.0)
    assert credit.patience == pytest.approx(2.06, abs=0.01)


# -- several users ----------------------------------------------------------------------------------------


def fill(credit: Credit, user: str) -> int:
    """As many as there is room for."""
    taken = 0
    while credit.room(user):
        credit.take(user, 0.0)
        taken += 1
    return taken


def test_one_user_has_all_of_it() -> None:
    assert fill(Credit(), ME) == START


def test_users_share_one_window() -> None:
    credit = Credit()
    assert fill(credit, ME) == START
    # The second has its share at once; the first gets no more until it is down to its own.
    assert fill(credit, OTHER) == START // 2
    for _ in range(START // 2):
        assert not credit.room(ME)
        credit.give_back(ME, 0, 0.0, 0.0)
    assert not credit.room(ME)
    credit.give_back(ME, 0, 0.0, 0.0)
    assert fill(credit, ME) == 1
    assert fill(credit, THIRD) == START // 3


def test_never_more_than_the_protocol_allows() -> None:
    credit = Credit()
    credit.size = MAX_OUTSTANDING_BLOCKS
    assert fill(credit, ME) == MAX_OUTSTANDING_BLOCKS
    assert not credit.room(OTHER)
    for _ in range(3):
        credit.give_back(ME, 0, 0.0, 0.0)
    assert not credit.room(ME)
    assert fill(credit, OTHER) == 3
    assert credit.open == MAX_OUTSTANDING_BLOCKS


def test_who_wants_nothing_more_leaves_its_share() -> None:
    credit = Credit()
    assert credit.room(OTHER)
    credit.content(OTHER)
    assert fill(credit, ME) == START


# -- all devices ------------------------------------------------------------------------------------------


def test_a_device_has_one_credit() -> None:
    credits = Credits()
    assert credits.of("a") is credits.of("a")
    assert credits.of("a") is not credits.of("b")


def test_idle_devices_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit_module, "KEPT", 2)
    credits = Credits()
    busy, old = credits.of("busy"), credits.of("old")
    busy.take(ME, 0.0)
    new = credits.of("new")
    assert list(credits) == [busy, new]
    assert credits.of("old") is not old
