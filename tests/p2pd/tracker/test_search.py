"""Checked searches and cursors; nothing here touches a database."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker.search import BadCursor, BadQuery, Place, claim_of, order, parse, sort_key
from protocol.codec import encode
from protocol.tracker import MAX_CURSOR, By, Search, SearchTerms, Sort

WORDS = st.text(min_size=1, max_size=12)


CLAIM = claim_of(bytes(32), bytes(32), 2**40, 200_000)


def query(text: str, **fields: object):  # type: ignore[no-untyped-def]
    return parse(Search(0, By.TEXT, text, **fields))  # type: ignore[arg-type]


def test_trigrams_cover_long_words_and_the_extension() -> None:
    assert query("abcd xy ABC", ext="Tar").trigrams == ("abc", "bcd", ".ta", "tar")
    assert query("ab c").trigrams == ()
    assert query('a"b').trigrams == ('a"b',)


@pytest.mark.parametrize(
    "message",
    [
        Search(0, By.TEXT),
        Search(0, By.TEXT, "  \u3000 "),
        Search(0, By.TEXT, "\u0301"),
        Search(0, By.TEXT, "é" * 65),
        Search(0, By.TEXT, "a b c d e f g h i"),
        Search(0, By.TEXT, "nul\0nul"),
        Search(0, By.TEXT, "esc\x1b[0m"),
        Search(0, By.TEXT, "rtl\u202e"),
        Search(0, By.TEXT, "x", ext="."),
        Search(0, By.TEXT, "x", ext="\u0301"),
        Search(0, By.TEXT, "x", ext="a/b"),
        Search(0, By.ALL, ext="a\0b"),
        Search(0, By.ID, "0123abc"),
        Search(0, By.ID, "0" * 65),
        Search(0, By.ID, "0123456G"),
        Search(0, By.ID, "0123ABCD"),
        Search(0, By.ID, ""),
        Search(0, By.SHA256, "00" * 3),
        Search(0, By.SHA256, "00" * 33),
        SearchTerms(0, By.TEXT, "x", phrases=["-"]),
        SearchTerms(0, By.TEXT, "x", without_phrases=[" "]),
        SearchTerms(0, By.TEXT, "x", phrases=["a\0b"]),
        SearchTerms(0, By.TEXT, "x", without=["a b c d e f g h i"]),
        SearchTerms(0, By.TEXT, "x", phrases=["1", "2", "3", "4", "5", "6", "7", "8"]),
        SearchTerms(0, By.TEXT, "", without=["x"]),
        SearchTerms(0, By.ALL, without=["x"]),
        Search(0, By.SHA256, "xy" * 32),
        Search(0, By.NAME, ""),
        Search(0, By.ALL, "x"),
    ],
)
def test_bad_queries(message: Search) -> None:
    with pytest.raises(BadQuery):
        parse(message)


def test_words_are_folded_and_each_counts_once() -> None:
    assert query("Été  ete\tFILE").terms.words == ("ete", "file")
    assert query("", ext=".MP4").terms.suffix == query("", ext="mp4").terms.suffix == ".mp4"
    assert query("mp4").terms.suffix == ""


@pytest.mark.parametrize("sort", list(Sort))
def test_a_cursor_brings_back_its_place(sort: Sort) -> None:
    key = sort_key(sort, rank=1, sources=3, newest=2**40, size=2**40, name="名" * 341, claim=CLAIM)
    place = Place(5, 6, "", key, 2)
    cursor = query("alpha", sort=sort).cursor(place)
    assert len(cursor) <= MAX_CURSOR
    assert query("alpha", sort=sort, cursor=cursor).after == place
    assert query("alpha", sort=sort).cursor(None) == ""


def test_the_longest_name_fits_a_cursor() -> None:
    place = Place(text="é" * 512, content=2**61)
    cursor = parse(Search(0, By.ALL)).cursor(place)
    assert len(cursor) <= MAX_CURSOR
    assert parse(Search(0, By.ALL, cursor=cursor)).after == place


def test_a_cursor_belongs_to_its_search() -> None:
    cursor = query("alpha").cursor(Place(5, 6, "", (0, 0, 0, "a", CLAIM)))
    for other in (
        {"text": "beta"},
        {"text": "alpha", "ext": "mp4"},
        {"text": "alpha", "min_size": 1},
        {"text": "alpha", "max_size": 1},
        {"text": "alpha", "sort": Sort.SIZE},
    ):
        with pytest.raises(BadCursor):
            query(cursor=cursor, **other)
    assert query("alpha", limit=1, cursor=cursor).after.name == 5


def forged(message: Search, *fields: object) -> str:
    return base64.urlsafe_b64encode(encode((parse(message).digest, *fields))).decode().rstrip("=")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (1, 2, "", (1, 2, 3, "x", "y")),
        (1, 2, "", (1, 2), 0),
        (1, 2, "", (1, 2, 3, 4, "x"), 0),
        (1, 2, "", ("x", 2), 0),
        (1, 2, "", (), 0, 5),
        (-1, 2, "", (), 0),
        (1, 2, "", (), -1),
        (1, 2**62, "", (), 0),
        (1, 2**64 - 1, "", (), 0),
        ("1", 2, "", (), 0),
        (1, 2, b"", (), 0),
        (1, 2, "", [[1]], 0),
    ],
)
def test_forged_cursors_are_refused(fields: tuple[object, ...]) -> None:
    message = Search(0, By.TEXT, "alpha")
    with pytest.raises(BadCursor):
        query("alpha", cursor=forged(message, *fields))


def test_a_forged_place_among_ids_is_refused() -> None:
    message = Search(0, By.ID, "01234567")
    for text in ("", "00", "xy" * 64, "00" * 65):
        with pytest.raises(BadCursor):
            parse(Search(0, By.ID, "01234567", cursor=forged(message, 0, 1, text, (), 0)))


@given(st.text(min_size=1, max_size=60))
def test_noise_is_no_cursor(cursor: str) -> None:
    with pytest.raises(BadCursor):
        query("alpha", cursor=cursor)


def test_keys_order_names_without_case() -> None:
    keys = [sort_key(Sort.NAME, 0, 0, 0, 0, name, CLAIM) for name in ("b", "A", "a", "Á", "C")]
    assert [key[0] for key in sorted(keys, key=order)] == ["A", "a", "Á", "b", "C"]
