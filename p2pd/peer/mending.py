"""Damaged pieces of a file fetched again from the swarm, and put in place. On the event loop; disk work in threads.

The rule: first all pieces are fetched and made durable in a file beside the state of the daemon, then it is recorded what is to be
written where, and only then the damaged pieces of the file itself are written. A kill before that leaves the file as it was; a kill after
it is finished at the next start (docs/decisions/0008-mending-in-place.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from p2pd.engine.download import DownloadState
from p2pd.net.bridge import post, run_on, settle
from p2pd.peer.attempt import Services
from p2pd.peer.driver import Driver
from p2pd.peer.fetch import ManifestFetch
from p2pd.peer.owner import Owner
from p2pd.storage.checking import mend
from p2pd.storage.hashing import FileChanged, Stamp
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import Root, StorageError
from p2pd.storage.state import State
from p2pd.storage.state_mending import Mending
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MAX_MANIFEST
from protocol.manifest import Manifest
from protocol.names import PART_SUFFIX

log = logging.getLogger("p2pd.peer.mending")

HOPE_SECONDS = 20.0  # without a piece, then it is given up


class Mender:
    """Mends files, one at a time or several. `directory` is where fetched pieces lie meanwhile."""

    def __init__(self, services: Services, directory: Path) -> None:
        self._services = services
        self._directory = directory

    def recover(self) -> None:
        """Finishes what a kill cut short, and removes what is left over. Call at start, before files are looked at; may take as long as
        reading the files."""
        store = self._services.store
        for mending in store.mendings():
            self._finish(store, mending)
        if self._directory.is_dir():
            for left in self._directory.iterdir():
                left.unlink(missing_ok=True)

    def _finish(self, store: State, mending: Mending) -> None:
        try:
            with (
                Root(self._directory) as root,
                PartFile.reopen(root, mending.side_name, mending.manifest, None)[0] as side,
            ):
                _mend(mending, side, again=True)
        except FileChanged as error:
            log.warning("! %s is not mended: %s", safe(mending.path), error)
        except Fault as fault:
            log.warning("! %s is not mended: %s", safe(mending.path), fault.message)
        else:
            log.info("= %s: what was begun before the last end is finished: mended", safe(mending.path))
        store.remove_mending(mending.path)

    async def mend(self, path: str, stamp: Stamp, manifest: Manifest, bad: int) -> None:
        """Fetches the pieces `bad` (bits) and writes them into the file at `path`, which has `stamp` before and afterwards.

        Raises FileChanged when somebody wrote to it meanwhile (nothing was done then), Fault network when nobody has the pieces,
        StorageError.
        """
        root = await asyncio.to_thread(Root, self._directory, True)
        name = f".mend-{manifest.content_id[:4].hex()}-{stamp.inode:x}{PART_SUFFIX}"
        space = self._services.space
        try:
            octets = sum(manifest.piece_length(piece) for piece in range(manifest.count) if bad >> piece & 1)
            await asyncio.to_thread(space.promise, root, name, octets)
            root.unlink(name)
            side = await asyncio.to_thread(PartFile.create, root, name, manifest)
            try:
                await self._fetch(manifest, side, bad)
                # From here on to the end, whoever asked for it may go: half a mending is for the next start.
                work = asyncio.ensure_future(
                    asyncio.to_thread(self._write, Mending(path, manifest, bad, name, stamp), side)
                )
                try:
                    await asyncio.shield(work)
                except asyncio.CancelledError:
                    await asyncio.gather(work, return_exceptions=True)
                    raise
            finally:
                side.close()
                with contextlib.suppress(StorageError):
                    root.unlink(name)
        finally:
            space.release(name)
            root.close()

    async def manifest(self, content_id: bytes) -> Manifest:
        """That of a content that this daemon knows by its id alone, from the swarm. Raises Fault network."""
        services = self._services
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Manifest] = loop.create_future()

        def done(manifest: Manifest) -> None:
            settle(loop, found, manifest)

        fetch = ManifestFetch(
            services.reactor, content_id, Manifest.decode, MAX_MANIFEST, done, lambda peer, lost: None
        )
        hopeful = time.monotonic()
        try:
            while not found.done():
                problem = await services.finder.offer(content_id, fetch)
                await asyncio.wait({found}, timeout=services.finder.interval)
                if not found.done() and time.monotonic() - max(hopeful, fetch.progress_at) >= HOPE_SECONDS:
                    raise problem or Fault("network", "nobody who is reachable now gives the damaged pieces")
            return found.result()
        finally:
            await run_on(services.reactor, fetch.stop)

    def _write(self, mending: Mending, side: PartFile) -> None:
        store = self._services.store
        side.sync()
        store.add_mending(mending)
        try:
            _mend(mending, side, again=False)
        finally:
            store.remove_mending(mending.path)

    async def _fetch(self, manifest: Manifest, side: PartFile, bad: int) -> None:
        services = self._services
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        wake = asyncio.Event()
        over.add_done_callback(lambda _: wake.set())

        def end(error: StorageError | None) -> None:
            if not over.done():
                if error is None:
                    over.set_result(None)
                else:
                    over.set_exception(error)

        everything = (1 << manifest.count) - 1
        state = DownloadState(
            manifest.size, manifest.piece_size, everything & ~bad, services.rng, services.credits
        )
        driver = Driver(
            services.reactor,
            manifest,
            side,
            state,
            Owner(
                complete=lambda: post(loop, end, None),
                failed=lambda error: post(loop, end, error),
                lost=lambda peer, reason: post(loop, wake.set),
                gave=lambda peer: None,
                # Nothing is committed one by one: the side file is made durable once, when it is complete.
                commit=lambda bits: driver.committed(bits),
            ),
        )
        services.reactor.call(driver.start)
        received, hopeful = 0, time.monotonic()
        try:
            while not over.done():
                wake.clear()
                problem = await services.finder.offer(manifest.content_id, driver)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), services.finder.interval)
                if driver.received != received:
                    received, hopeful = driver.received, time.monotonic()
                if not over.done() and time.monotonic() - hopeful >= HOPE_SECONDS:
                    raise problem or Fault("network", "nobody who is reachable now gives the damaged pieces")
            over.result()
        finally:
            await run_on(services.reactor, driver.stop)
            if over.done() and not over.cancelled():
                over.exception()


def _mend(mending: Mending, side: PartFile, *, again: bool) -> None:
    mend(mending.path, mending.stamp, mending.manifest, mending.bad, side.read_into, again=again)
