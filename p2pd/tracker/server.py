"""The tracker on the network: sealed sessions in, TrackerService in the middle, answers out. On the `tracker` reactor.

The rule: one thread owns the router, the service and its registry. The service's clock is this machine's wall clock,
kept from going back, so that leases in the registry mean the same after a restart.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

from p2pd.net.addresses import Network
from p2pd.net.admission import Admission
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.tracker.reach import Probe, Prober
from p2pd.tracker.registry import RegistryError
from p2pd.tracker.service import Sender, TrackerService
from protocol.errors import Refusal, RemoteProtocolError
from protocol.tracker import Refused, decode_request

log = logging.getLogger("p2pd.tracker")

SWEEP_SECONDS = 1.0


class SteadyClock:
    """Unix time that never goes back: a clock set back stands still until it is passed again."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self._last = 0.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        self._last = max(self._last, self._read())
        return self._last


class TrackerServer:
    """Handler of a SealedRouter. Without a `prober` nobody is dialled back."""

    def __init__(
        self,
        reactor: Reactor,
        service: TrackerService,
        clock: Callable[[], float] | None = None,
        prober: Prober | None = None,
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._clock = clock or SteadyClock()
        self.router: SealedRouter | None = None
        self._admission: Admission | None = None
        service.bans.changed = self._bans_changed
        self._prober = prober
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

    def stats(self) -> dict[str, int]:
        """Figures for status. On the reactor's thread."""
        return self._service.stats(self._clock())

    def figures(self) -> dict[str, Any]:
        """All that there is to count, for the operator. On the reactor's thread. Raises RegistryError."""
        now = self._clock()
        conns = self.router.conns.values() if self.router is not None else ()
        door = self._admission.counts() if self._admission is not None else {}
        return {
            **self._service.stats(now),
            "refusals_by_reason": dict(sorted(self._service.refusals.items())),
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

    def writable(self, conn: Conn) -> None:
        """See router.Handler."""

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """One request, one answer."""
        if payload:
            raise RemoteProtocolError("a request has no payload")
        request = decode_request(header)
        reply = self._service.handle(request, Sender(conn.device_id, conn.host), self._clock())
        if isinstance(reply, Probe):
            if self._prober is None or not self._prober.start(reply, conn.send):
                conn.send(Refused(reply.req, Refusal.BUSY, 1, "too many are dialled"))
            return
        conn.send(reply)
        if isinstance(reply, Refused) and reply.code == Refusal.BANNED:
            conn.close("banned")

    def _sweep(self) -> None:
        removed = 0
        try:
            removed = self._service.expire(self._clock())
        except RegistryError as error:
            log.warning("! the registry failed: %s", error)
        self._reactor.later(0.05 if removed else SWEEP_SECONDS, self._sweep)


def system_rng() -> random.Random:
    """The randomness of a running tracker: the operating system's."""
    return random.SystemRandom()
