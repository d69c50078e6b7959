"""Which names can match a search by words, as a query for PostgreSQL.

The rule: what comes back holds every match of the stage that is asked for, and may hold more; the caller compares. Words of a
search are bound parameters, never part of the query. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from p2pd.tracker.search import Place, Query, claim_of
from protocol.limits import MAX_FILE
from protocol.searching import Terms, runs
from protocol.tracker import Sort

RANKED = 64  # entries of one content that count in ranking: more sources make no difference
LEXEME = 64  # characters of a word that the index knows
LIVE = "d.lease > %(now)s AND d.port > 0 AND e.generation >= d.generation"
SERVED = (
    "EXISTS (SELECT 1 FROM entry e JOIN device d ON d.id = e.device"
    f" WHERE e.content = l.content AND e.name = l.name AND {LIVE})"
)
_WEIGHT = (
    " LEFT JOIN LATERAL (SELECT COUNT(DISTINCT x.device) AS sources, MAX(x.added_at) AS newest"
    " FROM (SELECT e.device, e.added_at FROM entry e JOIN device d ON d.id = e.device"
    f" WHERE e.content = l.content AND {LIVE} LIMIT {RANKED}) x) w ON true"
)
_NO_WEIGHT = " CROSS JOIN (SELECT NULL::bigint AS sources, NULL::bigint AS newest) w"


@dataclass(slots=True)
class Candidate:
    """A content: its row, what it is, how many serve it, and those of its names that match as (rank, folded, name)."""

    row: int
    claim: tuple[bytes, bytes, int, int]
    sources: int = 0
    newest: int = 0
    names: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def claim_text(self) -> str:
        """See search.claim_of."""
        return claim_of(*self.claim)


def lexemes(folded: str) -> list[str]:
    """The words of a folded name, as the index knows them."""
    return sorted({run[:LEXEME] for run in runs(folded)})


def has_words(terms: Terms) -> bool:
    """Can the index of words find anything of it?"""
    return any(runs(word) for word in terms.words)


def of_text(query: Query, stage: int | None, start: Place, most: int) -> tuple[str, dict[str, Any]]:
    """A statement and its parameters, but for `now`: at most `most` labels after `start`, by rows. Columns: name row, name,
    folded, content row, content id, SHA-256, size, files, served, sources and newest date in ranking.

    `stage`: 0 names that hold all words whole, 1 at least as beginnings, 2 and None anywhere.
    """
    params: dict[str, Any] = {"name": start.name, "content": start.content, "most": most}
    conditions = ["n.id >= %(name)s", "(n.id > %(name)s OR l.content > %(content)s)"]
    terms = query.terms
    needles = [f"%{_escaped(word)}%" for word in terms.words]
    if terms.suffix:
        needles.append(f"%{_escaped(terms.suffix)}")
    for number, needle in enumerate(needles):
        params[f"needle{number}"] = needle
        conditions.append(f"n.folded LIKE %(needle{number})s")
    for number, word in enumerate(terms.without):
        params[f"without{number}"] = f"%{_escaped(word)}%"
        conditions.append(f"n.folded NOT LIKE %(without{number})s")
    if words := _words(terms, stage):
        params["words"] = words
        conditions.append("n.words @@ %(words)s::tsquery")
    if query.min_size or query.max_size < MAX_FILE:
        params |= {"least": query.min_size, "largest": query.max_size}
        conditions.append("c.size BETWEEN %(least)s AND %(largest)s")
    weigh = query.sort in (Sort.RELEVANCE, Sort.SOURCES, Sort.AGE)
    return (
        f"SELECT l.name, l.text, l.folded, l.content, l.content_id, l.sha256, l.size, l.files, {SERVED}, w.sources, w.newest"
        " FROM (SELECT n.id AS name, n.name AS text, n.folded, l.content, c.content_id, c.sha256, c.size, c.files"
        " FROM name n JOIN label l ON l.name = n.id JOIN content c ON c.id = l.content"
        f" WHERE {' AND '.join(conditions)} ORDER BY n.id, l.content LIMIT %(most)s) l{_WEIGHT if weigh else _NO_WEIGHT}"
        " ORDER BY l.name, l.content"
    ), params


def _words(terms: Terms, stage: int | None) -> str:
    """What the index of words is asked for: a tsquery, "" for nothing."""
    found = [_quoted(run) for phrase in terms.phrases for run in runs(phrase)]
    if stage in (0, 1):
        for word in terms.words:
            inside = runs(word)
            found += [_quoted(run) for run in inside]
            if stage == 1 and inside and word[-1].isalnum() and len(inside[-1]) <= LEXEME:
                found[-1] += ":*"
    return " & ".join(dict.fromkeys(found))


def _quoted(run: str) -> str:
    return f"'{run[:LEXEME]}'"  # letters and digits only


def _escaped(text: str) -> str:
    """For LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
