"""One try of a download: its manifest, its part file, its sources, its name. On the event loop; disk work in threads.

The rule: it ends with the path of the finished file or with the Fault that stopped it, and what was committed by then stays. What happens
next is not its business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from p2pd.engine.credit import Credits
from p2pd.engine.download import DownloadState
from p2pd.events import Events
from p2pd.net.bridge import post, run_on, settle
from p2pd.net.dealer import Lost
from p2pd.net.reactor import Reactor
from p2pd.peer.catalogue import Catalogue
from p2pd.peer.driver import WRONG_DATA, Driver
from p2pd.peer.fetch import ManifestFetch
from p2pd.peer.folders import Folders
from p2pd.peer.growing import Growing
from p2pd.peer.hooks import Hooks
from p2pd.peer.links import Peer
from p2pd.peer.localcopy import copy_local
from p2pd.peer.owner import Owner
from p2pd.peer.partwork import PartWork
from p2pd.peer.record import Record
from p2pd.peer.shares import Shares
from p2pd.peer.sources import SourceFinder
from p2pd.peer.space import Space
from p2pd.peer.swarming import Swarming
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import Root, StorageError
from p2pd.storage.state import Download, State
from protocol.collection import Collection
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MAX_MANIFEST
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.attempt")

FOREIGN_SECONDS = 3.0  # or all whom it knows have another password
HOPE_SECONDS = 20.0  # a download that never got an octet fails after so long without a source
YIELD_SECONDS = 60.0  # one that has octets lets others have its place after so long
# How soon it looks for others in the beginning: those who began together must meet.
QUICK_SECONDS = (0.5, *[1.0] * 9)
_NO_MORE = -1

T = TypeVar("T", Manifest, Collection)


class Counts(Protocol):
    """How far an attempt has come: what a Driver, or the like for a folder, tells at any time."""

    @property
    def verified(self) -> int:
        """Octets that are there and right."""

    @property
    def received(self) -> int:
        """Those of them that came over the network in this attempt."""

    @property
    def arrived(self) -> int:
        """Octets that came over the network in this attempt, whatever became of them."""

    @property
    def sources(self) -> int:
        """Sources connected now."""

    @property
    def stopped(self) -> bool:
        """Nothing more comes."""

    def set_limit(self, rate: int) -> None:
        """Another limit of this download, in octets a second; 0: none. On the reactor."""


@dataclass(slots=True)
class Services:
    """What every transfer uses."""

    store: State
    reactor: Reactor
    finder: SourceFinder
    shares: Shares
    folders: Folders
    catalogue: Catalogue
    rng: random.Random
    space: Space
    swarming: Swarming
    credits: Credits = field(default_factory=Credits)  # of the reactor's thread
    events: Events = field(default_factory=Events)
    hooks: Hooks = field(default_factory=Hooks)


class Attempt:
    """See the module. Counters and `phase` may be read at any time on the loop; `wake` is set when looking for sources may help;
    `crowded()` says whether others wait for this place in the queue."""

    def __init__(
        self,
        services: Services,
        record: Record,
        work: PartWork,
        wake: asyncio.Event,
        crowded: Callable[[], bool],
    ) -> None:
        self._phase = "locating"
        self.manifest: Manifest | Collection | None = None
        self.driver: Counts | None = None
        self.givers: dict[str, str] = {}
        self.problem: Fault | None = None  # why nothing comes at the moment
        self._services = services
        self._record = record
        self._work = work
        self._wake = wake
        self._crowded = crowded
        self._hopeful_since = time.monotonic()
        self._growing: Growing | None = None  # what others get of it
        self._liar = ""  # a source that sent wrong data

    @property
    def row(self) -> Download:
        """The row as it is now."""
        return self._record.row

    @property
    def phase(self) -> str:
        """locating, downloading, stalled or verifying."""
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        self._phase = phase
        self._record.moved()

    async def run(self) -> str:
        """The whole of it; the path. Raises Fault: DiskFull, StorageMissing and others of storage, network, integrity."""
        self.manifest = manifest = await self._locate()
        root = await asyncio.to_thread(Root, self.row.directory)
        try:
            path = await asyncio.to_thread(self._work.finished_before, root, self.row)
            return path if path is not None else await self._fetch(root, manifest)
        finally:
            root.close()
            self._work.leave(self.row)

    async def share(self, path: str) -> None:
        """Shares what was downloaded to this path."""
        assert isinstance(self.manifest, Manifest)
        await self._services.shares.take_download(path, self.row.name, self.manifest)

    def leave(self) -> None:
        """It is over: whatever others may get from now on, they do not get from here."""
        growing, self._growing = self._growing, None
        if growing is not None:
            self._services.swarming.end(growing)

    # -- manifest -----------------------------------------------------------------------------------------

    async def _locate(self) -> Manifest:
        return self._accept(await self._obtain(Manifest.decode, MAX_MANIFEST))

    async def _obtain(self, decode: Callable[[bytes, bytes], T], limit: int) -> T:
        """The manifest or collection of this download, from the database or from a source; the database then has it."""
        store, row = self._services.store, self.row
        octets = store.manifest(row.content_id)
        if octets is not None:
            return decode(octets, row.content_id)
        self.phase = "locating"
        loop = asyncio.get_running_loop()
        found: asyncio.Future[T] = loop.create_future()

        def done(manifest: T) -> None:
            settle(loop, found, manifest)

        def abandoned(peer: Peer, lost: Lost) -> None:
            post(loop, self._wake.set)

        fetch = ManifestFetch(self._services.reactor, row.content_id, decode, limit, done, abandoned)
        try:
            while not found.done():
                self.problem = await self._services.finder.offer(row.content_id, fetch)
                await self._pause(found)
                if not found.done():
                    self._hopeful_since = max(self._hopeful_since, fetch.progress_at)
                    self._check_hope()
            manifest = found.result()
        finally:
            self._services.reactor.call(fetch.stop)
        store.put_manifest(manifest)
        return manifest

    def _accept(self, manifest: Manifest) -> Manifest:
        """Believes the manifest, which the content id proves, and not what somebody told the tracker about it.

        Raises Fault integrity when the user asked for a SHA-256 and the manifest states another one.
        """
        wanted = self.row.check_sha256
        if wanted and not manifest.sha256.hex().startswith(wanted):
            raise Fault(
                "integrity",
                f"{safe(self.row.name)} does not have the SHA-256 that was asked for",
                "somebody published it under a wrong SHA-256; ask for another copy by its content id",
                {"asked": wanted, "actual": manifest.sha256.hex()},
            )
        if manifest.size != self.row.size:
            self._services.store.set_size(self.row.transfer_id, manifest.size)
            self._record.reload()
        return manifest

    async def _pause(self, until: asyncio.Future[Any], rest: float = 3600) -> None:
        """Waits for the future, for wake(), or for the time to look for sources again (at most `rest` seconds)."""
        self._wake.clear()
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait(
                {until, waker},
                timeout=min(rest, self._services.finder.interval),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waker.cancel()
        if not until.done() and self._wake.is_set():
            await asyncio.sleep(0.2)  # several sources may have fallen at once

    def _check_hope(self) -> None:
        """Raises Fault network when this download never began and nobody can be reached; one that began waits for ever."""
        if self._work.resumed or time.monotonic() - self._hopeful_since < hope(self.problem):
            return
        if self._liar:
            raise Fault(
                "integrity",
                f"{self._liar} sent wrong data for {safe(self.row.name)}, and nobody else who has it can be reached",
                "its file may be damaged: ask its owner to add it again",
            )
        raise self.problem or Fault(
            "network",
            f"no peer that has {safe(self.row.name)} can be reached",
            "p2pctl peers REF shows who has it; try again when one of them is up",
        )

    def _check_place(self) -> None:
        """Raises Fault network when it has octets, but nobody to get more from, and others wait: they go first."""
        if self._crowded() and time.monotonic() - self._hopeful_since >= YIELD_SECONDS:
            raise Fault(
                "network", f"nobody who is reachable now has {safe(self.row.name)}", "it goes on by itself"
            )

    # -- octets -------------------------------------------------------------------------------------------

    async def _fetch(self, root: Root, manifest: Manifest) -> str:
        self.phase = "verifying" if self.row.part_name else "downloading"
        opening = asyncio.ensure_future(asyncio.to_thread(self._work.open, root, manifest, self.row))
        try:
            part, have = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A thread cannot be stopped: wait until its part file is recorded, or whoever cancels leaves it behind.
            for opened in await asyncio.gather(opening, return_exceptions=True):
                if not isinstance(opened, BaseException):
                    opened[0].close()
            raise
        services = self._services
        self._record.reload()
        try:
            self._record.set("running")
            have |= await asyncio.to_thread(copy_local, services.catalogue, part, manifest, have)
            state = DownloadState(manifest.size, manifest.piece_size, have, services.rng, services.credits)
            if self.row.share:
                self._growing = services.swarming.begin(part, manifest, state.pieces.have)
            await self._drive(part, manifest, state)
            self.phase = "verifying"
            if self.row.check_sha256:
                await asyncio.to_thread(self._work.check_sha256, root, part, manifest, self.row)
            return await asyncio.to_thread(self._work.finish, part, self.row)
        finally:
            part.close()

    # -- driving ------------------------------------------------------------------------------------------

    async def _drive(self, part: PartFile, manifest: Manifest, state: DownloadState) -> None:
        services = self._services
        loop = asyncio.get_running_loop()
        over: asyncio.Future[str] = loop.create_future()
        commits: asyncio.Queue[int] = asyncio.Queue()
        errors: list[StorageError] = []

        def end(error: StorageError | None) -> None:
            if not over.done():
                if error is not None:
                    errors.append(error)
                over.set_result("over")

        owner = Owner(
            complete=lambda: post(loop, end, None),
            failed=lambda error: post(loop, end, error),
            lost=lambda peer, reason: post(loop, self._source_lost, peer, reason),
            gave=lambda peer: post(loop, self._source_gave, peer),
            commit=lambda bits: post(loop, commits.put_nowait, bits),
            piece=partial(services.swarming.piece, self._growing) if self._growing is not None else None,
        )
        self.driver = driver = Driver(services.reactor, manifest, part, state, owner, self.row.limit)
        committer = asyncio.create_task(self._commit_all(commits, part, driver, errors))
        services.reactor.call(driver.start)
        rests = iter(QUICK_SECONDS)
        try:
            while not over.done():
                self.problem = await services.finder.offer(self.row.content_id, driver)
                self.phase = "downloading" if driver.sources or over.done() else "stalled"
                await self._pause(over, next(rests, 3600))
                if driver.sources:
                    self.phase = "downloading"
                    self._hopeful_since = time.monotonic()
                elif not over.done() and not driver.verified:
                    self._check_hope()
                elif not over.done():
                    self._check_place()
        finally:
            await run_on(services.reactor, driver.stop)
            # What is still on its way to the disk would change the file's time after that was recorded.
            unwritten = await run_on(services.reactor, driver.unwritten)
            await asyncio.gather(*map(asyncio.wrap_future, unwritten))
            # A commit under way ends first: an older bitfield must not come after a newer one.
            commits.put_nowait(_NO_MORE)
            await asyncio.gather(committer, return_exceptions=True)
            bits = state.pieces.have
            complete = bits == (1 << manifest.count) - 1
            failed_sync = any(error.details.get("verify") for error in errors)
            if complete and not failed_sync:
                errors.clear()  # no more room is needed; whether it is still where it was, finish looks
            if not complete and not failed_sync:
                # A complete file is synced by finish instead.
                await asyncio.shield(
                    asyncio.to_thread(self._work.last_commit, part, self.row, manifest, bits, driver.received)
                )
        if errors:
            raise errors[0]

    async def _commit_all(
        self, commits: asyncio.Queue[int], part: PartFile, driver: Driver, errors: list[StorageError]
    ) -> None:
        reactor = self._services.reactor
        while True:
            bits = await commits.get()
            if bits == _NO_MORE:
                return
            try:
                await asyncio.to_thread(
                    self._work.commit, part, self.row, driver.manifest, bits, driver.received
                )
            except StorageError as error:
                errors.append(error)  # also when the last piece has just come
                reactor.call(driver.commit_failed, error)
                return
            reactor.call(driver.committed, bits)

    def _source_gave(self, peer: Peer) -> None:
        self.givers[peer.name] = str(peer.endpoint)
        store, row = self._services.store, self.row
        store.set_givers(row.transfer_id, list(dict.fromkeys([*row.givers, *self.givers.values()])))
        self.phase = "downloading"
        self._services.finder.proved(self.row.content_id, peer)

    def _source_lost(self, peer: Peer, reason: str) -> None:
        log.info("= %s: %s: %s", self.row.transfer_id, peer.endpoint, reason)
        if reason == WRONG_DATA:
            self._liar = str(peer.endpoint)
        self._wake.set()


def hope(problem: Fault | None) -> float:
    """How long a download that never began waits for a source."""
    return FOREIGN_SECONDS if problem is not None and problem.code == "auth" else HOPE_SECONDS
