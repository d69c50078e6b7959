"""p2pd/net/rounds.py: everything in turn."""

from __future__ import annotations

import pytest

from p2pd.net.rounds import Rounds


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100])
def test_each_once_in_a_round_of_ten_parts(count: int) -> None:
    rounds = Rounds(lambda: range(count))
    seen: list[int] = []
    turns = 0
    while len(seen) < count:
        part = rounds.part(10)
        assert len(part) <= max(1, -(-count // 10))
        seen += part
        turns += 1
    assert sorted(seen) == list(range(count))
    assert turns <= 10
    assert not rounds.under_way


def test_at_most_so_many() -> None:
    rounds = Rounds(lambda: "abcde")
    taken = [rounds.take(2) for _ in range(3)]
    assert sorted(each for part in taken for each in part) == list("abcde")
    assert [len(part) for part in taken] == [2, 2, 1]
    assert not rounds.under_way


def test_what_came_is_in_the_next_round() -> None:
    things = {"a", "b"}
    rounds = Rounds(lambda: sorted(things))
    rounds.take(1)
    assert rounds.under_way
    things.add("c")
    rounds.take(1)
    assert rounds.take(3) == ["a", "b", "c"]
