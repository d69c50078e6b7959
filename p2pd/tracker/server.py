"""The tracker on the network: sealed sessions in, TrackerService in the middle, answers out. On the `tracker` reactor.

The rule: one thread owns the router, the service and its registry. The service's clock is this machine's wall clock,
kept from going back, so that leases in the registry mean the same after a restart.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor
from p2pd.tracker.registry import RegistryError
from p2pd.tracker.service import Sender, TrackerService
from protocol.errors import RemoteProtocolError
from protocol.tracker import decode_request

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
    """Handler of a SealedRouter."""

    def __init__(
        self, reactor: Reactor, service: TrackerService, clock: Callable[[], float] | None = None
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._clock = clock or SteadyClock()
        service.start(self._clock())
        reactor.later(SWEEP_SECONDS, self._sweep)

    def stats(self) -> dict[str, int]:
        """Figures for status. On the reactor's thread."""
        return self._service.stats(self._clock())

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
        conn.send(self._service.handle(request, Sender(conn.device_id, conn.host), self._clock()))

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
