"""Of a search's trigrams the rarest are looked up, and only as many as it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import trigrams_sqlite, windows_sqlite
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.search import parse
from p2pd.tracker.trigrams_sqlite import Shares, match, telling
from protocol.tracker import By, Search, SearchTerms
from tests.fakes.registry_contract import entry, find, join


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    join(registry, 1, *(entry(number, f"common words {number}") for number in range(1, 100)))
    join(registry, 2, entry(100, "rare common"), entry(101, "rare"), entry(102, "seldom words"))
    yield registry
    registry.close()


def test_trigrams_are_from_the_middle_of_words_and_phrases() -> None:
    assert telling(parse(Search(0, By.TEXT, "abc ab abcdef", ext="gz"))) == [["abc"], ["bcd", "cde"], [".gz"]]
    phrase = SearchTerms(0, By.TEXT, "", phrases=["one two"], without=["three"])
    assert telling(parse(phrase)) == [["one"], ["two"]]


def test_they_are_quoted_and_told_once() -> None:
    assert match(['a"b', "abc", 'a"b']) == '"a""b" AND "abc"'


def test_the_rarest_of_each_word_comes_first(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [["com", "mmo"], ["are", "rar"], ["ord"]]
    shares = Shares(registry._database)
    monkeypatch.setattr(trigrams_sqlite, "FEW", 0)
    first, *rest = shares.rarest(words)
    assert first in ("are", "rar")
    assert rest == [], "nothing is expected to be left"
    assert len(shares.rarest([["com"], ["ord"]])) == 2
    monkeypatch.setattr(trigrams_sqlite, "FEW", 1000)
    assert len(shares.rarest([["com"], ["ord"]])) == 1


def test_they_are_counted_once_until_there_are_more_names(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigrams_sqlite, "FEW", 0)
    shares = Shares(registry._database)
    asked: list[str] = []
    registry._database._connection.set_trace_callback(asked.append)
    assert shares.rarest([["rar"], ["com"]]) == shares.rarest([["rar"], ["com"]]) == ["rar"]
    assert sum("name_trigram" in sql for sql in asked if sql.startswith("SELECT rowid")) == 2
    join(registry, 3, *(entry(number, f"rare things {number}") for number in range(110, 200)))
    assert len(shares.rarest([["rar"], ["com"]])) == 2, "both are common now"
    registry._database._connection.set_trace_callback(None)


def test_what_was_left_out_is_compared(registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigrams_sqlite, "FEW", 1000)
    for names in (1000, 50):  # with less room, all trigrams are looked up after all
        monkeypatch.setattr(windows_sqlite, "NAMES", names)
        assert [hit.names for hit in find(registry, "common rare")] == [["rare common"]]
        assert len(find(registry, "common words")) == 99
        assert [hit.names for hit in find(registry, "words seldom")] == [["seldom words"]]
