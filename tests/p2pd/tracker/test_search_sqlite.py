"""Paging through windows: every hit once, whatever the data and however small the windows are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import hits_sqlite, ranking_sqlite, search_sqlite, tiers_sqlite, windows_sqlite
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.search import Place, parse
from protocol.searching import fold
from protocol.tracker import By, Entry, Search, SearchTerms, Sort
from tests.fakes.registry_contract import announce, device, entry, find, join, publish
from tests.fakes.steps import steps

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
@given(
    shares=ENTRIES, page=st.integers(1, 4), ext=st.sampled_from(["", "c", "c abc"]), least=st.integers(0, 5)
)
@pytest.mark.usefixtures("small_windows")
def test_of_everything_every_hit_comes_once(
    shares: list[tuple[int, str, int]], page: int, ext: str, least: int
) -> None:
    registry = fill(shares)
    try:
        hits = [hit.content_id[0] for hit in find(registry, by=By.ALL, ext=ext, sizes=(least, 99), page=page)]
    finally:
        registry.close()
    assert len(hits) == len(set(hits))
    suffix = "." + ext if ext else ""
    assert set(hits) == {
        n for n, name, by in shares if by != 3 and n >= least and fold(name).endswith(suffix)
    }


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("page", [1, 2, 5])
def test_many_contents_of_one_name_and_one_digest(registry: SqliteRegistry, page: int) -> None:
    same = [Entry(b"\x01" * 6 + bytes([n]) * 26, b"\x02" * 32, n, "same name.txt", n) for n in range(12)]
    join(registry, 1, *same)
    for by, text in (
        (By.NAME, "same name.txt"),
        (By.SHA256, "02" * 32),
        (By.ID, "01" * 6),
        (By.TEXT, "same"),
    ):
        hits = find(registry, text, by, page=page)
        assert sorted(hit.size for hit in hits) == list(range(12)), by


@pytest.mark.usefixtures("small_windows")
def test_an_empty_page_is_not_the_end(registry: SqliteRegistry) -> None:
    join(registry, 1, *(entry(n, f"alpha {n}") for n in range(1, 20)))
    join(registry, 2, entry(20, "alpha last"))
    registry.depart(device(1), 0.0)
    query = parse(Search(0, By.ALL))
    first = registry.search(query, 1, 0.0)
    assert first.items == []
    assert first.next is not None
    assert [hit.content_id[0] for hit in find(registry, "alpha")] == [20]
    assert [hit.content_id[0] for hit in find(registry, by=By.ALL)] == [20]


@pytest.mark.parametrize("by", [By.TEXT, By.ALL, By.ID])
def test_contents_with_very_many_names_make_short_pages(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch, by: By
) -> None:
    """One device could give a few contents all the names it may list: a page that read them all would take seconds."""
    monkeypatch.setattr(hits_sqlite, "ENTRIES", 10)
    same = [(b"\x01" * 6 + bytes([n]) * 26, f"alpha {i}") for n in range(9) for i in range(6)]
    join(registry, 1, *(Entry(content_id, content_id, 5, name, 1) for content_id, name in same))
    text = {By.TEXT: "alpha", By.ALL: "", By.ID: "01" * 6}[by]
    assert len(registry.search(parse(Search(0, by, text)), 100, 0.0).items) == 1
    hits = find(registry, text, by)
    assert sorted(hit.content_id[31] for hit in hits) == list(range(9))
    assert all(len(hit.names) == 6 for hit in hits)


def test_nobody_hides_a_content_by_listing_it_under_very_many_names(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than are read for a hit, and older ones; and again when all these are gone."""
    monkeypatch.setattr(hits_sqlite, "ROWS", 3)
    monkeypatch.setattr(hits_sqlite, "NAMES", 2)
    join(registry, 1, *(entry(1, f"junk {number}") for number in range(9)))
    join(registry, 2, entry(1, "holiday.mp4"))
    for now in (0.0, 1.0):
        for by, text in ((By.TEXT, "holiday"), (By.NAME, "holiday.mp4"), (By.ALL, ""), (By.ID, "01" * 8)):
            hits = find(registry, text, by, now=now)
            assert len(hits) == 1, (by, now)
            assert "holiday.mp4" in hits[0].names or (by in (By.ID, By.ALL) and not now), (by, now)
        registry.depart(device(1), 1.0)


def test_each_hit_knows_where_to_go_on(registry: SqliteRegistry) -> None:
    """The service cuts a page that grows too long: any hit may be the last of its page."""
    join(registry, 1, *(entry(n, f"alpha {n}") for n in range(1, 9)))
    for message in (Search(0, By.TEXT, "alpha"), Search(0, By.ALL)):
        query = parse(message)
        whole = registry.search(query, 100, 0.0).items
        for index, (_, after) in enumerate(whole):
            again = parse(Search(0, message.by, message.text, cursor=query.cursor(after)))
            assert registry.search(again, 100, 0.0).items == whole[index + 1 :]


def test_no_plan_scans_or_sorts_what_grows(registry: SqliteRegistry) -> None:
    """Flat cost: no statement of a page walks a whole table, apart from the bounded walk for short words."""
    join(registry, 1, *(entry(n, f"alpha {n}") for n in range(1, 9)))
    plans: list[str] = []
    database = registry._database
    plain = database.query

    def explained(sql: str, params: object = ()) -> list[object]:
        plans.extend(f"{row[3]} / {sql}" for row in plain("EXPLAIN QUERY PLAN " + sql, params))  # type: ignore[arg-type]
        return plain(sql, params)  # type: ignore[arg-type, return-value]

    database.query = explained  # type: ignore[method-assign, assignment]
    for by, text in (
        (By.TEXT, "alpha"),
        (By.TEXT, "a"),
        (By.ALL, ""),
        (By.ID, "01" * 5),
        (By.SHA256, "fe" * 32),
    ):
        find(registry, text, by)
    find(registry, "alpha 1", By.NAME)
    registry.holders(b"\x01" * 32, b"", 5, 0.0)
    registry.members(b"\x01" * 32, b"", 5, 0.0)
    scans = [
        plan
        for plan in plans
        if plan.startswith("SCAN")
        and "VIRTUAL TABLE" not in plan
        and not plan.startswith(("SCAN (subquery", "SCAN CONSTANT ROW"))
        and not plan.startswith(("SCAN era", "SCAN r /", "SCAN s /"))  # they are few
        and not (plan.startswith("SCAN name") and ("OFFSET" in plan or ":scanned" in plan))
    ]
    assert plans
    assert not scans


def listing(names: Iterable[str]) -> SqliteRegistry:
    """A device lists as many contents as there are names."""
    registry = SqliteRegistry(MEMORY)
    announce(registry, 1)
    entries = [
        Entry(number.to_bytes(4, "big") * 8, number.to_bytes(4, "big") * 8, 1, name, 1)
        for number, name in enumerate(names, 1 << 24)
    ]
    publish(registry, 1, 0, 1, entries, reset=True)
    registry.settle()
    return registry


def spellings(count: int) -> list[str]:
    """Names that fold to the same."""
    letters = "abcdefghijkl"
    return ["".join(c.upper() if n >> i & 1 else c for i, c in enumerate(letters)) for n in range(count)]


PAGE = 20


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (SearchTerms(0, By.TEXT, "foo"), lambda count: ["foo bar"] * count),
        (SearchTerms(0, By.TEXT, "foo", without=["bar"]), lambda count: ["foo bar"] * count),
        (SearchTerms(0, By.TEXT, "foo", sort=Sort.AGE), lambda count: ["foo bar"] * count),
        (SearchTerms(0, By.ALL), lambda count: ["foo bar"] * count),
        (SearchTerms(0, By.ALL), spellings),
        (SearchTerms(0, By.NAME, "foo bar"), lambda count: ["foo bar"] * count),
    ],
)
def test_a_page_in_the_middle_costs_the_same_whatever_one_device_lists(
    monkeypatch: pytest.MonkeyPatch, asked: SearchTerms, names: Callable[[int], list[str]]
) -> None:
    """Contents of one name, and names that fold to the same: of either it may list as many as it likes."""
    monkeypatch.setattr(ranking_sqlite, "LABELS", 100)
    monkeypatch.setattr(windows_sqlite, "NAMES", 50)

    def work(count: int) -> int:
        registry = listing(names(count))
        page = registry.search(parse(asked), PAGE, 0.0)
        for _ in range(count // 200):  # into the middle
            if page.next is None:
                break
            query = parse(replace(asked, cursor=parse(asked).cursor(page.next)))
            page = registry.search(query, PAGE, 0.0)
        assert page.next is not None
        query = parse(replace(asked, cursor=parse(asked).cursor(page.next)))
        taken = steps(registry, lambda: registry.search(query, PAGE, 0.0))
        registry.close()
        return taken

    assert work(4000) < 1.5 * work(400)


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (Search(0, By.ID, "ff" * 4), Place(text="00" * 64)),
        (SearchTerms(0, By.SHA256, "ff" * 4), Place(text="00" * 32)),
        (Search(0, By.TEXT, "zz"), Place(name=2**40, text="1.1", stage=3 * windows_sqlite.STEPS - 1)),
    ],
)
def test_a_forged_cursor_makes_nobody_read_everything(
    monkeypatch: pytest.MonkeyPatch, asked: Search, place: Place
) -> None:
    monkeypatch.setattr(windows_sqlite, "SCANNED", 100)

    def work(count: int) -> int:
        registry = listing(f"name {number}" for number in range(count))
        forged = parse(replace(asked, cursor=parse(asked).cursor(place)))
        taken = steps(registry, lambda: registry.search(forged, PAGE, 0.0))
        registry.close()
        return taken

    assert work(4000) < 1.5 * work(400)
