"""Which names an index gives for a search: more than are meant, never fewer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import windows_sqlite
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.search import Place, parse
from p2pd.tracker.trigrams_sqlite import Shares
from p2pd.tracker.windows_sqlite import ANY, BEGINNING, LAST, REST, STEPS, WHOLE, Sources, Window
from protocol.tracker import By, Search, SearchTerms
from tests.fakes.registry_contract import entry, join


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    names = ["pad", "pads", "notepad", "my pad", "a.b", "x a b", "--"]
    join(registry, 1, *(entry(number, name) for number, name in enumerate(names, 1)))
    join(registry, 2, *(entry(9, f"pad {number}") for number in range(3)))
    for who in range(3, 8):
        join(registry, who, entry(9, "pad 0"))
    registry.settle()
    yield registry
    registry.close()


def given(registry: SqliteRegistry, message: Search, window: Window) -> set[str] | None:
    take = Sources(parse(message), Shares(registry._database)).of(window)
    if take is None:
        return None
    rows, _ = take(registry._database, window)
    return {registry._database.query("SELECT name FROM name WHERE id = ?", (row,))[0][0] for row in rows}


POPULAR = {"pad 0", "pad 1", "pad 2"}


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        (WHOLE * STEPS, {"pad", "my pad", *POPULAR}),
        (WHOLE * STEPS + 1, set()),  # nobody has 32 holders
        (WHOLE * STEPS + 2, POPULAR),
        (WHOLE * STEPS + 3, {"pad", "my pad"}),
        (BEGINNING * STEPS, {"pads"}),
        (BEGINNING * STEPS + 3, {"pads"}),
        (REST * STEPS, {"pad", "my pad", "pads", "notepad", *POPULAR}),
        (ANY * STEPS, {"pad", "my pad", "pads", "notepad", *POPULAR}),
    ],
)
def test_the_names_of_a_stage(registry: SqliteRegistry, stage: int, names: set[str]) -> None:
    assert given(registry, Search(0, By.TEXT, "pad"), Window(stage)) == names


def test_words_with_punctuation_may_be_whole_in_other_ways(registry: SqliteRegistry) -> None:
    assert given(registry, Search(0, By.TEXT, "a.b"), Window(WHOLE)) == {"a.b", "x a b"}
    assert given(registry, Search(0, By.TEXT, "a.b"), Window(BEGINNING * STEPS)) == {"a.b", "x a b"}


def test_punctuation_and_phrases_are_whole_or_nothing(registry: SqliteRegistry) -> None:
    for message in (Search(0, By.TEXT, "--"), SearchTerms(0, By.TEXT, phrases=["a b"])):
        assert given(registry, message, Window(BEGINNING * STEPS)) is None
        assert given(registry, message, Window(REST * STEPS)) is None
    assert given(registry, Search(0, By.TEXT, "--"), Window(WHOLE)) == {"--"}
    assert given(registry, SearchTerms(0, By.TEXT, phrases=["a b"]), Window(WHOLE)) == {"a.b", "x a b"}


def test_short_words_are_looked_for_in_so_many_names(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = parse(Search(0, By.TEXT, "ot"))
    sources = Sources(query, Shares(registry._database))
    assert not sources.indexed
    take = sources.of(Window(REST * STEPS))
    assert take is not None
    assert take(registry._database, Window(REST * STEPS)) == ([3], 0)
    monkeypatch.setattr(windows_sqlite, "SCANNED", 4)
    assert take(registry._database, Window(REST * STEPS)) == ([], 1), "too many for one go"
    window = Window(REST * STEPS + 3)
    names: list[int] = []
    for _ in range(9):
        found, more = take(registry._database, window)
        names += found
        if not more:
            break
        window = Window(window.stage, more, LAST)
    assert names == [3]


def test_a_window_says_its_place() -> None:
    assert Window(7, 5, 6, end=(3, 4)).place() == Place(5, 6, "3.4", (), 7)
    assert (Window(0).tier, Window(1).tier, Window(3).tier, Window(5).quality) == (None, 2, 0, 1)
