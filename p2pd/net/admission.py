"""Who may connect and who may try a handshake: counts, rates and bans, by source address.

Rule: pure bookkeeping, bounded. Time is an argument (seconds, monotonic); nothing here waits, sends or
closes. One object serves one listener and is shared by the ZAP thread and the listener's thread, so every
public method takes its lock. Strangers compete with strangers: an address that has authenticated in the
last days is counted apart, so that a flood from elsewhere does not lock members out. IPv6 sources count by
/64, IPv4-mapped ones as IPv4.

A listener calls, in the life of a connection: `allow_connection` (ZAP, before any frame), `opened`
(monitor: accepted), `allow_hello` (HELLO came), one of `proved`, `failed`, `abandoned`, and `released`
(monitor: gone).
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pd.net.addresses import Network, holds, source_key
from p2pd.net.networks import Networks
from protocol import limits
from protocol.errors import Refusal

_LOOK_AT = (
    64  # banned addresses stepped over before the oldest is forgotten all the same: the cost stays bounded
)


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The figures of protocol/limits.py; an operator of many members behind one address may raise some."""

    connections: int = limits.MAX_CONNECTIONS
    unauthenticated: int = limits.MAX_UNAUTHENTICATED
    per_address: int = limits.MAX_CONNECTIONS_PER_IP
    per_known_address: int = limits.MAX_CONNECTIONS_PER_KNOWN_IP
    accepts_per_second: float = limits.ACCEPTS_PER_SECOND
    accept_burst: float = limits.ACCEPT_BURST
    accepts_per_second_per_address: float = limits.ACCEPTS_PER_SECOND_PER_IP
    accept_burst_per_address: float = limits.ACCEPT_BURST_PER_IP
    accepts_per_second_per_known_address: float = limits.ACCEPTS_PER_SECOND_PER_KNOWN_IP
    hellos_per_second_per_address: float = limits.HELLOS_PER_SECOND_PER_IP
    hello_burst: float = limits.HELLO_BURST
    unknown_hellos_per_second: float = limits.UNKNOWN_HELLOS_PER_SECOND
    unknown_hello_burst: float = limits.UNKNOWN_HELLO_BURST
    known_hellos_per_second: float = limits.KNOWN_HELLOS_PER_SECOND
    known_hello_burst: float = limits.KNOWN_HELLO_BURST
    failed_proofs_per_minute: float = limits.FAILED_PROOFS_PER_MINUTE
    unknown_failures_per_minute: float = limits.UNKNOWN_FAILURES_PER_MINUTE
    unknown_failure_burst: float = limits.UNKNOWN_FAILURE_BURST
    half_open: int = limits.MAX_HALF_OPEN
    ban_first: float = limits.BAN_SECONDS_FIRST
    ban_max: float = limits.BAN_SECONDS_MAX
    ban_memory: float = limits.BAN_MEMORY_SECONDS
    known_seconds: float = limits.KNOWN_GOOD_SECONDS
    tracked: int = limits.MAX_TRACKED_ADDRESSES

    @classmethod
    def keeping(cls, connections: int) -> AdmissionLimits:
        """For a listener with so many: each may be of a member at an address of its own, and strangers must not push those out."""
        return cls(connections=connections, tracked=max(limits.MAX_TRACKED_ADDRESSES, 2 * connections))


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer: true when allowed; else the refusal code, words for the log and when to try again
    (seconds).
    """

    allowed: bool = True
    reason: str = ""
    retry_seconds: float = 0.0
    code: int = Refusal.BUSY

    def __bool__(self) -> bool:
        return self.allowed


_YES = Verdict()


@dataclass(slots=True)
class Bucket:
    """A token bucket that starts full: `burst` tokens, refilled at `rate` a second."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    stamp: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def wait(self, now: float) -> float:
        """Seconds until a token is there; 0.0 when one is."""
        if now > self.stamp:
            if self.stamp != float("-inf"):
                self.tokens = min(self.burst, self.tokens + (now - self.stamp) * self.rate)
            self.stamp = now
        return 0.0 if self.tokens >= 1.0 - 1e-9 else (1.0 - self.tokens) / self.rate

    def take(self) -> None:
        """Take a token; call `wait` first."""
        self.tokens -= 1.0


@dataclass(slots=True)
class _Source:
    """What is remembered of one address."""

    accepts: Bucket
    known_accepts: Bucket
    hellos: Bucket
    failures: Bucket
    connections: int = 0
    bans: int = 0
    banned_until: float = float("-inf")


class Admission:
    """The counts of one listener. See the module's docstring for the order of calls."""

    def __init__(self, figures: AdmissionLimits | None = None) -> None:
        self._limits = figures or AdmissionLimits()
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._known: OrderedDict[str, float] = OrderedDict()
        self._networks: Networks[float] = Networks()  # until when
        self._connections = 0
        self._unauthenticated = 0
        self._half_open = 0
        self._refused = 0
        self._failed = 0
        rate = self._limits
        self._accepts = Bucket(rate.accepts_per_second, rate.accept_burst)
        self._told_of_bans = Bucket(limits.BANS_TOLD_PER_SECOND, limits.BANS_TOLD_BURST)
        self._unknown_hellos = Bucket(rate.unknown_hellos_per_second, rate.unknown_hello_burst)
        self._known_hellos = Bucket(rate.known_hellos_per_second, rate.known_hello_burst)
        self._unknown_failures = Bucket(rate.unknown_failures_per_minute / 60, rate.unknown_failure_burst)

    # -- connections --------------------------------------------------------------------------------------

    def allow_connection(self, address: str, now: float) -> Verdict:
        """May this connection go on to its handshake? Asked once for each, by the ZAP handler.

        The connection itself may not have been reported by `opened` yet, so this count may be one short;
        `opened` is exact.
        """
        with self._lock:
            key = source_key(address)
            source = self._source(key, now)
            known = self._is_known(key, now)
            verdict = self._banned(address, source, now)
            if verdict is None:  # not `or`: a refusal is false
                verdict = self._room(source, known)
            if verdict is None:
                own = source.known_accepts if known else source.accepts
                wait = max(own.wait(now), 0.0 if known else self._accepts.wait(now))
                if wait > 0.0:
                    verdict = Verdict(False, "too many connections at a time", wait)
                else:
                    own.take()
                    if not known:
                        self._accepts.take()
            return self._told(verdict)

    def opened(self, address: str, now: float) -> Verdict:
        """Count a connection that was accepted, refused or not: `released` must follow. False: close it."""
        with self._lock:
            key = source_key(address)
            source = self._source(key, now)
            source.connections += 1
            self._connections += 1
            self._unauthenticated += 1
            return self._told(self._room(source, self._is_known(key, now)))

    def settled(self, address: str) -> None:
        """A connection of this address has authenticated; it no longer counts among the strangers."""
        with self._lock:
            self._unauthenticated = max(0, self._unauthenticated - 1)

    def released(self, address: str, authenticated: bool) -> None:
        """A connection counted by `opened` is gone; `authenticated` if `settled` was told of it."""
        with self._lock:
            self._connections = max(0, self._connections - 1)
            if not authenticated:
                self._unauthenticated = max(0, self._unauthenticated - 1)
            source = self._sources.get(source_key(address))
            if source is not None:
                source.connections = max(0, source.connections - 1)

    # -- handshakes ---------------------------------------------------------------------------------------

    def allow_hello(self, address: str, now: float) -> Verdict:
        """May this HELLO be answered? If so a half-open place is taken: `proved`, `failed` or `abandoned`
        must follow.
        """
        with self._lock:
            key = source_key(address)
            source = self._source(key, now)
            known = self._is_known(key, now)
            verdict = self._ban_verdict(address, source, now)
            # Strangers cannot hold every place.
            reserve = 0 if known else min(limits.HALF_OPEN_RESERVE, self._limits.half_open // 4)
            if verdict is None and self._half_open >= self._limits.half_open - reserve:
                verdict = Verdict(False, "too many handshakes under way", 1.0)
            if verdict is None:
                shared = self._known_hellos if known else self._unknown_hellos
                waits = [source.hellos.wait(now), shared.wait(now), source.failures.wait(now)]
                if not known:
                    waits.append(self._unknown_failures.wait(now))
                if max(waits) > 0.0:
                    verdict = Verdict(False, "too many handshakes at a time", max(waits))
                else:
                    source.hellos.take()
                    shared.take()
                    self._half_open += 1
            return self._told(verdict)

    def proved(self, address: str, now: float) -> None:
        """The handshake succeeded: the address is known-good for some days and its bans are forgotten."""
        with self._lock:
            self._half_open = max(0, self._half_open - 1)
            key = source_key(address)
            source = self._source(key, now)
            source.bans = 0
            source.failures = self._failures()
            self._known[key] = now
            self._known.move_to_end(key)
            while len(self._known) > self._limits.tracked:
                self._known.popitem(last=False)

    def failed(self, address: str, now: float) -> float:
        """The proof was wrong: a password guess. The seconds for which the address is banned by it, mostly
        0.0.

        The third failure within a minute bans for a minute, the next ban lasts twice as long, up to an
        hour; a day without a ban, or a success, starts anew. A known-good address is never banned, only
        held to the same three a minute: one member with a wrong password must not lock out those who share
        its address.
        """
        with self._lock:
            self._half_open = max(0, self._half_open - 1)
            self._failed += 1
            key = source_key(address)
            source = self._source(key, now)
            known = self._is_known(key, now)
            source.failures.wait(now)
            source.failures.take()
            if not known:
                self._unknown_failures.wait(now)
                self._unknown_failures.take()
            if known or source.failures.wait(now) == 0.0:
                return 0.0
            if now - source.banned_until > self._limits.ban_memory:
                source.bans = 0
            seconds = min(self._limits.ban_first * 2 ** min(source.bans, 32), self._limits.ban_max)
            source.bans += 1
            source.banned_until = now + seconds
            source.failures = self._failures()
            return float(seconds)

    def abandoned(self, address: str) -> None:
        """The handshake ended without a proof: load, which the HELLO rate bounds, but no guess."""
        with self._lock:
            self._half_open = max(0, self._half_open - 1)

    # -- bans ---------------------------------------------------------------------------------------------

    def ban_only(self, networks: Mapping[Network, float], now: float) -> None:
        """Ban these by hand, each for so many seconds, and no others. Whoever keeps the list has bounded it."""
        with self._lock:
            self._networks = Networks((network, now + seconds) for network, seconds in networks.items())

    def forgive(self, network: Network) -> bool:
        """Lift the bans by failures from the addresses of a network; False if there was none."""
        with self._lock:
            found = False
            for key, source in self._sources.items():
                if source.banned_until > float("-inf") and holds(network, key):
                    found = True
                    source.banned_until = float("-inf")
                    source.bans = 0
                    source.failures = self._failures()
            return found

    def bans(self, now: float) -> list[tuple[str, float]]:
        """The bans by failures as (address or /64, seconds left), sorted by text."""
        with self._lock:
            return sorted(
                (key, s.banned_until - now) for key, s in self._sources.items() if s.banned_until > now
            )

    def banned(self, address: str, now: float) -> float:
        """Seconds for which this address is still banned; 0.0 if it is not."""
        with self._lock:
            return self._ban_left(address, self._sources.get(source_key(address)), now)

    def counts(self) -> dict[str, int]:
        """Figures for status: connections, unauthenticated, half_open, addresses, known_addresses,
        refused, failed_proofs.
        """
        with self._lock:
            return {
                "connections": self._connections,
                "unauthenticated": self._unauthenticated,
                "half_open": self._half_open,
                "addresses": len(self._sources),
                "known_addresses": len(self._known),
                "refused": self._refused,
                "failed_proofs": self._failed,
            }

    # -- inside, under the lock ---------------------------------------------------------------------------

    def _told(self, verdict: Verdict | None) -> Verdict:
        if verdict is None:
            return _YES
        self._refused += 1
        return verdict

    def _banned(self, address: str, source: _Source, now: float) -> Verdict | None:
        """A few of them a second are let in as far as their HELLO, whose answer tells them why: who mistyped a password would else
        look for the fault in the network.
        """
        left = self._ban_left(address, source, now)
        if left > 0.0 and self._told_of_bans.wait(now) == 0.0:
            self._told_of_bans.take()
            left = 0.0
        return self._as_ban(left)

    def _room(self, source: _Source, known: bool) -> Verdict | None:
        most = self._limits.per_known_address if known else self._limits.per_address
        if self._connections > self._limits.connections:
            return Verdict(False, "no room for another connection", 5.0)
        if source.connections > most:
            return Verdict(False, "too many connections from this address", 5.0, Refusal.LIMIT)
        if not known and self._unauthenticated > self._limits.unauthenticated:
            return Verdict(False, "too many connections that have not authenticated", 3.0)
        return None

    def _ban_left(self, address: str, source: _Source | None, now: float) -> float:
        until = source.banned_until if source is not None else float("-inf")
        return max(0.0, max([until, *self._networks.holding(address)]) - now)

    def _ban_verdict(self, address: str, source: _Source, now: float) -> Verdict | None:
        return self._as_ban(self._ban_left(address, source, now))

    def _as_ban(self, left: float) -> Verdict | None:
        if left <= 0.0:
            return None
        return Verdict(False, "banned", min(left, limits.BAN_TOLD_SECONDS), Refusal.BANNED)

    def _is_known(self, key: str, now: float) -> bool:
        seen = self._known.get(key)
        if seen is None:
            return False
        if now - seen > self._limits.known_seconds:
            del self._known[key]
            return False
        return True

    def _failures(self) -> Bucket:
        rate = self._limits.failed_proofs_per_minute
        return Bucket(rate / 60, rate)

    def _source(self, key: str, now: float) -> _Source:
        source = self._sources.get(key)
        if source is None:
            figures = self._limits
            source = _Source(
                accepts=Bucket(figures.accepts_per_second_per_address, figures.accept_burst_per_address),
                known_accepts=Bucket(figures.accepts_per_second_per_known_address, figures.per_known_address),
                hellos=Bucket(figures.hellos_per_second_per_address, figures.hello_burst),
                failures=self._failures(),
            )
            while len(self._sources) >= figures.tracked:
                del self._sources[self._dispensable(now)]
            self._sources[key] = source
        self._sources.move_to_end(key)
        return source

    def _dispensable(self, now: float) -> str:
        """The address to forget: the oldest that is neither connected nor banned, else the oldest at all."""
        oldest = next(iter(self._sources))
        looked_at = itertools.islice(self._sources.items(), self._limits.connections + _LOOK_AT)
        return next((k for k, s in looked_at if s.connections == 0 and s.banned_until <= now), oldest)
