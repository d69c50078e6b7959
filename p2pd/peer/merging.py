"""Pages of several trackers as one: in the order that one tracker would have, each content once, nothing lost. Pure.

The rule: a hit is given only when no tracker can have a better one, so it waits while another tracker's page is used up and has a next one.
What of a page was not given is asked for again: the mark of a tracker is the cursor of its page and how many of its hits were
given. Orders are those of docs/protocol.md, "Searching", computed here from what a hit says.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import structs

from protocol.errors import Fault
from protocol.limits import MAX_HIT_NAMES
from protocol.searching import Terms, fold
from protocol.tracker import By, Hit, Sort

SEARCHES = 32  # of which it is remembered what they gave
REMEMBERED = 200_000  # contents of each
LONG = 3000  # characters of a cursor that a control message still holds
RANKED = 64  # sources beyond which more make no difference to the order

_NUMBER = re.compile(r" \(\d+\)(?=\.|$)")
"""What `--exists rename` puts into a name."""

Key = tuple[int | str, ...]
Marks = dict[str, tuple[str, int]]
"""Of each tracker that has more: the cursor of its page ("": the first) and how many hits of it were given."""


@dataclass(slots=True)
class Part:
    """One tracker's page. `mark`: what it was asked with; `next`: "" at its end."""

    name: str
    mark: tuple[str, int]
    items: list[Hit]
    next: str
    used: int = 0

    def __post_init__(self) -> None:
        self.used = min(self.mark[1], len(self.items))

    @property
    def head(self) -> Hit | None:
        """The first hit that was not given."""
        return self.items[self.used] if self.used < len(self.items) else None


class Seen:
    """Content ids that the pages of one search gave, each with its page. For the page `number`: asked for again it is the same."""

    def __init__(self, pages: dict[bytes, int], number: int, name: str) -> None:
        self.name = name
        self.number = number
        self._pages = pages
        self._now: set[bytes] = set()

    def __contains__(self, content_id: bytes) -> bool:
        return content_id in self._now or self._pages.get(content_id, self.number) < self.number

    def add(self, content_id: bytes) -> None:
        """It is given now."""
        self._now.add(content_id)
        if len(self._pages) < REMEMBERED:
            self._pages.setdefault(content_id, self.number)


class Pages:
    """Cursors of searches over several trackers, and what their pages gave.

    A search that is forgotten goes on, and may repeat what trackers tell differently."""

    def __init__(self) -> None:
        self._searches: OrderedDict[str, dict[bytes, int]] = OrderedDict()
        self._long: dict[tuple[str, int], Marks] = {}

    def read(self, cursor: str) -> tuple[Marks, Seen]:
        """Where to go on. Raises Fault usage for what is no cursor."""
        marks, name, number = read_cursor(cursor)
        if cursor and not marks:
            marks = self._long.get((name, number), {})
            if not marks:
                raise bad_cursor()
        if name in self._searches:
            self._searches.move_to_end(name)
        return marks, Seen(self._searches.get(name, {}), number, name)

    def write(self, marks: Marks, seen: Seen, *, several: bool) -> str:
        """The cursor of the next page; "" for no marks."""
        if not marks or not several:
            return write_cursor(marks)
        name = seen.name
        if not name:
            name = secrets.token_hex(4)
            self._searches[name] = seen._pages
            while len(self._searches) > SEARCHES:
                gone, _ = self._searches.popitem(last=False)
                self._long = {key: kept for key, kept in self._long.items() if key[0] != gone}
        cursor = write_cursor(marks, name, seen.number + 1)
        if len(cursor) > LONG:
            self._long[name, seen.number + 1] = marks
            cursor = write_cursor({}, name, seen.number + 1)
        return cursor


def merge(parts: list[Part], limit: int, key: Callable[[Hit], Key], seen: Seen) -> tuple[list[Hit], Marks]:
    """At most `limit` hits, and where to go on. `seen`: what earlier pages gave; what is given now is added."""
    copies: dict[bytes, list[Hit]] = {}
    for part in parts:
        for hit in part.items[part.used :]:
            copies.setdefault(hit.content_id, []).append(hit)
    given: list[Hit] = []
    while True:
        for part in parts:
            while (head := part.head) is not None and head.content_id in seen:
                part.used += 1
        heads = [part for part in parts if part.head is not None]
        if not heads or len(given) == limit or any(part.head is None and part.next for part in parts):
            break
        best = min(heads, key=lambda part: key(part.items[part.used]))
        hit = best.items[best.used]
        seen.add(hit.content_id)
        given.append(united(copies[hit.content_id]))
    marks: Marks = {}
    for part in parts:
        if part.head is not None:
            marks[part.name] = (part.mark[0], part.used)
        elif part.next:
            marks[part.name] = (part.next, 0)
    return given, marks


def united(hits: list[Hit]) -> Hit:
    """One content from several trackers: all its names, and the most sources that one of them knows."""
    first = hits[0]
    if len(hits) == 1:
        return first
    return Hit(
        first.content_id,
        first.sha256,
        first.size,
        list(dict.fromkeys(name for hit in hits for name in hit.names))[:MAX_HIT_NAMES],
        max(hit.sources for hit in hits),
        max(hit.added_at for hit in hits),
        first.files,
    )


def plainly_named(hit: Hit) -> Hit:
    """A name that is another one of the same content with something before it, such as `downloaded_report.pdf`, or with a
    number, such as `downloaded_report (1).pdf`, comes after that: whoever has it downloaded shares it so, and the next one
    should not have to download a `downloaded_downloaded_` one.
    """
    if len(hit.names) == 1:
        return hit
    longer = {name for name in hit.names if any(_longer(name, other) for other in hit.names)}
    if hit.names[0] not in longer:
        return hit
    return structs.replace(hit, names=sorted(hit.names, key=longer.__contains__))


def _longer(name: str, other: str) -> bool:
    """Whether this one was made of the other, as a whole or in its last component."""
    leaf, plain = name.rpartition("/")[2], other.rpartition("/")[2]
    if leaf == plain:
        return name != other and name.endswith(other)
    return _NUMBER.sub("", leaf).endswith(plain)


def key_of(by: By, sort: Sort, wanted: Terms | None) -> Callable[[Hit], Key]:
    """The order of a search. `wanted`: of a search by TEXT."""
    if by is By.TEXT and wanted is not None:
        terms = wanted
        return lambda hit: _text_key(sort, terms, hit)
    if by is By.ALL:
        return lambda hit: (fold(hit.names[0]), hit.names[0], *_claim(hit))
    if by is By.NAME:
        return lambda hit: ()  # in order of first publication: each tracker's own
    if by is By.SHA256:
        return lambda hit: (hit.sha256.hex(), *_claim(hit))
    return _claim


def _text_key(sort: Sort, terms: Terms, hit: Hit) -> Key:
    name, folded = hit.names[0], fold(hit.names[0])
    sources, newest = min(hit.sources, RANKED), hit.added_at
    tail: Key = (folded, name, *_claim(hit))
    if sort is Sort.SOURCES:
        return (-sources, terms.rank(folded), -newest, *tail)
    if sort is Sort.SIZE:
        return (-hit.size, *tail)
    if sort is Sort.NAME:
        names = [(fold(one), one) for one in hit.names]
        matching = [pair for pair in names if terms.matches(pair[0])] or names
        return (*min(matching), *_claim(hit))
    if sort is Sort.AGE:
        return (-newest, *tail)
    return (terms.rank(folded), -sources, -newest, *tail)


def _claim(hit: Hit) -> Key:
    return (hit.content_id.hex(), hit.sha256.hex(), hit.size, hit.files)


def write_cursor(marks: Mapping[str, tuple[str, int]], name: str = "", number: int = 0) -> str:
    """ "" for no marks, unless they are kept under the name of the search and the number of the page."""
    if not marks and not name:
        return ""
    document = [name, number, {tracker: list(mark) for tracker, mark in marks.items()}]
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


def read_cursor(cursor: str) -> tuple[Marks, str, int]:
    """What `write_cursor` wrote. Raises Fault usage for anything else."""
    if not cursor:
        return {}, "", 0
    try:
        name, number, kept = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        marks = {str(tracker): (page, used) for tracker, (page, used) in kept.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise bad_cursor() from error
    fits = all(
        isinstance(page, str) and type(used) is int and 0 <= used < 10**6 for page, used in marks.values()
    )
    if not (isinstance(name, str) and type(number) is int and 0 <= number < 10**9 and fits):
        raise bad_cursor()
    return marks, name, number


def bad_cursor() -> Fault:
    """Not a cursor, or one of another run of the daemon."""
    return Fault("usage", "bad cursor", "take it from `next` of the page before")
