"""A swarm in one process: a tracker and any number of peers with real reactors, sockets, databases and files.

Use inside one asyncio.run:

    async with Swarm(tmp_path) as swarm:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        share = await alice.share("a.bin", data)
        transfer = await bob.fetch(share)

The rule: everything made here is ended and closed by the end of the block, in the daemon's own order.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from blake3 import blake3

from p2pd.net.addresses import Endpoint
from p2pd.net.admission import Admission, AdmissionLimits
from p2pd.net.bridge import run_on
from p2pd.net.context import make_context
from p2pd.net.identity import Identity
from p2pd.net.keyring import Keyring, Ring
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.net.zap import ZapHandler
from p2pd.peer.downloads import Wanted
from p2pd.peer.service import PeerService, Reactors
from p2pd.peer.transfer import Transfer
from p2pd.storage.state import Download, Share
from p2pd.tracker.reach import Prober
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.server import TrackerServer
from p2pd.tracker.service import TrackerService
from protocol.collection import Collection
from protocol.errors import Fault
from protocol.frames import Dialect, Feature, Info
from protocol.keys import NetworkSecret
from protocol.manifest import Manifest, piece_size_for
from tests.fakes.pair import make_device
from tests.fakes.reactors import DEADLINE, HOST

SECRET = NetworkSecret(hashlib.sha256(b"swarm").digest(), "test", 0)

PLENTY = AdmissionLimits(
    per_address=500,
    unauthenticated=500,
    accepts_per_second=1000,
    accept_burst=1000,
    accepts_per_second_per_address=1000,
    accept_burst_per_address=1000,
    accepts_per_second_per_known_address=1000,
    hellos_per_second_per_address=1000,
    hello_burst=1000,
    unknown_hellos_per_second=1000,
    unknown_hello_burst=1000,
    known_hellos_per_second=1000,
    known_hello_burst=1000,
)
"""Everybody in these tests has one address."""


async def eventually(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Waits for a condition that tells nobody."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def octets(size: int, seed: int = 1) -> bytes:
    """`size` octets that look random."""
    return random.Random(seed).randbytes(size)


def manifest_of(data: bytes, sha256: bytes | None = None) -> Manifest:
    """The manifest of these octets; with `sha256` one that lies about it."""
    size = piece_size_for(len(data))
    pieces = b"".join(blake3(data[start : start + size]).digest() for start in range(0, len(data), size))
    return Manifest(len(data), size, sha256 or hashlib.sha256(data).digest(), pieces)


def wanted(manifest: Manifest | Collection, directory: Path, **more: object) -> Wanted:
    """A download as a person asks for it, with the usual defaults."""
    values: dict[str, object] = {
        "content_id": manifest.content_id,
        "name": "a.bin",
        "size": manifest.size,
        "directory": str(directory),
        "file": None,
        "prefix": "downloaded_",
        "exists": "fail",
        "share": True,
        "check_sha256": "",
    }
    return Wanted(**{**values, **more})  # type: ignore[arg-type]


TRACKER = Feature.CONTENTS | Feature.FETCHING | Feature.TERMS | Feature.CHECKS | Feature.WANTS


class Member:
    """One peer: its service, its home and the directory of its files."""

    def __init__(self, swarm: Swarm, name: str, trackers: list[Endpoint]) -> None:
        self.name = name
        self.files = swarm.directory / name / "files"
        self.home = swarm.directory / name / "home"
        self.files.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        self._swarm = swarm
        self.keyring = Keyring(swarm.secret)
        self._reactors = [
            Reactor(f"{name} {role}", swarm.context, swarm.executor)
            for role in ("uploads", "downloads", "links")
        ]
        self.service = PeerService(
            self.home,
            Identity(
                self.keyring,
                make_device(name),
                Info("p2pd/test", features=Feature.CONTENTS),
                os.urandom,
            ),
            Reactors(*self._reactors),
            Admission(PLENTY),
            trackers,
            None,
            True,
        )

    async def start(self) -> None:
        """Binds, and starts everything."""
        self.service.router.bind(HOST, 0)
        for reactor in self._reactors:
            reactor.start()
        await self.service.start()

    async def stop(self) -> None:
        """Ends in order."""
        await self.service.close()
        for reactor in self._reactors:
            assert await asyncio.to_thread(reactor.stop, DEADLINE)

    async def share(self, name: str, data: bytes, publish: bool = True) -> Share:
        """Shares a new file; with `publish` the trackers know it afterwards."""
        path = self.files / name
        path.write_bytes(data)
        share, job = await self.service.shares.add(str(path), None)
        if job is not None and job.task is not None:
            share = await asyncio.wait_for(job.task, DEADLINE)
        if publish:
            await self.published()
        return share

    async def share_folder(self, name: str, files: Mapping[str, bytes]) -> Collection:
        """Shares a new folder with these files (a path that ends with "/" is an empty directory); its collection."""
        top = self.files / name
        for path, data in files.items():
            place = top / path
            if path.endswith("/"):
                place.mkdir(parents=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        job = await self.service.folders.add(str(top), None, [], False)
        assert job.task is not None
        folder = (await asyncio.wait_for(job.task, DEADLINE)).folder
        await self.published()
        assert folder.content_id is not None
        return Collection.decode(self.service.store.manifest(folder.content_id) or b"", folder.content_id)

    async def begin_folder(self, collection: Collection, **more: object) -> Transfer:
        """Begins a download of a folder into our directory, as downloaded_tree."""
        values: dict[str, object] = {"name": "tree", "size": collection.size, "files": len(collection.files)}
        transfer = await self.service.downloads.add(wanted(collection, self.files, **{**values, **more}))
        assert isinstance(transfer, Transfer)
        return transfer

    async def published(self) -> None:
        """Every tracker has our list; one that is away now, or whose end was not noticed yet, as soon as it is back."""
        async with asyncio.timeout(DEADLINE):
            for tracker in self.service.trackers:
                while not await tracker.wait_published(self.service.store.revision, DEADLINE):
                    await tracker.wait_connected()

    async def begin(self, manifest: Manifest, **more: object) -> Transfer:
        """Begins a download into our directory."""
        transfer = await self.service.downloads.add(wanted(manifest, self.files, **more))
        assert isinstance(transfer, Transfer)
        return transfer

    async def fetch(self, manifest: Manifest, **more: object) -> Download:
        """A download from begin to end; its row."""
        return await self.ended(await self.begin(manifest, **more))

    async def ended(self, transfer: Transfer) -> Download:
        """The row of a download when it is over."""
        await asyncio.wait_for(transfer.done.wait(), DEADLINE)
        return transfer.row

    def read(self, name: str) -> bytes:
        """A file of ours."""
        return (self.files / name).read_bytes()

    def parts(self) -> list[str]:
        """Names of unfinished downloads in our directory."""
        return [path.name for path in self.files.iterdir() if path.name.startswith(".")]


class Swarm:
    """See the module."""

    def __init__(self, directory: Path, secret: NetworkSecret = SECRET) -> None:
        self.directory = directory
        self.features = TRACKER
        self.secret = secret
        self.context = make_context()
        self.executor = ThreadPoolExecutor(2)
        door = Admission(PLENTY)
        self.zap = ZapHandler(self.context, {"peer": door, "tracker": door})
        self.members: list[Member] = []
        self.port = 0
        self.tracker_reactor: Reactor | None = None
        self.tracker_router: SealedRouter | None = None
        self._registry: SqliteRegistry | None = None

    async def __aenter__(self) -> Swarm:
        self.zap.start()
        await self.tracker_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for member in list(self.members):
                await self.leave(member)
            if self.tracker_reactor is not None:
                await self.tracker_down()
        finally:
            self.zap.stop()
            self.executor.shutdown()
            self.context.destroy(linger=0)

    @property
    def endpoint(self) -> Endpoint:
        """Where the tracker is."""
        return Endpoint(HOST, self.port)

    async def tracker_up(self, secret: NetworkSecret | Ring | None = None) -> None:
        """Starts the tracker, on the port that it had if it ran before."""
        reactor = Reactor("tracker", self.context, self.executor)
        self._registry = SqliteRegistry(self.directory / "tracker.db")
        keyring = Keyring(secret or self.secret)
        identity = Identity(
            keyring,
            make_device("tracker"),
            Info("p2pd/test", features=self.features),
            os.urandom,
        )
        service = TrackerService(self._registry, "", random.Random(1), keys=keyring.told)
        server = TrackerServer(reactor, service, prober=Prober(reactor, identity))
        router = SealedRouter(reactor, identity, Dialect.TRACKER, Admission(PLENTY), "tracker", server)
        while not self.port:
            # Below the range that systems give out, so that nobody else gets it while the tracker is down.
            port = random.SystemRandom().randrange(20_000, 32_000)
            with contextlib.suppress(Fault):
                self.port = router.bind(HOST, port)

        def bound() -> bool:
            with contextlib.suppress(Fault):
                return router.bind(HOST, self.port) > 0
            return False

        if not router.port:
            await eventually(bound)  # libzmq frees a port some time after its socket was closed
        reactor.start()
        self.tracker_reactor, self.tracker_router = reactor, router

    async def tracker_down(self) -> None:
        """Stops the tracker; what it knows is kept."""
        assert self.tracker_reactor is not None
        assert self.tracker_router is not None
        assert self._registry is not None
        await run_on(self.tracker_reactor, self.tracker_router.shut)
        assert await asyncio.to_thread(self.tracker_reactor.stop, DEADLINE)
        self._registry.close()
        self.tracker_reactor = None

    async def peer(self, name: str, trackers: list[Endpoint] | None = None, connected: bool = True) -> Member:
        """Starts a peer; with `connected` it has announced itself afterwards. The same name again: the same device and home."""
        member = Member(self, name, [self.endpoint] if trackers is None else trackers)
        self.members.append(member)
        await member.start()
        if connected:
            for tracker in member.service.trackers:
                await tracker.settled(DEADLINE)
                assert tracker.connected, tracker.error
        return member

    async def leave(self, member: Member) -> None:
        """Stops a peer."""
        self.members.remove(member)
        await member.stop()


def look_often(member: Member, seconds: float = 0.05) -> None:
    """How often this member looks for sources."""
    member.service.downloads._services.finder.interval = seconds


def spoil(member: Member, change: Callable[[memoryview], int]) -> None:
    """Makes an uploader change each block before it is sent; `change` answers 0 or a refusal code."""
    uploads = member.service.uploads
    read = uploads._read

    def changed(served: Any, offset: int, view: memoryview) -> int:
        return read(served, offset, view) or change(view)

    uploads._read = changed  # type: ignore[method-assign]


def lie(view: memoryview) -> int:
    """Turns a bit over."""
    view[0] ^= 1
    return 0


def in_swarm(directory: Path, work: Callable[[Swarm], Any]) -> None:
    """Runs `work(swarm)`."""

    async def main() -> None:
        async with Swarm(directory) as swarm:
            await work(swarm)

    asyncio.run(main())
