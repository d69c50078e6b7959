"""Finding contents in the swarm: searches over the trackers, and what a person's reference means. On the event loop.

The rule: every tracker is asked; an answer is partial when one of them did not give its own, and an error only when
none did. The same content from several trackers or under several names is one hit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from p2pd.peer.trackers import TrackerClient
from p2pd.storage.state import Published, Share, State
from protocol.control import Reference, parse_reference
from protocol.display import safe
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.ids import CONTENT_ID_SIZE, before_prefix, device_text
from protocol.limits import MAX_FILE, MAX_HITS
from protocol.searching import Terms, fold, terms
from protocol.tracker import PLAIN_HITS, By, Hit, Hits, Member, PeerList, Peers, Search, SearchTerms, Sort

SETTLE_SECONDS = 4.0  # how long the first connection to a tracker is waited for


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

    async def settle(self) -> None:
        """Waits for the first attempt to reach each tracker, for a moment."""
        waiting = [
            tracker.settled(SETTLE_SECONDS) for tracker in self._trackers if tracker.state == "connecting"
        ]
        if waiting:
            await asyncio.gather(*waiting)

    async def search(self, query: Query, limit: int, cursor: str) -> Answer:
        """One page. Raises Fault when no tracker answered: auth if that is why, else network."""
        await self.settle()
        cursors = _read_cursor(cursor)
        asked = [t for t in self._trackers if not cursor or cursors.get(str(t.endpoint))]
        replies = await asyncio.gather(
            *(
                self._search_one(tracker, query, limit, cursors.get(str(tracker.endpoint), ""))
                for tracker in asked
            )
        )
        faults = [reply for reply in replies if isinstance(reply, Fault)]
        pages = [(t, r) for t, r in zip(asked, replies, strict=True) if isinstance(r, Hits)]
        if asked and not pages:
            raise _worst(faults)
        merged: dict[bytes, Hit] = {}
        for rank in range(max((len(page.items) for _, page in pages), default=0)):
            for _, page in pages:
                if rank < len(page.items):
                    _merge(merged, page.items[rank])
        nexts = {str(tracker.endpoint): page.next for tracker, page in pages if page.next}
        return Answer(list(merged.values()), _write_cursor(nexts), faults)

    async def _search_one(
        self, tracker: TrackerClient, query: Query, limit: int, cursor: str
    ) -> Hits | Fault:
        older = not tracker.features & Feature.TERMS
        if older and query.by is By.SHA256 and len(query.text) < 2 * CONTENT_ID_SIZE:
            return Hits(0, [], "")  # it knows whole ones only
        reply: Hits | Fault = await _ask(tracker, query.message(tracker.features, limit, cursor), Hits)
        if older and isinstance(reply, Hits) and (query.phrases or query.without or query.without_phrases):
            wanted = query.terms()
            found = [hit for hit in reply.items if any(wanted.matches(fold(name)) for name in hit.names)]
            return Hits(reply.req, found, reply.next)
        return reply

    async def members(self, content_id: bytes, cursor: str) -> tuple[list[Member], str, list[Fault]]:
        """Devices of the swarm, or those that share a content; next cursor; what went wrong with which tracker."""
        await self.settle()
        cursors = _read_cursor(cursor)
        asked = [t for t in self._trackers if not cursor or cursors.get(str(t.endpoint))]
        replies = await asyncio.gather(
            *(_ask(t, Peers(0, content_id, cursors.get(str(t.endpoint), "")), PeerList) for t in asked)
        )
        faults = [reply for reply in replies if isinstance(reply, Fault)]
        if asked and len(faults) == len(asked):
            raise _worst(faults)
        found: dict[bytes, Member] = {}
        nexts = {}
        for tracker, reply in zip(asked, replies, strict=True):
            if isinstance(reply, PeerList):
                for member in reply.items:
                    found.setdefault(member.device_id, member)
                if reply.next:
                    nexts[str(tracker.endpoint)] = reply.next
        return list(found.values()), _write_cursor(nexts), faults

    async def devices(self, prefix: str) -> list[bytes]:
        """Devices of the swarm whose ids begin so, the first of them. Raises Fault when no tracker answered."""
        after = before_prefix(prefix)
        if after is None:
            return []
        cursor = _write_cursor({str(t.endpoint): after.hex() for t in self._trackers}) if after else ""
        members, _, _ = await self.members(b"", cursor)
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
        find, value = self._store.public_like, unicodedata.normalize("NFC", reference.value)
        matches = find(reference.kind, value)
        if not matches and reference.kind == "id":
            matches = find("sha256", value)
        if not matches and reference.kind == "prefix":
            matches = find("name", unicodedata.normalize("NFC", reference.text))
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
                f"nobody shares {safe(text)!r}",
                "p2pctl search TEXT finds names that contain a word",
            )
        if len(hits) > 1:
            raise _ambiguous(text, list(hits.values()))
        return next(iter(hits.values())), faults

    async def _resolve_in_swarm(self, reference: Reference) -> Answer:
        by = {"id": By.ID, "prefix": By.ID, "sha256": By.SHA256, "name": By.NAME}[reference.kind]
        value = unicodedata.normalize("NFC", reference.value) if by is By.NAME else reference.value
        answer = await self.search(Query(by, value), 20, "")
        if not answer.hits and reference.kind == "id":
            answer = await self.search(Query(By.SHA256, value), 20, "")
        if not answer.hits and reference.kind == "prefix":
            answer = await self.search(Query(By.NAME, reference.text), 20, "")
        return answer


async def _ask(tracker: TrackerClient, message: Any, kind: type[Any]) -> Any:
    try:
        reply = await tracker.request(message)
    except Fault as fault:
        return fault
    if not isinstance(reply, kind):
        return Fault("network", f"the tracker at {tracker.endpoint} gave another answer than was asked for")
    return reply


def _worst(faults: list[Fault]) -> Fault:
    """The fault to show when every tracker failed: the one a person can do something about."""
    for code in ("auth", "usage", "refused"):
        for fault in faults:
            if fault.code == code:
                return fault
    return faults[0]


def _merge(hits: dict[bytes, Hit], hit: Hit) -> None:
    known = hits.get(hit.content_id)
    if known is None:
        hits[hit.content_id] = hit
        return
    names = list(dict.fromkeys([*known.names, *hit.names]))[:16]
    hits[hit.content_id] = Hit(
        known.content_id,
        known.sha256,
        known.size,
        names,
        max(known.sources, hit.sources),
        max(known.added_at, hit.added_at),
        known.files,
    )


def hit_of(entry: Published) -> Hit:
    """What this device has public, as a search hit without sources."""
    added_at = int(entry.added_at)
    return Hit(entry.content_id, entry.sha256, entry.size, [entry.name], 0, added_at, entry.files)


def _matches(share: Share, kind: str, value: str) -> bool:
    if kind in ("id", "prefix"):
        return share.content_id is not None and share.content_id.hex().startswith(value)
    if kind == "sha256":
        return share.sha256 is not None and share.sha256.hex().startswith(value)
    return share.name == unicodedata.normalize("NFC", value)


def _ambiguous(text: str, hits: list[Hit]) -> Fault:
    matches = [
        {"id": hit.content_id.hex(), "name": hit.names[0], "size_bytes": hit.size} for hit in hits[:20]
    ]
    return Fault(
        "ambiguous",
        f"{safe(text)!r} means {len(hits)} different files",
        "name one by its id: the first 8 digits are enough when they are unique",
        {"matches": matches},
    )


def _write_cursor(nexts: dict[str, str]) -> str:
    if not nexts:
        return ""
    return base64.urlsafe_b64encode(json.dumps(nexts).encode()).decode()


def _read_cursor(cursor: str) -> dict[str, str]:
    if not cursor:
        return {}
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError as error:
        raise Fault("usage", "bad cursor", "take it from `next` of the page before") from error
    if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
        raise Fault("usage", "bad cursor", "take it from `next` of the page before")
    return read
