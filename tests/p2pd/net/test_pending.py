"""p2pd/net/pending.py: each request ends once."""

from __future__ import annotations

from typing import Any

from p2pd.net.pending import Pending

EMPTY = memoryview(b"")


def box() -> tuple[list[Any], Any]:
    """What was answered, and what answers."""
    got: list[Any] = []
    return got, lambda reply, payload: got.append(reply)


def test_an_answer_goes_to_who_asked_and_only_once() -> None:
    pending = Pending(0.0)
    (one, answers_one), (two, answers_two) = box(), box()
    pending.add(1, answers_one, 0.0, 5.0)
    pending.add(2, answers_two, 0.0, 5.0)
    answer = pending.answered(2, 1.0)
    assert answer is not None
    answer("reply", EMPTY)
    assert (one, two, len(pending)) == ([], ["reply"], 1)
    assert pending.answered(2, 1.0) is None
    assert pending.answered(3, 1.0) is None


def test_silence_is_a_failure_and_a_queue_is_none() -> None:
    pending = Pending(0.0)
    for number in range(3):
        pending.add(number, lambda reply, payload: None, 0.0, 5.0)
    assert pending.late(5.0) == []
    assert pending.answered(0, 4.0) is not None
    assert pending.late(9.0) == []  # something came 5 seconds ago
    assert len(pending.late(9.1)) == 2


def test_what_was_given_up_is_told_once_and_its_answer_is_dropped() -> None:
    pending = Pending(0.0)
    got, answers = box()
    pending.add(7, answers, 0.0, 5.0)
    for answer in pending.late(6.0):
        answer("late", EMPTY)
    assert pending.late(600.0) == []
    answer_after = pending.answered(7, 601.0)
    assert answer_after is not None
    answer_after("reply", EMPTY)
    assert got == ["late"]
    assert not len(pending)


def test_at_the_end_all_are_told() -> None:
    pending = Pending(0.0)
    got, answers = box()
    for number in range(3):
        pending.add(number, answers, 0.0, 5.0)
    for answer in pending.clear():
        answer("lost", EMPTY)
    assert got == ["lost"] * 3
    assert pending.clear() == []
