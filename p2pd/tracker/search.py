"""A search as a registry sees it: checked terms, pages, cursors. What matches, and how well, is protocol/searching.py.

The rule: a registry produces candidates in a fixed order (`Place`), ranks them by `sort_key`, which knows nothing of
the registry, and so finds the same hits in the same order as any other (tests/fakes/naive_search.py is the meaning).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from protocol.codec import Decoder, encode
from protocol.display import hidden
from protocol.errors import RemoteProtocolError
from protocol.ids import CONTENT_ID_SIZE, MIN_PREFIX, is_hex
from protocol.searching import BadTerms, Terms, fold, terms
from protocol.tracker import MAX_CURSOR, By, Hit, Search, SearchTerms, Sort

TRIGRAM = 3  # characters of the shortest word that the index can find

Key = tuple[int | str, ...]
"""A position among ranked candidates: see `sort_key`. Short enough for a cursor, ordered by `order`."""


class BadQuery(Exception):
    """The asker's fault. The text says what."""


class BadCursor(BadQuery):
    """Not a cursor, or the cursor of another search."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the candidates were followed, exclusive; what the fields hold depends on the kind of search and on the
    registry.

    TEXT: `stage`, `name` and `content` are the registry's own; `key` is a position among the ranked candidates after
    them. NAME: `content` is a row. SHA256: `text` is one in hex, `content` a row. ID: `text` is content id and
    SHA-256 in hex, `content` a size, `name` a number of files. ALL: `text` is a name, `name` and `content` are rows.
    """

    name: int = 0
    content: int = 0
    text: str = ""
    key: Key = ()
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Hits, each with the place to go on from after it; and the place to go on from after all (None: the
    end).
    """

    items: list[tuple[Hit, Place]]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search. `terms`: what names must and must not hold; for other searches than TEXT only the suffix."""

    by: By
    text: str
    terms: Terms
    min_size: int
    max_size: int
    sort: Sort
    after: Place
    digest: bytes

    @property
    def trigrams(self) -> tuple[str, ...]:
        """The three-character strings that every match contains; empty when all words are shorter."""
        found: dict[str, None] = {}
        phrases = (word for phrase in self.terms.phrases for word in phrase.replace("/", " ").split())
        for word in (*self.terms.words, *phrases, self.terms.suffix):
            for start in range(len(word) - TRIGRAM + 1):
                found[word[start : start + TRIGRAM]] = None
        return tuple(found)

    def fits(self, size: int) -> bool:
        """Is a size, in octets, within the bounds?"""
        return self.min_size <= size <= self.max_size

    def cursor(self, place: Place | None) -> str:
        """The opaque text that brings a later search to `place`; "" for None."""
        if place is None:
            return ""
        fields = (self.digest, place.name, place.content, place.text, place.key, place.stage)
        return urlsafe_b64encode(encode(fields)).decode("ascii").rstrip("=")


def parse(message: Search) -> Query:
    """The search that `message` asks for. Raises BadQuery, or BadCursor for a cursor of another search."""
    text, suffix = message.text, ""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    if message.ext:
        suffix = "." + fold(message.ext.removeprefix("."))
        if suffix == "." or "/" in suffix or any(map(hidden, suffix)):
            raise BadQuery("not an extension")
    if isinstance(message, SearchTerms):
        parts = (message.phrases, message.without, message.without_phrases)
        if message.by is not By.TEXT and any(parts):
            raise BadQuery("only a search by text has phrases, or is without something")
    wanted = Terms(suffix=suffix)
    if message.by is By.TEXT:
        try:
            wanted = terms(text, *parts, suffix)
        except BadTerms as error:
            raise BadQuery(str(error)) from error
    elif message.by in (By.ID, By.SHA256):
        if not (MIN_PREFIX <= len(text) <= 2 * CONTENT_ID_SIZE and is_hex(text)):
            what = "content id" if message.by is By.ID else "SHA-256"
            raise BadQuery(f"not a {what}, nor {MIN_PREFIX} or more digits of one")
    elif message.by is By.NAME and not text:
        raise BadQuery("no name")
    elif message.by is By.ALL and text:
        raise BadQuery("a listing of everything takes no text")
    what_for = (int(message.by), text, suffix, message.min_size, message.max_size, int(message.sort), parts)
    digest = blake2b(encode(what_for), digest_size=8).digest()
    after = _place(message, digest)
    return Query(message.by, text, wanted, message.min_size, message.max_size, message.sort, after, digest)


def claim_of(content_id: bytes, sha256: bytes, size: int, files: int) -> str:
    """A content as one text, the last word of every order."""
    return f"{content_id.hex()}{sha256.hex()}{size:016x}{files:08x}"


def sort_key(sort: Sort, rank: int, sources: int, newest: int, size: int, name: str, claim: str) -> Key:
    """Where a candidate stands. `name` is its best matching name, `claim` is `claim_of` it and makes it unique."""
    if sort is Sort.SOURCES:
        return (-sources, rank, -newest, name, claim)
    if sort is Sort.SIZE:
        return (-size, name, claim)
    if sort is Sort.NAME:
        return (name, claim)
    if sort is Sort.AGE:
        return (-newest, name, claim)
    return (rank, -sources, -newest, name, claim)


def order(key: Key) -> Key:
    """`key` in comparable form: names by their folded form first."""
    name = key[-2]
    assert isinstance(name, str)
    return (*key[:-2], fold(name), name, key[-1])


_KEY_TYPES: dict[Sort, tuple[type, ...]] = {
    Sort.RELEVANCE: (int, int, int, str, str),
    Sort.SOURCES: (int, int, int, str, str),
    Sort.SIZE: (int, str, str),
    Sort.NAME: (str, str),
    Sort.AGE: (int, str, str),
}

_Cursor = tuple[bytes, int, int, str, tuple[int | str, ...], int]
_cursors: Decoder[_Cursor] = Decoder(_Cursor, MAX_CURSOR)


def _place(message: Search, digest: bytes) -> Place:
    if not message.cursor:
        return Place()
    try:
        octets = urlsafe_b64decode(message.cursor.encode("ascii") + b"=" * (-len(message.cursor) % 4))
        mark, name, content, text, key, stage = _cursors.decode(octets)
    except (ValueError, RemoteProtocolError) as error:
        raise BadCursor("bad cursor") from error
    if mark != digest or not (0 <= name < 2**62 and 0 <= content < 2**62 and 0 <= stage < 2**62):
        raise BadCursor("bad cursor")
    digits = {By.ID: 4 * CONTENT_ID_SIZE, By.SHA256: 2 * CONTENT_ID_SIZE}.get(message.by)
    if digits is not None and not (len(text) == digits and is_hex(text)):
        raise BadCursor("bad cursor")
    if key and tuple(type(part) for part in key) != _KEY_TYPES[message.sort]:
        raise BadCursor("bad cursor")
    return Place(name, content, text, key, stage)
