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
TIERS = 3
TOP_TIER = TIERS - 1
LEXEME = 64  # characters of a word that the index knows
LIVE = "d.lease > %(now)s AND d.port > 0 AND e.generation >= d.generation"
_WEIGHT = (
    " LEFT JOIN LATERAL (SELECT COUNT(DISTINCT x.device) AS sources, MAX(x.added_at) AS newest,"
    " bool_or(x.name = l.name) AS own FROM (SELECT e.device, e.added_at, e.name FROM entry e"
    f" JOIN device d ON d.id = e.device WHERE e.content = l.content AND {LIVE} LIMIT {RANKED}) x) w ON true"
)
_NO_WEIGHT = " CROSS JOIN (SELECT NULL::bigint AS sources, NULL::bigint AS newest, NULL::boolean AS own) w"


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


def served(name: str) -> str:
    """Whether somebody serves the content of a row `l` under the name in this column."""
    # with a limit it is asked for each row by itself, and not once for all entries there are
    return (
        "COALESCE((SELECT true FROM entry e JOIN device d ON d.id = e.device"
        f" WHERE e.content = l.content AND e.name = {name} AND {LIVE} LIMIT 1), false)"
    )


def lexemes(folded: str) -> list[str]:
    """The words of a folded name, as the index knows them."""
    return sorted({run[:LEXEME] for run in runs(folded)})


def has_words(terms: Terms) -> bool:
    """Can the index of words find anything of it?"""
    return any(runs(word) for word in terms.words)


def of_text(query: Query, stage: int | None, start: Place, most: int) -> tuple[str, dict[str, Any]]:
    """A statement and its parameters, but for `now`: at most `most` labels after `start`, names of popular contents first, then
    by rows. Columns: tier, name row, name, folded, content row, content id, SHA-256, size, files, served, sources and newest
    date in ranking.

    `stage`: 0 names that hold all words whole, 1 at least as beginnings, 2 and None anywhere.
    """
    # each name has a label; of the name where the last page ended, all may be behind us
    params: dict[str, Any] = {"most": most, "names": most + 1}
    conditions, behind = [], ""
    if start.name:
        params |= {"tier": TOP_TIER - start.stage % TIERS, "name": start.name, "content": start.content}
        conditions.append("(n.tier < %(tier)s OR n.tier = %(tier)s AND n.id >= %(name)s)")
        behind = " WHERE l.name <> %(name)s OR l.content > %(content)s"
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
    if stage and all(runs(word) == [word[:LEXEME]] for word in terms.words):
        params["better"] = _words(terms, stage - 1)  # exactly those of the stages before
        conditions.append("NOT n.words @@ %(better)s::tsquery")
    sizes = "true"
    if query.min_size or query.max_size < MAX_FILE:
        params |= {"least": query.min_size, "largest": query.max_size}
        sizes = "c.size BETWEEN %(least)s AND %(largest)s"
        conditions.append(
            f"EXISTS (SELECT 1 FROM label l JOIN content c ON c.id = l.content WHERE l.name = n.id AND {sizes})"
        )
    weigh = query.sort in (Sort.RELEVANCE, Sort.SOURCES, Sort.AGE)
    return (
        "SELECT l.tier, l.name, l.text, l.folded, l.content, l.content_id, l.sha256, l.size, l.files,"
        f" w.own OR {served('l.name')}, w.sources, w.newest"
        " FROM (SELECT n.tier, n.id AS name, n.name AS text, n.folded, l.content, c.content_id, c.sha256, c.size, c.files"
        f" FROM (SELECT n.id, n.name, n.folded, n.tier FROM name n WHERE {' AND '.join(conditions)}"
        " ORDER BY n.tier DESC, n.id LIMIT %(names)s) n"
        f" JOIN label l ON l.name = n.id JOIN content c ON c.id = l.content AND {sizes}{behind}"
        f" ORDER BY n.tier DESC, n.id, l.content LIMIT %(most)s) l{_WEIGHT if weigh else _NO_WEIGHT}"
        " ORDER BY l.tier DESC, l.name, l.content"
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
