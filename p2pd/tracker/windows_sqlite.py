"""Names of the SQLite registry that a search by words may mean, window by window.

The rule: an index gives more than is meant, never less, and no more than a window; what is meant is compared afterwards
(ranking_sqlite.py). Words without punctuation are looked up as words, whole or begun; everything else by its trigrams, and what is
too short for those by walking over a bounded number of names. Nothing of a search but letters and digits, and quoted trigrams,
reaches FTS5's language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker import trigrams_sqlite
from p2pd.tracker.search import Place, Query
from p2pd.tracker.tiers_sqlite import TIERS, marked
from p2pd.tracker.trigrams_sqlite import Shares
from protocol.searching import runs

NAMES = 1_000  # the most names of a class that are ranked in one go
WINDOW = 250  # names of a window, when there are more: half of the time of a search for a common word
GROWN = 4  # how many times as many may have come into a window since it was first looked at
SCANNED = 20_000  # names looked at for one page when words are too short for the index: 10 ms
LAST = 2**62 - 1  # above any row
WHOLE, BEGINNING, REST, ANY = range(4)
STEPS = len(TIERS) + 2  # stages of a class: all of it, then its tiers from the top


@dataclass(frozen=True, slots=True)
class Window:
    """Names from which to take candidates: of a class, and of a tier if it is not None; behind (name, content) in the order of
    falling names and rising contents, and up to `end` if that is known."""

    stage: int
    name: int = LAST
    content: int = 0
    resumed: bool = False  # some of it was told
    end: tuple[int, int] | None = None

    @property
    def quality(self) -> int:
        return self.stage // STEPS

    def place(self) -> Place:
        """The place at its beginning."""
        end = "" if self.end is None else f"{self.end[0]}.{self.end[1]}"
        return Place(self.name, self.content, end, (), self.stage)

    @property
    def tier(self) -> int | None:
        step = self.stage % STEPS
        return None if not step else len(TIERS) - (step - 1)


Take = Callable[[Database, Window], tuple[list[int], int]]
"""The names of a window, in order, and the last of them if there may be more (else 0)."""


class Sources:
    """Which names may be of a class and tier: more than are, never fewer."""

    def __init__(self, query: Query, shares: Shares) -> None:
        terms = query.terms
        words = [runs(word) for word in terms.words]
        given = [run for text in (*terms.phrases, terms.suffix) for run in runs(text)]
        self._whole = list(dict.fromkeys([*given, *(run for word in words for run in word)]))
        # all but the last run of a word are whole in any name that has the word at the beginning of one
        self._first = list(dict.fromkeys([*given, *(run for word in words for run in word[:-1])]))
        self._begun = list(dict.fromkeys(word[-1] for word in words if word))
        # a word without punctuation is in the index exactly when it is whole
        self._plain = all(word == [text] for word, text in zip(words, terms.words, strict=True))
        self._trigrams = trigrams_sqlite.telling(query)
        self._shares = shares
        self._all_whole = not any(words)  # punctuation and phrases are never anything else
        self._needles = [*terms.words, terms.suffix] if terms.suffix else list(terms.words)
        self.scanned = False

    @property
    def indexed(self) -> bool:
        """Does an index give the names that hold the words?"""
        return bool(self._trigrams)

    def tiers(self, quality: int) -> bool:
        """Are the windows of this class by tier?"""
        return quality < REST and bool(self._whole)

    def of(self, window: Window) -> Take | None:
        """None when nothing can be of this class."""
        quality, tier = window.quality, window.tier
        if quality > ANY or (self._all_whole and quality not in (WHOLE, ANY)):
            return None
        self.scanned = False
        if quality >= REST or not self._whole:
            self.scanned = not self._trigrams
            return self._by_trigrams if self._trigrams else self._by_scan
        match = self._match(quality, tier or 0)
        if tier is not None and tier < len(TIERS):
            match = f"({match}) NOT ({self._match(WHOLE if quality == WHOLE else BEGINNING, tier + 1, above=True)})"
        return lambda database, window: _matching(database, "name_word", match, window)

    def _match(self, quality: int, tier: int, above: bool = False) -> str:
        """Names of a class in a tier or above, in FTS5's language. `above`: all that begin so, to be taken away."""
        whole = " AND ".join(_quoted(marked(run, tier)) for run in self._whole)
        if quality == WHOLE:
            return whole
        begun = [_quoted(marked(run, tier)) for run in self._first]
        begun += [f"{_quoted(marked(run, tier))} *" for run in self._begun]
        match = " AND ".join(begun)
        return f"({match}) NOT ({whole})" if self._plain and not above else match

    def _by_trigrams(self, database: Database, window: Window) -> tuple[list[int], int]:
        if window.tier is None and len(self._trigrams) > 1:
            some = trigrams_sqlite.match(self._shares.rarest(self._trigrams))
            names, more = _matching(database, "name_trigram", some, window)
            if not more and len(names) < NAMES:
                return names, 0
        return _matching(database, "name_trigram", trigrams_sqlite.match(chain(*self._trigrams)), window)

    def _by_scan(self, database: Database, window: Window) -> tuple[list[int], int]:
        """Names that hold all words, among so many; words are too short for any index."""
        params: dict[str, Any] = {f"needle{i}": needle for i, needle in enumerate(self._needles)}
        holds = "".join(f" AND instr(folded, :{key})" for key in params)
        if window.tier is None:
            first, last = database.query("SELECT (SELECT MIN(id) FROM name), (SELECT MAX(id) FROM name)")[0]
            if last is None:
                return [], 0
            # rows are numbered as they come, with gaps where some are gone
            if last - first >= SCANNED and not window.resumed:
                return [], 1
            rows = database.query(
                f"SELECT id FROM name WHERE id < :stop{holds} ORDER BY id LIMIT :most",
                {**params, "stop": first + SCANNED, "most": NAMES + 1},
            )
            if len(rows) > NAMES and not window.resumed:
                return [], 1
            return [row[0] for row in rows[:NAMES]], 0
        if window.end:
            start = window.name
            stop = max(window.end[0] - 1, start - SCANNED - 1)  # no window is longer, whatever a cursor says
        else:
            start = min(window.name, database.query("SELECT COALESCE(MAX(id), 0) FROM name")[0][0])
            stop = max(0, start - SCANNED)
        rows = database.query(
            f"SELECT id FROM name WHERE id <= :name AND id > :stop{holds} ORDER BY id DESC LIMIT :most",
            {**params, "name": start, "stop": stop, "most": GROWN * WINDOW if window.end else WINDOW},
        )
        names = [row[0] for row in rows]
        if len(names) == WINDOW:
            return names, names[-1]
        return names, stop + 1 if stop else 0


def _matching(database: Database, table: str, match: str, window: Window) -> tuple[list[int], int]:
    """The next names that an index gives. All of a class: the oldest first, so that a page later these are still among them."""
    where = f"SELECT rowid FROM {table} WHERE {table} MATCH :match"
    if window.tier is None:
        rows = database.query(f"{where} ORDER BY rowid LIMIT :most", {"match": match, "most": NAMES + 1})
        if len(rows) > NAMES and not window.resumed:
            return [], 1
        return [row[0] for row in rows[:NAMES]], 0
    rows = database.query(
        f"{where} AND rowid BETWEEN :end AND :name ORDER BY rowid DESC LIMIT :most",
        {
            "match": match,
            "name": window.name,
            "end": window.end[0] if window.end else 0,
            "most": GROWN * WINDOW if window.end else WINDOW,
        },
    )
    names = [row[0] for row in rows]
    return names, names[-1] if len(names) == WINDOW else 0


def _quoted(run: str) -> str:
    """A run of letters and digits as a string of FTS5's language: it holds no quotation mark."""
    return f'"{run}"'
