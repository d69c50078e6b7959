"""The peer role as one object: what it consists of, its start and its end. On the event loop.

The rule: parts are made here and know each other only as arguments. Order of the start: state, catalogue, uploads,
trackers, shares, downloads; the end goes the other way and nothing is left half written.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgpack

from p2pd.events import Events
from p2pd.happenings import PeerBanned
from p2pd.net.addresses import Endpoint
from p2pd.net.admission import Admission
from p2pd.net.bans import Bans
from p2pd.net.bridge import post, run_on
from p2pd.net.identity import Identity
from p2pd.net.listening import dialer_guard
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.peer.attempt import Services
from p2pd.peer.bandwidth import DOWN, UP, Bandwidth
from p2pd.peer.banning import Banning
from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.downloads import MAX_ACTIVE, Downloads
from p2pd.peer.finding import Finder
from p2pd.peer.folders import Folders, member_served
from p2pd.peer.hooks import Hooks, HookSettings
from p2pd.peer.links import Links
from p2pd.peer.mending import Mender
from p2pd.peer.proofs import KEPT_SECONDS
from p2pd.peer.shares import Shares
from p2pd.peer.sources import SourceFinder
from p2pd.peer.space import FREE_FLOOR, Space
from p2pd.peer.streams import Streams
from p2pd.peer.swarming import Swarming
from p2pd.peer.trackers import TrackerClient
from p2pd.peer.uploads import Uploads
from p2pd.peer.verifying import Verifier
from p2pd.peer.wants import Wants
from p2pd.storage.state import State
from protocol.collection import is_collection
from protocol.errors import Fault
from protocol.handshake import Dialect

log = logging.getLogger("p2pd.peer")

DOMAIN = "peer"
BYE_SECONDS = 1.5
MEASURE_SECONDS = 0.5
HISTORY_SECONDS = 90 * 86_400.0  # finished downloads and old addresses are remembered so long


class Reactors:
    """The threads of a peer: uploads (the listener), downloads (links to other peers), links (to trackers)."""

    def __init__(self, uploads: Reactor, downloads: Reactor, links: Reactor) -> None:
        self.uploads = uploads
        self.downloads = downloads
        self.links = links


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """`max_active` downloads at a time; `free_floor` octets stay free on each disk that they go to."""

    max_active: int = MAX_ACTIVE
    free_floor: int = FREE_FLOOR


class PeerService:
    """See the module. `announce` is the address to declare to trackers, when it differs from what they see; `limits` are the
    configured ones of bandwidth (bandwidth.py)."""

    def __init__(
        self,
        home: Path,
        identity: Identity,
        reactors: Reactors,
        admission: Admission,
        trackers: list[Endpoint],
        announce: Endpoint | None,
        share_downloads: bool,
        limits: dict[str, int] | None = None,
        queue: QueueLimits = QueueLimits(),
        events: Events | None = None,
        hooks: HookSettings | None = None,
        socket: str = "",
    ) -> None:
        self.events = events or Events()
        tell = self.events.tell
        self.store = State(home / "peer.db")
        self.own_id = identity.device.device_id
        self.share_downloads = share_downloads
        self._reactors = reactors
        self._announce = announce
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        rng = random.SystemRandom()
        self.catalogue = Catalogue(
            self.store.manifest,
            partial(member_served, self.store),
            lambda content_id: bool(self.store.folders_by_content(content_id)),
        )
        self.uploads = Uploads(self.catalogue, partial(self._from_reactor, self._served_changed))
        bans = Bans()
        self.router = SealedRouter(
            reactors.uploads, identity, Dialect.PEER, admission, DOMAIN, self.uploads, partial(_banned, bans)
        )
        self.uploads.router = self.router
        self.router.on_banned = lambda host, seconds: tell(PeerBanned(host, seconds, "wrong_password"))
        guard = dialer_guard(reactors.links)

        def make_tracker(endpoint: Endpoint) -> TrackerClient:
            made = TrackerClient(reactors.links, identity, self.store, endpoint, self._listening, rng, guard)
            made.tell = tell
            made.on_connected = lambda: self.downloads.wake()
            made.fetched = lambda: self.catalogue.fetched
            return made

        self._tracker = make_tracker
        self.trackers = [self._tracker(endpoint) for endpoint in trackers]
        self._following: dict[TrackerClient, asyncio.Task[None]] = {}
        self.shares = Shares(self.store, self.catalogue, self._changed, self._forget, self.events)
        self.folders = Folders(self.store, self._changed, self.events)
        self.links = Links(reactors.downloads, identity, bans)
        self.links.tell = tell
        self.admission = admission
        self.banning = Banning(self.store, bans, admission, self.router, self.links)
        self.links.on_liar = partial(self._from_reactor, self.banning.lied)
        swarming = Swarming(
            self.catalogue,
            partial(reactors.uploads.call, self.uploads.interests.gained),
            partial(reactors.uploads.call, self.uploads.interests.over),
            self._changed,
        )
        sources = SourceFinder(self.store, reactors.downloads, self.links, self.trackers, self.own_id)
        self.finder = Finder(self.store, self.trackers)
        self.hooks = Hooks(hooks, self.store, self.events, home, socket)
        self.space = Space(queue.free_floor)
        services = Services(
            self.store,
            reactors.downloads,
            sources,
            self.shares,
            self.folders,
            self.catalogue,
            rng,
            self.space,
            swarming,
            events=self.events,
            hooks=self.hooks,
        )
        self.downloads = Downloads(services, queue.max_active)
        self.wants = Wants(self.store, self.trackers, self.finder, self.downloads, self.catalogue.holds, rng)
        self.streams = Streams(services, home)
        self._mender = Mender(services, home / "mending")
        self.verifier = Verifier(self.store, self.shares, self._mender, self.downloads.drop_pieces)
        self.bandwidth = Bandwidth(
            self.store,
            limits or {UP: 0, DOWN: 0},
            {
                UP: partial(reactors.uploads.call, self.uploads.queue.set_limit),
                DOWN: partial(reactors.downloads.call, self.links.asking.set_limit),
            },
            {UP: lambda: self.uploads.uploaded, DOWN: lambda: self.downloads.arrived + self.streams.arrived},
            tell=tell,
        )

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serves, announces and takes up what was under way. The router is bound and the reactors run."""
        if not self.store.opened():
            log.info("= the last run did not end in order: unfinished pieces are looked at again")
        now = time.time()
        self.store.forget_older(now - HISTORY_SECONDS)
        self.store.forget_sources(now - HISTORY_SECONDS)
        self.store.prune_tombstones()
        self.store.forget_wants(now - HISTORY_SECONDS)
        self.store.forget_refused_keys(now - KEPT_SECONDS)
        await asyncio.to_thread(self._mender.recover)
        self.banning.start()
        self.bandwidth.start()
        await self.shares.start()
        self.folders.start()
        for tracker in self.trackers:
            self._follow(tracker)
        self._spawn(self.shares.run(), "share watch")
        self._spawn(self.folders.run(), "folder watch")
        self._spawn(self.downloads.run(), "rates")
        self._spawn(self._measure(), "bandwidth")
        self.hooks.start()
        self._spawn(self.hooks.run(), "hooks")
        self.downloads.start()
        self._spawn(self.wants.run(), "wants")

    async def close(self) -> None:
        """Ends everything that writes, says goodbye, closes the state. The reactors still run."""
        await self.hooks.close()
        await self.streams.close()
        await self.downloads.close()
        await self.shares.close()
        await self.folders.close()
        await asyncio.gather(*(tracker.say_bye(BYE_SECONDS) for tracker in self.trackers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await run_on(self._reactors.downloads, self.links.close)
        await run_on(self._reactors.uploads, self._close_uploads)
        self.store.mark_clean()
        self.store.close()

    def _close_uploads(self) -> None:
        self.router.shut()
        self.uploads.close()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        self._tasks.append(task)
        return task

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            self.bandwidth.measure()

    def renew(self) -> None:
        """Our keys have changed: whoever did not take the old ones may take these."""
        self.links.foreign.forget()
        for tracker in self.trackers:
            tracker.renew()

    # -- trackers -----------------------------------------------------------------------------------------

    def _follow(self, tracker: TrackerClient) -> None:
        self._following[tracker] = self._spawn(tracker.run(), f"tracker {tracker.endpoint}")

    async def set_trackers(self, endpoints: list[Endpoint]) -> None:
        """Other trackers from now on. One that stays keeps its connection, one that goes is told."""
        known = {tracker.endpoint: tracker for tracker in self.trackers}
        wanted = {endpoint: known.get(endpoint) or self._tracker(endpoint) for endpoint in endpoints}
        self.trackers[:] = wanted.values()  # finder, sources and wants hold this very list
        for endpoint, tracker in wanted.items():
            if endpoint not in known:
                self._follow(tracker)
        self.wants.poke()
        await asyncio.gather(*(self._leave(known[endpoint]) for endpoint in known.keys() - wanted.keys()))

    async def _leave(self, tracker: TrackerClient) -> None:
        await tracker.say_bye(BYE_SECONDS)
        task = self._following.pop(tracker)
        self._tasks.remove(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await tracker.retire()

    # -- between the parts --------------------------------------------------------------------------------

    def _listening(self) -> tuple[int, str]:
        if self._announce is not None:
            return self._announce.port, self._announce.host
        return self.router.port, ""

    def _changed(self) -> None:
        for tracker in self.trackers:
            tracker.poke()

    def _forget(self, content_id: bytes) -> None:
        self._reactors.uploads.call(self.uploads.forget, content_id)

    def _served_changed(self, served: Served) -> None:
        if served.share_id < 0:
            self.folders.served_changed(served)
        else:
            self.shares.served_changed(served)

    def _from_reactor(self, callback: Any, *args: Any) -> None:
        post(self._loop, callback, *args)

    async def devices(self, prefix: str) -> list[bytes]:
        """Devices whose ids may begin so: those that are connected, and those that trackers name."""
        uploading = await run_on(
            self._reactors.uploads, lambda: [conn.device_id for conn in list(self.router.conns.values())]
        )
        linked = await run_on(self._reactors.downloads, lambda: list(self.links.peers))
        try:
            named = await self.finder.devices(prefix)
        except Fault:  # no tracker: what is known here is enough to try
            named = []
        return [device_id for device_id in (*uploading, *linked, *named) if device_id]

    # -- figures ------------------------------------------------------------------------------------------

    def sha256_of(self, content_id: bytes) -> str | None:
        """The SHA-256 that a known manifest states, in hex, without checking the manifest (it was, when it came)."""
        octets = self.store.manifest(content_id)
        if octets is None or is_collection(octets):
            return None
        head = msgpack.Unpacker()
        head.feed(octets[:128])
        head.read_array_header()
        for _ in range(3):
            head.skip()
        digest: bytes = head.unpack()
        return digest.hex()


def _banned(bans: Bans, device_id: bytes, host: str) -> float:
    """Seconds for which a device is kept out by hand; 0.0 when it is not."""
    now = time.time()
    ban = bans.of(device_id, host, now)
    return ban.left(now) if ban is not None else 0.0


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("! %s ended", task.get_name(), exc_info=error)
