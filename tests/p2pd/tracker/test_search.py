"""What a search means: folding, words, ranks, cursors; nothing here touches a database."""

from __future__ import annotations

import base64
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker.search import BadCursor, BadQuery, Place, fold, order, parse, sort_key
from protocol.codec import encode
from protocol.tracker import MAX_CURSOR, By, Search, Sort

WORDS = st.text(min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Holiday.MP4", "holiday.mp4"),
        ("Éte\u0301", "ete"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁle", "file"),
        ("İstanbul", "istanbul"),
        ("ΣΊΣΥΦΟΣ ς", "σισυφοσ σ"),
        ("Ёж", "еж"),
        ("ｆｕｌｌ", "full"),
        ("x²", "x2"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text(max_size=30))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=10), st.text(max_size=10))
def test_a_piece_of_a_text_is_a_piece_of_its_folded_form(one: str, other: str) -> None:
    name = unicodedata.normalize("NFC", one + other)
    assert fold(name) == fold(one + other)
    assert fold(one) in fold(name)


def query(text: str, **fields: object):  # type: ignore[no-untyped-def]
    return parse(Search(0, By.TEXT, text, **fields))  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["alpha", "beta", "ga", "é", "x y", "."]), min_size=1, max_size=4))
def test_a_name_matches_its_own_words_in_any_order(parts: list[str]) -> None:
    name = " ".join(parts)
    assert query(" ".join(reversed(parts)).upper()).matches(fold(name))


@pytest.mark.parametrize(
    ("text", "name", "rank"),
    [
        ("photos", "photos", 0),
        ("photos", "photos/summer", 3),
        ("photos", "my photos 2/photo.jpg", 3),
        ("photos sum", "photos/summer", 4),
        ("pad", "my pad.txt", 0),
        ("pad", "pad", 0),
        ("pad", "padding", 1),
        ("pad", "notepad", 2),
        ("pad", "notepad padding", 1),
        ("pad", "notepad padding pad", 0),
        ("pad", "1pad", 2),
        ("my pad", "my padding", 1),
        ("my pad", "amy notepad", 4),
        (".txt", "a.txt", 0),
        (".t", "a.txt", 1),
        ("本", "日本語", 2),
        ("日本語", "日本語 x", 0),
    ],
)
def test_rank(text: str, name: str, rank: int) -> None:
    assert query(text).rank(fold(name)) == rank


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
        Search(0, By.SHA256, "00" * 31),
        Search(0, By.SHA256, "xy" * 32),
        Search(0, By.NAME, ""),
        Search(0, By.ALL, "x"),
    ],
)
def test_bad_queries(message: Search) -> None:
    with pytest.raises(BadQuery):
        parse(message)


def test_words_are_folded_and_each_counts_once() -> None:
    assert query("Été  ete\tFILE").words == ("ete", "file")
    assert query("", ext=".MP4").suffix == query("", ext="mp4").suffix == ".mp4"
    assert query("mp4").suffix == ""


@pytest.mark.parametrize("sort", list(Sort))
def test_a_cursor_brings_back_its_place(sort: Sort) -> None:
    key = sort_key(sort, rank=1, sources=3, newest=2**40, size=2**40, name="名" * 341, row=7)
    place = Place(5, 6, "", key)
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
    cursor = query("alpha").cursor(Place(5, 6, "", (0, 0, 0, 1)))
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
        (1, 2, "", (1, 2)),
        (1, 2, "", (1, 2, 3, "x")),
        (1, 2, "", ("x", 2)),
        (1, 2, "", (1, 2, 3, 4), 5),
        (-1, 2, "", ()),
        (1, 2**62, "", ()),
        (1, 2**64 - 1, "", ()),
        ("1", 2, "", ()),
        (1, 2, b"", ()),
        (1, 2, "", [[1]]),
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
            parse(Search(0, By.ID, "01234567", cursor=forged(message, 0, 1, text, ())))


@given(st.text(min_size=1, max_size=60))
def test_noise_is_no_cursor(cursor: str) -> None:
    with pytest.raises(BadCursor):
        query("alpha", cursor=cursor)


def test_keys_order_names_without_case() -> None:
    keys = [sort_key(Sort.NAME, 0, 0, 0, 0, name, 1) for name in ("b", "A", "a", "Á", "C")]
    assert [key[0] for key in sorted(keys, key=order)] == ["A", "a", "Á", "b", "C"]
