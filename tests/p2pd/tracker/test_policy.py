"""p2pd/tracker/policy.py: what a device and a network may do, each by its own figures."""

from __future__ import annotations

import pytest

from p2pd.tracker.policy import Figures, Policy, network_of
from p2pd.tracker.quota import Kind
from protocol.limits import SEARCH_BURST


def device(number: int) -> bytes:
    return number.to_bytes(20, "big")


def taken(policy: Policy, count: int, kind: Kind = Kind.SEARCH, host: str = "10.0.0.{}") -> int:
    """How many devices of a network get one request each."""
    return sum(not policy.take(device(n), host.format(n % 250 + 1), kind, 0.0) for n in range(count))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("nowhere", ""),
    ],
)
def test_the_network_of_an_address(host: str, network: str) -> None:
    assert network_of(host) == network


def test_a_device_has_its_own_figures() -> None:
    policy = Policy(Figures(device_searches=1.0))
    burst = SEARCH_BURST // 5  # in proportion
    waits = [policy.take(device(1), "10.0.0.1", Kind.SEARCH, 0.0) for _ in range(burst + 1)]
    assert waits == [0] * burst + [1]
    assert policy.take(device(1), "10.0.0.1", Kind.SEARCH, 1.0) == 0


def test_a_network_has_a_bound_of_its_own() -> None:
    policy = Policy(Figures(network_searches=10.0))
    assert taken(policy, 100) == 2 * SEARCH_BURST
    assert taken(policy, 100, host="10.0.1.{}") == 2 * SEARCH_BURST
    assert policy.take(device(999), "10.0.0.9", Kind.SEARCH, 0.1) == 0
    assert policy.take(device(999), "10.0.0.9", Kind.FIND, 0.0) == 0


def test_no_rate_and_the_own_host_are_no_bound() -> None:
    assert taken(Policy(Figures(network_announces=0.0)), 1000, Kind.ANNOUNCE) == 1000
    assert taken(Policy(Figures(network_announces=0.1)), 1000, Kind.ANNOUNCE, "127.0.0.1") == 1000


def test_entries_of_a_network_are_bounded_and_counted_anew() -> None:
    policy = Policy(Figures(network_entries=10))
    assert policy.room("10.0.0.1", 6)
    assert not policy.room("10.0.0.2", 6)
    assert policy.room("10.0.0.2", 4)
    assert policy.room("10.0.0.2", -3)
    assert policy.room("10.0.1.1", 10)
    assert policy.room("127.0.0.1", 1000)
    policy.census_begins()
    policy.census({"10.0.0.0/24": 5})
    assert policy.room("10.0.0.9", 5)
    assert not policy.room("10.0.0.9", 1)
    assert Policy(Figures(network_entries=0)).room("10.0.0.1", 10**9)


def test_what_is_let_in_during_a_census_is_counted_with_it() -> None:
    policy = Policy(Figures(network_entries=10))
    assert policy.room("10.0.0.1", 4)
    policy.census_begins()
    assert policy.room("10.0.0.1", 3)
    policy.census({"10.0.0.0/24": 4})  # the look came before those three were listed
    assert not policy.room("10.0.0.1", 4)
    assert policy.room("10.0.0.1", 3)
    policy.census_begins()
    policy.census({"10.0.0.0/24": 2})
    assert policy.room("10.0.0.1", 8)
