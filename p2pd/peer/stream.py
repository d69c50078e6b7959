"""One file on its way to a local reader, in order: manifest, our own disk or the swarm, a window in memory, a socket. On the event loop.

The rule: nothing is kept. No row, no file: what was not read is gone when the reader goes, and a stream that ends early is begun anew.
While it has a reader it waits for sources as long as a download that has octets does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pd.engine.download import DownloadState
from p2pd.net.bridge import post, run_on, settle
from p2pd.peer.attempt import Services, hope
from p2pd.peer.driver import WRONG_DATA, Driver
from p2pd.peer.fetch import ManifestFetch
from p2pd.peer.links import Peer
from p2pd.peer.localpieces import LocalPieces
from p2pd.peer.owner import Owner
from p2pd.peer.streambuffer import StreamBuffer, window_of
from p2pd.peer.tap import Tap
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MAX_MANIFEST
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.stream")

JOIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A stream as it was asked for."""

    content_id: bytes
    name: str
    size: int
    check_sha256: str  # hex digits that the SHA-256 must begin with; empty when it was not asked for
    limit: int = 0  # octets a second that may come over the network, 0 for no limit


class Stream:
    """See the module. `path` is where the reader connects. What is public may be read at any time on the loop."""

    def __init__(self, services: Services, number: int, asked: Asked, path: Path) -> None:
        self.name = f"s-{number}"
        self.asked = asked
        self.size = asked.size
        self.state = "locating"  # locating, streaming, stalled; then done, failed, stopped
        self.fault: Fault | None = None
        self.manifest: Manifest | None = None
        self.sent = 0  # octets written to the reader
        self.givers: dict[str, str] = {}
        self.began: float | None = None  # monotonic seconds of the first octet
        self.ended: float | None = None
        self.over = asyncio.Event()
        self.on_over: Callable[[Stream], object] = lambda stream: None
        self._services = services
        self._loop = asyncio.get_running_loop()
        self._driver: Driver | None = None
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._wake = asyncio.Event()
        self._hopeful_since = time.monotonic()
        self._liar = ""
        self._received = 0
        self._arrived = 0
        self._tap = Tap(
            path,
            lambda octets, reach: post(self._loop, self._was_sent, octets, reach),
            lambda: post(self._loop, self._tap_over),
            check_sha256=bool(asked.check_sha256),
        )
        self._task = asyncio.create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._ended)

    @property
    def path(self) -> Path:
        """Where the reader connects."""
        return self._tap.path

    @property
    def received(self) -> int:
        """Octets of verified pieces from the network."""
        return self._driver.received if self._driver is not None else self._received

    @property
    def arrived(self) -> int:
        """Octets of blocks that came, whatever became of them."""
        return self._driver.arrived if self._driver is not None else self._arrived

    @property
    def sources(self) -> int:
        """Sources connected now."""
        return self._driver.sources if self._driver is not None and not self._driver.stopped else 0

    @property
    def rate(self) -> float:
        """Octets a second, the mean since the first."""
        if self.began is None:
            return 0.0
        until = self.ended if self.ended is not None else time.monotonic()
        return self.sent / max(until - self.began, 1e-3)

    async def stop(self) -> None:
        """Ends it now, and waits for its thread."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await asyncio.to_thread(self._tap.join, JOIN_SECONDS)

    # -- told by the thread -------------------------------------------------------------------------------

    def _was_sent(self, octets: int, reach: int) -> None:
        if self.began is None:
            self.began = time.monotonic()
        self.sent += octets
        if self._driver is not None:
            self._services.reactor.call(self._driver.reach, reach)

    def _tap_over(self) -> None:
        if self._tap.complete:
            if not self._written.done():
                self._written.set_result(None)
        elif not self.over.is_set():
            self._task.cancel()

    # -- life ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._serve()
            self.state = "done"
        except Fault as fault:
            self.fault, self.state = fault, "failed"
        except Exception as error:  # a bug must not leave a stream that neither runs nor says why
            log.exception("! %s failed", self.name)
            self.fault, self.state = Fault("failure", f"internal error: {error}"), "failed"

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before it began."""
        if task.cancelled():
            self.fault = self._tap.fault
            self.state = "stopped" if self.fault is None else "failed"
        self.ended = time.monotonic()
        # A stream that is over is remembered for a while, its window is not.
        self._received, self._arrived = self.received, self.arrived
        self._driver = None
        self._tap.stop()
        self.over.set()
        self.on_over(self)
        log.info("= %s %s after %d octets of %s", self.name, self.state, self.sent, safe(self.asked.name))

    async def _serve(self) -> None:
        self.manifest = manifest = self._accept(await self._locate())
        failed: asyncio.Future[int] = self._loop.create_future()
        paths = self._paths(manifest)
        first = 0
        if paths:
            self.state = "streaming"
            local = LocalPieces(paths, manifest, lambda piece: settle(self._loop, failed, piece))
            self._tap.begin(manifest, local)
            try:
                either: set[asyncio.Future[Any]] = {failed, self._written}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                failed.cancel()
            if self._written.done():
                return
            first = failed.result()
        await self._fetch(manifest, first)

    def _paths(self, manifest: Manifest) -> list[str]:
        """Files of our own that should have this content."""
        served = self._services.catalogue.find(manifest.content_id)
        paths = [served.path] if served is not None else []
        return list(dict.fromkeys([*paths, *self._services.store.finished_paths(manifest.content_id)]))

    # -- manifest -----------------------------------------------------------------------------------------

    async def _locate(self) -> Manifest:
        content_id = self.asked.content_id
        octets = self._services.store.manifest(content_id)
        if octets is not None:
            return Manifest.decode(octets, content_id)
        found: asyncio.Future[Manifest] = self._loop.create_future()
        fetch = ManifestFetch(
            self._services.reactor,
            content_id,
            Manifest.decode,
            MAX_MANIFEST,
            lambda manifest: settle(self._loop, found, manifest),
            lambda peer, lost: post(self._loop, self._wake.set),
        )
        try:
            while not found.done():
                problem = await self._services.finder.offer(content_id, fetch)
                await self._pause(found)
                if not found.done():
                    self._hopeful_since = max(self._hopeful_since, fetch.progress_at)
                    self._check_hope(problem)
            return found.result()
        finally:
            self._services.reactor.call(fetch.stop)

    def _accept(self, manifest: Manifest) -> Manifest:
        """Raises Fault integrity when a SHA-256 was asked for and the manifest states another one."""
        wanted = self.asked.check_sha256
        if wanted and not manifest.sha256.hex().startswith(wanted):
            raise Fault(
                "integrity",
                f"{safe(self.asked.name)} does not have the SHA-256 that was asked for",
                "somebody published it under a wrong SHA-256; ask for another copy by its content id",
                {"asked": wanted, "actual": manifest.sha256.hex()},
            )
        self.size = manifest.size
        return manifest

    async def _pause(self, until: asyncio.Future[Manifest] | asyncio.Future[None]) -> None:
        """Waits for the future, for a source that left, or for the time to look for sources again."""
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

    def _check_hope(self, problem: Fault | None) -> None:
        """Raises Fault when nothing ever came and nobody can be reached."""
        if time.monotonic() - self._hopeful_since < hope(problem):
            return
        if self._liar:
            raise Fault(
                "integrity",
                f"{self._liar} sent wrong data for {safe(self.asked.name)}, and nobody else who has it can be reached",
                "its file may be damaged: ask its owner to add it again",
            )
        raise problem or Fault(
            "network",
            f"no peer that has {safe(self.asked.name)} can be reached",
            "p2pctl peers REF shows who has it; try again when one of them is up",
        )

    # -- octets -------------------------------------------------------------------------------------------

    async def _fetch(self, manifest: Manifest, first: int) -> None:
        services, loop = self._services, self._loop
        buffer = StreamBuffer(manifest, first)
        state = DownloadState(
            manifest.size,
            manifest.piece_size,
            (1 << first) - 1,
            services.rng,
            services.credits,
            window=window_of(manifest),
        )
        owner = Owner(
            complete=lambda: None,
            failed=lambda error: None,  # memory does not refuse
            lost=lambda peer, reason: post(loop, self._source_lost, peer, reason),
            gave=lambda peer: post(loop, self._source_gave, peer),
            commit=lambda bits: services.reactor.call(driver.committed, bits),
            piece=buffer.ready,
        )
        self._driver = driver = Driver(services.reactor, manifest, buffer, state, owner, self.asked.limit)
        self._tap.begin(manifest, buffer)
        services.reactor.call(driver.start)
        try:
            while not self._written.done():
                problem = None
                if not driver.stopped:
                    problem = await services.finder.offer(self.asked.content_id, driver)
                self.state = "streaming" if driver.sources or driver.stopped else "stalled"
                await self._pause(self._written)
                if driver.sources or driver.stopped:
                    self.state = "streaming"
                elif not self._written.done() and not driver.received and not first:
                    self._check_hope(problem)
        finally:
            await run_on(services.reactor, driver.stop)

    def _source_gave(self, peer: Peer) -> None:
        self.givers[peer.name] = str(peer.endpoint)
        self.state = "streaming"
        self._services.finder.proved(self.asked.content_id, peer)

    def _source_lost(self, peer: Peer, reason: str) -> None:
        log.info("= %s: %s: %s", self.name, peer.endpoint, reason)
        if reason == WRONG_DATA:
            self._liar = str(peer.endpoint)
        self._wake.set()
