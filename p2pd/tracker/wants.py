"""Who waits for what: wishes of devices, matched with what is published by an index of what names must hold. In memory only.

The rule: one waiting question a device; a newer one answers the older with nothing. A batch of entries costs one look for each distinct
needle in all its names together, however many wishes share it, and nothing when nobody waits; beyond `PAIRS` of a wish and an entry
it compares nothing more, and the wishes are looked up instead. What was published before is looked up in the registry by and by, a
bounded number at a time. Any thread may call; time is an argument.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pd.tracker.charging import Charging
from p2pd.tracker.quota import Kind
from p2pd.tracker.registry import Registry, Totals
from p2pd.tracker.search import Query, parse
from protocol.limits import MAX_WANTS_ALL, WANT_SECONDS
from protocol.searching import fold
from protocol.tracker import By, Entry, SearchTerms
from protocol.wanting import Want, Wanted, Wish

HEAD = 5  # characters of a needle by which the index finds it
FEW = 96  # heads that are looked for one by one; with more it is cheaper to cut the names into pieces of their lengths
LOOK_AGAIN_SECONDS = 5.0
LOOK_UPS = 10  # wishes that are looked up in one call
PAIRS = 4_000  # of a wish and an entry that one batch compares: some 10 ms
LOOKED_AT = 4  # hits of each: one that another device has is enough
Key = tuple[bytes, int]
"""A wish: the device, and its position in the question."""


@dataclass(slots=True)
class _Waiting:
    req: int
    session: object
    queries: Sequence[Query]
    until: float
    found: set[int] = field(default_factory=set)


class Wants:
    """See the module."""

    def __init__(self, most: int = MAX_WANTS_ALL) -> None:
        self.count = 0  # wishes that wait
        self.shared = False  # other trackers are told things that are found in our registry too
        self._lock = threading.RLock()
        self._answers: list[tuple[Any, Wanted]] = []
        self._most = most
        self._looked = float("-inf")
        self._totals: Totals | None = None
        self._waiting: dict[bytes, _Waiting] = {}
        self._heads: dict[str, dict[str, set[Key]]] = {}
        self._by_length: dict[int, set[str]] = {}  # the heads
        self._exact: dict[By, dict[str, set[Key]]] = {By.ID: {}, By.SHA256: {}, By.NAME: {}}
        self._due: deque[Key] = deque()
        self._queued: set[Key] = set()  # what is in it

    def __len__(self) -> int:
        """Devices that wait."""
        return len(self._waiting)

    def take(self) -> list[tuple[Any, Wanted]]:
        """Answers to questions that waited, each with its session. Ask after each other call."""
        with self._lock:
            answers, self._answers = self._answers, []
            return answers

    def park(self, device_id: bytes, session: object, question: Want, now: float, spread: float) -> bool:
        """A question that waits, at most WANT_SECONDS times `spread`; one without wishes is answered at once.

        False when there are too many wishes. Raises search.BadQuery.
        """
        queries = [_query(wish) for wish in question.wishes]
        with self._lock:
            known = self._waiting.get(device_id)
            if self.count - (len(known.queries) if known else 0) + len(queries) > self._most:
                return False
            if known is not None:
                self._answer(device_id, [])
            if not queries:
                self._answers.append((session, Wanted(question.req, [])))
                return True
            self._waiting[device_id] = _Waiting(question.req, session, queries, now + WANT_SECONDS * spread)
            self.count += len(queries)
            for index, query in enumerate(queries):
                self._index(query).setdefault(_needle(query), set()).add((device_id, index))
                self._look_later((device_id, index))
            return True

    def gone(self, session: object) -> None:
        """A session ended: nobody is there to be answered."""
        with self._lock:
            for device_id in [name for name, one in self._waiting.items() if one.session is session]:
                self._drop(device_id)

    def published(self, device_id: bytes, entries: Sequence[Entry]) -> None:
        """A device shares these now: whoever waits for one of them is answered."""
        if not self._waiting or not entries:
            return
        found: dict[bytes, set[int]] = {}
        with self._lock:
            for (owner, index), entry, folded in self._candidates(entries):
                query = self._waiting[owner].queries[index]
                if owner != device_id and _matches(query, entry, folded):
                    found.setdefault(owner, set()).add(index)
            for owner in sorted(found):
                self._answer(owner, sorted(found[owner]))

    @property
    def pending(self) -> int:
        """About how many are to be looked up."""
        return len(self._due)

    def look_again(self, now: float) -> None:
        """Something may be there that was not published just now: all wishes are looked up again, at most once in LOOK_AGAIN_SECONDS."""
        with self._lock:
            if now - self._looked < LOOK_AGAIN_SECONDS:
                return
            self._looked = now
            for name, one in self._waiting.items():
                for index in range(len(one.queries)):
                    self._look_later((name, index))

    def look_elsewhere(self, registry: Registry, now: float) -> None:
        """Looks again when a shared registry has more or less than at the last call: other trackers may have told it of something.

        Raises RegistryError.
        """
        if self.shared and self._waiting and (totals := registry.totals(now)) != self._totals:
            self._totals = totals
            self.look_again(now)

    def look_up(self, registry: Registry, now: float, charging: Charging, most: int = LOOK_UPS) -> None:
        """Looks up some wishes that came lately, and answers those of whom something is there, and those who waited long enough. Those of
        a device that owes wait. Raises RegistryError.
        """
        for key, query in self._next(most):
            if charging.owed(key[0], "", now):
                with self._lock:
                    self._look_later(key)
                continue
            with charging.of(key[0], "", Kind.WANT, now):
                hits = registry.search(query, LOOKED_AT, now).items
                there = any(registry.holders(hit.content_id, key[0], 1, now) for hit, _ in hits)
            if there:
                with self._lock:
                    waiting = self._waiting.get(key[0])
                    if waiting is not None and key[1] < len(waiting.queries):
                        waiting.found.add(key[1])
        with self._lock:
            for device_id in [name for name, one in self._waiting.items() if one.found or one.until <= now]:
                self._answer(device_id, sorted(self._waiting[device_id].found))

    # -- inside -------------------------------------------------------------------------------------------

    def _look_later(self, *keys: Key) -> None:
        for key in keys:
            if key not in self._queued:  # however often somebody asks
                self._queued.add(key)
                self._due.append(key)

    def _next(self, most: int) -> list[tuple[Key, Query]]:
        found: list[tuple[Key, Query]] = []
        with self._lock:
            while self._due and len(found) < most:
                key = self._due.popleft()
                self._queued.discard(key)
                waiting = self._waiting.get(key[0])
                if waiting is not None and key[1] < len(waiting.queries):
                    found.append((key, waiting.queries[key[1]]))
        return found

    def _answer(self, device_id: bytes, found: list[int]) -> None:
        waiting = self._drop(device_id)
        self._answers.append((waiting.session, Wanted(waiting.req, found)))

    def _drop(self, device_id: bytes) -> _Waiting:
        waiting = self._waiting.pop(device_id)
        self.count -= len(waiting.queries)
        for index, query in enumerate(waiting.queries):
            needle, table = _needle(query), self._index(query)
            table[needle].discard((device_id, index))
            if not table[needle]:
                del table[needle]
                if query.by is By.TEXT and not table:
                    head = needle[:HEAD]
                    del self._heads[head]
                    self._by_length[len(head)].discard(head)
        return waiting

    def _index(self, query: Query) -> dict[str, set[Key]]:
        if query.by is By.TEXT:
            head = _needle(query)[:HEAD]
            self._by_length.setdefault(len(head), set()).add(head)
            return self._heads.setdefault(head, {})
        return self._exact[query.by]

    def _candidates(self, entries: Sequence[Entry]) -> Iterator[tuple[Key, Entry, str]]:
        """Pairs of a wish and an entry that it may mean, and the entry's folded name."""
        pairs = 0
        if self._heads:
            names = [fold(entry.name) for entry in entries]
            for needle, keys in self._present("\n".join(names)):
                holding = [i for i, folded in enumerate(names) if needle in folded] if pairs < PAIRS else []
                pairs += len(holding) * len(keys)
                if pairs >= PAIRS:
                    self._look_later(*keys)
                    continue
                yield from ((key, entries[i], names[i]) for i in holding for key in tuple(keys))
        ids, hashes, exact = (self._exact[by] for by in (By.ID, By.SHA256, By.NAME))
        for entry in entries if ids or hashes or exact else ():
            owners = [
                *ids.get(entry.content_id.hex()[:8], ()),
                *hashes.get(entry.sha256.hex()[:8], ()),
                *exact.get(entry.name, ()),
            ]
            pairs += len(owners)
            if pairs < PAIRS:
                yield from ((key, entry, "") for key in owners)
            else:
                self._look_later(*owners)

    def _present(self, text: str) -> list[tuple[str, set[Key]]]:
        """The needles that a text holds."""
        if len(self._heads) > FEW:
            heads: Iterable[str] = [
                head
                for length, known in self._by_length.items()
                if known
                for head in known.intersection(text[at : at + length] for at in range(len(text) - length + 1))
            ]
        else:
            heads = [head for head in self._heads if head in text]
        return [
            (needle, keys) for head in heads for needle, keys in self._heads[head].items() if needle in text
        ]


def _query(wish: Wish) -> Query:
    return parse(
        SearchTerms(
            0,
            By(wish.by),
            wish.text,
            wish.ext,
            wish.min_size,
            wish.max_size,
            phrases=wish.phrases,
            without=wish.without,
            without_phrases=wish.without_phrases,
        )
    )


def _needle(query: Query) -> str:
    """What is looked for first: the longest thing that a name must hold, 8 digits, or the name."""
    if query.by is By.TEXT:
        terms = query.terms
        phrases = [word for phrase in terms.phrases for word in phrase.replace("/", " ").split()]
        return max((*terms.words, *phrases, terms.suffix), key=len)
    return query.text if query.by is By.NAME else query.text[:8]


def _matches(query: Query, entry: Entry, folded: str) -> bool:
    if not query.fits(entry.size):
        return False
    if query.by is By.TEXT:
        return query.terms.matches(folded)
    if query.by is By.ID:
        return entry.content_id.hex().startswith(query.text)
    if query.by is By.SHA256:
        return entry.sha256.hex().startswith(query.text)
    return entry.name == query.text
