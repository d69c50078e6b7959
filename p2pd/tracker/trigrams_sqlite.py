"""Which trigrams of a search the SQLite registry looks up: the index takes as long as its lists are, and what it gives is compared anyway.

The rule: every name that is meant holds all of them. Those with long lists are left out when the others say enough; how long a list is
is guessed from how close together its first names are.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pd.storage.sqlite import Database
from p2pd.tracker.search import TRIGRAM, Query
from protocol.searching import runs

SAMPLE = 20  # names at the beginning of a list, by which its length is guessed: 20 us
GROWN = 1.1  # times as many names as when trigrams were counted: then again
KEPT = 10_000  # trigrams: a megabyte
FEW = 300  # so many names are sooner compared than narrowed down


def telling(query: Query) -> list[list[str]]:
    """For each word trigrams that every match holds: two from its middle, where words differ most."""
    terms = query.terms
    found: list[list[str]] = []
    for word in (*terms.words, *(run for phrase in terms.phrases for run in runs(phrase)), terms.suffix):
        spare = len(word) - TRIGRAM
        if spare >= 0:
            starts = {spare // 3, (2 * spare + 2) // 3}
            found.append([word[start : start + TRIGRAM] for start in sorted(starts)])
    return found


def match(trigrams: Iterable[str]) -> str:
    """Names that hold all of these, in FTS5's language."""
    return " AND ".join('"' + part.replace('"', '""') + '"' for part in dict.fromkeys(trigrams))


class Shares:
    """In how many of the names of a database trigrams are, about. What was asked for is remembered while the names are as many."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, float] = {}
        self._names = 0.0

    def rarest(self, words: list[list[str]]) -> list[str]:
        """As many trigrams of these words as it takes: the rarest of each, the rarest first. Those of one word tell the same."""
        expected = self._count()
        share = {trigram: self._of(trigram) for word in words for trigram in word}
        chosen: list[str] = []
        for trigram in sorted((min(word, key=share.__getitem__) for word in words), key=share.__getitem__):
            if chosen and expected <= FEW:
                break
            chosen.append(trigram)
            expected *= share[trigram]
        return chosen

    def _count(self) -> float:
        """Names there ever were. What was known of fewer is forgotten."""
        rows = self._database.query("SELECT seq FROM sqlite_sequence WHERE name = 'name'")
        names = float(rows[0][0]) if rows else 0.0
        if names > GROWN * self._names or len(self._known) > KEPT:
            self._known.clear()
            self._names = names
        return names

    def _of(self, trigram: str) -> float:
        """1 is all of them."""
        share = self._known.get(trigram)
        if share is None:
            rows = self._database.query(
                "SELECT rowid FROM name_trigram WHERE name_trigram MATCH ? ORDER BY rowid LIMIT ?",
                (match([trigram]), SAMPLE),
            )
            share = 0.0
            if len(rows) == SAMPLE:
                share = SAMPLE / float(rows[-1][0] - rows[0][0] + 1)
            self._known[trigram] = share
        return share
