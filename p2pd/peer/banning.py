"""Bans of a peer: of those that a person shut out of links and uploads, and of those that sent wrong data. On the event loop.

The rule: stored first, then in force, so that a restart forgets nobody; whoever is banned by hand loses sessions that it has. Bans for
wrong data are the engine's (engine/conduct.py): such a device is not used as a source, and may still download here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pd.net.addresses import parse_network
from p2pd.net.admission import Admission
from p2pd.net.bans import Ban, Bans, as_device
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.peer.links import Links
from p2pd.storage.state import State
from p2pd.storage.state_bans import HAND, WRONG_DATA, StoredBan
from protocol.errors import Fault
from protocol.limits import MAX_BANS

WRONG_PASSWORD = "wrong_password"


@dataclass(frozen=True, slots=True)
class Kept:
    """A ban and its cause: hand, wrong_data or wrong_password."""

    ban: Ban
    cause: str


class Banning:
    """See the module. `bans` are those by hand; shared with the listener and the links."""

    def __init__(
        self,
        store: State,
        bans: Bans,
        admission: Admission,
        router: SealedRouter,
        links: Links,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._bans = bans
        self._admission = admission
        self._router = router
        self._links = links
        self._clock = clock

    def start(self) -> None:
        """Takes up what the last run knew."""
        now = self._clock()
        self._store.forget_bans(now)
        for stored in self._store.bans(now):
            if stored.cause == WRONG_DATA:
                self._downloads.call(self._links.remember, stored.subject, stored.bad, stored.until - now)
        self._read(now)

    @property
    def _downloads(self) -> Reactor:
        return self._links.reactor

    def ban(self, ban: Ban) -> None:
        """Keeps it, in force from now on. Raises Fault refused when there are too many."""
        now = self._clock()
        if len(self._bans.all(now)) >= MAX_BANS and not any(
            b.subject == ban.subject for b in self._bans.all(now)
        ):
            raise Fault("refused", "too many bans", "ban a network instead of its devices")
        self._store.put_ban(StoredBan(ban.subject, HAND, ban.until, ban.reason, ban.since))
        self._read(now)

    def unban(self, subject: str) -> bool:
        """Lifts all bans of a device or network, whatever their cause. False when there was none."""
        found = self._store.drop_ban(subject)
        if as_device(subject) is None:
            found |= self._admission.forgive(parse_network(subject))
        else:
            self._downloads.call(self._links.forgive, subject)
        self._read(self._clock())
        return found

    def all(self) -> list[Kept]:
        """Those in force, by subject."""
        now = self._clock()
        kept = [Kept(Ban(b.subject, b.until, b.reason, b.since), b.cause) for b in self._store.bans(now)]
        for address, left in self._admission.bans(time.monotonic()):
            network = str(parse_network(address))
            kept.append(Kept(Ban(network, now + left, "guessed passwords", now), WRONG_PASSWORD))
        return sorted(kept, key=lambda one: (one.ban.subject, one.cause))

    def lied(self, name: str, bad: int, seconds: float) -> None:
        """The engine has banned a device for wrong data."""
        now = self._clock()
        self._store.put_ban(StoredBan(name, WRONG_DATA, now + seconds, f"{bad} wrong pieces", now, bad))

    def _read(self, now: float) -> None:
        stored = (ban for ban in self._store.bans(now) if ban.cause == HAND)
        if not self._bans.replace(Ban(b.subject, b.until, b.reason, b.since) for b in stored):
            return
        self._admission.ban_only(self._bans.networks(now), time.monotonic())
        self._router.reactor.call(self._router.expel, self._is_banned)
        self._downloads.call(self._links.expel)

    def _is_banned(self, device_id: bytes, host: str) -> bool:
        return self._bans.of(device_id, host, self._clock()) is not None
