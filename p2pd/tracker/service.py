"""The tracker's policy: one request in, one answer out.

The rule: whatever a member sends is answered or refused; no exception leaves `handle`. Knows no sockets, no
clock and no database: the server decodes, passes the time and who asks, and sends what comes back
(docs/protocol.md, "Tracker dialect"). Requests may be handled in several threads at a time if the registry and
`fetchers` may be used so; what is counted here has a lock.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from p2pd.net.addresses import LOOPBACK, check_dialable, is_loopback
from p2pd.net.bans import Bans
from p2pd.tracker import search
from p2pd.tracker.charging import FREE, Charging
from p2pd.tracker.counting import Counting
from p2pd.tracker.fetching import Fetchers, Parts
from p2pd.tracker.policy import Policy
from p2pd.tracker.quota import Kind
from p2pd.tracker.reach import Probe
from p2pd.tracker.registry import (
    Card,
    DeviceFull,
    OutOfStep,
    Registry,
    RegistryError,
    RegistryFull,
    everybody,
)
from p2pd.tracker.wants import Wants
from protocol.checks import Clock, ClockIs, Reach, Reachable, Reached
from protocol.errors import Refusal, RemoteProtocolError, refusal_name
from protocol.ids import DEVICE_ID_SIZE
from protocol.limits import ANNOUNCE_LIFETIME, ANNOUNCE_REFRESH, FORGET_SECONDS, MAX_ANSWER, MAX_SOURCES
from protocol.tracker import (
    Announce,
    Announced,
    AnyReply,
    AnyRequest,
    By,
    Bye,
    Fetching,
    Find,
    Hit,
    Hits,
    Member,
    Ok,
    PeerList,
    Peers,
    Publish,
    Published,
    Refused,
    Search,
    SearchTerms,
    Source,
    Sources,
    Stats,
    TrackerStats,
)
from protocol.wanting import Want

REFRESH_JITTER = 0.2  # of the refresh interval, either way: devices that started together drift apart
CANDIDATES = 1000  # holders of one content among whom the sources of an answer are drawn
SWEEP_ENTRIES = 100  # removed in one call of expire: some 6 ms, for which searches wait
RETRY_FULL = 60
MAX_RETRY = 86_400  # seconds that a Refused can name
BANS_SECONDS = 5.0  # how soon a ban that another tracker wrote into a shared registry holds here
RETRY_STORAGE = 10


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: the authenticated device, the address of its connection (an IP literal), and how a later answer finds it."""

    device_id: bytes
    host: str
    session: object = None


def _one_key() -> tuple[int, int]:
    return 0, 0


class TrackerService:
    """The tracker role without sockets. `advertised_host`: IP literal by which others reach us, or "". `keys` tells the epoch of the
    newest network key, and when the older one ends (Unix seconds, 0: there is none)."""

    def __init__(
        self,
        registry: Registry,
        advertised_host: str,
        rng: Random,
        policy: Policy | None = None,
        keys: Callable[[], tuple[int, int]] = _one_key,
        fetchers: Parts | None = None,
    ) -> None:
        self.bans = Bans()
        self._lock = threading.Lock()
        self._registry = registry
        self._advertised = advertised_host
        self._rng = rng
        self._policy = policy or Policy()
        self._counting = Counting(registry, self._policy, self._lock)
        self._charging = Charging(self._policy, self._lock)
        self.wants = Wants()
        self._bans_read = float("-inf")
        self._keys = keys
        self._fetchers: Parts = fetchers or Fetchers()
        self._pressed = False  # the registry was full: absent devices are forgotten early
        self._counts = dict.fromkeys(("announces", "publishes", "searches", "refusals"), 0)
        self.refusals: Counter[str] = Counter()
        self._handlers: dict[type[Any], Callable[[Any, Sender, float], AnyReply | Probe | None]] = {
            Announce: self._announce,
            Publish: self._publish,
            Search: self._search,
            SearchTerms: self._search,
            Find: self._find,
            Peers: self._peers,
            Bye: self._bye,
            Fetching: self._fetching,
            Want: self._want,
            Stats: self._stats,
            Clock: self._clock,
            Reach: self._reach,
        }

    def start(self, now: float) -> None:
        """Once, before the first request: leases of the run before get one lifetime. Raises RegistryError."""
        self._registry.resume(now, now + ANNOUNCE_LIFETIME)
        self.read_bans(now)

    def handle(self, message: AnyRequest, sender: Sender, now: float) -> AnyReply | Probe | None:
        """The one answer to a decoded request, or a Probe whose outcome is the answer, or None: it comes by `wants.take`.
        `now`: seconds of a clock that never goes back."""
        banned = self.bans.of(sender.device_id, sender.host, now)
        try:
            if banned is not None:
                wait = int(min(banned.left(now), MAX_RETRY - 1)) + 1
                reply: AnyReply | Probe | None = _refused(message, Refusal.BANNED, wait, banned.reason)
            else:
                reply = self._handlers[type(message)](message, sender, now)
        except OutOfStep as error:
            reply = _refused(message, Refusal.RESYNC, text=str(error))
        except DeviceFull as error:
            reply = _refused(message, Refusal.LIMIT, text=str(error))
        except RegistryFull as error:
            self._pressed = True
            reply = _refused(message, Refusal.LIMIT, RETRY_FULL, str(error))
        except RegistryError:
            reply = _refused(message, Refusal.STORAGE, RETRY_STORAGE)
        except search.BadQuery as error:
            reply = _refused(message, Refusal.BAD_REQUEST, text=str(error))
        if isinstance(reply, Refused):
            with self._lock:
                self._counts["refusals"] += 1
                self.refusals[refusal_name(reply.code)] += 1
        return reply

    def expire(self, now: float) -> int:
        """Forgets a bounded part of what is out of date; 0 when nothing is left. Call about once a second,
        again soon while it is not 0. Raises RegistryError.
        """
        self._fetchers.expire(now)
        self.wants.look_elsewhere(self._registry, now)
        self.wants.look_up(self._registry, now, self._charging)
        if now - self._bans_read >= BANS_SECONDS:
            self.read_bans(now)
        counting = self._counting.step(now)
        before = now if self._pressed else now - FORGET_SECONDS
        removed = self._registry.sweep(now, before, SWEEP_ENTRIES)
        if not removed:
            self._pressed = False
        return removed + counting + self.wants.pending

    def stats(self, now: float) -> dict[str, int]:
        """Figures for the operator: devices and files now, requests since the start. Raises RegistryError."""
        totals = self._registry.totals(now)
        return {"devices": totals.devices, "files": totals.files, **self.counts()}

    def counts(self) -> dict[str, int]:
        """Requests since the start, those of the registry or not."""
        with self._lock:
            return dict(self._counts)

    # -- operating ----------------------------------------------------------------------------------------

    def read_bans(self, now: float) -> None:
        """Takes up the bans of the registry, also those that another tracker over the same one made. Whoever is banned is gone from
        all answers at once. Raises RegistryError."""
        self._bans_read = now
        before = set(self.bans.all(now))
        bans = self._registry.bans(now)
        self.bans.replace(bans)
        if not before.issuperset(bans):
            self._send_away(now)

    def _send_away(self, now: float) -> None:
        cards = [listing.card for listing in everybody(self._registry, now)]
        gone = [card.device_id for card in cards if self.bans.of(card.device_id, card.observed, now)]
        for device_id in gone:
            self._fetchers.left(device_id)
            self._registry.depart(device_id, now)

    # -- requests -----------------------------------------------------------------------------------------

    def _take(self, sender: Sender, kind: Kind, now: float) -> int:
        if kind in FREE and (wait := self._charging.owed(sender.device_id, sender.host, now)):
            return wait
        with self._lock:
            return self._policy.take(sender.device_id, sender.host, kind, now)

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def _announce(self, message: Announce, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.ANNOUNCE, now):
            return _refused(message, Refusal.BUSY, wait)
        if message.host and not _is_address(message.host, message.port):
            return _refused(message, Refusal.BAD_REQUEST, text="the declared host is not a usable IP literal")
        card = Card(sender.device_id, sender.host, message.host, message.port)
        share = self._registry.announce(
            card, message.share_epoch, message.revision, now, now + ANNOUNCE_LIFETIME
        )
        if self._fetchers.card(card.device_id, now) is None:
            self.wants.look_again(now)  # it may be back with what it published before
        self._fetchers.announced(card, now, now + ANNOUNCE_LIFETIME)
        totals = self._counting.totals(now)
        self._count("announces")
        return Announced(
            message.req,
            lease_s=int(ANNOUNCE_LIFETIME),
            refresh_s=int(ANNOUNCE_REFRESH * self._rng.uniform(1 - REFRESH_JITTER, 1 + REFRESH_JITTER)),
            known_epoch=share.epoch,
            known_revision=share.revision,
            observed=sender.host,
            peers=totals.devices,
            files=totals.files,
        )

    def _publish(self, message: Publish, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.PUBLISH, now):
            return _refused(message, Refusal.BUSY, wait)
        if message.reset and message.removed:
            return _refused(message, Refusal.BAD_REQUEST, text="a complete listing removes nothing")
        if message.more and not message.reset:
            return _refused(message, Refusal.BAD_REQUEST, text="only a complete listing has parts")
        if message.more and message.revision <= message.base_revision:
            return _refused(message, Refusal.BAD_REQUEST, text="a part of a listing advances the revision")
        with self._lock:
            room = self._policy.room(sender.host, len(message.added) - len(message.removed))
        if not room:
            return _refused(message, Refusal.LIMIT, RETRY_FULL, "too many files of this network")
        self._registry.publish(sender.device_id, message, now, now + ANNOUNCE_LIFETIME)
        self._count("publishes")
        self.wants.published(sender.device_id, message.added)
        return Published(message.req, message.revision)

    def _search(self, message: Search, sender: Sender, now: float) -> AnyReply:
        kind = {By.TEXT: Kind.SEARCH, By.ALL: Kind.LIST}.get(message.by, Kind.FIND)
        if wait := self._take(sender, kind, now):
            return _refused(message, Refusal.BUSY, wait)
        query = search.parse(message)
        with self._charging.of(sender.device_id, sender.host, kind, now):
            page = self._registry.search(query, message.limit, now)
        self._count("searches")
        items: list[Hit] = []
        room = MAX_ANSWER
        following = page.next
        for hit, after in page.items:
            room -= 96 + sum(len(name.encode()) + 5 for name in hit.names)
            if items and room < 0:
                break
            items.append(hit)
            following = after if len(items) < len(page.items) else page.next
        return Hits(message.req, items, query.cursor(following))

    def _find(self, message: Find, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.FIND, now):
            return _refused(message, Refusal.BUSY, wait)
        with self._charging.of(sender.device_id, sender.host, Kind.FIND, now):
            cards = self._registry.holders(message.content_id, sender.device_id, CANDIDATES, now)
        # Whoever has all of it comes first: there is room for those who have a part when these are few.
        known = {sender.device_id, *(card.device_id for card in cards)}
        parts = [card for card in self._fetchers.of(message.content_id, now) if card.device_id not in known]
        items: list[Source] = []
        for card in (*self._rng.sample(cards, len(cards)), *self._rng.sample(parts, len(parts))):
            if host := self._address(card, sender):
                items.append(Source(card.device_id, host, card.port))
                if len(items) == MAX_SOURCES:
                    break
        return Sources(message.req, items)

    def _peers(self, message: Peers, sender: Sender, now: float) -> AnyReply:
        # Who holds one content is looked up; the devices of the swarm are gone through.
        kind = Kind.FIND if message.content_id else Kind.SEARCH
        if wait := self._take(sender, kind, now):
            return _refused(message, Refusal.BUSY, wait)
        after = _device_cursor(message.cursor)
        with self._charging.of(sender.device_id, sender.host, kind, now):
            listings = self._registry.members(message.content_id, after, MAX_SOURCES + 1, now)
        items = []
        for listing in listings[:MAX_SOURCES]:
            host = self._address(listing.card, sender)
            port = listing.card.port if host else 0
            items.append(Member(listing.card.device_id, host, port, listing.files))
        return PeerList(message.req, items, items[-1].device_id.hex() if _more(listings) else "")

    def _bye(self, message: Bye, sender: Sender, now: float) -> AnyReply:
        self._fetchers.left(sender.device_id)
        self._registry.depart(sender.device_id, now)
        return Ok(message.req)

    def _fetching(self, message: Fetching, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.PUBLISH, now):
            return _refused(message, Refusal.BUSY, wait)
        if not self._fetchers.set(sender.device_id, message.contents, now):
            return _refused(message, Refusal.RESYNC, text="no lease")
        return Ok(message.req)

    def _want(self, message: Want, sender: Sender, now: float) -> AnyReply | None:
        if wait := self._take(sender, Kind.WANT, now):
            return _refused(message, Refusal.BUSY, wait)
        spread = self._rng.uniform(1 - REFRESH_JITTER, 1 + REFRESH_JITTER)
        if not self.wants.park(sender.device_id, sender.session, message, now, spread):
            return _refused(message, Refusal.LIMIT, RETRY_FULL, "too much is wanted here")
        return None

    def _stats(self, message: Stats, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.FIND, now):
            return _refused(message, Refusal.BUSY, wait)
        return TrackerStats(message.req, **self.stats(now))

    def _clock(self, message: Clock, sender: Sender, now: float) -> AnyReply:
        if wait := self._take(sender, Kind.FIND, now):
            return _refused(message, Refusal.BUSY, wait)
        epoch, older_until = self._keys()
        return ClockIs(message.req, round(now * 1000), epoch, older_until)

    def _reach(self, message: Reach, sender: Sender, now: float) -> AnyReply | Probe:
        card = self._fetchers.card(sender.device_id, now)
        if card is None:
            return _refused(message, Refusal.RESYNC, text="no lease")
        if not (host := self._address(card, sender)):
            return Reached(message.req, Reachable.NOWHERE, "", 0, 0)
        for who, kind in ((sender.device_id, Kind.REACH), (b"", Kind.REACH_IN_ALL)):
            with self._lock:
                wait = self._policy.take(who, "", kind, now)
            if wait:
                return _refused(message, Refusal.BUSY, wait)
        return Probe(message.req, sender.device_id, host, card.port)

    # -- addresses ----------------------------------------------------------------------------------------

    def _address(self, card: Card, asker: Sender) -> str:
        """Where `asker` reaches the device: what we saw, not what it claims, unless it is on our host."""
        if not card.port:
            return ""
        if not is_loopback(card.observed):
            return card.observed if _is_address(card.observed, card.port) else ""
        if card.declared and not is_loopback(card.declared) and _is_address(card.declared, card.port):
            return card.declared
        if is_loopback(asker.host):
            return LOOPBACK if _is_address(LOOPBACK, card.port) else ""
        if is_loopback(self._advertised) or not _is_address(self._advertised, card.port):
            return ""
        return self._advertised


def _refused(message: AnyRequest, code: int, retry: int = 0, text: str = "") -> Refused:
    return Refused(message.req, code, retry, text[:128])


def _is_address(host: str, port: int) -> bool:
    try:
        check_dialable(host, port or 65_535, tracker_is_loopback=True)
    except RemoteProtocolError:
        return False
    return True


def _device_cursor(cursor: str) -> bytes:
    try:
        after = bytes.fromhex(cursor)
    except ValueError as error:
        raise search.BadCursor("bad cursor") from error
    if cursor and len(after) != DEVICE_ID_SIZE:
        raise search.BadCursor("bad cursor")
    return after


def _more(listings: Sequence[object]) -> bool:
    return len(listings) > MAX_SOURCES
