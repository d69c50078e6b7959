"""What a search by words means (docs/protocol.md, "Searching"): folding, words, phrases, what matches and how well.

The rule: a search is data. Words and phrases are only compared with names; nothing of them reaches a query
language, and `split` is the one place where a quotation mark means anything. Pure: trackers search with it, a peer
asks with it and filters what an older tracker answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from protocol.display import hidden
from protocol.limits import MAX_QUERY, MAX_TERMS

_RUN = re.compile(r"[^\W_]+")  # letters and digits: what str.isalnum says yes to
_PARTS = re.compile(r"[^\W_]+|[\W_]+")
_LOOKS = 8  # occurrences of a word in a name that are looked at one by one
_CLASS = 64  # above any sum of costs: the class of a match weighs more than all else
ABSENT = 3


class BadTerms(ValueError):
    """No search: the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a name must and must not hold. Words are folded, each once; phrases are in the form of `spaced`;
    `suffix` is "" or a folded ".ext"."""

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    without_phrases: tuple[str, ...] = ()
    suffix: str = ""

    def matches(self, folded: str) -> bool:
        """Does a folded name hold every word and phrase, none that it must not, and end with the suffix?"""
        if not folded.endswith(self.suffix):
            return False
        for word in self.words:
            if word not in folded:
                return False
        for word in self.without:
            if word in folded:
                return False
        if self.phrases or self.without_phrases:
            plain = spaced(folded)
            return all(phrase in plain for phrase in self.phrases) and not any(
                phrase in plain for phrase in self.without_phrases
            )
        return True

    def rank(self, folded: str) -> int:
        """How badly a name that matches does so. First by the word that matches worst: all whole, all at least the beginning of a
        word, or not; then by the sum over words of 0 whole, 2 beginning, 4 elsewhere, and 1 more for what only the directories
        have so well: a folder comes before its files."""
        _, slash, leaf = folded.rpartition("/")
        worst = total = 0
        for word in self.words:
            anywhere = kind(word, folded)
            worst = max(worst, anywhere)
            # most names have no directories
            total += min(2 * kind(word, leaf), 2 * anywhere + 1) if slash else 2 * anywhere
        if self.phrases:
            plain = spaced(leaf)
            total += sum(phrase not in plain for phrase in self.phrases)
        return _CLASS * worst + total


def rank_class(rank: int) -> int:
    """Of a rank: 0 when every word is a whole one, 1 when each begins one, 2 otherwise."""
    return rank // _CLASS


def fold(text: str) -> str:
    """Text as it is compared: without case, accents and compatibility forms (Unicode NFKD, then casefold)."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return unicodedata.normalize("NFKD", plain.casefold())


def runs(folded: str) -> list[str]:
    """The words of a folded text: its runs of letters and digits, in order."""
    return _RUN.findall(folded)


def spaced(folded: str) -> str:
    """A folded path with one space before, between and after the words of each component: phrases are looked for in it."""
    if "/" in folded:
        return "/".join(map(spaced, folded.split("/")))
    words = _RUN.findall(folded)
    return f" {' '.join(words)} " if words else ""


def kind(word: str, folded: str) -> int:
    """How a folded text holds a word: 0 whole, 1 as the beginning of a word, 2 elsewhere, ABSENT not at all."""
    best = ABSENT
    start = folded.find(word)
    for _ in range(_LOOKS):
        if start < 0:
            return best
        if start and folded[start - 1].isalnum() and word[0].isalnum():
            best = min(best, 2)
        else:
            end = start + len(word)
            if end == len(folded) or not (folded[end].isalnum() and word[-1].isalnum()):
                return 0
            best = 1
        start = folded.find(word, start + 1)
    # It is there very often, perhaps to make us work: the same, in a time that does not depend on how often.
    whole, beginning = _edges(word)
    edged = _edged(folded)
    return 0 if whole in edged else 1 if beginning in edged else 2


@lru_cache(maxsize=16)
def _edged(folded: str) -> str:
    """With a mark, which no name holds, wherever letters and digits begin or end."""
    return "\0".join(["", *_PARTS.findall(folded), ""])


@lru_cache(maxsize=64)
def _edges(word: str) -> tuple[str, str]:
    """What `_edged` makes of a word that is whole, and of one that begins one."""
    inner = "\0".join(_PARTS.findall(word))
    beginning = f"\0{inner}" if word[0].isalnum() else inner
    return f"{beginning}\0" if word[-1].isalnum() else beginning, beginning


def terms(
    text: str, phrases: Iterable[str], without: Iterable[str], without_phrases: Iterable[str], suffix: str
) -> Terms:
    """The search for the words of `text` and so on, as people write them. Raises BadTerms."""
    words = _folded(text)
    excluded = tuple(dict.fromkeys(word for one in without for word in _folded(one)))
    whole, whole_excluded = _phrases(phrases), _phrases(without_phrases)
    if len(words) + len(whole) > MAX_TERMS or len(excluded) + len(whole_excluded) > MAX_TERMS:
        raise BadTerms(f"more than {MAX_TERMS} words")
    if not words and not whole and not suffix:
        raise BadTerms("nothing to search for")
    return Terms(words, whole, excluded, whole_excluded, suffix)


def split(text: str) -> tuple[list[str], list[str]]:
    """The words and the phrases of a search as a person writes it: `"annual report" 2024`.

    A quotation mark at the beginning of a word opens a phrase, up to the next one; any other is a character of its
    word. Raises BadTerms for a phrase that is not closed.
    """
    words: list[str] = []
    phrases: list[str] = []
    rest = text.strip()
    while rest:
        if rest.startswith('"'):
            phrase, mark, rest = rest[1:].partition('"')
            if not mark:
                raise BadTerms('a quotation mark opens a phrase that is not closed: "two words"')
            phrases.append(phrase)
        else:
            word, *tail = rest.split(None, 1)
            words.append(word)
            rest = tail[0] if tail else ""
        rest = rest.lstrip()
    return words, phrases


def _folded(text: str) -> tuple[str, ...]:
    if len(text.encode("utf-8")) > MAX_QUERY:
        raise BadTerms(f"the text is longer than {MAX_QUERY} octets")
    words = tuple(dict.fromkeys(fold(text).split()))
    if any(hidden(character) for word in words for character in word):
        raise BadTerms("characters that no name holds")
    return words


def _phrases(texts: Iterable[str]) -> tuple[str, ...]:
    found = []
    for text in texts:
        words = _folded(text)
        plain = spaced(fold(text)) if words else ""
        if not plain.strip("/"):
            raise BadTerms("a phrase without letters and digits")
        found.append(plain)
    return tuple(dict.fromkeys(found))
