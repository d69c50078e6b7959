"""p2pd/net/networks.py: the same answers as looking at each network, at a price that does not grow with them."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from p2pd.net.addresses import Network, holds, parse_network
from p2pd.net.networks import Networks

ADDRESSES = st.one_of(
    st.integers(0, 3).map(lambda n: f"10.0.0.{n}"),
    st.integers(0, 3).map(lambda n: f"::ffff:10.0.0.{n}"),
    st.integers(0, 3).map(lambda n: f"2001:db8::{n}"),
    st.sampled_from(["fe80::1%eth0", "", "not an address"]),
)
GIVEN = st.lists(
    st.tuples(
        st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "fe80::1"]),
        st.integers(0, 128),
    ).map(lambda pair: parse_network(f"{pair[0]}/{min(pair[1], 128 if ':' in pair[0] else 32)}")),
    max_size=8,
)


@given(GIVEN, ADDRESSES)
def test_it_finds_what_looking_at_each_finds(given_networks: list[Network], host: str) -> None:
    found = Networks([(network, network) for network in given_networks]).holding(host)
    assert sorted(found, key=str) == sorted((n for n in given_networks if holds(n, host)), key=str)


def test_thousands_cost_one_look() -> None:
    many = [(network, 1) for network in ipaddress.ip_network("10.0.0.0/12").subnets(new_prefix=24)]
    found = Networks(many)
    assert len(many) == 4096
    assert found.holding("10.1.2.3") == [1]
    assert found.holding("10.16.0.1") == []
    assert len(found._tables) == 1


def test_without_networks_nothing_is_found() -> None:
    assert Networks[int]().holding("10.0.0.1") == []
