"""Finding contents in the swarm: searches over the trackers, and what a person's reference means. On the event loop.

The rule: every tracker is asked; an answer is partial when one of them did not give its own, and an error only when
none did. The same content from several trackers or under several names is one hit.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from p2pd.peer.merging import Pages, Part, key_of, merge, plainly_named, united
from p2pd.peer.trackers import TrackerClient
from p2pd.storage.state import Published, Share, State
from protocol.control import Reference, parse_reference
from protocol.display import quoted
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.ids import CONTENT_ID_SIZE, before_prefix, device_text
from protocol.limits import MAX_FILE, MAX_HITS
from protocol.names import own_name
from protocol.searching import Terms, fold, terms
from protocol.tracker import PLAIN_HITS, By, Hit, Hits, Member, PeerList, Peers, Search, SearchTerms, Sort

SETTLE_SECONDS = 4.0  # how long the first connection to a tracker is waited for
HURRY_SECONDS = 1.0  # the same of another attempt, when there is no connection to any


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits of all trackers that answered; `next` is "" at the end; `faults` of those that did not."""

    hits: list[Hit]
    next: str
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was asked for."""

    by: By
    text: str = ""
    ext: str = ""
    min_size: int = 0
    max_size: int = MAX_FILE
    sort: Sort = Sort.RELEVANCE
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    without_phrases: tuple[str, ...] = ()

    def terms(self) -> Terms:
        """What names must and must not hold. Raises searching.BadTerms."""
        suffix = "." + fold(self.ext.removeprefix(".")) if self.ext else ""
        return terms(self.text, self.phrases, self.without, self.without_phrases, suffix)

    def message(self, features: int, limit: int, cursor: str) -> Search:
        """The question to a tracker with these features."""
        if features & Feature.TERMS:
            return SearchTerms(
                0,
                self.by,
                self.text,
                self.ext,
                self.min_size,
                self.max_size,
                self.sort,
                min(
                    limit, MAX_HITS if self.by is By.ALL else PLAIN_HITS
                ),  # ranked hits cost more than a list
                cursor,
                list(self.phrases),
                list(self.without),
                list(self.without_phrases),
            )
        # An older tracker is asked for all the words, wherever they are; what it should not have found is left out here.
        text = " ".join(filter(None, (self.text, *self.phrases)))
        plain = (self.by, text, self.ext, self.min_size, self.max_size, self.sort)
        return Search(0, *plain, min(limit, PLAIN_HITS), cursor)


class Finder:
    """See the module."""

    def __init__(self, store: State, trackers: list[TrackerClient]) -> None:
        self._store = store
        self._trackers = trackers
        self._pages = Pages()

    async def settle(self) -> None:
        """Somebody waits for an answer: trackers that are lost are dialled now, and waited for when no other is connected; as is the
        first attempt to reach each. For a moment."""
        hurried = [tracker for tracker in self._trackers if tracker.hurry()]
        waiting = [
            tracker.settled(SETTLE_SECONDS) for tracker in self._trackers if tracker.state == "connecting"
        ]
        if not any(tracker.connected for tracker in self._trackers):
            waiting += [tracker.tried(HURRY_SECONDS) for tracker in hurried]
        if waiting:
            await asyncio.gather(*waiting)

    async def search(self, query: Query, limit: int, cursor: str) -> Answer:
        """One page, in the order of one tracker (merging.py). Raises Fault when no tracker answered: auth if that is why, else network."""
        await self.settle()
        marks, session = self._pages.read(cursor)
        asked = [t for t in self._trackers if not cursor or str(t.endpoint) in marks]
        before = [marks.get(str(t.endpoint), ("", 0)) for t in asked]
        replies = await asyncio.gather(
            *(
                self._search_one(t, query, limit + used, page)
                for t, (page, used) in zip(asked, before, strict=True)
            )
        )
        faults = [reply for reply in replies if isinstance(reply, Fault)]
        parts, silent = [], {}
        for tracker, mark, reply in zip(asked, before, replies, strict=True):
            if isinstance(reply, Hits):
                parts.append(Part(str(tracker.endpoint), mark, reply.items, reply.next))
            else:
                silent[str(tracker.endpoint)] = mark
        if asked and not parts and not cursor:
            raise _worst(faults)
        wanted = query.terms() if query.by is By.TEXT else None
        hits, following = merge(parts, limit, key_of(query.by, query.sort, wanted), session)
        if following:  # whoever was silent may be back by then
            following.update(silent)
        if query.by is not By.ALL:  # which is in order of the first names
            hits = [plainly_named(hit) for hit in hits]
        return Answer(hits, self._pages.write(following, session, several=len(self._trackers) > 1), faults)

    async def _search_one(
        self, tracker: TrackerClient, query: Query, limit: int, cursor: str
    ) -> Hits | Fault:
        older = not tracker.features & Feature.TERMS
        if older and query.by is By.SHA256 and len(query.text) < 2 * CONTENT_ID_SIZE:
            return Hits(0, [], "")  # it knows whole ones only
        reply: Hits | Fault = await self._ask(tracker, query.message(tracker.features, limit, cursor), Hits)
        if older and isinstance(reply, Hits) and (query.phrases or query.without or query.without_phrases):
            wanted = query.terms()
            found = [hit for hit in reply.items if any(wanted.matches(fold(name)) for name in hit.names)]
            return Hits(reply.req, found, reply.next)
        return reply

    async def members(self, content_id: bytes, cursor: str) -> tuple[list[Member], str, list[Fault]]:
        """Devices of the swarm, or those that share a content, by id; the next cursor, an id; what went wrong with which tracker."""
        await self.settle()
        replies = await asyncio.gather(
            *(self._ask(t, Peers(0, content_id, cursor), PeerList) for t in self._trackers)
        )
        faults = [reply for reply in replies if isinstance(reply, Fault)]
        if self._trackers and len(faults) == len(self._trackers):
            raise _worst(faults)
        lists = [reply for reply in replies if isinstance(reply, PeerList)]
        found: dict[bytes, Member] = {}
        for member in (member for reply in lists for member in reply.items):
            found.setdefault(member.device_id, member)
        # What lies behind the end of the shortest page is not complete yet: it comes with the next one.
        ends = [reply.items[-1].device_id for reply in lists if reply.next and reply.items]
        end = min(ends, default=None)
        members = [found[key] for key in sorted(found) if end is None or key <= end]
        return members, "" if end is None else end.hex(), faults

    async def _ask(self, tracker: TrackerClient, message: Any, kind: type[Any]) -> Any:
        """The reply, or a Fault: one that is silent does not hold up the others' answers for long."""
        try:
            reply = await tracker.request(message, tracker.patience(len(self._trackers)))
        except Fault as fault:
            return fault
        if not isinstance(reply, kind):
            return Fault(
                "network", f"the tracker at {tracker.endpoint} gave another answer than was asked for"
            )
        return reply

    async def devices(self, prefix: str) -> list[bytes]:
        """Devices of the swarm whose ids begin so, the first of them. Raises Fault when no tracker answered."""
        after = before_prefix(prefix)
        if after is None:
            return []
        members, _, _ = await self.members(b"", after.hex())
        return [m.device_id for m in members if device_text(m.device_id).startswith(prefix.lower())]

    # -- references ---------------------------------------------------------------------------------------

    def own(self, reference: Reference) -> list[Share]:
        """Own shares that a reference means, those that were hashed; one for each path."""
        shares = [share for share in self._store.list_shares() if share.content_id is not None]
        matches = [share for share in shares if _matches(share, reference.kind, reference.value)]
        if not matches and reference.kind == "id":
            matches = [share for share in shares if _matches(share, "sha256", reference.value)]
        if not matches and reference.kind == "prefix":
            matches = [share for share in shares if _matches(share, "name", reference.text)]
        return matches

    def _public(self, reference: Reference) -> list[Published]:
        """What this device has public under a reference, files of folders included."""
        find, value = self._store.public_like, own_name(reference.value)
        matches = find(reference.kind, value)
        if not matches and reference.kind == "id":
            matches = find("sha256", value)
        if not matches and reference.kind == "prefix":
            matches = find("name", own_name(reference.text))
        return matches

    async def resolve(self, text: str) -> tuple[Hit, list[Fault]]:
        """The one content in the swarm, own shares included, that a reference means, and the trackers' faults.

        Raises Fault not_found, ambiguous (with the matches), network, auth, usage.
        """
        reference = parse_reference(text)
        hits: dict[bytes, Hit] = {}
        for entry in self._public(reference):
            _merge(hits, hit_of(entry))
        faults: list[Fault] = []
        try:
            answer = await self._resolve_in_swarm(reference)
        except Fault as fault:
            for entry in (
                self._store.fetched_like(reference.kind, own_name(reference.value)) if not hits else ()
            ):
                _merge(hits, hit_of(entry))
            if not hits:
                raise
            faults.append(fault)
        else:
            faults = answer.faults
            for hit in answer.hits:
                _merge(hits, hit)
        if not hits:
            raise Fault(
                "not_found",
                f"nobody shares {quoted(text)}",
                "p2pctl search TEXT finds names that contain a word",
            )
        if len(hits) > 1:
            raise _ambiguous(text, list(hits.values()))
        return next(iter(hits.values())), faults

    async def _resolve_in_swarm(self, reference: Reference) -> Answer:
        by = {"id": By.ID, "prefix": By.ID, "sha256": By.SHA256, "name": By.NAME}[reference.kind]
        value = own_name(reference.value) if by is By.NAME else reference.value
        answer = await self.search(Query(by, value), 20, "")
        if not answer.hits and reference.kind == "id":
            answer = await self.search(Query(By.SHA256, value), 20, "")
        if not answer.hits and reference.kind == "prefix":
            answer = await self.search(Query(By.NAME, reference.text), 20, "")
        return answer


def _worst(faults: list[Fault]) -> Fault:
    """The fault to show when every tracker failed: the one a person can do something about."""
    for code in ("auth", "usage", "refused"):
        for fault in faults:
            if fault.code == code:
                return fault
    return faults[0]


def _merge(hits: dict[bytes, Hit], hit: Hit) -> None:
    known = hits.get(hit.content_id)
    hits[hit.content_id] = hit if known is None else united([known, hit])


def hit_of(entry: Published) -> Hit:
    """What this device has public, as a search hit without sources."""
    added_at = int(entry.added_at)
    return Hit(entry.content_id, entry.sha256, entry.size, [entry.name], 0, added_at, entry.files)


def _matches(share: Share, kind: str, value: str) -> bool:
    if kind in ("id", "prefix"):
        return share.content_id is not None and share.content_id.hex().startswith(value)
    if kind == "sha256":
        return share.sha256 is not None and share.sha256.hex().startswith(value)
    return share.name == own_name(value)


def _ambiguous(text: str, hits: list[Hit]) -> Fault:
    matches = [
        {"id": hit.content_id.hex(), "name": hit.names[0], "size_bytes": hit.size} for hit in hits[:20]
    ]
    return Fault(
        "ambiguous",
        f"{quoted(text)} means {len(hits)} different files",
        "name one by its id: the first 8 digits are enough when they are unique",
        {"matches": matches},
    )
