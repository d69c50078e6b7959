"""Links to other peers that we download from: one for each device, shared by all downloads, redialled with back-off.

The rule: a device is dialled only while a download wants it, at the address last heard of, and fewer and fewer times while it does
not answer. After ATTEMPTS failures in a row it is given up, until somebody names it again. All on the `downloads` reactor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from p2pd.engine.conduct import Conduct
from p2pd.happenings import Happening, PeerBanned, ignored
from p2pd.net.addresses import Endpoint
from p2pd.net.bans import Bans
from p2pd.net.dealer import Answer, CannotDial, Link, Lost
from p2pd.net.identity import Identity
from p2pd.net.landing import PlainBuffer
from p2pd.net.listening import dialer_guard
from p2pd.net.reactor import Reactor, Timer
from p2pd.peer.asking import Asker, Asking, Work
from p2pd.peer.foreign import Foreign
from protocol import limits
from protocol.errors import Refusal
from protocol.handshake import Dialect
from protocol.ids import device_text
from protocol.peer import Pace, decode_reply

log = logging.getLogger("p2pd.peer.links")

ATTEMPTS = 6
BACKOFF_FIRST = 0.5
BACKOFF_MAX = 15.0
RETRY_MAX = 60.0  # what was said without authentication must not keep us away for long
RETRY_BANNED = 15.0  # a ban by hand may be lifted any time
MAX_LINKS = 128  # a tracker that names ever new devices must not use up our descriptors
IDLE_SECONDS = 20.0


class User(Protocol):
    """Who wants a device: a download. Called on the reactor's thread."""

    def peer_ready(self, peer: Peer) -> None:
        """Requests can be sent."""

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        """The link ended; it is dialled again."""

    def peer_abandoned(self, peer: Peer, lost: Lost) -> None:
        """The device does not answer and is dialled no more for this user."""

    def peer_push(self, peer: Peer, message: Any) -> None:
        """A message without a request (Have)."""


class Peer:
    """One device. `name` identifies it to the engine."""

    def __init__(self, links: Links, device_id: bytes, endpoint: Endpoint) -> None:
        self.device_id = device_id
        self.name = device_text(device_id)
        self.endpoint = endpoint
        self.users: list[User] = []
        self.link: Link | None = None
        self.failures = 0
        self.timer: Timer | None = None
        self.pace = limits.MAX_BLOCK  # the device asks for blocks no longer than this
        self._links = links
        self._questions = 0  # that are not answered
        self._waiting_since: float | None = None  # since when something is owed to us and nothing came

    @property
    def silence(self) -> float:
        """Seconds for which it has answered nothing though something was asked; 0 while it owes nothing."""
        since = self._waiting_since
        return self._links.reactor.clock() - since if since is not None else 0.0

    @property
    def ready(self) -> bool:
        """True while requests can be sent."""
        return self.link is not None and self.link.ready

    @property
    def features(self) -> int:
        """Bits of Feature that it told; 0 while it is not connected."""
        return self.link.features if self.link is not None else 0

    def connected(self) -> None:
        """There is a new link: what was asked over another one says nothing about it."""
        self._waiting_since = None

    def ask(self, message: Any, answer: Answer, timeout: float = limits.REQUEST_SECONDS) -> None:
        """See Link.ask; without a link the answer is Lost."""
        if self.link is None:
            self._links.reactor.call(answer, Lost("closed", "not connected"), memoryview(b""))
        else:
            clock = self._links.reactor.clock
            if self._waiting_since is None:
                self._waiting_since = clock()
            self._questions += 1

            def answered(reply: Any, payload: memoryview) -> None:
                self._questions -= 1
                if not isinstance(reply, Lost):
                    self._waiting_since = clock() if self._questions else None
                answer(reply, payload)

            self.link.ask(message, answered, timeout)

    def keep(self) -> Callable[[], None]:
        """Within the call of an Answer: its payload stays valid until the answered function is called, on any thread."""
        return self._links.keep()

    def block(self, asker: Asker) -> int:
        """How long the blocks asked of this device had better be: what it says itself, and what our own limits ask for."""
        return min(self.pace, self._links.asking.block(asker))

    def ask_in_turn(self, asker: Asker, work: Work, *, first: bool = False) -> None:
        """Calls `work` when its turn to ask for a block (ask_block) has come. See Asking.ask."""
        self._links.asking.ask(asker, self.name, work, first=first)

    def ask_block(self, message: Any, answer: Answer) -> None:
        """As `ask`, from within a `work`."""
        asking = self._links.asking

        def answered(reply: Any, payload: memoryview) -> None:
            try:
                answer(reply, payload)
            finally:
                asking.answered(self.name)

        self.ask(message, answered)

    def reconsider(self) -> None:
        """A limit has changed: what waits for its turn may have it now."""
        self._links.asking.work()

    def withdraw(self, asker: Asker) -> None:
        """Bulk that was not asked yet is not wanted any more."""
        self._links.asking.forget(asker, self.name)

    def detach(self, user: User) -> None:
        """`user` wants this device no more."""
        self._links.detach(self, user)

    def lied(self) -> None:
        """The device sent a piece that is not what its hash says. On repetition it is left alone for a time, by all users."""
        self._links.lied(self)

    def drop(self, reason: str) -> None:
        """The device broke the dialect's rules: its link ends; it counts as a failure."""
        log.info("! %s: %s", self.endpoint, reason)
        if self.link is not None:
            self.link.close()


class Links:
    """All devices that are dialled or wanted."""

    def __init__(self, reactor: Reactor, identity: Identity, bans: Bans | None = None) -> None:
        self.reactor = reactor
        self.on_liar: Callable[[str, int, float], object] = (
            _nothing  # name, wrong pieces, seconds that it is banned
        )
        self._bans = bans or Bans()
        self.peers: dict[bytes, Peer] = {}
        self.asking = Asking(reactor)
        self._identity = identity
        self.conduct = Conduct()
        self.foreign = Foreign()
        self.tell: Callable[[Happening], object] = ignored  # called in the reactor's thread
        self._guard = dialer_guard(reactor)
        self._plain = PlainBuffer()

    def attach(self, device_id: bytes, endpoint: Endpoint, user: User) -> None:
        """`user` wants this device, last heard of at `endpoint`. Attaching twice is harmless."""
        if device_id == self._identity.device.device_id:
            return
        if self.conduct.banned(device_text(device_id), self.reactor.clock()):
            return
        if self._bans.of(device_id, endpoint.host, time.time()) is not None:
            return
        if self.foreign.holds(device_id, self.reactor.clock()):
            return
        peer = self.peers.get(device_id)
        if peer is None:
            if len(self.peers) >= MAX_LINKS:
                return
            peer = self.peers[device_id] = Peer(self, device_id, endpoint)
        elif peer.endpoint != endpoint:
            peer.endpoint = endpoint
            peer.failures = 0
        if user in peer.users:
            return
        peer.users.append(user)
        if peer.ready:
            user.peer_ready(peer)
        elif peer.link is None and peer.timer is None:
            self._dial(peer)

    def detach(self, peer: Peer, user: User) -> None:
        """See Peer.detach."""
        if user in peer.users:
            peer.users.remove(user)
        if not peer.users:
            self.reactor.later(IDLE_SECONDS, self._close_idle, peer)

    def keep(self) -> Callable[[], None]:
        """See Peer.keep."""
        return self._plain.keep()

    def lied(self, peer: Peer) -> None:
        """See Peer.lied."""
        seconds = self.conduct.bad(peer.name, self.reactor.clock())
        if seconds:
            log.warning("! %s sent wrong data again: not used for %d minutes", peer.endpoint, seconds // 60)
            self.tell(PeerBanned(device_text(peer.device_id), seconds, "wrong_data"))
            self.on_liar(peer.name, self.conduct.count(peer.name), seconds)
            self._shut_out(peer, f"{peer.endpoint} sent wrong data again and again")

    def remember(self, name: str, bad: int, seconds: float) -> None:
        """See Conduct.remember."""
        self.conduct.remember(name, bad, seconds, self.reactor.clock())

    def forgive(self, name: str) -> None:
        """See Conduct.forgive."""
        self.conduct.forgive(name)

    def expel(self) -> None:
        """Bans by hand have changed: whoever is banned now is used no more."""
        for peer in list(self.peers.values()):
            if self._bans.of(peer.device_id, peer.endpoint.host, time.time()) is not None:
                self._shut_out(peer, f"{peer.endpoint} is banned here")

    def _shut_out(self, peer: Peer, why: str) -> None:
        lost = Lost("banned", why)
        for user in list(peer.users):
            user.peer_lost(peer, lost)
        self._abandon(peer, lost)

    def close(self) -> None:
        """Closes every link."""
        for peer in list(self.peers.values()):
            peer.users.clear()
            self._forget(peer)

    def _close_idle(self, peer: Peer) -> None:
        if not peer.users:
            self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        if self.peers.get(peer.device_id) is peer:
            del self.peers[peer.device_id]
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
        if peer.link is not None:
            peer.link.close()

    def _dial(self, peer: Peer) -> None:
        peer.timer = None
        if not peer.users or peer.link is not None:
            return
        try:
            peer.link = Link(
                self.reactor,
                self._identity,
                Dialect.PEER,
                peer.endpoint,
                decode_reply,
                expected_device=peer.device_id,
                on_ready=lambda link: self._ready(peer),
                on_closed=lambda link, lost: self._closed(peer, lost),
                on_push=lambda message: self._push(peer, message),
                plain=self._plain,
                guard=self._guard,
            )
        except CannotDial as error:
            self._closed(peer, Lost("unreachable", f"cannot dial {peer.endpoint}: {error}"))

    def _ready(self, peer: Peer) -> None:
        peer.pace = limits.MAX_BLOCK
        peer.connected()
        for user in list(peer.users):
            user.peer_ready(peer)

    def _push(self, peer: Peer, message: Any) -> None:
        if isinstance(message, Pace):
            peer.pace = message.length
            return
        for user in list(peer.users):
            user.peer_push(peer, message)

    def _closed(self, peer: Peer, lost: Lost) -> None:
        peer.link = None
        if self.peers.get(peer.device_id) is not peer:
            return
        for user in list(peer.users):
            user.peer_lost(peer, lost)
        peer.failures += 1
        # Proving the wrong password again would only count as another guess.
        if lost.code == "auth":
            self.foreign.note(peer.device_id, self.reactor.clock())
        if peer.failures >= ATTEMPTS or lost.code == "auth" or not peer.users:
            self._abandon(peer, lost)
            return
        most = RETRY_BANNED if lost.refusal == Refusal.BANNED else RETRY_MAX
        delay = max(
            min(float(lost.retry_s), most), min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** (peer.failures - 1))
        )
        peer.timer = self.reactor.later(delay, self._dial, peer)

    def _abandon(self, peer: Peer, lost: Lost) -> None:
        users, peer.users = peer.users, []
        self._forget(peer)
        for user in users:
            user.peer_abandoned(peer, lost)


def _nothing(name: str, bad: int, seconds: float) -> None:
    """Nobody wants to know."""
