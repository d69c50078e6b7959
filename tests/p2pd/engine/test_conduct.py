"""p2pd/engine/conduct.py: one bad piece is forgiven, the next ones cost longer and longer."""

from __future__ import annotations

import pytest

from p2pd.engine import conduct as conduct_module
from p2pd.engine.conduct import BAN_SECONDS_FIRST, BAN_SECONDS_MAX, MEMORY_SECONDS, Conduct


def test_one_bad_piece_is_no_ban_and_the_second_is() -> None:
    conduct = Conduct()
    assert conduct.bad("a", 0.0) == 0.0
    assert conduct.banned("a", 0.0) == 0.0
    assert conduct.bad("a", 10.0) == BAN_SECONDS_FIRST
    assert conduct.banned("a", 10.0) == BAN_SECONDS_FIRST
    assert conduct.banned("a", 10.0 + BAN_SECONDS_FIRST) == 0.0
    assert conduct.banned("b", 10.0) == 0.0


def test_each_ban_is_twice_as_long_up_to_a_day() -> None:
    conduct = Conduct()
    conduct.bad("a", 0.0)
    bans = [conduct.bad("a", 0.0) for _ in range(10)]
    assert bans[:3] == [BAN_SECONDS_FIRST, 2 * BAN_SECONDS_FIRST, 4 * BAN_SECONDS_FIRST]
    assert bans[-1] == BAN_SECONDS_MAX


def test_a_long_time_without_is_forgiven() -> None:
    conduct = Conduct()
    conduct.bad("a", 0.0)
    assert conduct.bad("a", MEMORY_SECONDS + 1.0) == 0.0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct_module, "KEPT", 2)
    conduct = Conduct()
    for name in "abc":
        conduct.bad(name, 0.0)
    assert conduct.bad("a", 1.0) == 0.0
    assert conduct.bad("c", 1.0) == BAN_SECONDS_FIRST


def test_what_an_earlier_run_knew_holds_and_can_be_forgiven() -> None:
    conduct = Conduct()
    conduct.remember("a", 3, 50.0, 100.0)
    assert conduct.banned("a", 149.0) == 1.0
    assert conduct.count("a") == 3
    assert conduct.bad("a", 200.0) == 4 * BAN_SECONDS_FIRST
    conduct.forgive("a")
    conduct.forgive("b")
    assert (conduct.banned("a", 200.0), conduct.count("a")) == (0.0, 0)
    assert conduct.bad("a", 200.0) == 0.0
