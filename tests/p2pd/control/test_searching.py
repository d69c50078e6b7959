"""p2pd/control/searching.py: what a person wrote, and what trackers are asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from p2pd.control.searching import Searching
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
    searching = Searching(lambda: cast(PeerService, peer))

    async def nothing(event: object) -> None:
        raise AssertionError("no progress")

    def run(method: str = "search", **params: object) -> dict[str, Any]:
        return asyncio.run(cast(Any, searching.methods[method](params, nothing)))

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
