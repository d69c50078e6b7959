"""p2pd/control/searching.py: what a person wrote, and what trackers are asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from p2pd.control import searching
from p2pd.control.searching import AHEAD, Ahead, Searching
from p2pd.peer.finding import Answer, Query
from p2pd.peer.service import PeerService
from protocol.errors import Fault
from protocol.tracker import By, Hit, Sort

DATE = "20240101"


def hit(content_id: bytes, name: str, sha256: bytes = bytes(32)) -> Hit:
    return Hit(content_id, sha256, 5, [name], 1, 0)


BY_ID = hit(bytes.fromhex(DATE) + b"i" * 28, "by id")
BY_SHA = hit(b"s" * 32, "by sha", bytes.fromhex(DATE) + b"s" * 28)
BY_NAME = [hit(bytes([n]) * 32, f"{DATE} {n}.jpg") for n in range(3)]


class FakeFinder:
    """Answers by kind of search; a page of words holds as many hits as asked for."""

    def __init__(self) -> None:
        self.asked: list[Query] = []
        self.faults: list[Fault] = []
        self.by: dict[By, list[Hit]] = {By.TEXT: BY_NAME}

    async def search(self, query: Query, limit: int, cursor: str) -> Answer:
        self.asked.append(query)
        hits = self.by.get(query.by, [])
        start = int(cursor or 0)
        end = start + limit
        return Answer(hits[start:end], str(end) if end < len(hits) else "", self.faults)


@pytest.fixture
def finder() -> FakeFinder:
    return FakeFinder()


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(finder: FakeFinder) -> Ask:
    peer = SimpleNamespace(finder=finder, catalogue=SimpleNamespace(holds=lambda content_id: False))
    methods = Searching(lambda: cast(PeerService, peer)).methods

    async def nothing(event: object) -> None:
        raise AssertionError("no progress")

    async def main(method: str, params: dict[str, Any]) -> dict[str, Any]:
        found = await methods[method](params, nothing)
        await asyncio.sleep(0)  # what was begun meanwhile
        return found

    def run(method: str = "search", **params: object) -> dict[str, Any]:
        return asyncio.run(main(method, params))

    return run


def test_quotation_marks_make_phrases(finder: FakeFinder, ask: Ask) -> None:
    ask(
        text=' "annual report" 2024 ',
        without=["draft", '"old copy"'],
        ext=".pdf",
        sort="age",
        max_size_bytes=7,
    )
    assert finder.asked == [
        Query(By.TEXT, "2024", "pdf", 0, 7, Sort.AGE, ("annual report",), ("draft",), ("old copy",))
    ]


@pytest.mark.parametrize(
    "params",
    [
        {"text": " "},
        {"text": '"annual'},
        {"text": '"-"'},
        {"text": "a", "without": ['"b']},
        {"text": "a", "without": ["x"] * 9},
        {"text": "a b c d e f g h i"},
        {"text": "x" * 129},
        {"text": "a\u202eb"},
        {"text": "sha256:12"},
        {"text": "sha256:" + "x" * 64},
        {"text": "a", "sort": "colour"},
    ],
)
def test_what_makes_no_sense_is_said_before_anybody_is_asked(
    finder: FakeFinder, ask: Ask, params: dict[str, object]
) -> None:
    with pytest.raises(Fault) as caught:
        ask(**params)
    assert caught.value.code == "usage"
    assert finder.asked == []


def test_by_sha256(finder: FakeFinder, ask: Ask) -> None:
    finder.by[By.SHA256] = [BY_SHA]
    assert [item["name"] for item in ask(text=" SHA256:2024010173737373 ")["items"]] == ["by sha"]
    assert ask(text="sha256:2024010173737373", without=["SHA"])["items"] == []
    assert [(query.by, query.text) for query in finder.asked] == [(By.SHA256, "2024010173737373")] * 2


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_digits_find_an_id_or_a_sha256_first_and_names_then(finder: FakeFinder, ask: Ask, limit: int) -> None:
    finder.by |= {By.ID: [BY_ID], By.SHA256: [BY_SHA, BY_ID]}
    finder.by[By.TEXT] = [BY_NAME[0], BY_ID, *BY_NAME[1:]]
    names: list[str] = []
    cursor = None
    while True:
        page = ask(text=DATE, limit=limit, cursor=cursor)
        assert len(page["items"]) <= limit
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == ["by id", "by sha", *(one.names[0] for one in BY_NAME)]


def test_digits_that_are_nobodys_id_are_a_word(finder: FakeFinder, ask: Ask) -> None:
    finder.faults = [Fault("network", "hub is away")]
    page = ask(text=DATE.upper())
    assert [item["name"] for item in page["items"]] == [one.names[0] for one in BY_NAME]
    assert (page["partial"], page["warnings"], page["next"]) == (True, ["hub is away"], None)
    assert [query.by for query in finder.asked] == [By.ID, By.SHA256, By.TEXT]


def test_all_files(finder: FakeFinder, ask: Ask) -> None:
    finder.by[By.ALL] = BY_NAME
    first = ask("all_files", limit=2)
    rest = ask("all_files", limit=2, cursor=first["next"])
    assert [item["name"] for item in first["items"] + rest["items"]] == [one.names[0] for one in BY_NAME]
    assert rest["next"] is None


def test_the_next_page_of_everything_is_asked_for_ahead(finder: FakeFinder) -> None:
    finder.by[By.ALL] = [hit(bytes([n]) * 32, f"{n}") for n in range(5)]

    async def main() -> None:
        ahead = Ahead()
        asked: list[str] = []

        async def ask(cursor: str) -> Answer:
            asked.append(cursor)
            return await finder.search(Query(By.ALL), 2, cursor)

        async def fails() -> Answer:
            raise Fault("network", "away")

        first = await ahead.take((2, ""), lambda: ask(""))
        ahead.begin((2, first.next), lambda: ask(first.next))
        second = await ahead.take((2, first.next), lambda: ask("not this"))
        assert (asked, second.next) == (["", "2"], "4")
        ahead.begin((2, "x"), fails)
        assert (await ahead.take((2, "x"), lambda: ask("4"))).next == ""
        for number in range(9):
            ahead.begin((2, f"{number}"), lambda: ask("4"))
        assert len(ahead._pages) == AHEAD
        ahead.begin((2, "8"), lambda: ask("4"))
        assert len(ahead._pages) == AHEAD
        for key in list(ahead._pages):
            ahead._drop(key)
        assert not ahead._pages
        ahead.begin((2, "y"), fails)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_pages_of_everything_follow_each_other(
    finder: FakeFinder, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "CONTROL_PAGE", 2)
    finder.by[By.ALL] = BY_NAME
    first = ask("all_files")
    assert len(first["items"]) == 2
    assert len(finder.asked) == 2, "the page after it as well"
    assert [item["name"] for item in ask("all_files", cursor=first["next"])["items"]] == [BY_NAME[2].names[0]]


@pytest.mark.parametrize(("empty", "found"), [(3, True), (99, False)])
def test_empty_pages_before_the_end_are_passed_over(
    finder: FakeFinder, ask: Ask, monkeypatch: pytest.MonkeyPatch, empty: int, found: bool
) -> None:
    pages = [Answer([], f"{number}", []) for number in range(empty)] + [Answer(BY_NAME, "", [])]

    async def search(query: Query, limit: int, cursor: str) -> Answer:
        return pages.pop(0)

    monkeypatch.setattr(finder, "search", search)
    page = ask(text="qz")
    assert bool(page["items"]) is found
    assert (page["next"] is None) is found
