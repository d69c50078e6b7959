"""The tracker dials a device that asks for it: can others reach you where I say that you are?

The rule: only the address by which the tracker names this very device, only to prove that it is there, few at a time and not
for long (docs/protocol.md, "Checks"). All on the tracker's reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import CannotDial, Link, Lost
from p2pd.net.identity import Identity
from p2pd.net.listening import Guard, dialer_guard
from p2pd.net.reactor import Reactor
from protocol.checks import Reachable, Reached
from protocol.errors import RemoteProtocolError
from protocol.handshake import Dialect
from protocol.limits import MAX_REACHES, REACH_SECONDS


@dataclass(frozen=True, slots=True)
class Probe:
    """A device to dial: what the service answers to a Reach that it allows."""

    req: int
    device_id: bytes
    host: str
    port: int


class Prober:
    """See the module."""

    def __init__(self, reactor: Reactor, identity: Identity) -> None:
        self._reactor = reactor
        self._identity = identity
        self._guard: Guard | None = None
        self.under_way = 0

    def start(self, probe: Probe, done: Callable[[Reached], object]) -> bool:
        """Dials; `done` is called once, later, within REACH_SECONDS. False, and nothing happens, when too many are under way."""
        if self.under_way >= MAX_REACHES:
            return False
        if self._guard is None:
            self._guard = dialer_guard(self._reactor)
        _Dial(self, probe, done).begin(self._reactor, self._identity, self._guard)
        return True


class _Dial:
    """One dial. Whatever happens first is the answer."""

    def __init__(self, prober: Prober, probe: Probe, done: Callable[[Reached], object]) -> None:
        self._prober = prober
        self._probe = probe
        self._done = done
        self._answered = False

    def begin(self, reactor: Reactor, identity: Identity, guard: Guard) -> None:
        self._reactor, self._began = reactor, reactor.clock()
        self._prober.under_way += 1
        probe = self._probe
        try:
            link = Link(
                reactor,
                identity,
                Dialect.PEER,
                Endpoint(probe.host, probe.port),
                _says_nothing,
                expected_device=probe.device_id,
                on_ready=self._ready,
                on_closed=self._closed,
                guard=guard,
            )
        except CannotDial:
            reactor.call(self._answer, Reachable.NOBODY)
            return
        timer = reactor.later(REACH_SECONDS, link.close)
        self._timer = timer

    def _ready(self, link: Link) -> None:
        self._answer(Reachable.YES)
        self._reactor.call(link.close)

    def _closed(self, link: Link, lost: Lost) -> None:
        self._timer.cancel()
        self._answer(Reachable.OTHER if link.connected else Reachable.NOBODY)

    def _answer(self, result: Reachable) -> None:
        if self._answered:
            return
        self._answered = True
        self._prober.under_way -= 1
        after = round((self._reactor.clock() - self._began) * 1000)
        self._done(Reached(self._probe.req, result, self._probe.host, self._probe.port, after))


def _says_nothing(header: memoryview) -> None:
    """Nothing is asked of the device, so nothing may come."""
    raise RemoteProtocolError("a message that nobody asked for")
