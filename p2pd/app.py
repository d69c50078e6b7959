"""The daemon put together: builds the parts, starts them in order, waits for a signal, ends them in order.

The only module that knows every part. The rule: the home is locked before anything is opened in it, listeners are
bound before anybody is told of them, the control socket appears when everything behind it works, and the end takes at
most SHUTDOWN_HARD_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import zmq

from p2pd import printing, process
from p2pd.applying import figures, register_peer, register_tracker
from p2pd.config import Settings
from p2pd.control.api import ControlApi
from p2pd.control.diagnosis import patient
from p2pd.control.doctor import Doctor
from p2pd.control.fetching import describe
from p2pd.control.loglines import LogLines
from p2pd.control.operating import Operating
from p2pd.control.rotating import Rotating
from p2pd.control.server import ControlServer
from p2pd.control.status import Status
from p2pd.control.tuning import TuningMethods
from p2pd.events import Events
from p2pd.happenings import ConfigReloaded, DaemonStarted, DaemonStopping, KeyChanged, PeerBanned
from p2pd.net.addresses import Endpoint, format_endpoint, is_loopback, primary_address
from p2pd.net.admission import Admission, AdmissionLimits
from p2pd.net.bridge import run_on
from p2pd.net.context import make_context, tune_malloc
from p2pd.net.http import HttpServer
from p2pd.net.identity import Identity
from p2pd.net.keyring import Keyring, Ring
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.net.zap import ZapHandler
from p2pd.peer.hooks import HookSettings
from p2pd.peer.service import DOMAIN as PEER_DOMAIN
from p2pd.peer.service import PeerService, QueueLimits, Reactors
from p2pd.rotation import Rotation
from p2pd.supervision import Supervision
from p2pd.tracker.opening import Store, open_store
from p2pd.tracker.operating import Operator, Run
from p2pd.tracker.policy import Policy
from p2pd.tracker.reach import Prober
from p2pd.tracker.server import SteadyClock, TrackerServer, system_rng
from p2pd.tracker.service import TrackerService
from p2pd.tracker.workers import Workers
from p2pd.tuning import Change
from protocol import limits
from protocol.frames import Feature
from protocol.handshake import Dialect, Info
from protocol.keys import DeviceKey
from protocol.version import VERSION

log = logging.getLogger("p2pd.app")

TRACKER_DOMAIN = "tracker"
FEATURES = Feature.CONTENTS | Feature.PACE | Feature.FETCHING | Feature.TERMS | Feature.CHECKS | Feature.WANTS
HANDSHAKE_THREADS = 2
WORKERS_SECONDS = 1.0  # for requests that the registry is busy with; what is cut off is not stored
LAST_WORDS_SECONDS = 0.02  # for those who wait for events to hear of the end
SWITCH_SECONDS = 0.001  # the interpreter's default of 5 ms lets a key exchange hold up the bulk path


class App:
    """One daemon, from start to end. Use `run`."""

    def __init__(
        self,
        settings: Settings,
        ring: Ring,
        device: DeviceKey,
        tracker_device: DeviceKey,
        supervision: Supervision,
    ) -> None:
        self._supervision = supervision
        self._settings = settings
        self._keyring = Keyring(ring)
        self._rotation = Rotation(settings.home, self._keyring, self._rotated)
        self._device = device
        self._tracker_device = tracker_device
        self._stopping = asyncio.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = make_context()
        self._executor = ThreadPoolExecutor(HANDSHAKE_THREADS, "handshake")
        self._zap = ZapHandler(self._context)
        self._reactors: list[Reactor] = []
        self._peer: PeerService | None = None
        self._tracker_router: SealedRouter | None = None
        self._tracker_server: TrackerServer | None = None
        self._store: Store | None = None
        self._workers: Workers | None = None
        self._operator: Operator | None = None
        self._metrics: HttpServer | None = None
        self._control: ControlServer | None = None
        self._events = Events()
        self._watchdog: threading.Timer | None = None
        self._own_tracker: dict[Endpoint, Endpoint] = {}
        self._rotating: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Begins the end; harmless when it has begun."""
        if not self._stopping.is_set():
            log.info("= stopping")
            self._events.tell(DaemonStopping(os.getpid()))
            self._stopping.set()
            self._watchdog = threading.Timer(limits.SHUTDOWN_HARD_SECONDS, _give_up)
            self._watchdog.daemon = True
            self._watchdog.start()

    async def run(self) -> None:
        """Everything. Raises Fault when it cannot start."""
        self._supervision.begin(self.stop)
        try:
            await self._start()
            await self._stopping.wait()
        finally:
            await self._close()
            await self._supervision.close()
            if self._watchdog is not None:
                self._watchdog.cancel()

    # -- start --------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        settings = self._settings
        self._rotation.start()
        self._rotating = asyncio.create_task(self._rotation.run(), name="rotation")
        self._zap.start()
        lines = []
        if settings.tracker_listen is not None:
            port = self._build_tracker(settings.tracker_listen, self._identity(self._tracker_device))
            where = format_endpoint(
                self._shown_host(settings.tracker_listen, settings.tracker_announce), port
            )
            lines.append(f"Tracker listening on {where}")
            self._tracker_shown = where
            # A port of 0 is known only now; the peer of this process dials its own tracker.
            host = settings.tracker_listen.host or "127.0.0.1"
            self._own_tracker = {Endpoint(host, settings.tracker_listen.port): Endpoint(host, port)}
        if settings.peer_listen is not None:
            port = self._build_peer(
                settings.peer_listen, self._identity(self._device), self._trackers(settings)
            )
            announce = settings.peer_announce.host if settings.peer_announce else ""
            self._peer_shown = format_endpoint(self._shown_host(settings.peer_listen, announce), port)
            lines.append(f"Peer listening on {self._peer_shown}")
        for reactor in self._reactors:
            reactor.start()
        if self._peer is not None:
            await self._peer.start()
            register_peer(self._supervision.tuning, self._peer, self._trackers)
        self._supervision.tuning.told = self._reloaded
        self._bind_control()
        if settings.metrics_listen is not None:
            await self._serve_metrics(settings.metrics_listen)
        assert self._control is not None
        await self._control.answers()
        for line in lines:
            printing.announce(line)
        self._supervision.ready(self._reactors, self._summary)
        key = self._keyring.current
        log.info(
            "= p2pd %s, network %s, epoch %d, key check %s", VERSION, key.network, key.epoch, key.check_value
        )

    _tracker_shown = ""
    _peer_shown = ""

    def _reloaded(self, changes: list[Change]) -> None:
        changed = [change.key for change in changes if change.applied]
        waiting = [change.key for change in changes if not change.applied]
        self._events.tell(ConfigReloaded(changed, waiting))

    def _trackers(self, settings: Settings) -> list[Endpoint]:
        """Those to dial."""
        return [self._own_tracker.get(tracker, tracker) for tracker in settings.trackers]

    def _summary(self) -> str:
        """One line for the service manager."""
        words = [f"tracker on {self._tracker_shown}"] if self._tracker_shown else []
        if self._peer is not None:
            counts = self._peer.downloads.counts()
            words.append(f"peer on {self._peer_shown}")
            words.append(f"downloads: {counts['active']} active, {counts['queued']} queued")
            words.append(f"uploads: {self._peer.uploads.active}")
        return "; ".join(words)

    def _identity(self, device: DeviceKey) -> Identity:
        info = Info(f"p2pd/{VERSION}", features=FEATURES)
        return Identity(self._keyring, device, info, os.urandom)

    def _rotated(self) -> None:
        """The keys have changed. Sessions of one that has ended are closed by whoever has them."""
        now, before = self._keyring.current, self._keyring.ring.previous
        previous = None if before is None else before.epoch
        self._events.tell(KeyChanged(now.epoch, now.check_value, previous))
        if self._peer is not None:
            self._peer.renew()

    def _shown_host(self, listen: Endpoint, announce: str) -> str:
        """The address others should use for a listener."""
        if announce:
            return announce
        return listen.host or primary_address()

    def _reactor(self, name: str) -> Reactor:
        reactor = Reactor(name, self._context, self._executor)
        self._reactors.append(reactor)
        return reactor

    def _build_tracker(self, listen: Endpoint, identity: Identity) -> int:
        settings = self._settings
        reactor = self._reactor("tracker")
        admission = Admission(AdmissionLimits.keeping(process.room_for(settings.tracker_max_connections)))
        self._zap.add(TRACKER_DOMAIN, admission)
        quotas = settings.quotas
        store = self._store = open_store(settings.tracker_registry, settings.home, quotas.device_entries)
        workers = self._workers = Workers(reactor) if store.shared else None
        advertised = settings.tracker_announce or primary_address()
        advertised = "" if is_loopback(advertised) else advertised
        policy = Policy(figures(quotas))
        register_tracker(self._supervision.tuning, policy)
        service = TrackerService(
            store.registry, advertised, system_rng(), policy, self._keyring.told, store.fetchers
        )
        service.wants.shared = store.shared
        self._tracker_server = TrackerServer(
            reactor, service, SteadyClock(store.now), Prober(reactor, identity), workers, store.trouble
        )
        self._tracker_router = SealedRouter(
            reactor, identity, Dialect.TRACKER, admission, TRACKER_DOMAIN, self._tracker_server
        )
        tell = self._events.tell
        self._tracker_router.on_banned = lambda host, seconds: tell(
            PeerBanned(host, seconds, "wrong_password")
        )
        self._tracker_server.serve(self._tracker_router, admission)
        run = cast(Run, asyncio.to_thread if store.shared else partial(run_on, reactor))
        self._operator = Operator(run, service, store.registry, self._tracker_server)
        return self._tracker_router.bind(listen.host, listen.port)

    def _build_peer(self, listen: Endpoint, identity: Identity, trackers: list[Endpoint]) -> int:
        settings = self._settings
        admission = Admission()
        self._zap.add(PEER_DOMAIN, admission)
        reactors = Reactors(self._reactor("uploads"), self._reactor("downloads"), self._reactor("links"))
        self._peer = PeerService(
            settings.home,
            identity,
            reactors,
            admission,
            trackers,
            settings.peer_announce,
            settings.share_downloads,
            {"up": settings.limit_up, "down": settings.limit_down},
            QueueLimits(settings.max_downloads, settings.free_floor),
            self._events,
            HookSettings(settings.hooks, settings.hook_seconds),
            os.fspath(settings.socket),
        )
        self._peer.hooks.describe = partial(describe, self._peer)
        return self._peer.router.bind(listen.host, listen.port)

    def _bind_control(self) -> None:
        settings = self._settings
        roles = [role for role, built in (("peer", self._peer), ("tracker", self._tracker_server)) if built]
        status = Status(
            keyring=self._keyring,
            device_id=self._device.device_id,
            roles=roles,
            home=os.fspath(settings.home),
            peer=self._peer,
            peer_listen=self._peer_shown,
            tracker_listen=self._tracker_shown,
            tracker_stats=self._tracker_stats if self._tracker_server is not None else None,
        )
        own = {self._device.device_id, self._tracker_device.device_id}
        rotating = Rotating(self._rotation, own)
        operating = Operating(self._peer, self._operator, self._events.tell)
        more = {
            **rotating.methods,
            **operating.methods,
            **Doctor(patient(settings, self._keyring, self._peer, self._tracker_router)).methods,
            **TuningMethods(self._supervision).methods,
            "logs": LogLines(self._supervision.log.ring).logs,
        }
        api = ControlApi(status, self._peer, self.stop, self._events, more)
        self._control = ControlServer(self._context, settings.socket, api.methods)
        self._control.bind()
        self._status = status
        self._events.tell(DaemonStarted(VERSION, os.getpid(), roles))

    async def _serve_metrics(self, where: Endpoint) -> None:
        from p2pd.control.metrics import Metrics  # its library is loaded for those who want it

        figures = self._operator.figures if self._operator is not None else None
        self._metrics = HttpServer("/metrics", Metrics(self._status.report, self._peer, figures).page)
        port = await self._metrics.start(where)
        log.info("= metrics on http://%s/metrics", format_endpoint(where.host or "127.0.0.1", port))

    async def _tracker_stats(self) -> dict[str, Any]:
        assert self._tracker_server is not None
        assert self._store is not None
        if self._store.shared:
            stats = await asyncio.to_thread(self._tracker_server.stats)
        else:
            stats = await run_on(self._reactors[0], self._tracker_server.stats)
        return {**stats, "registry": self._store.where}

    # -- end ----------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        began = time.monotonic()
        self._supervision.stopping()
        if self._control is not None:
            if self._metrics is not None:
                await self._metrics.close()
            await asyncio.sleep(LAST_WORDS_SECONDS)
            await self._control.close()
        if self._rotating is not None:
            self._rotating.cancel()
            await asyncio.gather(self._rotating, return_exceptions=True)
        started = any(reactor.running for reactor in self._reactors)
        if self._peer is not None and started:
            await self._peer.close()
        if self._tracker_router is not None and started:
            await run_on(self._tracker_router.reactor, self._tracker_router.shut)
        for reactor in self._reactors:
            reactor.stop(limits.SHUTDOWN_FLUSH_SECONDS)
        if self._workers is not None:
            await asyncio.to_thread(self._workers.close, WORKERS_SECONDS)
        if self._store is not None:
            self._store.registry.close()
        self._zap.stop()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._context.destroy(linger=0)
        log.info("= stopped in %.1f s", time.monotonic() - began)


def _give_up() -> None:
    """The end takes too long: what is committed is safe, so leave."""
    print("p2pd: did not stop in time, leaving at once", file=sys.stderr, flush=True)
    os._exit(1)


def serve(
    settings: Settings,
    ring: Ring,
    device: DeviceKey,
    tracker_device: DeviceKey,
    supervision: Supervision,
) -> None:
    """Runs the daemon until it is stopped. The home is locked by the caller. Raises Fault when it cannot start.

    `tracker_device` is the tracker's identity; it differs from `device` when both roles run in one process.
    """
    tune_malloc()
    process.keep_no_core()
    process.raise_descriptor_limit(settings.tracker_max_connections if settings.tracker_listen else 0)
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.role == "peer":  # a tracker has little to do and somebody waits for each answer
        process.give_way(settings.nice)

    async def main() -> None:
        await App(settings, ring, device, tracker_device, supervision).run()

    asyncio.run(main())
