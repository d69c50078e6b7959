"""Token buckets: a burst, then a rate, each device and each kind for itself."""

from __future__ import annotations

import pytest

from p2pd.tracker.quota import Kind, Quota

A, B = b"a" * 20, b"b" * 20


@pytest.mark.parametrize("kind", list(Kind))
def test_a_burst_then_a_rate(kind: Kind) -> None:
    rate, burst = kind.value
    quota = Quota()
    assert [quota.take(A, kind, 0.0) for _ in range(int(burst))] == [0] * int(burst)
    wait = quota.take(A, kind, 0.0)
    assert wait == max(1, round(1 / rate))
    assert quota.take(A, kind, 1 / rate) == 0
    assert quota.take(A, kind, 1 / rate) > 0


def test_waiting_as_told_is_enough() -> None:
    quota = Quota()
    while not (wait := quota.take(A, Kind.ANNOUNCE, 3.7)):
        pass
    assert quota.take(A, Kind.ANNOUNCE, 3.7 + wait) == 0


def test_devices_and_kinds_do_not_disturb_each_other() -> None:
    quota = Quota()
    while not quota.take(A, Kind.SEARCH, 0.0):
        pass
    assert quota.take(B, Kind.SEARCH, 0.0) == 0
    assert quota.take(A, Kind.FIND, 0.0) == 0


def test_tokens_never_exceed_the_burst() -> None:
    quota = Quota()
    quota.take(A, Kind.ANNOUNCE, 0.0)
    taken = 0
    while not quota.take(A, Kind.ANNOUNCE, 1e6):
        taken += 1
    assert taken == Kind.ANNOUNCE.value[1]


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    quota = Quota()
    while not quota.take(A, Kind.SEARCH, 100.0):
        pass
    assert quota.take(A, Kind.SEARCH, 50.0) > 0
    assert quota.take(A, Kind.SEARCH, 50.0) > 0


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    quota = Quota(size=10)
    for number in range(100):
        quota.take(bytes([number]) * 20, Kind.SEARCH, 0.0)
        while not quota.take(A, Kind.SEARCH, 0.0):
            pass
    assert len(quota) == 10
    assert quota.take(A, Kind.SEARCH, 0.0) > 0


def test_what_was_spent_may_be_more_than_there_was() -> None:
    quota = Quota()
    rate, burst = Kind.TIME.value
    assert quota.owed(A, Kind.TIME, 0.0) == 0
    quota.spend(A, Kind.TIME, burst, 0.0)
    assert quota.owed(A, Kind.TIME, 0.0) == 0
    quota.spend(A, Kind.TIME, 1.0, 0.0)
    assert quota.owed(A, Kind.TIME, 0.0) == 1 / rate
    assert quota.owed(B, Kind.TIME, 0.0) == 0
    assert quota.owed(A, Kind.TIME, 1 / rate - 0.5) == 1
    assert quota.owed(A, Kind.TIME, 1 / rate) == 0
