"""p2pd/garbage.py: what lives long is set aside, and circles in it are found when the process has grown."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from p2pd.garbage import GROWTH_OCTETS, Garbage


class Node:
    """Something that can be in a circle."""

    def __init__(self) -> None:
        self.other: Node | None = None


def circle() -> weakref.ref[Node]:
    """Two objects that only refer to each other, and how to see whether they are there."""
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    gc.disable()  # the interpreter's own rounds would free what is looked for
    yield
    gc.enable()
    gc.unfreeze()
    gc.collect()


class Held:
    """Stands for what the process holds."""

    def __init__(self, octets: int) -> None:
        self.octets = octets

    def __call__(self) -> int:
        return self.octets


def test_what_is_there_is_set_aside() -> None:
    garbage = Garbage(Held(GROWTH_OCTETS))
    garbage.settle()
    before = gc.get_freeze_count()
    assert before > 10_000
    kept = [Node() for _ in range(1000)]
    assert gc.get_freeze_count() == before
    garbage.beat()
    assert gc.get_freeze_count() >= before + len(kept)
    assert not gc.get_objects(generation=2), "a full collection has nothing to look at"


def test_a_circle_that_is_young_goes_at_a_beat() -> None:
    garbage = Garbage(Held(GROWTH_OCTETS))
    garbage.settle()
    gone = circle()
    garbage.beat()
    assert gone() is None


def test_what_is_set_aside_goes_when_nobody_refers_to_it() -> None:
    garbage = Garbage(Held(GROWTH_OCTETS))
    node = Node()
    gone = weakref.ref(node)
    garbage.settle()
    del node
    assert gone() is None


def test_a_circle_that_was_set_aside_goes_when_the_process_has_grown() -> None:
    held = Held(GROWTH_OCTETS)
    garbage = Garbage(held)
    one, two = Node(), Node()
    one.other, two.other = two, one
    gone = weakref.ref(one)
    garbage.settle()
    del one, two
    held.octets = 2 * GROWTH_OCTETS
    garbage.beat()
    assert gone() is not None, "not yet by so much"
    held.octets += 1
    garbage.beat()
    assert gone() is None
    assert gc.get_freeze_count() > 10_000


def test_a_large_process_may_grow_to_twice_its_size() -> None:
    held = Held(10 * GROWTH_OCTETS)
    garbage = Garbage(held)
    garbage.settle()
    before = gc.get_freeze_count()
    one, two = Node(), Node()
    one.other, two.other = two, one
    gone = weakref.ref(one)
    garbage.beat()
    del one, two
    held.octets = 20 * GROWTH_OCTETS
    garbage.beat()
    assert gone() is not None
    held.octets += 1
    garbage.beat()
    assert gone() is None
    assert gc.get_freeze_count() >= before - 100
