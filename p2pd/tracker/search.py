"""What a search means, apart from how a database finds it: folding, words, ranking, cursors.

The rule: the text of a search is data. Words are only compared, here or as bound parameters; nothing of them
reaches a query language. A registry produces candidates in a fixed order (`Place`), this module says which
match, how good they are and where the next page begins.
"""

from __future__ import annotations

import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from protocol.codec import Decoder, encode
from protocol.display import hidden
from protocol.errors import RemoteProtocolError
from protocol.ids import CONTENT_ID_SIZE, MIN_PREFIX, is_hex
from protocol.limits import MAX_QUERY, MAX_TERMS
from protocol.tracker import MAX_CURSOR, By, Hit, Search, Sort

_OUTSIDE = 3  # what it costs a word that only the directories of a name have
TRIGRAM = 3  # characters of the shortest word that the index can find

Key = tuple[int | str, ...]
"""A position among ranked candidates: see `sort_key`. Short enough for a cursor, ordered by `order`."""


class BadQuery(Exception):
    """The asker's fault. The text says what."""


class BadCursor(BadQuery):
    """Not a cursor, or the cursor of another search."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the candidates were followed, exclusive; what the fields hold depends on the kind of search.

    TEXT: `name` and `content` are rows; `key` is a position among the ranked candidates after them. NAME,
    SHA256: `content` is a row. ID: `text` is content id and SHA-256 in hex, `content` a size, `name` a
    number of files. ALL: `text` is a name, `content` a row.
    """

    name: int = 0
    content: int = 0
    text: str = ""
    key: Key = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Hits, each with the place to go on from after it; and the place to go on from after all (None: the
    end).
    """

    items: list[tuple[Hit, Place]]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search. `words` are folded, each once; `suffix` is "" or a folded ".ext"."""

    by: By
    text: str
    words: tuple[str, ...]
    suffix: str
    min_size: int
    max_size: int
    sort: Sort
    after: Place
    digest: bytes

    @property
    def trigrams(self) -> tuple[str, ...]:
        """The three-character strings that every match contains; empty when all words are shorter."""
        found: dict[str, None] = {}
        for word in (*self.words, self.suffix):
            for start in range(len(word) - TRIGRAM + 1):
                found[word[start : start + TRIGRAM]] = None
        return tuple(found)

    def matches(self, folded: str) -> bool:
        """Does a folded name hold every word and end with the suffix? True for searches without words."""
        return folded.endswith(self.suffix) and all(word in folded for word in self.words)

    def fits(self, size: int) -> bool:
        """Is a size, in octets, within the bounds?"""
        return self.min_size <= size <= self.max_size

    def rank(self, folded: str) -> int:
        """0 when every word stands alone in the last component; each costs 1 as a mere beginning, 2 elsewhere, and 3 more when only
        the directories have it: a folder comes before its files."""
        leaf = folded.rpartition("/")[2]
        return sum(
            _rank(word, leaf) if word in leaf else _OUTSIDE + _rank(word, folded) for word in self.words
        )

    def cursor(self, place: Place | None) -> str:
        """The opaque text that brings a later search to `place`; "" for None."""
        if place is None:
            return ""
        fields = (self.digest, place.name, place.content, place.text, place.key)
        return urlsafe_b64encode(encode(fields)).decode("ascii").rstrip("=")


def parse(message: Search) -> Query:
    """The search that `message` asks for. Raises BadQuery, or BadCursor for a cursor of another search."""
    text, suffix = message.text, ""
    words: tuple[str, ...] = ()
    if message.ext:
        suffix = "." + fold(message.ext.removeprefix("."))
        if suffix == "." or "/" in suffix or any(map(hidden, suffix)):
            raise BadQuery("not an extension")
    if message.by is By.TEXT:
        if len(text.encode("utf-8")) > MAX_QUERY:
            raise BadQuery(f"the text is longer than {MAX_QUERY} octets")
        words = tuple(dict.fromkeys(fold(text).split()))
        if len(words) > MAX_TERMS:
            raise BadQuery(f"more than {MAX_TERMS} words")
        if not words and not suffix:
            raise BadQuery("nothing to search for")
        if any(hidden(character) for word in words for character in word):
            raise BadQuery("characters that no name holds")
    elif message.by is By.ID and not (MIN_PREFIX <= len(text) <= 2 * CONTENT_ID_SIZE and is_hex(text)):
        raise BadQuery("not a content id, nor 8 or more digits of one")
    elif message.by is By.SHA256 and not (len(text) == 2 * CONTENT_ID_SIZE and is_hex(text)):
        raise BadQuery("not a SHA-256")
    elif message.by is By.NAME and not text:
        raise BadQuery("no name")
    elif message.by is By.ALL and text:
        raise BadQuery("a listing of everything takes no text")
    what = (int(message.by), text, suffix, message.min_size, message.max_size, int(message.sort))
    digest = blake2b(encode(what), digest_size=8).digest()
    after = _place(message, digest)
    return Query(
        message.by, text, words, suffix, message.min_size, message.max_size, message.sort, after, digest
    )


def fold(text: str) -> str:
    """Text as it is compared: without case, accents and compatibility forms (Unicode NFKD, then casefold)."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return unicodedata.normalize("NFKD", plain.casefold())


def sort_key(sort: Sort, rank: int, sources: int, newest: int, size: int, name: str, row: int) -> Key:
    """Where a candidate stands; the content's row makes it unique. `name` is its best matching name."""
    if sort is Sort.SOURCES:
        return (-sources, rank, -newest, row)
    if sort is Sort.SIZE:
        return (-size, row)
    if sort is Sort.NAME:
        return (name, row)
    if sort is Sort.AGE:
        return (-newest, row)
    return (rank, -sources, -newest, row)


def order(key: Key) -> Key:
    """`key` in comparable form: names by their folded form first."""
    if isinstance(key[0], str):
        return (fold(key[0]), *key)
    return key


_KEY_TYPES: dict[Sort, tuple[type, ...]] = {
    Sort.RELEVANCE: (int, int, int, int),
    Sort.SOURCES: (int, int, int, int),
    Sort.SIZE: (int, int),
    Sort.NAME: (str, int),
    Sort.AGE: (int, int),
}

_cursors: Decoder[tuple[bytes, int, int, str, Key]] = Decoder(
    tuple[bytes, int, int, str, tuple[int | str, ...]], MAX_CURSOR
)


def _place(message: Search, digest: bytes) -> Place:
    if not message.cursor:
        return Place()
    try:
        octets = urlsafe_b64decode(message.cursor.encode("ascii") + b"=" * (-len(message.cursor) % 4))
        mark, name, content, text, key = _cursors.decode(octets)
    except (ValueError, RemoteProtocolError) as error:
        raise BadCursor("bad cursor") from error
    if mark != digest or not (0 <= name < 2**62 and 0 <= content < 2**62):
        raise BadCursor("bad cursor")
    if message.by is By.ID and not (len(text) == 4 * CONTENT_ID_SIZE and is_hex(text)):
        raise BadCursor("bad cursor")
    if key and tuple(type(part) for part in key) != _KEY_TYPES[message.sort]:
        raise BadCursor("bad cursor")
    return Place(name, content, text, key)


def _rank(word: str, folded: str) -> int:
    best = 2
    start = folded.find(word)
    while start >= 0:
        if start == 0 or not (folded[start - 1].isalnum() and word[0].isalnum()):
            end = start + len(word)
            if end == len(folded) or not (folded[end].isalnum() and word[-1].isalnum()):
                return 0
            best = 1
        start = folded.find(word, start + 1)
    return best
