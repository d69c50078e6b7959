"""p2pd/tracker/fetching.py: who has a part of what, as long as its lease lasts."""

from __future__ import annotations

from p2pd.tracker.fetching import Fetchers
from p2pd.tracker.registry import Card
from protocol import limits

ONE, TWO = b"1" * 32, b"2" * 32


def card(number: int, port: int = 8001) -> Card:
    return Card(number.to_bytes(20), f"10.0.0.{number % 250}", "", port)


def test_a_list_replaces_the_one_before() -> None:
    fetchers = Fetchers()
    fetchers.announced(card(1), 0.0, 10.0)
    fetchers.announced(card(2), 0.0, 10.0)
    assert fetchers.set(card(1).device_id, [ONE, TWO], 0.0)
    assert fetchers.set(card(2).device_id, [TWO], 0.0)
    assert (fetchers.of(ONE, 0.0), fetchers.of(TWO, 0.0)) == ([card(1)], [card(1), card(2)])
    assert fetchers.set(card(1).device_id, [ONE], 0.0)
    assert (fetchers.of(ONE, 0.0), fetchers.of(TWO, 0.0)) == ([card(1)], [card(2)])
    fetchers.left(card(1).device_id)
    fetchers.left(card(1).device_id)
    assert fetchers.of(ONE, 0.0) == []
    assert fetchers._by_content.keys() == {TWO}


def test_a_new_announce_keeps_the_list_and_takes_the_new_address() -> None:
    fetchers = Fetchers()
    fetchers.announced(card(1), 0.0, 10.0)
    fetchers.set(card(1).device_id, [ONE], 0.0)
    fetchers.announced(card(1, 9001), 5.0, 15.0)
    assert fetchers.of(ONE, 12.0) == [card(1, 9001)]


def test_it_ends_with_the_lease() -> None:
    fetchers = Fetchers()
    assert not fetchers.set(card(1).device_id, [ONE], 0.0)
    fetchers.announced(card(1), 0.0, 10.0)
    fetchers.set(card(1).device_id, [ONE], 0.0)
    assert fetchers.of(ONE, 10.0) == []
    assert not fetchers.set(card(1).device_id, [ONE], 10.0)
    fetchers.expire(10.0)
    assert (fetchers._devices, fetchers._by_content) == ({}, {})


def test_devices_are_bounded() -> None:
    fetchers = Fetchers()
    for number in range(limits.MAX_DEVICES):
        fetchers.announced(card(number), 0.0, 10.0)
    fetchers.announced(card(70_000), 5.0, 15.0)
    assert not fetchers.set(card(70_000).device_id, [ONE], 5.0)
    fetchers.announced(card(70_000), 10.0, 20.0)
    assert fetchers.set(card(70_000).device_id, [ONE], 10.0)


def test_only_leases_that_are_over_end_however_they_were_renewed() -> None:
    fetchers = Fetchers()
    for number in range(1, 6):
        fetchers.announced(card(number), float(number), 10.0 + number)
    fetchers.announced(card(1), 6.0, 16.0)
    fetchers.announced(card(3), 7.0, 17.0)
    fetchers.expire(14.0)
    assert [device_id[-1] for device_id in fetchers._devices] == [5, 1, 3]
    fetchers.expire(16.0)
    assert [device_id[-1] for device_id in fetchers._devices] == [3]
