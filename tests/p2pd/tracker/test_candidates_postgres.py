"""p2pd/tracker/candidates_postgres.py: the index of words finds at least what matches, and texts stay out of the query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker import search
from p2pd.tracker.candidates_postgres import Candidate, has_words, lexemes, of_text
from p2pd.tracker.search import Place
from protocol.searching import fold, rank_class
from protocol.tracker import By, SearchTerms, Sort

PIECES = st.sampled_from(["ab", "abc", "x", "É", "日本", "_", "-", ".", " ", "/", "'", "2", "a_b", "y" * 70])
TEXTS = st.lists(PIECES, min_size=1, max_size=6).map("".join)


def parse(text: str, sort: Sort = Sort.RELEVANCE, **more: object) -> search.Query:
    return search.parse(SearchTerms(0, By.TEXT, text, sort=sort, **more))  # type: ignore[arg-type]


def finds(words: str, folded: str) -> bool:
    """What PostgreSQL does with such a tsquery and the lexemes of a name."""
    known = lexemes(folded)
    return all(
        any(lexeme.startswith(part[1:-3]) for lexeme in known) if part.endswith(":*") else part[1:-1] in known
        for part in words.split(" & ")
    )


@given(TEXTS, TEXTS)
def test_each_stage_finds_all_that_matches_so_well(text: str, name: str) -> None:
    try:
        query = parse(text)
    except search.BadQuery:
        return
    folded = fold(name)
    if not query.terms.matches(folded) or not has_words(query.terms):
        return
    for stage in range(rank_class(query.terms.rank(folded)), 2):
        _, params = of_text(query, stage, Place(), 10)
        assert finds(params["words"], folded)


@given(TEXTS, TEXTS)
def test_a_phrase_is_found_by_its_words(text: str, name: str) -> None:
    try:
        query = parse("", phrases=[text])
    except search.BadQuery:
        return
    if query.terms.matches(fold(name)):
        assert finds(of_text(query, None, Place(), 10)[1]["words"], fold(name))


@pytest.mark.parametrize(
    "text", ["secret'x", "secret%(now)s", "secret%b", "secret_b", "secret\\", "secret:*&|!<->(c)"]
)
@pytest.mark.parametrize("stage", [None, 0, 1, 2])
def test_the_text_is_a_parameter(text: str, stage: int | None) -> None:
    query = parse(text, without=[text + "z"], phrases=[text + " q"], ext="secret")
    sql, params = of_text(query, stage, Place(), 10)
    assert "secret" not in sql
    assert set(params) == {"most", "names", "needle0", "needle1", "without0", "words"}


def test_only_words_with_letters_are_in_the_index() -> None:
    assert has_words(parse("c++").terms)
    assert not has_words(parse("++ _").terms)
    assert not has_words(parse("", phrases=["some thing"]).terms)


def test_sizes_are_filtered_only_when_asked() -> None:
    assert "least" not in of_text(parse("x"), None, Place(), 1)[1]
    assert of_text(parse("x", min_size=3), None, Place(), 1)[1]["least"] == 3


def test_only_orders_that_need_them_count_sources() -> None:
    assert "COUNT" in of_text(parse("x"), 0, Place(), 1)[0]
    assert "COUNT" not in of_text(parse("x", Sort.SIZE), None, Place(), 1)[0]


def test_a_claim_is_a_text_of_one_length() -> None:
    claims = {Candidate(1, (bytes([n]) * 32, bytes(32), n, 0)).claim_text for n in range(3)}
    assert len(claims) == 3
    assert len({len(claim) for claim in claims}) == 1
