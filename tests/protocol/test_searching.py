"""What a search by words means: folding, words, phrases, ranks. The order of whole answers is compared in
tests/fakes/registry_contract_searching.py.
"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.searching import ABSENT, BadTerms, Terms, fold, kind, rank_class, spaced, split, terms


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


def wanted(text: str, phrases: tuple[str, ...] = ()) -> Terms:
    return terms(text, phrases, (), (), "")


@given(st.lists(st.sampled_from(["alpha", "beta", "ga", "é", "x y", "."]), min_size=1, max_size=4))
def test_a_name_matches_its_own_words_in_any_order(parts: list[str]) -> None:
    name = " ".join(parts)
    assert wanted(" ".join(reversed(parts)).upper()).matches(fold(name))


@pytest.mark.parametrize(
    ("text", "best_first"),
    [
        ("pad", ["my pad.txt", "pad/x", "padding", "padding/x", "notepad", "notepad/x"]),
        ("pad", ["pad", "notepad padding"]),
        ("pad", ["padding", "1pad"]),
        ("photos", ["photos", "photos/summer", "photosummer"]),
        ("my pad", ["my pad", "my/pad", "my padding", "mypad pads", "amy notepad"]),
        (".txt", ["a.txt", "a.txts"]),
        ("日本語", ["日本語 x", "日本語x"]),
    ],
)
def test_better_matches_rank_lower(text: str, best_first: list[str]) -> None:
    ranks = [wanted(text).rank(fold(name)) for name in best_first]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(
    ("text", "name", "which"),
    [
        ("pad", "my pad.txt", 0),
        ("pad", "notepad padding pad", 0),
        ("pad", "pad/file", 0),
        ("pad", "padding", 1),
        ("pad", "notepad", 2),
        ("pad my", "my notepad", 2),
        ("pad my", "mysterious pad", 1),
        ("本", "日本語", 2),
        (".t", "a.txt", 1),
        ("", "a", 0),
    ],
)
def test_the_class_is_that_of_the_worst_word(text: str, name: str, which: int) -> None:
    assert rank_class(wanted(text, ("x",)).rank(name)) == which


def plainly(word: str, folded: str) -> int:
    """What `kind` means, looked at in the simplest way."""
    found = [ABSENT]
    for start in range(len(folded)):
        if folded.startswith(word, start):
            end = start + len(word)
            begins = not (start and folded[start - 1].isalnum() and word[0].isalnum())
            ends = not (end < len(folded) and folded[end].isalnum() and word[-1].isalnum())
            found.append(2 if not begins else 0 if ends else 1)
    return min(found)


@given(st.text("ab.-_é/", min_size=1, max_size=3), st.text("ab.-_é/ ", max_size=40), st.integers(1, 12))
def test_how_a_name_holds_a_word_however_often(word: str, name: str, times: int) -> None:
    assert kind(word, name * times) == plainly(word, name * times)


class Counted(str):
    """A text that counts how often something is looked for in it."""

    looks = 0

    def find(self, *args: object) -> int:  # type: ignore[override]
        self.looks += 1
        return super().find(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "name", "how"),
    [("ba", "x" + "ba" * 500, 2), ("a", "a " * 400 + "a", 0), ("a.b", "xa.b" * 200, 2)],
)
def test_a_name_made_of_one_word_many_times_costs_no_more_than_others(word: str, name: str, how: int) -> None:
    counted = Counted(name)
    assert kind(word, counted) == how
    assert counted.looks < 10


def test_a_phrase_counts_less_when_only_a_directory_has_it() -> None:
    phrase = wanted("", ("annual report",))
    assert phrase.rank("annual report") < phrase.rank("annual report/x") < wanted("rep").rank("report")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("annual_report-2024.pdf", " annual report 2024 pdf "),
        ("--", ""),
        ("a/b c/--/d", " a / b c // d "),
        ("x", " x "),
        ("", ""),
    ],
)
def test_spaced(text: str, plain: str) -> None:
    assert spaced(text) == plain


@pytest.mark.parametrize(
    ("text", "words", "phrases"),
    [
        ('"annual report" 2024', ["2024"], ["annual report"]),
        ('a "b c" d "e"', ["a", "d"], ["b c", "e"]),
        ('12" vinyl', ['12"', "vinyl"], []),
        ('"a b"c', ["c"], ["a b"]),
        ("don't", ["don't"], []),
        ("  ", [], []),
    ],
)
def test_split(text: str, words: list[str], phrases: list[str]) -> None:
    assert split(text) == (words, phrases)


@pytest.mark.parametrize("text", ['"', 'a "b c', '"a" "'])
def test_a_phrase_that_is_not_closed_is_said(text: str) -> None:
    with pytest.raises(BadTerms, match="closed"):
        split(text)


@given(st.text(max_size=40))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        words, phrases = split(text)
    except BadTerms:
        assert '"' in text
        return
    assert (
        "".join("".join(words + phrases).split()).replace('"', "")
        == "".join("".join(text.split()).replace('"', ""))
        or phrases
    )


def test_what_it_is_without_is_folded_as_well() -> None:
    one = terms("x", (), ("ÉTÉ b",), ("A-b",), ".mp4")
    assert one == Terms(("x",), (), ("ete", "b"), (" a b ",), ".mp4")
    assert one.matches("x a.mp4")
    for name in ("x ete.mp4", "x b.mp4", "x a b.mp4", "x.mp3", "a.mp4"):
        assert not one.matches(name)
