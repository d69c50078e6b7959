"""p2pd/engine/credit.py: the window follows rate times round trip, and halves at trouble."""

from __future__ import annotations

import pytest

from p2pd.engine.credit import FLOOR, PERIOD, START, Window
from protocol.limits import MAX_OUTSTANDING_BLOCKS, MIB


def feed(window: Window, rate: float, round_trip: float, seconds: float, since: float = 0.0) -> float:
    """Blocks of 1 MiB at `rate` MiB a second for a time; the time after."""
    now, step = since, 1 / rate
    while now < since + seconds:
        now += step
        window.delivered(MIB, round_trip, now)
    return now


def test_a_new_source_gets_a_few_blocks() -> None:
    assert Window().size == START


@pytest.mark.parametrize(
    ("rate", "round_trip", "size"),
    [(100, 0.1, 20), (100, 0.0005, FLOOR), (1, 0.001, FLOOR), (1000, 1.0, MAX_OUTSTANDING_BLOCKS)],
)
def test_the_window_covers_twice_rate_times_round_trip(rate: float, round_trip: float, size: int) -> None:
    window = Window()
    feed(window, rate, round_trip, 5.0)
    assert window.size == pytest.approx(size, abs=1)
    assert window.rate == pytest.approx(rate * MIB, rel=0.01)


def test_our_own_queue_does_not_inflate_the_window() -> None:
    window = Window()
    now = feed(window, 100, 0.1, 2.0)
    before = window.size
    feed(window, 100, 0.9, PERIOD / 2, now)
    assert window.size == before


def test_a_longer_way_is_believed_after_a_period() -> None:
    window = Window()
    now = feed(window, 100, 0.05, 2.0)
    feed(window, 100, 0.2, PERIOD + 2.0, now)
    assert window.size == pytest.approx(40, abs=1)


def test_the_window_shrinks_step_by_step() -> None:
    window = Window()
    now = feed(window, 1000, 1.0, 2.0)
    assert window.size == MAX_OUTSTANDING_BLOCKS
    window.delivered(MIB, 0.0001, now + 0.001)
    assert window.size == MAX_OUTSTANDING_BLOCKS - 1


def test_trouble_halves_down_to_one_block() -> None:
    window = Window()
    sizes = []
    for _ in range(6):
        window.trouble()
        sizes.append(window.size)
    assert sizes == [START // 2, START // 4, START // 8, START // 16, 1, 1]
    window.delivered(MIB, 0.001, 1.0)
    assert window.size == FLOOR


def test_answers_of_one_moment_do_not_divide_by_zero() -> None:
    window = Window()
    for _ in range(3):
        window.delivered(MIB, 0.0, 1.0)
    assert window.rate == 0.0
    window.delivered(MIB, 0.0, 2.0)
    assert window.rate == MIB
