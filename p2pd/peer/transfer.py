"""One download from request to finished file: manifest, part file, driver, finish. On the event loop; disk work in threads.

The rule: the row is in the database before the first octet, every state a person can see is a state of that row or a detail of a
running one, and whatever stops it (no source, full disk, a kill) it is taken up again from what was committed.
"""

from __future__ import annotations

import asyncio
import logging
import os
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
from p2pd.peer.shares import Shares
from p2pd.peer.sources import SourceFinder
from p2pd.storage.hashing import FileChanged, hash_file
from p2pd.storage.partfile import PartFile, PartGone, find_finished, part_name_for
from p2pd.storage.root import DiskFull, Root, StorageError, StorageMissing
from p2pd.storage.state import Download, State
from protocol.bitfield import Bitfield
from protocol.display import safe
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import MIB
from protocol.manifest import Manifest
from protocol.names import check_name

log = logging.getLogger("p2pd.peer.transfer")

RETRY_SPACE_SECONDS = 5.0
HOPE_SECONDS = 20.0  # a download that never got an octet fails after so long without a source
RATE_SECONDS = 2.0
_NO_MORE = -1
FREE_RESERVE = 16 * MIB  # left on the disk for the database and for others


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
        self._resumed = row.resumed_bytes
        self._liar = ""  # a source that sent wrong data
        self._recheck = False  # a sync failed: believe only what is read from the disk
        self._before = 0  # octets received in earlier attempts of this run

    # -- what is shown ------------------------------------------------------------------------------------

    @property
    def verified(self) -> int:
        """Octets of verified pieces."""
        if self.row.state == "done":
            return self.row.size
        return self.driver.verified if self.driver is not None else self._resumed

    @property
    def resumed(self) -> int:
        """Octets that were there when this run of it began."""
        return self._resumed

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
            await asyncio.to_thread(self._remove_part)
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

    def _remove_part(self) -> None:
        if self.row.part_name:
            try:
                with Root(self.row.directory) as root:
                    root.unlink(self.row.part_name)
            except StorageError:
                pass  # the directory is gone, and the part file with it

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
                log.warning("! %s failed: %s", self.row.transfer_id, fault.message)
                if not isinstance(fault, StorageError):
                    # Trying again later starts from nothing; after a disk error what was committed is kept.
                    await asyncio.to_thread(self._remove_part)
                self._set("failed", fault, finished_at=time.time())
                self._over()
                return
            except Exception as error:  # a bug must not leave a transfer that neither runs nor says why
                log.exception("! %s failed", self.row.transfer_id)
                self._set("failed", Fault("failure", f"internal error: {error}"), finished_at=time.time())
                self._over()
                return
            else:
                self._over()
                return

    async def _wait_for_storage(self, error: StorageError) -> None:
        state = "disk_full" if isinstance(error, DiskFull) else "missing_storage"
        if self.row.state != state:
            log.warning("! %s waits: %s", self.row.transfer_id, error.message)
            self._set(state, error)
        self.phase = "stalled"
        self._recheck |= bool(error.details.get("verify"))
        self.problem = error
        self._before = self.received
        self.driver = None
        await asyncio.sleep(RETRY_SPACE_SECONDS)

    # -- one attempt --------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        self.manifest = manifest = await self._locate()
        root = await asyncio.to_thread(Root, self.row.directory)
        try:
            path = await asyncio.to_thread(self._already_finished, root)
            if path is None:
                path = await self._fetch(root, manifest)
            self._set("done", finished_at=time.time(), path=path)
        finally:
            root.close()
        log.info("= %s done: %s", self.row.transfer_id, safe(path))
        if self.row.share:
            await self._share(path, manifest)

    async def _locate(self) -> Manifest:
        store, row = self._services.store, self.row
        octets = store.manifest(row.content_id)
        if octets is not None:
            return Manifest.decode(octets, row.content_id)
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
                    self._check_hope()
            manifest = found.result()
        finally:
            self._services.reactor.call(fetch.stop)
        if manifest.size != row.size:
            raise Fault(
                "integrity",
                f"the tracker gave another size for {safe(row.name)} than its manifest",
                "try again",
            )
        store.put_manifest(manifest)
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
        if self._resumed or time.monotonic() - self.started_at < HOPE_SECONDS:
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

    def _already_finished(self, root: Root) -> str | None:
        """The path when a kill came between the rename and its record."""
        row = self.row
        if not row.part_name or root.exists(row.part_name):
            return None
        return find_finished(root, row.target_name, row.size, row.part_stamp)

    async def _fetch(self, root: Root, manifest: Manifest) -> str:
        part, have = await self._open_part(root, manifest)
        services = self._services
        try:
            self._set("running")
            have |= await asyncio.to_thread(copy_local, services.catalogue, part, manifest, have)
            state = DownloadState(manifest.count, manifest.piece_size, have, services.rng)
            await self._drive(part, manifest, state)
            self.phase = "verifying"
            if self.row.check_sha256:
                await asyncio.to_thread(self._check_sha256, root, part, manifest)
            return await asyncio.to_thread(
                part.finish, self.row.target_name, self.row.exists_policy, self.row.from_user
            )
        finally:
            part.close()

    async def _open_part(self, root: Root, manifest: Manifest) -> tuple[PartFile, int]:
        """The part file, new or taken up, and the pieces it holds."""
        row = self.row
        if row.part_name and row.part_stamp is not None:
            try:
                self.phase = "verifying"
                part, have = await asyncio.to_thread(self._reopen, root, manifest)
            except PartGone:
                log.warning("! %s: its part file is gone, starting again", row.transfer_id)
            else:
                self._resumed = _octets(manifest, have)
                self._record_part(part, manifest, have)
                return part, have
        free = root.free_bytes()
        if (
            free
            < manifest.size
            - _octets(manifest, Bitfield(manifest.count, manifest.zero_pieces()).bits)
            + FREE_RESERVE
        ):
            raise DiskFull(
                f"not enough room in {safe(row.directory)} for {manifest.size} octets: {free} are free",
                "make room; it goes on by itself",
            )
        name = part_name_for(row.transfer_id, row.content_id)
        if row.part_name == name or root.exists(name):
            root.unlink(name)
        part = await asyncio.to_thread(PartFile.create, root, name, manifest)
        have = Bitfield(manifest.count, manifest.zero_pieces()).bits
        self._resumed = 0
        self._record_part(part, manifest, have)
        return part, have

    def _record_part(self, part: PartFile, manifest: Manifest, have: int) -> None:
        store, row = self._services.store, self.row
        store.set_part(
            row.transfer_id,
            part.name,
            part.identity,
            Bitfield.from_bits(manifest.count, have).to_bytes(),
            self._resumed,
        )
        self.row = store.get_download(row.transfer_id)

    def _reopen(self, root: Root, manifest: Manifest) -> tuple[PartFile, int]:
        row = self.row
        part, trusted = PartFile.reopen(root, row.part_name, manifest, row.part_stamp, recheck=self._recheck)
        self._recheck = False
        try:
            committed = Bitfield(manifest.count)
            if len(row.committed) == (manifest.count + 7) // 8:
                committed = Bitfield.from_bytes(row.committed, manifest.count)
            if not trusted:
                for piece in list(committed):
                    if not part.verify(piece):
                        committed.discard(piece)
            # What was written after the last commit is worth a look: fetching it again costs more than hashing it.
            found = part.recover(committed)
            part.sync()
            return part, (committed | found).bits
        except BaseException:
            part.close()
            raise

    def _check_sha256(self, root: Root, part: PartFile, manifest: Manifest) -> None:
        actual = hash_file(os.path.join(root.path, part.name)).sha256
        if actual != manifest.sha256:
            raise Fault(
                "integrity",
                f"{safe(self.row.name)} does not have the SHA-256 that its sharer claimed",
                "the octets are what that device shares; ask for another copy, by content id",
                {"claimed": manifest.sha256.hex(), "actual": actual.hex()},
            )

    async def _share(self, path: str, manifest: Manifest) -> None:
        try:
            await asyncio.to_thread(os.stat, path)
            self._services.shares.add_download(path, self._shared_name(path), manifest)
        except (OSError, Fault, FileChanged) as error:
            log.warning("! %s is not shared: %s", safe(path), error)

    def _shared_name(self, path: str) -> str:
        """The file's own name, or what the swarm calls it when the user chose one that no other peer accepts."""
        try:
            return check_name(os.path.basename(path))
        except RemoteProtocolError:
            return self.row.name.rsplit("/", 1)[-1]

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
            await asyncio.shield(
                asyncio.to_thread(self._last_commit, part, manifest, state.pieces.have, bool(errors))
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
                await asyncio.to_thread(self._commit, part, driver.manifest, bits, driver.received)
            except StorageError as error:
                reactor.call(driver.commit_failed, error)
                return
            reactor.call(driver.committed, bits)

    def _commit(self, part: PartFile, manifest: Manifest, bits: int, received: int) -> None:
        part.sync()
        self._services.store.commit_pieces(
            self.row.transfer_id, Bitfield.from_bits(manifest.count, bits).to_bytes(), received
        )

    def _last_commit(self, part: PartFile, manifest: Manifest, bits: int, failed: bool) -> None:
        """When a run ends early, keep what it has; a complete file is synced by finish instead."""
        if failed or bits == (1 << manifest.count) - 1:
            return
        try:
            self._commit(part, manifest, bits, self.driver.received if self.driver else 0)
        except Fault as fault:
            log.warning("! %s: %s", self.row.transfer_id, fault.message)

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


def _octets(manifest: Manifest, bits: int) -> int:
    """Octets of a set of pieces."""
    octets = bits.bit_count() * manifest.piece_size
    if manifest.count and bits >> (manifest.count - 1) & 1:
        octets += manifest.piece_length(manifest.count - 1) - manifest.piece_size
    return octets
