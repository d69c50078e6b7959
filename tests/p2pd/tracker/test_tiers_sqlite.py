"""Popular names get words of their own in the index, once and for as long as they are there."""

from __future__ import annotations

from p2pd.storage.sqlite import MEMORY, Database, load_migrations
from p2pd.tracker.tiers_sqlite import Rises, marked, tier_of, unindex, words


def found(database: Database, word: str) -> list[int]:
    rows = database.query("SELECT rowid FROM name_word WHERE name_word MATCH ?", (f'"{word}"',))
    return [row[0] for row in rows]


def test_tiers_begin_at_their_numbers_of_holders() -> None:
    assert [tier_of(holders) for holders in (1, 3, 4, 31, 32, 1000)] == [0, 0, 1, 1, 2, 2]


def test_words_are_told_once_for_each_tier() -> None:
    assert words("a-b a", 0) == "a b"
    assert words("a-b", 2).split() == [marked(word, tier) for tier in range(3) for word in "ab"]


def test_names_rise_together_and_only_once() -> None:
    database = Database(MEMORY, load_migrations("p2pd.tracker"), 1)
    rises = Rises()
    with database.transaction() as cursor:
        for row, name in ((1, "alpha one"), (2, "alpha two"), (3, "beta")):
            cursor.execute("INSERT INTO name (id, name, folded, tier) VALUES (?, ?, ?, 0)", (row, name, name))
            cursor.execute("INSERT INTO name_word (rowid, words) VALUES (?, ?)", (row, words(name, 0)))
        for row, tier in ((2, 1), (1, 2), (2, 2), (1, 1), (9, 2)):
            rises.note(row, tier)
        assert found(database, marked("alpha", 1)) == []
        assert rises.apply(cursor) == 2
        assert rises.apply(cursor) == 0, "they are done"
        rises.note(1, 1)
        assert rises.apply(cursor) == 0, "it is above"
        rises.note(3, 1)
        rises.forget()
        assert rises.apply(cursor) == 0
    assert found(database, marked("alpha", 2)) == found(database, marked("alpha", 1)) == [1, 2]
    assert found(database, "alpha") == [1, 2]
    assert found(database, marked("beta", 1)) == []
    with database.transaction() as cursor:
        unindex(cursor, 1, "alpha one", 2)
    for tier in range(3):
        assert found(database, marked("alpha", tier)) == [2]
    database.close()
