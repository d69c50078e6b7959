"""p2pd/engine/turns.py: fair by octets, in order for each owner, few at a time, and nobody starves."""

from __future__ import annotations

from random import Random

import pytest

from p2pd.engine.turns import MEMORY, ROUND_SECONDS, TURN_SECONDS, Turns


def always(owner: str) -> bool:
    return True


def take(turns: Turns[str, int], now: float = 0.0) -> tuple[str, int] | None:
    """One item whose number is its size."""
    found = turns.next(now, always)
    if found is not None:
        turns.charge(*found)
    return found


def test_each_owner_is_served_in_order_and_owners_in_turns() -> None:
    turns: Turns[str, int] = Turns()
    for number in (1, 2, 3):
        turns.add("a", number)
    turns.add("b", 4)
    assert (len(turns), turns.waiting("a"), turns.waiting("c")) == (2, 3, 0)
    assert [take(turns) for _ in range(5)] == [("a", 1), ("b", 4), ("a", 2), ("a", 3), None]
    assert len(turns) == 0


def test_octets_count_and_not_numbers() -> None:
    turns: Turns[str, int] = Turns()
    given = {"small": 0, "large": 0}
    for _ in range(400):
        turns.add("small", 1)
    for _ in range(100):
        turns.add("large", 10)
    for _ in range(220):
        found = take(turns)
        assert found is not None
        given[found[0]] += found[1]
    assert given["small"] == pytest.approx(given["large"], abs=10)


def test_an_owner_with_one_request_at_a_time_gets_its_part_and_no_more() -> None:
    turns: Turns[str, int] = Turns()
    given = {"one": 0, "many": 0}
    for _ in range(100):
        turns.add("many", 10)
    turns.add("one", 10)
    for _ in range(100):
        found = take(turns)
        assert found is not None
        given[found[0]] += found[1]
        if found[0] == "one":
            turns.add("one", 10)
    assert given["one"] == pytest.approx(given["many"], abs=20)


def test_who_was_away_is_not_paid_for_it() -> None:
    turns: Turns[str, int] = Turns()
    for _ in range(50):
        turns.add("a", 10)
        take(turns)
    for _ in range(20):
        turns.add("a", 10)
        turns.add("b", 10)
    first = [found[0] for _ in range(20) if (found := take(turns))]
    assert abs(first.count("a") - first.count("b")) <= 1


def test_first_comes_before_what_waits() -> None:
    turns: Turns[str, int] = Turns()
    turns.add("a", 1)
    turns.add("a", 2, first=True)
    assert [take(turns), take(turns)] == [("a", 2), ("a", 1)]


def test_who_is_not_ready_holds_up_nobody() -> None:
    turns: Turns[str, int] = Turns(1)
    turns.add("a", 1)
    turns.add("b", 2)
    assert turns.next(0.0, lambda owner: owner == "b") == ("b", 2)
    assert turns.next(0.0, lambda owner: False) is None
    assert take(turns) == ("a", 1)


def test_what_is_withdrawn_does_not_come() -> None:
    turns: Turns[str, int] = Turns()
    for number in range(6):
        turns.add("a", number)
    assert turns.remove("a", lambda number: number % 2 == 0) == [0, 2, 4]
    assert take(turns) == ("a", 1)
    assert turns.remove("a", lambda number: True) == [3, 5]
    assert turns.remove("b", lambda number: True) == []
    assert len(turns) == 0
    turns.add("a", 7)
    turns.leave("a")
    assert take(turns) is None


def test_a_few_are_served_at_a_time_and_each_gets_a_turn() -> None:
    turns: Turns[str, int] = Turns(2)
    names = [f"p{number}" for number in range(5)]
    for name in names:
        for _ in range(10_000):
            turns.add(name, 1)
    now, seen, last = 0.0, set(), dict.fromkeys(names, 0.0)
    given = dict.fromkeys(names, 0)
    while now < 60.0:
        found = take(turns, now)
        assert found is not None
        assert len(turns.served) <= 2
        seen.add(found[0])
        given[found[0]] += 1
        assert now - last[found[0]] <= ROUND_SECONDS
        last[found[0]] = now
        now += 0.01
    assert seen == set(names)
    assert max(given.values()) < 1.5 * min(given.values())


def test_turns_get_shorter_when_many_wait() -> None:
    turns: Turns[int, int] = Turns(2)
    for owner in range(100):
        for _ in range(500):
            turns.add(owner, 1)
    now, seen = 0.0, set()
    while now < ROUND_SECONDS * 1.2:
        found = turns.next(now, lambda owner: True)
        assert found is not None
        turns.charge(found[0], 1)
        seen.add(found[0])
        now += 0.01
    assert len(seen) == 100


def test_a_slot_stays_while_nobody_waits_for_it() -> None:
    turns: Turns[str, int] = Turns(1)
    for number in range(3):
        turns.add("a", number)
    take(turns, 0.0)
    take(turns, 10 * TURN_SECONDS)
    assert turns.served == ["a"]


def test_the_memory_of_who_left_is_bounded() -> None:
    turns: Turns[int, int] = Turns()
    rng = Random(1)
    for owner in range(5 * MEMORY):
        turns.add(owner, 1)
        assert turns.next(0.0, lambda owner: True) is not None
        turns.charge(owner, rng.randrange(1000))
    assert len(turns._past) <= MEMORY
