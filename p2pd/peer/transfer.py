"""One download from request to finished file: manifest, part file, driver, finish. On the event loop; disk work in threads.

The rule: the row is in the database before the first octet, every state a person can see is a state of that row or a detail of a
running one, and whatever stops it (no source, full disk, a kill) it is taken up again from what was committed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from p2pd.engine.download import DownloadState
from p2pd.net.bridge import post, run_on, settle
from p2pd.net.reactor import Reactor
from p2pd.peer.catalogue import Catalogue
from p2pd.peer.driver import WRONG_DATA, Driver, Owner
from p2pd.peer.fetch import ManifestFetch
from p2pd.peer.links import Peer
from p2pd.peer.localcopy import copy_local
from p2pd.peer.partwork import PartWork
from p2pd.peer.shares import Shares
from p2pd.peer.sources import SourceFinder
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import DiskFull, Root, StorageError, StorageMissing
from p2pd.storage.state import Download, State
from protocol.display import safe
from protocol.errors import Fault
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.transfer")

RETRY_SPACE_SECONDS = 5.0
HOPE_SECONDS = 20.0  # a download that never got an octet fails after so long without a source
RATE_SECONDS = 2.0
_NO_MORE = -1


@dataclass(slots=True)
class Services:
    """What every transfer uses."""

    store: State
    reactor: Reactor
    finder: SourceFinder
    shares: Shares
    catalogue: Catalogue
    rng: random.Random


class Transfer:
    """See the module. Counters and `phase` may be read at any time on the loop."""

    def __init__(self, services: Services, row: Download) -> None:
        self.row = row
        self.phase = "queued"  # queued, locating, downloading, stalled, verifying; then the row's state
        self.manifest: Manifest | None = None
        self.driver: Driver | None = None
        self.givers: dict[str, str] = {}
        self.rate = 0.0
        self.started_at = time.monotonic()
        self.problem: Fault | None = None  # why nothing comes at the moment
        self.done = asyncio.Event()
        self._services = services
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sample = (time.monotonic(), 0)
        self._work = PartWork(services.store)
        self._work.resumed = row.resumed_bytes
        self._liar = ""  # a source that sent wrong data
        self._before = 0  # octets received in earlier attempts of this run

    # -- what is shown ------------------------------------------------------------------------------------

    @property
    def verified(self) -> int:
        """Octets of verified pieces."""
        if self.row.state == "done":
            return self.row.size
        return self.driver.verified if self.driver is not None else self._work.resumed

    @property
    def resumed(self) -> int:
        """Octets that were there when this run of it began."""
        return self._work.resumed

    @property
    def received(self) -> int:
        """Octets of verified pieces from the network in this run."""
        return self._before + (self.driver.received if self.driver is not None else 0)

    @property
    def sources(self) -> int:
        """Sources connected now."""
        return self.driver.sources if self.driver is not None and not self.driver.stopped else 0

    def measure(self, now: float) -> None:
        """Updates `rate`; called about once a second."""
        then, octets = self._sample
        received = self.driver.received if self.driver is not None else 0
        if now - then >= 0.2:
            current = max(0, received - octets) / (now - then)
            weight = min(1.0, (now - then) / RATE_SECONDS)
            self.rate = current if not self.rate else self.rate + weight * (current - self.rate)
            self._sample = (now, received)

    @property
    def started(self) -> bool:
        """True from start() on."""
        return self._task is not None

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins, or goes on."""
        self.started_at = time.monotonic()
        self._task = asyncio.create_task(self._run(), name=self.row.transfer_id)

    def wake(self) -> None:
        """Something changed that may help: look for sources now."""
        self._wake.set()

    async def cancel(self) -> None:
        """Gives it up and removes its part file."""
        await self._stop_task()
        if not self.row.final:
            self.row = self._services.store.get_download(self.row.transfer_id)  # its part file may be news
            await asyncio.to_thread(self._work.remove, self.row)
            self._set("cancelled", finished_at=time.time())
        self._over()

    async def close(self) -> None:
        """Ends the work for now; it goes on at the next start."""
        await self._stop_task()

    async def _stop_task(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _over(self) -> None:
        self.phase = self.row.state
        self.done.set()

    def _set(self, state: str, fault: Fault | None = None, **more: float | str | None) -> None:
        store = self._services.store
        store.set_state(
            self.row.transfer_id,
            state,
            error_code=fault.code if fault else None,
            error=fault.message if fault else None,
            **more,  # type: ignore[arg-type]
        )
        self.row = store.get_download(self.row.transfer_id)

    async def _run(self) -> None:
        while True:
            try:
                await self._attempt()
            except (DiskFull, StorageMissing) as error:
                await self._wait_for_storage(error)
            except Fault as fault:
                await self._fail(fault)
                return
            except Exception as error:  # a bug must not leave a transfer that neither runs nor says why
                log.exception("! %s failed", self.row.transfer_id)
                await self._fail(Fault("failure", f"internal error: {error}"))
                return
            else:
                self._over()
                return

    async def _fail(self, fault: Fault) -> None:
        """The end without a file. The row says so as soon as the database can be written."""
        log.warning("! %s failed: %s", self.row.transfer_id, fault.message)
        if not isinstance(fault, StorageError):
            # Trying again later starts from nothing; after a disk error what was committed is kept.
            await asyncio.to_thread(self._work.remove, self.row)
        self.problem = fault
        while True:
            try:
                self._set("failed", fault, finished_at=time.time())
            except Fault as error:
                log.warning("! %s: cannot record its end: %s", self.row.transfer_id, error.message)
                self.phase = "stalled"
                await asyncio.sleep(RETRY_SPACE_SECONDS)
            else:
                break
        self._over()

    async def _wait_for_storage(self, error: StorageError) -> None:
        state = "disk_full" if isinstance(error, DiskFull) else "missing_storage"
        self.phase = state
        self._work.recheck |= bool(error.details.get("verify"))
        self.problem = error
        self._before = self.received
        self.driver = None
        if self.row.state != state:
            log.warning("! %s waits: %s", self.row.transfer_id, error.message)
            try:
                self._set(state, error)
            except Fault as fault:
                # The disk that is full may be the database's: the state is shown all the same, and tried again.
                log.warning("! %s: cannot record that: %s", self.row.transfer_id, fault.message)
        await asyncio.sleep(RETRY_SPACE_SECONDS)

    # -- one attempt --------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        self.manifest = manifest = await self._locate()
        root = await asyncio.to_thread(Root, self.row.directory)
        try:
            path = await asyncio.to_thread(self._work.finished_before, root, self.row)
            if path is None:
                path = await self._fetch(root, manifest)
            self._set("done", finished_at=time.time(), path=path)
        finally:
            root.close()
        log.info("= %s done: %s", self.row.transfer_id, safe(path))
        if self.row.share:
            await self._services.shares.take_download(path, self.row.name, manifest)

    async def _locate(self) -> Manifest:
        store, row = self._services.store, self.row
        octets = store.manifest(row.content_id)
        if octets is not None:
            return self._accept(Manifest.decode(octets, row.content_id))
        self.phase = "locating"
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Manifest] = loop.create_future()

        def done(manifest: Manifest) -> None:
            settle(loop, found, manifest)

        fetch = ManifestFetch(row.content_id, done, lambda peer, lost: post(loop, self.wake))
        try:
            while not found.done():
                self.problem = await self._services.finder.offer(row.content_id, fetch)
                await self._pause(found)
                if not found.done():
                    self.started_at = max(self.started_at, fetch.progress_at)
                    self._check_hope()
            manifest = found.result()
        finally:
            self._services.reactor.call(fetch.stop)
        store.put_manifest(manifest)
        return self._accept(manifest)

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
            self.row = self._services.store.get_download(self.row.transfer_id)
        return manifest

    async def _pause(self, until: asyncio.Future[Manifest] | asyncio.Future[str]) -> None:
        """Waits for the future, for wake(), or for the time to look for sources again."""
        self._wake.clear()
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait(
                {until, waker}, timeout=self._services.finder.interval, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waker.cancel()
        if not until.done() and self._wake.is_set():
            await asyncio.sleep(0.2)  # several sources may have fallen at once

    def _check_hope(self) -> None:
        """Raises Fault network when this download never began and nobody can be reached; one that began waits for ever."""
        if self._work.resumed or time.monotonic() - self.started_at < HOPE_SECONDS:
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
        self.row = services.store.get_download(self.row.transfer_id)
        try:
            self._set("running")
            have |= await asyncio.to_thread(copy_local, services.catalogue, part, manifest, have)
            state = DownloadState(manifest.count, manifest.piece_size, have, services.rng)
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
        )
        self.driver = driver = Driver(services.reactor, manifest, part, state, owner)
        self._sample = (time.monotonic(), 0)
        committer = asyncio.create_task(self._commit_all(commits, part, driver))
        services.reactor.call(driver.start)
        try:
            while not over.done():
                self.problem = await services.finder.offer(self.row.content_id, driver)
                self.phase = "downloading" if driver.sources or over.done() else "stalled"
                await self._pause(over)
                if driver.sources:
                    self.phase = "downloading"
                elif not over.done() and not driver.verified:
                    self._check_hope()
        finally:
            await run_on(services.reactor, driver.stop)
            # A commit under way ends first: an older bitfield must not come after a newer one.
            commits.put_nowait(_NO_MORE)
            await asyncio.gather(committer, return_exceptions=True)
            bits = state.pieces.have
            if not errors and bits != (1 << manifest.count) - 1:
                # A complete file is synced by finish instead.
                await asyncio.shield(
                    asyncio.to_thread(self._work.last_commit, part, self.row, manifest, bits, driver.received)
                )
        if errors:
            raise errors[0]

    async def _commit_all(self, commits: asyncio.Queue[int], part: PartFile, driver: Driver) -> None:
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
        self.wake()
