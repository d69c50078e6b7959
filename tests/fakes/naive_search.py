"""What a search finds and in which order, said as plainly as possible: every entry is looked at, nothing is indexed.

The meaning of docs/protocol.md, "Searching", for tests to compare registries with. Shares no code with
protocol/searching.py nor p2pd/tracker/search.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from protocol.limits import MAX_FILE
from protocol.tracker import Entry, Sort

Claim = tuple[bytes, bytes, int, int]


@dataclass(frozen=True)
class Asked:
    """A search by words, as it is on the wire."""

    text: str = ""
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    without_phrases: tuple[str, ...] = ()
    ext: str = ""
    least: int = 0
    most: int = MAX_FILE
    sort: Sort = Sort.RELEVANCE


def plain(text: str) -> str:
    """Without case, accents and compatibility forms."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if unicodedata.combining(c) == 0)
    return unicodedata.normalize("NFKD", bare.casefold())


def words(text: str) -> list[str]:
    """The runs of letters and digits; a slash is a word of its own."""
    pieces = groupby(text, lambda c: "letter" if c.isalnum() else "/" if c == "/" else "")
    return [
        word
        for mark, run in pieces
        for word in (["".join(run)] if mark == "letter" else list(run) if mark else [])
    ]


def adjacent(phrase: list[str], name: list[str]) -> bool:
    """Are the words of the phrase somewhere in the name, one after the other?"""
    return any(name[at : at + len(phrase)] == phrase for at in range(len(name) - len(phrase) + 1))


def cost(word: str, text: str) -> int:
    """0: `text` has it as a whole word; 1: at the beginning of one; 2: somewhere; 3: not at all."""
    found = {3}
    for at in range(len(text)):
        end = at + len(word)
        if text[at:end] == word:
            joined_before = at > 0 and text[at - 1].isalnum() and word[0].isalnum()
            joined_after = end < len(text) and text[end].isalnum() and word[-1].isalnum()
            found.add(2 if joined_before else 1 if joined_after else 0)
    return min(found)


def rank(asked: Asked, name: str) -> tuple[int, int] | None:
    """How badly a name matches, None when it does not."""
    folded = plain(name)
    leaf = folded.split("/")[-1]
    if asked.ext and not folded.endswith("." + plain(asked.ext.removeprefix("."))):
        return None
    needles = set(plain(asked.text).split())
    if any(cost(word, folded) == 3 for word in needles):
        return None
    if any(cost(word, folded) < 3 for text in asked.without for word in plain(text).split()):
        return None
    phrases = {tuple(words(plain(phrase))) for phrase in asked.phrases}
    if not all(adjacent(list(phrase), words(folded)) for phrase in phrases):
        return None
    if any(adjacent(words(plain(phrase)), words(folded)) for phrase in asked.without_phrases):
        return None
    outside = sum(not adjacent(list(phrase), words(leaf)) for phrase in phrases)
    costs = [(cost(word, folded), cost(word, leaf)) for word in needles]
    return max([c for c, _ in costs], default=0), outside + sum(min(2 * b, 2 * a + 1) for a, b in costs)


def search(asked: Asked, entries: Iterable[tuple[int, Entry]]) -> list[tuple[Claim, list[str], int, int]]:
    """The hits in order, each with its names in order, its sources and its newest date. `entries` are (device, entry)
    of those devices that are here."""
    contents: dict[Claim, list[tuple[int, Entry]]] = {}
    for device, entry in entries:
        claim = (entry.content_id, entry.sha256, entry.size, entry.files)
        contents.setdefault(claim, []).append((device, entry))
    found = []
    for claim, held in contents.items():
        names = {entry.name for _, entry in held}
        ranks = {name: rank(asked, name) for name in names}
        good = sorted((r, plain(name), name) for name, r in ranks.items() if r is not None)
        if not good or not asked.least <= claim[2] <= asked.most:
            continue
        others = sorted((plain(name), name) for name, r in ranks.items() if r is None)
        if asked.sort is Sort.NAME:
            good.sort(key=lambda item: item[1:])
        sources = len({device for device, _ in held})
        newest = max(entry.added_at for _, entry in held)
        tie = (*good[0][1:], claim)
        key: tuple[object, ...] = {
            Sort.RELEVANCE: (good[0][0], -sources, -newest, *tie),
            Sort.SOURCES: (-sources, good[0][0], -newest, *tie),
            Sort.SIZE: (-claim[2], *tie),
            Sort.NAME: tie,
            Sort.AGE: (-newest, *tie),
        }[asked.sort]
        shown = [name for *_, name in good] + [name for _, name in others]
        found.append((key, (claim, shown[:16], sources, newest)))
    return [hit for _, hit in sorted(found, key=lambda pair: pair[0])]
