"""p2pd/engine/ratelimit.py: exact over ten seconds at any rate, in even blocks, with late timers, and changed at any time."""

from __future__ import annotations

from random import Random

import pytest

from p2pd.engine.ratelimit import BURST_SECONDS, DEBT_SECONDS, Meter, TokenBucket, block_under
from protocol.limits import KIB, MAX_BLOCK, MIB, MIN_BLOCK


def flow(bucket: TokenBucket, began: float, seconds: float, late: float = 0.0) -> int:
    """Octets that pass in so many seconds, in blocks as long as the limit asks for; each timer is up to `late` seconds late."""
    rng, now, passed = Random(1), began, 0
    block = block_under(bucket.rate)
    while True:
        now += wait + late * rng.random() if (wait := bucket.wait(now)) else 0.0
        if now >= began + seconds:
            return passed
        bucket.take(block, now)
        passed += block


@pytest.mark.parametrize("rate", [100 * KIB, 300_000, MIB, 7 * MIB, 50 * MIB, 400 * MIB])
@pytest.mark.parametrize("late", [0.0, 0.002, 0.02])
def test_exact_over_ten_seconds(rate: int, late: float) -> None:
    bucket = TokenBucket(rate)
    assert flow(bucket, 0.0, 10.0, late) == pytest.approx(10 * rate, rel=0.03)
    assert flow(bucket, 1000.0, 10.0, late) == pytest.approx(10 * rate, rel=0.03)


def test_without_a_limit_nothing_waits() -> None:
    bucket = TokenBucket()
    bucket.take(10 * MIB, 0.0)
    assert bucket.wait(0.0) == 0.0


def test_an_idle_hour_buys_a_tenth_of_a_second() -> None:
    bucket = TokenBucket(MIB)
    bucket.take(int(BURST_SECONDS * MIB) + MIB, 3600.0)
    assert bucket.wait(3600.0) == pytest.approx(1.0, abs=0.01)


def test_a_block_larger_than_the_rate_passes_and_is_waited_for_afterwards() -> None:
    bucket = TokenBucket(100 * KIB)
    assert bucket.wait(0.0) == 0.0
    bucket.take(MIB, 0.0)
    assert bucket.wait(0.0) == pytest.approx(10.24)


def test_a_new_limit_holds_at_once_and_an_old_debt_is_bounded() -> None:
    bucket = TokenBucket(50 * MIB)
    bucket.take(10 * MIB, 0.0)
    bucket.set_rate(10 * KIB, 0.0)
    assert bucket.wait(0.0) == pytest.approx(DEBT_SECONDS)
    bucket.set_rate(0, 0.0)
    assert bucket.wait(0.0) == 0.0
    bucket.set_rate(MIB, 5.0)
    assert flow(bucket, 5.0, 10.0) == pytest.approx(10 * MIB, rel=0.03)


def test_time_that_goes_back_changes_nothing() -> None:
    bucket = TokenBucket(MIB, 10.0)
    bucket.take(MIB, 10.0)
    assert bucket.wait(9.0) == pytest.approx(1.0)
    assert bucket.wait(10.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rate", "block"),
    [
        (0, MAX_BLOCK),
        (1, MIN_BLOCK),
        (100 * KIB, MIN_BLOCK),
        (MIB, 64 * KIB),
        (5 * MIB, 256 * KIB),
        (20 * MIB, MAX_BLOCK),
    ],
)
def test_blocks_are_as_short_as_an_even_flow_needs(rate: int, block: int) -> None:
    assert block_under(rate) == block


def test_a_meter_tells_the_rate_of_the_last_seconds() -> None:
    meter = Meter()
    assert meter.rate() == 0
    meter.sample(500, 0.0)
    assert meter.rate() == 0
    for tick in range(1, 21):
        meter.sample(500 + tick * 50, tick * 0.5)
        meter.sample(10**9, tick * 0.5 + 0.01)  # too soon: not counted
    assert meter.rate() == 100
    for tick in range(21, 30):
        meter.sample(1500, tick * 0.5)
    assert meter.rate() == 0
