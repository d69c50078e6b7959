"""p2pd/tracker/search_postgres.py: every hit once, whatever the data and however small the windows are."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from p2pd.tracker import search, search_postgres
from p2pd.tracker.registry_postgres import PostgresRegistry
from protocol.searching import rank_class
from protocol.tracker import By, Entry, Search, Sort
from tests.fakes import naive_search
from tests.fakes.naive_search import Asked
from tests.fakes.postgres import Server, empty
from tests.fakes.registry_contract import announce, device, entry, find, join, publish
from tests.fakes.registry_contract_searching import a_search, a_share, found, request, share


@pytest.fixture(scope="module")
def address(postgres: Server) -> str:
    made = postgres.make_database()
    PostgresRegistry(made).close()
    return made


@pytest.fixture
def registry(address: str) -> Iterator[PostgresRegistry]:
    empty(address)
    registry = PostgresRegistry(address)
    yield registry
    registry.close()


@pytest.mark.parametrize("window", [1, 3, 4])
def test_windows_change_the_order_and_nothing_else(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(search_postgres, "LABELS", window)
    for seed in range(8):
        rng = Random(100 * window + seed)
        entries = a_share(rng)
        share(registry, entries)
        for _ in range(4):
            asked = a_search(rng, [entry.name for _, entry in entries])
            try:
                terms = search.parse(request(asked)).terms
            except search.BadQuery:
                continue
            expected = naive_search.search(asked, entries)
            hits = found(registry, asked, rng.randrange(1, 7))
            assert sorted(hits) == sorted(expected), f"{seed}: {asked}"
            if asked.sort is Sort.RELEVANCE:
                classes = [
                    min(
                        rank_class(terms.rank(naive_search.plain(name)))
                        for name in names
                        if terms.matches(naive_search.plain(name))
                    )
                    for _, names, _, _ in hits
                ]
                assert classes == sorted(classes), "whole words come first all the same"


@pytest.mark.parametrize("by", [By.ALL, By.ID, By.SHA256, By.NAME])
def test_the_others_go_through_small_windows_too(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch, by: By
) -> None:
    shared = [Entry(b"\x11" * 31 + bytes([n]), b"\x22" * 32, n, "same.txt", 1) for n in range(9)]
    join(registry, 1, *shared, Entry(b"\x11" * 31 + b"\x01", b"\x22" * 32, 1, "other.txt", 1))
    text = {By.ALL: "", By.ID: "11" * 5, By.SHA256: "22" * 6, By.NAME: "same.txt"}[by]
    whole = [hit.content_id for hit in find(registry, text, by)]
    assert sorted(whole) == sorted(item.content_id for item in shared)
    monkeypatch.setattr(search_postgres, "LABELS", 2)
    for page in (1, 2, 5):
        assert [hit.content_id for hit in find(registry, text, by, page=page)] == whole


def test_a_page_is_filled_from_worse_matches(registry: PostgresRegistry) -> None:
    join(registry, 1, entry(1, "xabc"), entry(2, "abcd"), entry(3, "abc"))
    query = search.parse(Search(0, By.TEXT, "abc"))
    page = registry.search(query, 10, 0.0)
    assert [hit.names for hit, _ in page.items] == [["abc"], ["abcd"], ["xabc"]]
    assert page.next is None


def test_a_text_that_no_database_takes_finds_nothing(registry: PostgresRegistry) -> None:
    join(registry, 1, entry(1, "a"))
    assert find(registry, "a\0b", By.NAME) == []


def test_a_content_that_many_hold_is_counted_up_to_a_bound(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_postgres, "ROWS", 4)
    for who in range(6):
        join(registry, who, entry(1, "alpha"))
    assert find(registry, "alpha")[0].sources == 4
    assert len(registry.holders(b"\x01" * 32, b"", 9, 0.0)) == 6


@pytest.mark.parametrize("by", [By.TEXT, By.ALL, By.ID])
def test_contents_with_very_many_names_make_short_pages(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch, by: By
) -> None:
    monkeypatch.setattr(search_postgres, "ENTRIES", 10)
    monkeypatch.setattr(search_postgres, "PART", 2)
    same = [(b"\x01" * 31 + bytes([n]), f"alpha {i}") for n in range(9) for i in range(6)]
    join(registry, 1, *(Entry(content_id, content_id, 5, name, 1) for content_id, name in same))
    text = {By.TEXT: "alpha", By.ALL: "", By.ID: "01" * 20}[by]
    page = registry.search(search.parse(Search(0, by, text)), 100, 0.0)
    assert len(page.items) <= 2
    assert page.next is not None
    hits = find(registry, text, by)
    assert sorted(hit.content_id[31] for hit in hits) == list(range(9))
    assert all(len(hit.names) == 6 for hit in hits)


def test_nobody_hides_a_content_by_listing_it_under_very_many_names(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_postgres, "ROWS", 3)
    join(registry, 1, *(entry(1, f"junk {number}") for number in range(9)))
    join(registry, 2, entry(1, "holiday.mp4"))
    for now in (0.0, 1.0):
        for by, text in ((By.TEXT, "holiday"), (By.NAME, "holiday.mp4"), (By.ALL, ""), (By.ID, "01" * 8)):
            hits = find(registry, text, by, now=now)
            assert len({hit.content_id for hit in hits}) == 1, (
                by,
                now,
            )  # perhaps more than once in a list of all
            assert "holiday.mp4" in hits[0].names or (by in (By.ID, By.ALL) and not now), (by, now)
        registry.depart(device(1), 1.0)


def test_holders_and_members_are_those_with_a_lease(registry: PostgresRegistry) -> None:
    join(registry, 1, entry(1, "alpha"))
    join(registry, 2, entry(1, "alpha"))
    announce(registry, 3)
    registry.depart(device(2), 1.0)
    assert [card.device_id for card in registry.holders(b"\x01" * 32, b"", 9, 1.0)] in ([], [device(1)])
    assert [item.card.device_id for item in registry.members(b"", b"", 9, 1.0)] == [device(1), device(3)]
    assert [item.files for item in registry.members(b"\x01" * 32, b"", 9, 1.0)] == [1]


def test_a_listing_under_way_is_found_as_it_comes(registry: PostgresRegistry) -> None:
    announce(registry, 1)
    publish(registry, 1, 0, 5, [entry(1, "alpha 1")], reset=True, more=True)
    assert found(registry, Asked("alpha"), 9)[0][1] == ["alpha 1"]


def test_of_too_many_matches_those_that_many_have_are_ranked_first(
    registry: PostgresRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in range(5):
        join(
            registry,
            who,
            *(entry(10 * who + n, f"alpha {who}{n}") for n in range(5)),
            entry(99, "alpha loved"),
        )
    monkeypatch.setattr(search_postgres, "LABELS", 4)
    hits = find(registry, "alpha", page=3)
    assert hits[0].names == ["alpha loved"]
    assert len({hit.content_id for hit in hits}) == len(hits) == 26


def test_a_name_that_only_the_absent_gave_finds_nothing(registry: PostgresRegistry) -> None:
    join(registry, 1, entry(1, "old name"))
    join(registry, 2, entry(1, "new name"))
    registry.depart(device(1), 1.0)
    assert find(registry, "old name", By.NAME, now=1.0) == []
    assert find(registry, "old", now=1.0) == []
    assert [hit.names for hit in find(registry, "new name", By.NAME, now=1.0)] == [["new name"]]
