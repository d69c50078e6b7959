"""The meaning of p2pd.tracker.registry.Registry, as tests that every implementation passes: what a search by words
finds, and in which order, is what a naive search says (tests/fakes/naive_search.py), whatever the texts are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from random import Random

import pytest

from p2pd.tracker import search
from p2pd.tracker.registry import Registry
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_FILE
from protocol.names import check_path
from protocol.tracker import By, Entry, SearchTerms, Sort
from tests.fakes import naive_search
from tests.fakes.naive_search import Asked
from tests.fakes.registry_contract import LEASE, Open, announce, device, publish

HOSTILE = [
    '"', '""', "'", "'; DROP TABLE entry; --", "%", "_", "*", "pdf*", "^pdf", "-pdf", "NOT", "OR", "AND", "NEAR(a b)", "folded:pdf",
    "(", ")", "{x}:", "\\", "[a-z]", "a%b", "?1", ":match", "$1", "%s", "&", "|", "!", "<->", "pdf:*", "a:b", "\\0", "*/", "0x", "''",
]  # fmt: skip
WORDS = [
    "pdf", "report", "annual", "Annual", "reports", "subreport", "re", "2024", "20240101", "été", "ETE", "ete", "Straße", "ß", "日本語",
    "本", "ﬁle", "file", "İ", "a", "ab", "b", "x", "E\u0301", "_", "-", ".", "a.b", "a_b", "don't",
]  # fmt: skip
OFTEN = ["pdf", "report", "annual", "reports", "re", "été", "a", "ab", "2024"]


def piece(rng: Random) -> str:
    """Part of a name, or of a search: mostly one of a few, so that searches find something."""
    draw = rng.random()
    if draw < 0.1:
        return "".join(
            chr(rng.choice((rng.randrange(33, 0x250), rng.randrange(33, 0x3000))))
            for _ in range(rng.randrange(1, 5))
        )
    return rng.choice(OFTEN if draw < 0.6 else WORDS if draw < 0.85 else HOSTILE)


def a_name(rng: Random) -> str:
    """A name that a share may have."""
    parts = [piece(rng) + rng.choice([" ", " ", "_", "-", ".", "", "/"]) for _ in range(rng.randrange(1, 5))]
    name = unicodedata.normalize("NFC", "".join(parts) + rng.choice(["x", ".pdf", ".PDF", ".tar.gz"]))
    return name if is_name(name) else a_name(rng)


def is_name(text: str) -> bool:
    """Would the decoder let it pass?"""
    try:
        check_path(text)
    except RemoteProtocolError:
        return False
    return True


def a_share(rng: Random) -> list[tuple[int, Entry]]:
    """What three devices share: few contents under many names, and some that lie about a content."""
    shares: dict[tuple[int, int, str], Entry] = {}
    counts = dict.fromkeys((1, 2, 3), 0)
    for _ in range(rng.randrange(28)):
        who, number, name = rng.randrange(1, 4), rng.randrange(1, 9), a_name(rng)
        if counts[who] < 10 and (who, number, name) not in shares:
            counts[who] += 1
            sha256 = bytes([9, rng.random() < 0.1]) * 16
            shares[who, number, name] = Entry(bytes([number]) * 32, sha256, number, name, rng.randrange(1, 4))
    return [(who, entry) for (who, _, _), entry in shares.items()]


def a_search(rng: Random, names: list[str]) -> Asked:
    """Words and pieces of some name, and now and then anything."""

    def word() -> str:
        if not names or rng.random() < 0.3:
            return piece(rng)
        name = rng.choice(names)
        start = rng.randrange(len(name))
        return rng.choice([str.upper, str.lower, str])(name[start : start + rng.randrange(1, 7)])

    phrases = []
    if names and rng.random() < 0.3:
        words = naive_search.words(rng.choice(names))
        start = rng.randrange(len(words))
        phrases = [" ".join(words[start : start + 2])]
    return Asked(
        " ".join(word() for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))),
        tuple(phrases),
        (word(),) if rng.random() < 0.15 else (),
        (piece(rng),) if rng.random() < 0.15 else (),
        rng.choice(["", "", "", "", "pdf", ".PDF", "gz", "tar.gz"]),
        rng.choice([0, 0, 0, 3]),
        rng.choice([MAX_FILE, MAX_FILE, MAX_FILE, 6]),
        rng.choice([Sort.RELEVANCE, *Sort]),
    )


def request(asked: Asked, cursor: str = "") -> SearchTerms:
    """The search as a message."""
    lists = (list(asked.phrases), list(asked.without), list(asked.without_phrases))
    return SearchTerms(
        0, By.TEXT, asked.text, asked.ext, asked.least, asked.most, asked.sort, 1, cursor, *lists
    )


def found(
    registry: Registry, asked: Asked, page: int
) -> list[tuple[naive_search.Claim, list[str], int, int]]:
    """All hits, by following the cursor, in the form of naive_search."""
    hits = []
    cursor = ""
    for _ in range(1000):
        query = search.parse(request(asked, cursor))
        answer = registry.search(query, page, 0.0)
        assert len(answer.items) <= page
        hits += [hit for hit, _ in answer.items]
        cursor = query.cursor(answer.next)
        if not cursor:
            return [((h.content_id, h.sha256, h.size, h.files), h.names, h.sources, h.added_at) for h in hits]
    raise AssertionError("the pages do not end")


def share(registry: Registry, entries: list[tuple[int, Entry]]) -> None:
    """Three devices are here with these entries and no others; a fourth shared something and left."""
    for who in (1, 2, 3):
        announce(registry, who)
        mine = [entry for number, entry in entries if number == who][:10]
        publish(registry, who, 0, 1, mine, reset=True)
        while registry.sweep(0.0, 0.0, 100):
            pass


class SearchingContract:
    """Derive, and give the fixture `store` (see registry_contract.py)."""

    examples = 150
    """How many cases are tried: more where one costs little."""

    @pytest.fixture
    def registry(self, store: Open) -> Iterator[Registry]:
        registry = store()
        registry.resume(0.0, LEASE)
        announce(registry, 5)
        publish(registry, 5, 0, 1, [Entry(bytes(32), bytes(32), 3, "annual report.pdf", 9)], reset=True)
        registry.depart(device(5), 0.0)
        yield registry
        registry.close()

    def test_what_is_found_and_in_which_order_is_what_a_naive_search_says(self, registry: Registry) -> None:
        several = 0
        for seed in range(self.examples):
            rng = Random(seed)
            entries = a_share(rng)
            share(registry, entries)
            for _ in range(4):
                asked = a_search(rng, [entry.name for _, entry in entries])
                try:
                    search.parse(request(asked))
                except search.BadQuery:
                    continue
                expected = naive_search.search(asked, entries)
                for page in (rng.randrange(1, 7), 200):
                    assert found(registry, asked, page) == expected, f"seed {seed}: {asked}"
                several += len(expected) > 1
        assert several > self.examples / 2, "the searches find something"

    @pytest.mark.parametrize(
        ("phrase", "found_in"),
        [
            ("annual report", ["Annual_Report-2024.pdf", "the annual report.txt"]),
            ("ANNUAL  report", ["Annual_Report-2024.pdf", "the annual report.txt"]),
            ("report 2024", ["Annual_Report-2024.pdf"]),
            ("annual", ["Annual_Report-2024.pdf", "report annual.txt", "the annual report.txt"]),
            ("report annual", ["report annual.txt"]),
            ("annual rep", []),
        ],
    )
    def test_a_phrase_is_adjacent_whole_words(
        self, registry: Registry, phrase: str, found_in: list[str]
    ) -> None:
        names = [
            "Annual_Report-2024.pdf",
            "the annual report.txt",
            "report annual.txt",
            "annual reports.txt",
            "annual/report.txt",
        ]
        share(registry, [(1, Entry(bytes([n]) * 32, bytes(32), n, name, 1)) for n, name in enumerate(names)])
        wanted = found_in
        if phrase == "annual":
            wanted = sorted([*found_in, "annual reports.txt", "annual/report.txt"])
        assert sorted(names[0] for _, names, _, _ in found(registry, Asked(phrases=(phrase,)), 9)) == wanted

    def test_what_a_search_is_without(self, registry: Registry) -> None:
        names = ["report.pdf", "report draft.pdf", "report final draft.pdf", "reporting.pdf"]
        share(registry, [(1, Entry(bytes([n]) * 32, bytes(32), n, name, 1)) for n, name in enumerate(names)])

        def first(asked: Asked) -> list[str]:
            return [names[0] for _, names, _, _ in found(registry, asked, 9)]

        assert first(Asked("report", without=("draft",))) == ["report.pdf", "reporting.pdf"]
        assert first(Asked("report", without=("DRAFT ing",))) == ["report.pdf"]
        assert first(Asked("report", without_phrases=("final draft",))) == [
            "report draft.pdf",
            "report.pdf",
            "reporting.pdf",
        ]
        assert first(Asked("report", without_phrases=("report",))) == ["reporting.pdf"]
