"""What this device wants and nobody shares yet: waits at every tracker, and begins the download when it is there. On the event loop.

The rule: a want is in the database before anybody is asked, and leaves it only as a download or by hand. Trackers tell when something
came (a question that waits; docs/protocol.md, "Wanting"); then the swarm is searched as a person would, and the best hit is taken. A want
that a tracker has something for and that could not be begun is left alone for a time, longer each time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from p2pd.peer.downloads import Downloads, Wanted
from p2pd.peer.finding import Finder, Query, hit_of
from p2pd.peer.trackers import TrackerClient
from p2pd.peer.transfer import Transfer
from p2pd.storage.state import State
from p2pd.storage.state_wants import FAILED, STARTED, WANTED, StoredWant
from protocol import wanting
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import MAX_WANTS, WANT_SECONDS
from protocol.tracker import By, Hit

log = logging.getLogger("p2pd.peer.wants")

PATIENCE = (
    1.2 * WANT_SECONDS + 30
)  # until a tracker that does not answer a waiting question is thought silent
AGAIN_FIRST = 15.0  # seconds that a want is left alone when it could not be begun,
AGAIN_MAX = 600.0  # doubling up to this
OLD_SECONDS = 300.0  # how often a tracker that cannot wait is searched
TROUBLE_SECONDS = 5.0
FLOOR_SECONDS = 0.5  # between two questions, unless something has changed
LOOKED_AT = 20  # hits of one search
FINAL_FAULTS = ("exists", "usage")  # nothing that comes later makes these good


@dataclass(frozen=True, slots=True)
class Spec:
    """`what`: as the person wrote it; `queries`: the better first; the rest as of a download."""

    what: str
    queries: tuple[Query, ...]
    directory: str
    file: str | None
    prefix: str
    exists: str
    share: bool
    limit: int

    def text(self) -> str:
        """As it is stored: the same wants have the same text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Spec:
        """What `text` wrote."""
        fields = json.loads(text)
        queries = tuple(
            Query(**{**query, "by": By(query["by"]), **{key: tuple(query[key]) for key in _PARTS}})
            for query in fields.pop("queries")
        )
        return cls(queries=queries, **fields)


_PARTS = ("phrases", "without", "without_phrases")


class Wants:
    """See the module."""

    def __init__(
        self,
        store: State,
        trackers: list[TrackerClient],
        finder: Finder,
        downloads: Downloads,
        holds: Callable[[bytes], bool],
        rng: random.Random,
    ) -> None:
        self._store = store
        self._trackers = trackers
        self._finder = finder
        self._downloads = downloads
        self._holds = holds
        self._rng = rng
        self._news = asyncio.Event()
        self._locks: dict[str, asyncio.Lock] = {}
        self._later: dict[
            str, tuple[float, float]
        ] = {}  # want -> not before (loop's time), the pause that led to it
        self._tasks: dict[TrackerClient, asyncio.Task[None]] = {}
        self._questions: dict[TrackerClient, asyncio.Task[Any]] = {}
        self._loose: set[asyncio.Task[Any]] = set()

    # -- asking -------------------------------------------------------------------------------------------

    def add(self, spec: Spec) -> StoredWant:
        """Wants this from now on, and looks whether it is there already. Raises Fault refused when there are too many."""
        text = spec.text()
        waiting = self._store.wants()
        known = any(one.spec == text for one in waiting)
        wishes = sum(len(Spec.read(one.spec).queries) for one in waiting)
        if not known and wishes + len(spec.queries) > MAX_WANTS:
            raise Fault(
                "refused",
                f"{len(waiting)} wants are as many as a device may have",
                "p2pctl wants lists them, p2pctl unwant gives one up",
            )
        stored = self._store.add_want(text, time.time())
        self._later.pop(stored.want, None)
        self._spawn(self._look(stored.want))
        self.poke()
        return stored

    def drop(self, want: str) -> bool:
        """Gives one up. False when it had become a download, or failed. Raises Fault not_found."""
        dropped = self._store.drop_want(want)
        self.poke()
        return dropped

    def get(self, want: str) -> StoredWant:
        """One of them. Raises Fault not_found."""
        return self._store.get_want(want)

    def all(self, waiting: bool) -> list[StoredWant]:
        """Those that wait, or all that are remembered; the oldest first."""
        return self._store.wants(waiting)

    def trouble(self) -> Fault | None:
        """Why nothing can come, when no tracker is left to ask and a person must do something about it: another key, a refusal."""
        if any(tracker.state in ("connected", "connecting") for tracker in self._trackers):
            return None
        states = ("wrong_password", "refused")
        faults = [tracker.error for tracker in self._trackers if tracker.state in states and tracker.error]
        return min(faults, key=lambda fault: fault.code != "auth", default=None)

    def poke(self) -> None:
        """Something has changed: what is wanted, or at which trackers."""
        self._news.set()
        self._news = asyncio.Event()

    async def changed(self, timeout: float) -> None:
        """Returns when something about any of them has changed, or after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
        except TimeoutError:
            return

    # -- waiting ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Waits at all trackers; until cancelled."""
        try:
            while True:
                for tracker in self._trackers:
                    if tracker not in self._tasks:
                        self._tasks[tracker] = asyncio.create_task(self._watch(tracker))
                for tracker in [one for one in self._tasks if one not in self._trackers]:
                    self._tasks.pop(tracker).cancel()
                await self.changed(OLD_SECONDS)
        finally:
            tasks = [*self._tasks.values(), *self._loose]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, tracker: TrackerClient) -> None:
        while True:
            try:
                await tracker.wait_connected()
                await self._wait_at(tracker)
            except Fault as fault:
                log.info("! tracker %s: %s", tracker.endpoint, fault.message)
                await asyncio.sleep(TROUBLE_SECONDS * self._rng.uniform(0.5, 1.0))
            except Exception:  # whatever it was, the other wants are to be waited for
                log.exception("! waiting at tracker %s failed", tracker.endpoint)
                await asyncio.sleep(TROUBLE_SECONDS)

    async def _wait_at(self, tracker: TrackerClient) -> None:
        """One question, until it is answered or there is another one. Raises Fault."""
        news = self._news
        asked, pause = self._ready()
        if not asked:
            if (open_one := self._questions.pop(tracker, None)) is not None and not open_one.done():
                await tracker.request(wanting.Want(0, []))
            await self._first(news, pause)
            return
        if not tracker.features & Feature.WANTS:
            for want in dict.fromkeys(want for want, _ in asked):
                await self._look(want)
            await self._first(news, OLD_SECONDS)
            return
        question = self._spawn(tracker.request(wanting.Want(0, [wish for _, wish in asked]), PATIENCE))
        self._questions[tracker] = question
        await self._first(news, pause, question)
        if not question.done():
            return  # the tracker answers it when the next one comes
        reply = question.result()
        if isinstance(reply, wanting.Wanted):
            for want in dict.fromkeys(asked[index][0] for index in reply.found if index < len(asked)):
                if not await self._look(want):
                    self._leave_alone(want)
        await self._first(news, FLOOR_SECONDS)  # a tracker that always answers at once

    async def _first(
        self, news: asyncio.Event, pause: float | None, question: asyncio.Task[Any] | None = None
    ) -> None:
        """Until there is news, the pause is over, or the question is answered."""
        waiting: set[asyncio.Task[Any]] = {asyncio.create_task(news.wait())}
        try:
            await asyncio.wait(
                waiting | ({question} if question is not None else set()),
                timeout=pause,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in waiting:
                task.cancel()

    def _ready(self) -> tuple[list[tuple[str, wanting.Wish]], float | None]:
        """What to ask for now, and the seconds until there is more to ask for."""
        now = asyncio.get_running_loop().time()
        asked, pauses = [], []
        for stored in self._store.wants():
            until = self._later.get(stored.want, (0.0, 0.0))[0]
            if until > now:
                pauses.append(until - now)
                continue
            asked += [(stored.want, _wish(query)) for query in Spec.read(stored.spec).queries]
        return asked[:MAX_WANTS], min(pauses, default=None)

    def _leave_alone(self, want: str) -> None:
        _, pause = self._later.get(want, (0.0, AGAIN_FIRST / 2))
        pause = min(AGAIN_MAX, 2 * pause)
        self._later[want] = (asyncio.get_running_loop().time() + pause, pause)

    # -- looking ------------------------------------------------------------------------------------------

    async def _look(self, want: str) -> bool:
        """Begins its download if somebody has it. False when it could not be begun."""
        async with self._locks.setdefault(want, asyncio.Lock()):
            try:
                stored = self._store.get_want(want)
            except Fault:
                return True  # given up meanwhile
            if stored.state != WANTED:
                return True
            spec = Spec.read(stored.spec)
            try:
                found = await self._best(spec)
                if found is None:
                    return False
                await self._begin(stored, spec, *found)
            except Fault as fault:
                final = fault.code in FINAL_FAULTS
                if fault.code not in ("network", "not_found"):
                    self._store.set_want(want, FAILED if final else WANTED, time.time(), fault=fault)
                if final:
                    self.poke()
                return final
            self.poke()
            return True

    async def _best(self, spec: Spec) -> tuple[Hit, Query] | None:
        """What to fetch: of words the best ranked, of an id, digits or a name what has most sources; the better query first."""
        for query in spec.queries:
            try:
                hits = (await self._finder.search(query, LOOKED_AT, "")).hits
            except Fault:
                hits = []
            if query.by is By.TEXT:
                # What only this device shares is nothing that came.
                hits = [hit for hit in hits if hit.sources > self._holds(hit.content_id)]
            else:
                whole = len(query.text) == 2 * CONTENT_ID_SIZE
                kind = {By.ID: "id" if whole else "prefix", By.SHA256: "sha256", By.NAME: "name"}[query.by]
                hits += [hit_of(entry) for entry in self._store.public_like(kind, query.text)]
                hits.sort(key=lambda hit: -hit.sources)
            if hits:
                return hits[0], query
        return None

    async def _begin(self, stored: StoredWant, spec: Spec, hit: Hit, query: Query) -> None:
        wanted = Wanted(
            content_id=hit.content_id,
            name=query.text if query.by is By.NAME and query.text in hit.names else hit.names[0],
            size=hit.size,
            directory=spec.directory,
            file=spec.file,
            prefix=spec.prefix,
            exists=spec.exists,
            share=spec.share,
            check_sha256=query.text if query.by is By.SHA256 and not hit.files else "",
            limit=spec.limit,
            files=hit.files,
        )
        found = await self._downloads.add(wanted)
        row = found.row if isinstance(found, Transfer) else found
        self._store.set_want(stored.want, STARTED, time.time(), row.transfer_id)
        self._locks.pop(stored.want, None)
        log.info("= %s is there: %s", stored.want, row.transfer_id)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


def _wish(query: Query) -> wanting.Wish:
    return wanting.Wish(
        int(query.by),
        query.text,
        query.ext,
        query.min_size,
        query.max_size,
        list(query.phrases),
        list(query.without),
        list(query.without_phrases),
    )
