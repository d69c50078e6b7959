"""p2pd/peer/merging.py: pages of several trackers are those of one, whatever the trackers know and however long pages are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.peer import merging as merging_module
from p2pd.peer.merging import Pages, Part, Seen, key_of, merge, plainly_named, read_cursor, write_cursor
from protocol.errors import Fault
from protocol.searching import terms
from protocol.tracker import By, Hit, Sort

WORDS = terms("alpha", (), (), (), "")


def hit(number: int, name: str, sources: int = 1, added_at: int = 1) -> Hit:
    return Hit(bytes([number]) * 32, bytes(32), number, [name], sources, added_at)


class Tracker:
    """Gives its hits in order, `page` at a time at most; the cursor is a position."""

    def __init__(self, name: str, hits: list[Hit], sort: Sort, page: int) -> None:
        self.name = name
        self.hits = sorted(hits, key=key_of(By.TEXT, sort, WORDS))
        self.page = page

    def part(self, mark: tuple[str, int], limit: int) -> Part:
        start = int(mark[0] or 0)
        end = start + min(self.page, limit + mark[1])
        return Part(self.name, mark, self.hits[start:end], str(end) if end < len(self.hits) else "")


def everything(trackers: list[Tracker], sort: Sort, limit: int) -> list[Hit]:
    """All hits, page by page, by cursors."""
    pages, cursor, found = Pages(), "", []
    for _ in range(1000):
        marks, seen = pages.read(cursor)
        asked = [t for t in trackers if not cursor or t.name in marks]
        parts = [t.part(marks.get(t.name, ("", 0)), limit) for t in asked]
        hits, following = merge(parts, limit, key_of(By.TEXT, sort, WORDS), seen)
        assert len(hits) <= limit
        found += hits
        cursor = pages.write(following, seen, several=len(trackers) > 1)
        if not cursor:
            return found
    raise AssertionError("the pages do not end")


CONTENTS = st.lists(
    st.tuples(
        st.sampled_from(["alpha", "alphas", "xalpha", "alpha/b", "b alpha", "Alpha"]),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sets(st.integers(0, 2), min_size=1),
    ),
    max_size=25,
)


@given(CONTENTS, st.sampled_from(list(Sort)), st.integers(1, 7), st.integers(1, 7))
def test_the_order_is_that_of_one_tracker_that_knows_all(
    contents: list[tuple[str, int, int, set[int]]], sort: Sort, limit: int, page: int
) -> None:
    hits = [hit(number, name, sources, date) for number, (name, sources, date, _) in enumerate(contents)]
    trackers = [
        Tracker(
            f"t{n}", [h for h, (_, _, _, where) in zip(hits, contents, strict=True) if n in where], sort, page
        )
        for n in range(3)
    ]
    one = Tracker("one", hits, sort, page)
    assert everything(trackers, sort, limit) == everything([one], sort, limit) == one.hits


@given(CONTENTS, st.integers(1, 7), st.integers(1, 7))
def test_each_content_comes_once_even_when_trackers_know_it_differently(
    contents: list[tuple[str, int, int, set[int]]], limit: int, page: int
) -> None:
    trackers = [
        Tracker(
            f"t{n}",
            [
                hit(number, name, sources + 7 * n, date)
                for number, (name, sources, date, where) in enumerate(contents)
                if n in where
            ],
            Sort.SOURCES,
            page,
        )
        for n in range(3)
    ]
    found = [h.content_id for h in everything(trackers, Sort.SOURCES, limit)]
    assert sorted(found) == [bytes([number]) * 32 for number in range(len(contents))]


def test_copies_are_united() -> None:
    parts = [
        Part("a", ("", 0), [hit(1, "alpha", 2, 9)], ""),
        Part("b", ("", 0), [hit(1, "other", 5, 3)], ""),
    ]
    hits, marks = merge(parts, 9, key_of(By.ALL, Sort.RELEVANCE, None), Seen({}, 0, ""))
    assert [(h.names, h.sources, h.added_at) for h in hits] == [(["alpha", "other"], 5, 9)]
    assert marks == {}


def test_a_page_asked_for_again_is_the_same() -> None:
    pages = Pages()
    trackers = [Tracker(f"t{n}", [hit(i, "alpha", i) for i in range(9)], Sort.SOURCES, 4) for n in range(2)]
    key = key_of(By.TEXT, Sort.SOURCES, WORDS)

    def page(cursor: str) -> tuple[list[bytes], str]:
        marks, seen = pages.read(cursor)
        parts = [t.part(marks.get(t.name, ("", 0)), 3) for t in trackers if not cursor or t.name in marks]
        hits, following = merge(parts, 3, key, seen)
        return [h.content_id for h in hits], pages.write(following, seen, several=True)

    first, cursor = page("")
    assert page(cursor)[0] == page(cursor)[0] != first


def test_a_long_cursor_is_kept_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging_module, "SEARCHES", 1)
    pages = Pages()
    marks = {"a:9000": ("x" * 2000, 3), "b:9000": ("y" * 2000, 0)}
    cursor = pages.write(marks, pages.read("")[1], several=True)
    assert len(cursor) < 100
    assert pages.read(cursor)[0] == marks
    pages.write(marks, pages.read("")[1], several=True)  # another search: the first is forgotten
    with pytest.raises(Fault):
        pages.read(cursor)


def test_cursors() -> None:
    assert write_cursor({}) == ""
    assert read_cursor("") == ({}, "", 0)
    marks = {"a:9000": ("c", 2), "[::1]:9000": ("", 0)}
    assert read_cursor(write_cursor(marks, "n", 4)) == (marks, "n", 4)


@pytest.mark.parametrize(
    "cursor", ["x", "e30=", "W10=", "WyIiLCAwLCB7ImEiOiBbMSwgMl19XQ==", "WyIiLCAtMSwge31d"]
)
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(Fault) as caught:
        Pages().read(cursor)
    assert caught.value.code == "usage"


@pytest.mark.parametrize(
    ("by", "hits"),
    [
        (By.ALL, [hit(9, "a"), hit(1, "B"), hit(2, "c")]),
        (By.ID, [hit(1, "z"), hit(2, "a")]),
        (By.SHA256, [hit(1, "z"), hit(2, "a")]),
    ],
)
def test_other_orders(by: By, hits: list[Hit]) -> None:
    key = key_of(by, Sort.RELEVANCE, None)
    mixed = hits[::-1]
    assert sorted(mixed, key=key) == hits


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["downloaded_a.txt", "a.txt"], ["a.txt", "downloaded_a.txt"]),
        (["x/a.txt", "downloaded_a.txt", "b", "a.txt"], ["b", "a.txt", "x/a.txt", "downloaded_a.txt"]),
        (["b", "downloaded_a.txt", "a.txt"], ["b", "downloaded_a.txt", "a.txt"]),
        (["a.txt"], ["a.txt"]),
        (["downloaded_a (1).txt", "a.txt"], ["a.txt", "downloaded_a (1).txt"]),
        (["a (2)", "a (1)", "a"], ["a", "a (2)", "a (1)"]),
        (["a (2).txt", "a (1).txt"], ["a (2).txt", "a (1).txt"]),
        (["downloaded_two", "x/two", "downloaded_x/two"], ["x/two", "downloaded_two", "downloaded_x/two"]),
    ],
)
def test_the_name_without_a_prefix_comes_first(names: list[str], shown: list[str]) -> None:
    one = hit(1, "a")
    assert plainly_named(Hit(one.content_id, one.sha256, 1, names, 1, 1)).names == shown
