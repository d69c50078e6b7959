"""Contents with what is known of them now, also of those that more devices have than are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import hits_sqlite
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.search import parse
from protocol.tracker import By, Search
from tests.fakes.registry_contract import device, entry, find, join


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    yield registry
    registry.close()


def test_contents_come_with_their_names_and_sources(registry: SqliteRegistry) -> None:
    join(registry, 1, entry(1, "b", 5), entry(1, "a", 6), entry(2, "c"))
    join(registry, 2, entry(1, "b", 7))
    join(registry, 3, entry(1, "gone"), entry(2, "c"))
    registry.depart(device(3), 0.0)
    found, beyond = hits_sqlite.held(registry._database, registry._crowds, [1, 2, 99], 0.0, 99)
    assert set(found) == {1, 2}
    assert not beyond
    assert (found[1].sources, found[1].newest, found[1].holders) == (2, 7, 4)
    assert sorted(name for _, name, _, _ in found[1].names) == ["a", "b"]
    assert (found[2].sources, [name for _, name, _, _ in found[2].names]) == (1, ["c"])
    hit = hits_sqlite.hit(parse(Search(0, By.TEXT, "b")), found[1])
    assert hit is not None
    assert hit.names == ["b", "a"]
    assert hits_sqlite.hit(parse(Search(0, By.TEXT, "c")), found[1]) is None


def test_what_comes_after_very_many_entries_is_left_for_later(registry: SqliteRegistry) -> None:
    join(registry, 1, entry(1, "a"), entry(1, "b"), entry(2, "c"), entry(3, "d"))
    for entries, rows in ((0, {1}), (2, {1}), (3, {1, 2}), (4, {1, 2, 3})):
        found, beyond = hits_sqlite.held(registry._database, registry._crowds, [1, 2, 3], 0.0, entries)
        assert set(found) == rows
        assert beyond == {1, 2, 3} - rows


def test_more_holders_than_are_counted_hide_no_name(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hits_sqlite, "ROWS", 3)
    for who in range(9):
        join(registry, who, entry(1, "common name", who))
    join(registry, 9, entry(1, "rare name"))
    registry.depart(device(0), 0.0)
    for text in ("common", "rare"):
        [hit] = find(registry, text)
        assert sorted(hit.names) == ["common name", "rare name"]
        assert hit.sources == 3
