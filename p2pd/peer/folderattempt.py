"""One try of a folder's download: its collection, its files, its name. On the event loop; disk work in threads.

The rule: as of a single file's attempt. Small files come many at a time and need no manifests; each larger one, and each that the
sources of the folder refuse, is an attempt of its own in the staging directory. One file that cannot be had does not keep the others:
they get their names, and the Fault partial says which is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.bridge import post, run_on
from p2pd.net.dealer import Lost
from p2pd.peer.attempt import Attempt
from p2pd.peer.contents import ContentsFetch, Delivery, Want
from p2pd.peer.links import Peer
from p2pd.peer.partwork import PartWork
from p2pd.peer.record import Record
from p2pd.peer.treework import Tree, TreeWork, named, octets_of
from p2pd.storage.hashing import FileIdentity
from p2pd.storage.root import Root, StorageError
from p2pd.storage.tree import Found, hash_members, stamp_at
from protocol.collection import Collection
from protocol.display import safe
from protocol.errors import Fault, refusal_text
from protocol.limits import MAX_COLLECTION, MIB
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.folderattempt")

AT_A_TIME = 3  # single files under way
COMMIT_OCTETS = 64 * MIB
COMMIT_SECONDS = 5.0  # what a power cut may take from small files; a kill takes nothing
IDLE_SECONDS = 10.0  # without a source that sends small files, they are tried one by one

ASKED_ABOUT = 4  # files that are there already, to find out whether those who sent them are

R = TypeVar("R")


class FolderAttempt(Attempt):
    """See the module."""

    _tree: Tree | None = None
    _fetch_small: ContentsFetch | None = None
    _singles: Sequence[Attempt] = ()
    _received = 0
    _arrived = 0
    _dirty = 0
    _committed_at = 0.0
    _bucket = TokenBucket()
    stopped = False

    # -- what is shown ------------------------------------------------------------------------------------

    @property
    def verified(self) -> int:
        """See Counts."""
        there = self._tree.verified if self._tree is not None else 0
        return there + sum(single.driver.verified for single in self._singles if single.driver is not None)

    @property
    def received(self) -> int:
        """See Counts."""
        return self._received + sum(one.driver.received for one in self._singles if one.driver is not None)

    @property
    def arrived(self) -> int:
        """See Counts."""
        small = self._fetch_small.arrived if self._fetch_small is not None else 0
        return (
            self._arrived + small + sum(one.driver.arrived for one in self._singles if one.driver is not None)
        )

    def set_limit(self, rate: int) -> None:
        """See Counts."""
        self._bucket.set_rate(rate, self._services.reactor.clock())
        for one in self._singles:
            if one.driver is not None:
                one.driver.set_limit(rate)

    @property
    def sources(self) -> int:
        """See Counts."""
        counts = [
            one.driver.sources for one in self._singles if one.driver is not None and not one.driver.stopped
        ]
        if self._fetch_small is not None:
            counts.append(self._fetch_small.sources)
        return max(counts, default=0)

    # -- the whole ----------------------------------------------------------------------------------------

    async def run(self) -> str:
        """See Attempt.run. Raises also Fault partial, when some of the files could not be had."""
        work = self._work
        assert isinstance(work, TreeWork)
        collection = await self._obtain(Collection.decode, MAX_COLLECTION)
        self.manifest = collection
        if collection.size != self.row.size:
            self._services.store.set_size(self.row.transfer_id, collection.size)
            self._record.reload()
        root = await asyncio.to_thread(Root, self.row.directory)
        try:
            path = await _finished(work.finished_before, root, self.row)
            if path is not None:
                return path
            self.phase = "verifying" if self.row.part_name else "downloading"
            self._tree = tree = await _finished(work.open_tree, root, collection, self.row)
            self._record.reload()
            self.driver = self
            try:
                return await self._fill(tree, work)
            finally:
                self.stopped = True
                work.leave(self.row)
                await _finished(tree.close)
        finally:
            root.close()

    async def _fill(self, tree: Tree, work: TreeWork) -> str:
        self._record.set("running")
        self.phase = "downloading"
        self._committed_at = time.monotonic()
        self._bucket = TokenBucket(self.row.limit, self._services.reactor.clock())
        failures: list[tuple[str, str]] = []
        try:
            if self._services.store.published_count():
                await _finished(tree.copy_local, self._services.catalogue)
            small, large = tree.missing()
            refused = await self._many(tree, small) if small else []
            faults = await self._one_by_one(
                tree, [*(tree.index_of(want.content_id) for want in refused), *large]
            )
        except BaseException:
            await self._keep(tree, work)
            raise
        failures = [(tree.collection.files[index].path, fault.message) for index, fault in faults.items()]
        if faults and not tree.hashed:
            raise next(iter(faults.values()))
        self.phase = "verifying"
        path, unmoved = await _finished(work.finish_tree, tree, self.row)
        self._services.store.forget_parts(self.row.transfer_id)
        failures += unmoved
        if failures:
            await self._leave_partial(path, failures)
        return path

    async def _keep(self, tree: Tree, work: TreeWork) -> None:
        """When a run ends early, keeps what it has. Errors are logged: the next run looks at the disk."""
        try:
            await _finished(work.commit_tree, tree, self.row, self.received)
        except Fault as fault:
            log.warning("! %s: %s", self.row.transfer_id, fault.message)

    async def _leave_partial(self, path: str, failures: list[tuple[str, str]]) -> None:
        """The others have their names. Trying again fetches what is missing into the same folder."""
        store, row = self._services.store, self.row
        store.set_part(row.transfer_id, "", FileIdentity(0, 0))
        store.set_target(row.transfer_id, os.path.dirname(path), os.path.basename(path), "skip")
        self._record.reload()
        total = len(self.manifest.files) if isinstance(self.manifest, Collection) else 0
        raise Fault(
            "partial",
            f"{len(failures)} of {total} files of {safe(row.name)} could not be had: {named(failures)};"
            f" the others are in {safe(path)}",
            "download it again with --exists skip: only what is missing is fetched",
            {"path": path, "failed": [{"path": one, "reason": why} for one, why in failures[:300]]},
        )

    async def share(self, path: str) -> None:
        """Shares what was downloaded to this path: as a folder, unless something in it is not what it should be."""
        collection, tree = self.manifest, self._tree
        assert isinstance(collection, Collection)
        if tree is None:  # named before a kill: it is read, as nothing else is known of it
            found = []
            for file in collection.files:
                if (stamp := await asyncio.to_thread(stamp_at, os.path.join(path, file.path))) is not None:
                    found.append(Found(file.path, stamp))
            hashed, _ = await asyncio.to_thread(hash_members, path, found)
        else:
            hashed = [tree.hashed[index] for index in sorted(tree.hashed)]
        ids = [item.manifest.content_id for item in hashed]
        if ids != [file.content_id for file in collection.files]:
            log.info("= %s is not shared: it holds other files than it should", safe(path))
            return
        await self._services.folders.take_download(path, self.row.name, collection, hashed)

    # -- small files --------------------------------------------------------------------------------------

    async def _many(self, tree: Tree, wants: list[Want]) -> list[Want]:
        """Fetches small contents from those who have the folder; what they refuse, or nobody is there to send."""
        services = self._services
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[Delivery] = asyncio.Queue()
        left = {want.content_id: want for want in wants}
        refused: list[Want] = []

        def deliver(delivery: Delivery) -> None:
            post(loop, came.put_nowait, delivery)

        def abandoned(peer: Peer, lost: Lost) -> None:
            post(loop, self._wake.set)

        fetch = self._fetch_small = ContentsFetch(services.reactor, wants, deliver, abandoned, self._bucket)
        looking = asyncio.create_task(self._look(fetch))
        try:
            while left:
                taking = asyncio.ensure_future(came.get())
                try:
                    await asyncio.wait({taking, looking}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not taking.done():
                        taking.cancel()
                if not taking.done():
                    looking.result()
                    break
                delivery = taking.result()
                good, wrong, unsent = await _finished(tree.put, delivery)
                self._hopeful_since = time.monotonic()
                self._received += octets_of(good)
                self._dirty += octets_of(good)
                if good and delivery.peer.name not in self.givers:
                    self._source_gave(delivery.peer)
                if wrong:
                    self._liar = str(delivery.peer.endpoint)
                    log.warning("! %s: %s sent wrong data", self.row.transfer_id, self._liar)
                    services.reactor.call(fetch.again, wrong, delivery.peer)
                for want, code in unsent:
                    log.info("= %s: %s: %s", self.row.transfer_id, delivery.peer.endpoint, refusal_text(code))
                    refused.append(left.pop(want.content_id))
                for want in good:
                    del left[want.content_id]
                services.reactor.call(fetch.taken)
                await self._commit_if_due(tree)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await run_on(services.reactor, fetch.stop)
            self._arrived += fetch.arrived
            self._fetch_small = None
        return refused + list(left.values())

    async def _look(self, fetch: ContentsFetch) -> None:
        """Offers sources to the fetch, until none was there for a while."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        alone_since = time.monotonic()
        while True:
            self.problem = await self._services.finder.offer(self.row.content_id, fetch)
            await self._pause(never)
            if fetch.sources:
                alone_since = time.monotonic()
                self.phase = "downloading"
                continue
            self.phase = "stalled"
            if time.monotonic() - alone_since >= IDLE_SECONDS:
                return

    async def _commit_if_due(self, tree: Tree) -> None:
        now = time.monotonic()
        if self._dirty >= COMMIT_OCTETS or (self._dirty and now - self._committed_at >= COMMIT_SECONDS):
            assert isinstance(self._work, TreeWork)
            await _finished(self._work.commit_tree, tree, self.row, self.received)
            self._dirty, self._committed_at = 0, time.monotonic()

    # -- one by one ---------------------------------------------------------------------------------------

    async def _one_by_one(self, tree: Tree, indexes: list[int]) -> dict[int, Fault]:
        """Fetches these files as single downloads; those that could not be had, and why. Raises Fault of storage, and of
        network when nobody who has the folder can be reached."""
        faults: dict[int, Fault] = {}
        waiting = iter(indexes)
        running: list[Attempt] = []
        self._singles = running

        async def worker() -> None:
            for index in waiting:
                try:
                    await self._single(tree, index, running)
                except StorageError:
                    raise
                except Fault as fault:
                    gone = fault.code in ("network", "not_found")
                    if gone and not await self._somebody_has_of_it(tree):
                        raise Fault("network", fault.message, fault.hint) from fault
                    faults[index] = fault

        # Each has the limit of the whole: under one, they go one after the other.
        count = min(1 if self.row.limit else AT_A_TIME, len(indexes))
        workers = [asyncio.create_task(worker()) for _ in range(count)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return faults

    async def _anybody(self, content_id: bytes) -> bool:
        """Whether somebody may have this; True also when no tracker says."""
        found, faults = await self._services.finder.find(content_id)
        return bool(found or faults)

    async def _somebody_has_of_it(self, tree: Tree) -> bool:
        """Whether those who have the folder are there, also when it has changed since and is another collection now: then what
        they do not have of it any more will not come."""
        files = tree.collection.files
        known = sorted(tree.hashed)
        some = known[:: max(1, len(known) // ASKED_ABOUT)][:ASKED_ABOUT]
        for content_id in (self.row.content_id, *(files[index].content_id for index in some)):
            if await self._anybody(content_id):
                return True
        return False

    async def _single(self, tree: Tree, index: int, running: list[Attempt]) -> None:
        file = tree.collection.files[index]
        store, name = self._services.store, f"f-{index}"
        rows = [part for part in store.parts_of(self.row.transfer_id) if part.target_name == name]
        if rows:
            row = rows[0]
        elif not self._services.catalogue.holds(file.content_id) and not await self._anybody(file.content_id):
            raise Fault("not_found", "nobody who is reachable now shares it")
        else:
            row = store.add_download(
                file.content_id,
                file.path,
                file.size,
                tree.staging.path,
                name,
                time.time(),
                exists_policy="overwrite",
                share=False,
                from_user=True,
                parent=self.row.transfer_id,
                limit=self.row.limit,
            )
        record = Record(store, row)
        work = PartWork(self._services.store, self._services.space)
        single = Attempt(self._services, record, work, asyncio.Event(), self._crowded)
        running.append(single)
        try:
            await single.run()
            assert isinstance(single.manifest, Manifest)
            if single.driver is not None:
                self._received += single.driver.received
            running.remove(single)
            await _finished(tree.adopt, name, single.manifest)
            record.set("done", finished_at=time.time())
        finally:
            if single in running:
                running.remove(single)
            if single.driver is not None:
                self._arrived += single.driver.arrived
            for device, endpoint in single.givers.items():
                self.givers.setdefault(device, endpoint)
        await self._commit_if_due(tree)


async def _finished(work: Callable[..., R], *args: object) -> R:
    """The result of `work(*args)` in a thread. Whoever is cancelled meanwhile waits until it is over: a thread cannot be stopped,
    and what it works on must not be closed under it."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
