"""The method `complete` of the control API: what a name that is being typed may become. On the event loop.

The rule: it answers at once with what is known by then, and nothing that goes wrong is an error: whoever presses Tab wants
no message. Knows no shell.
"""

from __future__ import annotations

import asyncio

from p2pd.control.items import Item
from p2pd.control.pages import page
from p2pd.peer.finding import Query
from p2pd.peer.service import PeerService
from protocol.errors import Fault
from protocol.ids import MIN_PREFIX, is_hex
from protocol.limits import MAX_HITS, MAX_QUERY
from protocol.names import own_name
from protocol.tracker import By, Hit

COMPLETIONS = 50
FOUND_SECONDS = 0.12  # for the trackers: with the start of a client it has to look immediate


async def complete(peer: PeerService, kind: str, text: str, limit: int) -> Item:
    """A page of {"value", "id", "name", "size_bytes"}: names that begin with `text` (case does not count), and ids if it looks
    like the beginning of one. `kind`: "shared" for what this device shares, "found" for that and what trackers know.
    """
    text = own_name(text)
    items: dict[str, Item] = {}
    for entry in peer.store.public_names(text, limit):
        _offer(items, entry.name, entry.content_id, entry.name, entry.size)
    if _is_prefix(text):
        for entry in peer.store.public_like("prefix", text.lower()):
            _offer(items, entry.content_id.hex(), entry.content_id, entry.name, entry.size)
    if kind == "found":
        for hit in await _found(peer, text):
            for name in hit.names:
                if name.casefold().startswith(text.casefold()):
                    _offer(items, name, hit.content_id, name, hit.size)
            if _is_prefix(text) and hit.content_id.hex().startswith(text.lower()):
                _offer(items, hit.content_id.hex(), hit.content_id, hit.names[0], hit.size)
    return page(sorted(items.values(), key=lambda item: str(item["value"]))[:limit], None)


async def _found(peer: PeerService, text: str) -> list[Hit]:
    """What trackers know of it, as far as they answer in time."""
    if len(text.encode("utf-8", "replace")) > MAX_QUERY:
        return []
    queries = [Query(By.TEXT, text) if text.strip() else Query(By.ALL)]
    if _is_prefix(text):
        queries.append(Query(By.ID, text.lower()))
    answers = await asyncio.gather(*(_search(peer, query) for query in queries))
    return [hit for hits in answers for hit in hits]


async def _search(peer: PeerService, query: Query) -> list[Hit]:
    try:
        answer = await asyncio.wait_for(peer.finder.search(query, MAX_HITS, ""), FOUND_SECONDS)
    except (Fault, TimeoutError):
        return []
    return answer.hits


def _is_prefix(text: str) -> bool:
    return len(text) >= MIN_PREFIX and is_hex(text.lower())


def _offer(items: dict[str, Item], value: str, content_id: bytes, name: str, size: int) -> None:
    items.setdefault(value, {"value": value, "id": content_id.hex(), "name": name, "size_bytes": size})
