"""The tracker on the network: sealed sessions in, TrackerService in the middle, answers out. On the `tracker` reactor.

The rule: one thread owns the router, and with a registry of its own the service and that registry too. Publishing takes a hundred
times longer than any question, so batches wait in a queue and are worked off one at a time, between looks at the socket: a search waits
for one of them at most. What a device sends after a batch of its own waits behind it. With `workers` (a registry that
is shared, so on another machine) requests are handled there, and this thread waits for nothing. The service's clock is that of the
registry, kept from going back, so that leases mean the same after a restart and at other trackers.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from p2pd.net.addresses import Network
from p2pd.net.admission import Admission
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.tracker.reach import Probe, Prober
from p2pd.tracker.registry import RegistryError
from p2pd.tracker.service import Sender, TrackerService
from p2pd.tracker.workers import Workers
from protocol.errors import Refusal, RemoteProtocolError
from protocol.tracker import AnyReply, AnyRequest, Publish, Refused, decode_request

log = logging.getLogger("p2pd.tracker")

SWEEP_SECONDS = 1.0
SWEEP_PAUSE = 0.02  # between two parts of a sweep: it takes a quarter of the thread at most
QUEUE = 256  # batches that wait, 20 MB of them; beyond that everybody waits


class SteadyClock:
    """Unix time that never goes back: a clock set back stands still until it is passed again. Any thread may ask."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self._last = 0.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        self._last = max(self._last, self._read())
        return self._last


class TrackerServer:
    """Handler of a SealedRouter. Without a `prober` nobody is dialled back. `trouble` tells why the registry cannot be used now."""

    def __init__(
        self,
        reactor: Reactor,
        service: TrackerService,
        clock: Callable[[], float] | None = None,
        prober: Prober | None = None,
        workers: Workers | None = None,
        trouble: Callable[[], str] = str,
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._clock = clock or SteadyClock()
        self.router: SealedRouter | None = None
        self._admission: Admission | None = None
        self._workers = workers
        self._trouble = trouble
        service.bans.changed = partial(reactor.call, self._bans_changed) if workers else self._bans_changed
        self._prober = prober
        self._queue: deque[tuple[Conn, AnyRequest]] = deque()
        self._waiting: Counter[Conn] = Counter()  # how many of its requests are in the queue
        service.start(self._clock())
        reactor.later(SWEEP_SECONDS, self._sweep)

    def serve(self, router: SealedRouter, admission: Admission) -> None:
        """The listener in front of this server; before its reactor runs."""
        self.router, self._admission = router, admission
        self._bans_changed()

    def _bans_changed(self) -> None:
        now, bans = self._clock(), self._service.bans
        if self._admission is not None:
            self._admission.ban_only(bans.networks(now), self._reactor.clock())
        if self.router is not None:
            self.router.expel(lambda device_id, host: bans.of(device_id, host, now))

    def guessers(self) -> list[tuple[str, float]]:
        """Addresses that are banned for guessing passwords, and the seconds left."""
        return self._admission.bans(self._reactor.clock()) if self._admission is not None else []

    def forgive(self, network: Network) -> bool:
        """Lifts such bans. False when there was none."""
        return self._admission is not None and self._admission.forgive(network)

    def now(self) -> float:
        """The time that the service is told."""
        return self._clock()

    def stats(self) -> dict[str, Any]:
        """Figures for status, also when the registry fails: then devices and files are None and `trouble` says why. On the
        reactor's thread, or any when there are workers."""
        try:
            if not (trouble := self._trouble()):
                return {**self._service.stats(self._clock()), "trouble": ""}
        except RegistryError as error:
            trouble = str(error)
        return {"devices": None, "files": None, **self._service.counts(), "trouble": trouble}

    def figures(self) -> dict[str, Any]:
        """All that there is to count, for the operator. On the thread that `stats` is for. Raises RegistryError."""
        now = self._clock()
        conns = list(self.router.conns.values()) if self.router is not None else []
        door = self._admission.counts() if self._admission is not None else {}
        return {
            **self._service.stats(now),
            "refusals_by_reason": dict(sorted(self._service.refusals.items())),
            "wants": self._service.wants.count,
            "waiting": len(self._service.wants),
            "bans": len(self._service.bans.all(now)),
            "sessions": sum(conn.session is not None for conn in conns),
            "connections": door.get("connections", 0),
            "failed_proofs": door.get("failed_proofs", 0),
            "received_bytes": self.router.received_bytes if self.router is not None else 0,
            "sent_bytes": self.router.sent_bytes if self.router is not None else 0,
        }

    def opened(self, conn: Conn) -> None:
        """See router.Handler."""

    def closed(self, conn: Conn) -> None:
        """See router.Handler."""
        if self._workers is not None:
            self._workers.forget(conn)
        self._service.wants.gone(conn)

    def writable(self, conn: Conn) -> None:
        """See router.Handler."""

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """One request, one answer; some come later."""
        if payload:
            raise RemoteProtocolError("a request has no payload")
        request = decode_request(header)
        if self._workers is None:
            if isinstance(request, Publish) or self._waiting[conn]:
                self._wait(conn, request)
            else:
                self._handle(conn, request)
            return
        sender = Sender(conn.device_id, conn.host, conn)

        def work() -> AnyReply | Probe | None:
            return self._service.handle(request, sender, self._clock())

        if not self._workers.submit(conn, work, partial(self._handled, conn)):
            conn.send(Refused(request.req, Refusal.BUSY, 1, "too many requests wait"))

    def _handled(self, conn: Conn, reply: AnyReply | Probe | None, error: BaseException | None) -> None:
        if error is None:
            self._answer(conn, reply)
            return
        # a fault of ours: the request has no answer, so its connection cannot go on
        log.error("! %s: a message could not be handled", conn, exc_info=error)
        conn.close("internal error")

    def _answer(self, conn: Conn, reply: AnyReply | Probe | None) -> None:
        if isinstance(reply, Probe):
            if self._prober is None or not self._prober.start(reply, conn.send):
                conn.send(Refused(reply.req, Refusal.BUSY, 1, "too many are dialled"))
            return
        if reply is not None:
            conn.send(reply)
        if isinstance(reply, Refused) and reply.code == Refusal.BANNED:
            conn.close("banned")
        self._send_later()

    def _send_later(self) -> None:
        for conn, reply in self._service.wants.take():
            conn.send(reply)

    def _handle(self, conn: Conn, request: AnyRequest) -> None:
        self._answer(
            conn, self._service.handle(request, Sender(conn.device_id, conn.host, conn), self._clock())
        )

    def _wait(self, conn: Conn, request: AnyRequest) -> None:
        if len(self._queue) >= QUEUE:
            self._work()
        self._queue.append((conn, request))
        self._waiting[conn] += 1
        self._reactor.add_work(self._work)

    def _work(self) -> bool:
        """Answers the oldest in the queue; whether more wait."""
        if not self._queue:
            return False
        conn, request = self._queue.popleft()
        self._waiting[conn] -= 1
        if not self._waiting[conn]:
            del self._waiting[conn]
        try:
            self._handle(conn, request)
        except Exception as error:  # the others in the queue get their answers
            self._handled(conn, None, error)
        return bool(self._queue)

    def _sweep(self) -> None:
        if self._workers is None:
            try:
                self._swept(self._service.expire(self._clock()), None)
            except RegistryError as error:
                self._swept(None, error)
        else:
            self._workers.submit(self, lambda: self._service.expire(self._clock()), self._swept)

    def _swept(self, removed: int | None, error: BaseException | None) -> None:
        if isinstance(error, RegistryError):
            if not self._trouble():  # else it was said when it began
                log.warning("! the registry failed: %s", error)
        elif error is not None:
            log.error("! the registry was not swept", exc_info=error)
        self._send_later()
        self._reactor.later(SWEEP_PAUSE if removed else SWEEP_SECONDS, self._sweep)


def system_rng() -> random.Random:
    """The randomness of a running tracker: the operating system's."""
    return random.SystemRandom()
