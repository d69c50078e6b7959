"""The methods of the control API that look for files in the swarm: `search` and `all_files`. On the event loop.

The rule: what a person wrote is taken apart here, and only here: quotation marks, `sha256:`, digits of an id. Trackers
get words, phrases and digits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item, hit_item
from p2pd.control.pages import page
from p2pd.control.server import Method, Progress
from p2pd.peer.finding import Answer, Query
from p2pd.peer.service import PeerService
from protocol.errors import Fault
from protocol.ids import CONTENT_ID_SIZE, MIN_PREFIX, is_hex
from protocol.limits import CONTROL_PAGE, MAX_FILE
from protocol.searching import BadTerms, Terms, fold, split
from protocol.tracker import By, Hit, Sort

SORTS = {sort.name.lower(): sort for sort in Sort}
DIGITS = 2 * CONTENT_ID_SIZE
SEARCH_PAGE = 100  # hits, the best, unless more are asked for
PATIENCE = 15  # empty pages that are passed over: fewer than a tracker answers at once
AHEAD = 4  # pages that wait for their readers, some 60 KB each
AHEAD_SECONDS = 5.0
WORDS = "w:"
"""Before the cursor of a search that began with what an id or a SHA-256 found."""


class Ahead:
    """Pages that are asked for before somebody wants them: a few, each for a moment, so that nothing grows and nothing is old."""

    def __init__(self) -> None:
        self._pages: dict[tuple[int, str], tuple[asyncio.Task[Answer], asyncio.TimerHandle]] = {}

    def begin(self, key: tuple[int, str], ask: Callable[[], Coroutine[Any, Any, Answer]]) -> None:
        """Asks now for the page that may be taken by its key."""
        if key in self._pages:
            self._drop(key)
        while len(self._pages) >= AHEAD:
            self._drop(next(iter(self._pages)))
        task = asyncio.create_task(ask(), name="page ahead")
        task.add_done_callback(_noticed)
        timer = asyncio.get_running_loop().call_later(AHEAD_SECONDS, self._drop, key)
        self._pages[key] = (task, timer)

    async def take(self, key: tuple[int, str], ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """That page, if it was begun and came; else asked for now. Raises Fault as `ask`."""
        if key in self._pages:
            task, timer = self._pages.pop(key)
            timer.cancel()  # else it would keep the page
            try:
                return await task
            except Fault:
                pass  # it may go better now
        return await ask()

    def _drop(self, key: tuple[int, str]) -> None:
        task, timer = self._pages.pop(key)
        task.cancel()
        timer.cancel()


def _noticed(task: asyncio.Task[Answer]) -> None:
    """Nobody may ever ask how it ended."""
    if not task.cancelled():
        task.exception()


class Searching:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self._ahead = Ahead()
        self.methods: dict[str, Method] = {"search": self.search, "all_files": self.all_files}

    async def search(self, params: dict[str, Any], progress: Progress) -> Item:
        """Contents by words of their names, by id or by SHA-256."""
        asked = read_params.read(read_params.Search, params)
        query = query_of(asked)
        limit, cursor = asked.limit or SEARCH_PAGE, asked.cursor or ""
        digits = fold(asked.text.strip())
        if not (MIN_PREFIX <= len(digits) <= DIGITS and is_hex(digits)) or query.by is not By.TEXT:
            return self._page(await self._find(query, limit, cursor))
        # Digits may be of an id, of a SHA-256, or a word such as a date: who they name comes first.
        named = Answer([], "", [])
        if not cursor.startswith(WORDS):
            named = await self._named(query, digits, limit, cursor)
            if named.next:
                return self._page(named)
        answer = await self._find(query, limit - len(named.hits), cursor.removeprefix(WORDS))
        rest = [hit for hit in answer.hits if not _named_by(hit, digits)]
        faults = list({fault.message: fault for fault in (*named.faults, *answer.faults)}.values())
        return self._page(Answer([*named.hits, *rest], WORDS + answer.next if answer.next else "", faults))

    async def all_files(self, params: dict[str, Any], progress: Progress) -> Item:
        """Everything the swarm shares, by name. The next page is asked for while this one is read."""
        asked = read_params.read(read_params.Page, params)
        limit, cursor = asked.limit or CONTROL_PAGE, asked.cursor or ""
        answer = await self._ahead.take((limit, cursor), partial(self._everything, limit, cursor))
        if asked.limit is None and answer.next and not answer.faults:
            self._ahead.begin((limit, answer.next), partial(self._everything, limit, answer.next))
        return self._page(answer)

    async def _everything(self, limit: int, cursor: str) -> Answer:
        return await self._peer().finder.search(Query(By.ALL), limit, cursor)

    async def _named(self, query: Query, digits: str, limit: int, cursor: str) -> Answer:
        """What has these digits at the beginning of its id or SHA-256. `cursor`: how many of them were told."""
        told = int(cursor) if cursor.isdecimal() else 0
        both = [replace(query, by=by, text=digits) for by in (By.ID, By.SHA256)]
        one, other = await asyncio.gather(*(self._find(each, CONTROL_PAGE, "") for each in both))
        hits = list({hit.content_id: hit for hit in (*one.hits, *other.hits)}.values())
        end = told + limit
        following = str(end) if end < len(hits) else WORDS if end == len(hits) else ""
        return Answer(hits[told:end], following, [*one.faults, *other.faults])

    async def _find(self, query: Query, limit: int, cursor: str) -> Answer:
        finder = self._peer().finder
        if query.by is By.TEXT:
            answer = await finder.search(query, limit, cursor)
            # A page may be empty before the end: words too short for an index are looked for in so many names at a time.
            for _ in range(PATIENCE):
                if answer.hits or not answer.next or answer.faults:
                    break
                answer = await finder.search(query, limit, answer.next)
            return answer
        plain = replace(query, phrases=(), without=(), without_phrases=())
        answer = await finder.search(plain, limit, cursor)
        wanted = Terms((), (), tuple(map(fold, query.without)))
        return replace(
            answer, hits=[hit for hit in answer.hits if any(wanted.matches(fold(n)) for n in hit.names)]
        )

    def _page(self, answer: Answer) -> Item:
        holds = self._peer().catalogue.holds
        return {
            **page([hit_item(hit, holds(hit.content_id)) for hit in answer.hits], answer.next or None),
            "partial": bool(answer.faults),
            "warnings": [fault.message for fault in answer.faults],
        }


def query_of(asked: read_params.Search) -> Query:
    """The search as trackers are asked. Raises Fault usage."""
    sort = SORTS.get(asked.sort or "relevance")
    if sort is None:
        raise Fault("usage", f"unknown sort {asked.sort!r}", f"one of {', '.join(SORTS)}")
    text = read_params.check_query(asked.text)
    try:
        words, phrases = split(text)
        without, without_phrases = split(" ".join(asked.without or ()))
        query = Query(
            By.TEXT,
            " ".join(words),
            (asked.ext or "").lstrip("."),
            asked.min_size_bytes or 0,
            MAX_FILE if asked.max_size_bytes is None else asked.max_size_bytes,
            sort,
            tuple(phrases),
            tuple(without),
            tuple(without_phrases),
        )
        query.terms()
    except BadTerms as error:
        raise Fault(
            "usage", str(error), "words, and phrases in quotation marks: '\"annual report\" 2024'"
        ) from error
    mark, colon, value = text.strip().partition(":")
    if mark.lower() == "sha256" and colon:
        value = value.lower()
        if not (MIN_PREFIX <= len(value) <= DIGITS and is_hex(value)):
            raise Fault(
                "usage", f"a SHA-256 is {MIN_PREFIX} to {DIGITS} hex digits", "sha256sum FILE prints one"
            )
        return replace(query, by=By.SHA256, text=value)
    return query


def _named_by(hit: Hit, digits: str) -> bool:
    return hit.content_id.hex().startswith(digits) or hit.sha256.hex().startswith(digits)
