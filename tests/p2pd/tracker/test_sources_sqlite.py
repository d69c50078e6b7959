"""Who has a content: the same answer whichever way it is found, in a time that nobody's lists can stretch."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import sources_sqlite
from p2pd.tracker.registry import Card
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.tracker import Publish
from tests.fakes.registry_contract import EPOCH, LEASE, announce, device, entry, join, publish
from tests.fakes.steps import steps

CONTENT = b"\x01" * 32
SHARES = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 2), st.integers(0, 2), st.integers(0, 4)), max_size=30
)
"""Entries: device, content, size, name."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares=SHARES, few=st.integers(0, 12), limit=st.integers(1, 8))
def test_devices_are_found_whichever_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, shares: list[tuple[int, int, int, int]], few: int, limit: int
) -> None:
    monkeypatch.setattr(sources_sqlite, "ENTRIES", few)
    registry = SqliteRegistry(MEMORY)
    for who in range(1, 7):
        listed = [entry(what, f"name {name}", size=size) for by, what, size, name in shares if by == who]
        join(registry, who, *listed)
    announce(registry, 4, port=0)
    registry.depart(device(5), 0.0)
    publish(registry, 6, 0, 99, [], reset=True)
    have = {by for by, what, _, _ in shares if what == 1} - {5, 6}
    found = [card.device_id[0] for card in registry.holders(CONTENT, device(1), limit, 0.0)]
    assert len(found) == len(set(found)) == min(limit, len(have - {1, 4}))
    assert set(found) <= have - {1, 4}
    listings = [item.card.device_id[0] for item in registry.members(CONTENT, device(1), limit, 0.0)]
    assert listings == sorted(have - {1})[:limit]
    registry.close()


@pytest.mark.parametrize("hidden", [False, True])
def test_the_work_is_bounded(hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as long for a device with very many names as for one with a few more than are gone through."""
    monkeypatch.setattr(sources_sqlite, "ENTRIES", 20)

    def work(listed: int, devices: int = 40) -> int:
        registry = SqliteRegistry(MEMORY)
        for number in range(devices):
            registry.announce(Card(number.to_bytes(20, "big"), "10.0.0.1", "", 8001), EPOCH, 9, 0.0, LEASE)
        lists = [entry(1, f"name {number}") for number in range(listed)]
        for batch in [Publish(0, EPOCH, 0, 1, True, False, lists, [])] + [
            Publish(0, EPOCH, 0, 2, True, False, [], [])
        ] * hidden:
            registry.publish(bytes(20), batch, 0.0, LEASE)

        def ask() -> None:
            assert len(registry.holders(CONTENT, b"", 9, 0.0)) == (not hidden)
            assert len(registry.members(CONTENT, b"", 9, 0.0)) == (not hidden)

        taken = steps(registry, ask)
        registry.close()
        return taken

    few = sources_sqlite.HIDDEN if hidden else 21
    assert work(10 * few) < 1.2 * work(few)
