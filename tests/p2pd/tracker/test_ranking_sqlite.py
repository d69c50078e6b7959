"""Searching by words, class by class, tier by tier, window by window: every hit once, whatever comes and goes meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import hits_sqlite, ranking_sqlite, search_sqlite, tiers_sqlite, windows_sqlite
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.search import BadCursor, Place, parse
from protocol.searching import fold
from protocol.tracker import By, Gone, Search, Sort
from tests.fakes.registry_contract import announce, device, entry, find, join, publish

NAMES = st.lists(
    st.sampled_from(["a", "ab", "abc", "xabc", "Abcd", "é", "b.c", "cab"]), min_size=1, max_size=3
).map(" ".join)
ENTRIES = st.lists(st.tuples(st.integers(1, 9), NAMES, st.integers(1, 3)), max_size=25)
TEXTS = st.sampled_from(["abc", "a", "b", "ab c", "abc xab", "e", "bcd"])


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    yield registry
    registry.close()


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too much for one go, and two devices make a content popular."""
    monkeypatch.setattr(windows_sqlite, "NAMES", 3)
    monkeypatch.setattr(windows_sqlite, "WINDOW", 2)
    monkeypatch.setattr(ranking_sqlite, "LABELS", 3)
    monkeypatch.setattr(windows_sqlite, "SCANNED", 4)
    monkeypatch.setattr(ranking_sqlite, "EXACT", 2)
    monkeypatch.setattr(tiers_sqlite, "TIERS", (2, 3))
    monkeypatch.setattr(search_sqlite, "ROWS", 3)
    monkeypatch.setattr(hits_sqlite, "ENTRIES", 4)


def fill(shares: list[tuple[int, str, int]]) -> SqliteRegistry:
    registry = SqliteRegistry(MEMORY)
    for who in (1, 2, 3):
        join(
            registry,
            who,
            *(entry(number, name, added_at=number + who) for number, name, by in shares if by == who),
        )
    registry.depart(device(3), 0.0)
    registry.settle()
    return registry


def expected(shares: list[tuple[int, str, int]], words: list[str]) -> set[int]:
    return {n for n, name, by in shares if by != 3 and all(word in fold(name) for word in words)}


PROPERTY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@PROPERTY
@given(shares=ENTRIES, text=TEXTS, sort=st.sampled_from(list(Sort)), page=st.integers(1, 4))
@pytest.mark.usefixtures("small_windows")
def test_by_words_every_hit_comes_once(
    shares: list[tuple[int, str, int]], text: str, sort: Sort, page: int
) -> None:
    registry = fill(shares)
    try:
        hits = [hit.content_id[0] for hit in find(registry, text, sort=sort, page=page)]
    finally:
        registry.close()
    assert len(hits) == len(set(hits))
    assert set(hits) == expected(shares, text.split())


def test_a_new_file_does_not_disturb_a_search_under_way(registry: SqliteRegistry) -> None:
    join(registry, 1, *(entry(n, f"alpha {n:02}") for n in range(10, 20)))
    message = Search(0, By.TEXT, "alpha", sort=Sort.NAME)
    query = parse(message)
    first = registry.search(query, 4, 0.0)
    join(registry, 2, entry(1, "alpha 00"), entry(99, "alpha 99"))
    rest = parse(Search(0, By.TEXT, "alpha", sort=Sort.NAME, cursor=query.cursor(first.next)))
    second = registry.search(rest, 100, 0.0)
    found = [hit.content_id[0] for hit, _ in first.items + second.items]
    assert found == [*range(10, 20), 99]


@pytest.mark.usefixtures("small_windows")
def test_whole_words_of_popular_contents_come_first_when_there_are_too_many(registry: SqliteRegistry) -> None:
    few = [
        entry(n, f"{name} {n}")
        for n, name in enumerate(["xpad", "pads", "pad", "pad", "pads", "xpad", "pad"], 1)
    ]
    join(registry, 1, *few)
    join(registry, 2, few[3])
    join(registry, 3, few[3], few[6])
    names = [hit.names[0] for hit in find(registry, "pad", page=2)]
    assert names[:3] == ["pad 4", "pad 7", "pad 3"]
    assert {name[:4] for name in names[3:5]} == {"pads"}
    assert {name[:4] for name in names[5:]} == {"xpad"}


@pytest.mark.parametrize("text", ["x", "1", "1.2.3", "1.x", "-1.2", "99999999999999999999.1", "1.²"])
def test_a_forged_end_of_a_window_is_refused(registry: SqliteRegistry, text: str) -> None:
    query = parse(Search(0, By.TEXT, "alpha"))
    cursor = query.cursor(Place(5, 6, text, (), 1))
    with pytest.raises(BadCursor):
        registry.search(parse(Search(0, By.TEXT, "alpha", cursor=cursor)), 10, 0.0)


@pytest.mark.parametrize("stage", [0, 3, 7, 11, 12, 15, 16, 2**61])
def test_a_forged_stage_does_no_harm(registry: SqliteRegistry, stage: int) -> None:
    join(registry, 1, entry(1, "alpha"))
    query = parse(Search(0, By.TEXT, "alpha"))
    cursor = query.cursor(Place(5, 6, "", (), stage))
    assert len(registry.search(parse(Search(0, By.TEXT, "alpha", cursor=cursor)), 10, 0.0).items) <= 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), sort=st.sampled_from(list(Sort)), page=st.integers(1, 4))
@pytest.mark.usefixtures("small_windows")
def test_what_does_not_change_comes_once_while_others_come_and_go(seed: int, sort: Sort, page: int) -> None:
    rng = random.Random(seed)
    registry = SqliteRegistry(MEMORY)
    text = rng.choice(["abc", "ab", "b", "bc"])
    message = Search(0, rng.choice([By.TEXT, By.ALL]), sort=sort, limit=page)
    if message.by is By.TEXT:
        message = replace(message, text=text)
    steady = [
        entry(n, rng.choice(["abc", "ab c", "xabc", "abcd", "ab", "b-c"]) + f" {n}", n) for n in range(1, 15)
    ]
    try:
        join(registry, 1, *steady)
        announce(registry, 2)
        publish(registry, 2, 0, 1, [], reset=True)
        seen: list[int] = []
        revision, cursor = 1, ""
        for _ in range(500):
            query = parse(replace(message, cursor=cursor))
            found = registry.search(query, page, 0.0)
            seen += [hit.content_id[0] for hit, _ in found.items]
            cursor = query.cursor(found.next)
            if not cursor:
                break
            others = [
                entry(100 + rng.randrange(9), rng.choice(["abc", "ab", "zab c", "b"])) for _ in range(3)
            ]
            gone = [Gone(one.content_id, one.name) for one in others[:1]]
            publish(registry, 2, revision, revision + 1, others[1:], gone)
            revision += 1
        else:
            raise AssertionError("the pages do not end")
    finally:
        registry.close()
    expected = {one.content_id[0] for one in steady if message.by is By.ALL or text in one.name}
    assert sorted(number for number in seen if number < 100) == sorted(expected)
