"""The trackers of a peer: one client for each, kept connected, announced to and kept up to date.

The rule: a tracker is told changes, not everything: it says which revision of our list it has, and gets what came after. Whatever
goes wrong with a link, the next one starts from what the tracker says it knows. Back-off is jittered, so that a restarted tracker
is not met by everybody at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from p2pd.happenings import Happening, TrackerConnected, TrackerLost, error_of, ignored
from p2pd.net.addresses import Endpoint, is_loopback, resolve
from p2pd.net.bridge import ask, run_on, settle
from p2pd.net.dealer import Link, Lost
from p2pd.net.identity import Identity
from p2pd.net.listening import Guard
from p2pd.net.reactor import Reactor
from p2pd.peer.changes import changes
from p2pd.peer.proofs import Proofs
from p2pd.peer.redial import RETRY_MAX, Redial
from p2pd.peer.trackerfaults import refused
from p2pd.storage.state import State
from protocol.errors import Fault, Refusal, refusal_text
from protocol.frames import Feature
from protocol.handshake import Dialect
from protocol.limits import MAX_FETCHING
from protocol.tracker import (
    Announce,
    Announced,
    Bye,
    Fetching,
    Ok,
    Publish,
    Published,
    Refused,
    Stats,
    TrackerStats,
    decode_reply,
    publishes,
)

log = logging.getLogger("p2pd.peer.trackers")

BACKOFF_FIRST = 0.5
BACKOFF_MAX = 20.0
REFRESH_MIN = 10.0
REQUEST_SECONDS = 10.0
TOGETHER_SECONDS, SILENT_SECONDS = 3.0, 0.3  # when others are asked the same; and it was silent the last time
BUSY_SECONDS = 15.0  # how long a question waits for its turn when the tracker is asked too much


class TrackerClient:
    """One tracker. `state` is what status shows: connecting, connected, unreachable, wrong_password or refused."""

    def __init__(
        self,
        reactor: Reactor,
        identity: Identity,
        store: State,
        endpoint: Endpoint,
        listen: Callable[[], tuple[int, str]],
        rng: random.Random,
        guard: Guard | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.state = "connecting"
        self.error: Fault | None = None
        self.observed = ""
        self.peers: int | None = None
        self.files: int | None = None
        self.published: int | None = None
        self.on_connected: Callable[[], object] = lambda: None
        self.tell: Callable[[Happening], object] = ignored
        self.fetched: Callable[[], list[bytes]] = list  # contents of which a part is served
        self._said: list[bytes] = []  # what the tracker was told of those
        self._reactor = reactor
        self._identity = identity
        self._store = store
        self._proofs = Proofs(store, identity.keys, endpoint)
        self._listen = listen
        self._rng = rng
        self._guard = guard
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._news = asyncio.Condition()
        self._failures = 0
        self._silent = False  # it did not answer the last question
        self.loopback = False
        self.announced_at: float | None = None  # of the loop's clock
        self._renewing = False
        self._redial = Redial(rng)

    # -- used by others -----------------------------------------------------------------------------------

    def poke(self) -> None:
        """Our list changed: publish soon."""
        self._changed.set()

    def renew(self) -> None:
        """Our keys changed: connect again now, with the one that comes first."""
        self._redial.go()
        if self.connected:
            self._renewing, self.state = True, "connecting"
            self.close()

    @property
    def connected(self) -> bool:
        """True while requests can be sent."""
        return self._link is not None and self.state == "connected"

    @property
    def features(self) -> int:
        """Bits of the tracker's Info; 0 while there is no connection."""
        return self._link.features if self._link is not None else 0

    async def request(
        self, message: Any, timeout: float = REQUEST_SECONDS, patience: float = BUSY_SECONDS
    ) -> Any:
        """The tracker's reply; one that is busy is asked again for `patience` seconds. Raises Fault network, auth or refused."""
        link = self._link
        if link is None or not self.connected:
            raise self.error or Fault(
                "network",
                f"the tracker at {self.endpoint} is not connected yet",
                "try again in a moment; p2pctl status shows its state",
            )
        while True:
            reply = await ask(self._reactor, link, message, timeout)
            self._silent = isinstance(reply, Lost) and reply.code == "timeout"
            if isinstance(reply, Lost):
                raise Fault(
                    "network", f"the tracker at {self.endpoint} did not answer: {reply.text}", "try again"
                )
            if not isinstance(reply, Refused):
                return reply
            if reply.code != Refusal.BUSY or not 0 < reply.retry_s <= patience:
                raise refused(self.endpoint, reply)
            # A client with many questions at a time meets the tracker's quota: they wait here, in no order.
            patience -= reply.retry_s
            await asyncio.sleep(reply.retry_s * self._rng.uniform(0.5, 1.0))

    def patience(self, trackers: int) -> float:
        """How long to wait for its answer to what so many are asked."""
        return REQUEST_SECONDS if trackers == 1 else SILENT_SECONDS if self._silent else TOGETHER_SECONDS

    async def settled(self, timeout: float) -> None:
        """Returns when the first attempt to connect is over, either way, or after `timeout` seconds."""
        await self._until(lambda: self.state != "connecting", timeout)

    def hurry(self) -> bool:
        """Somebody waits for it: one that cannot be reached is dialled now if its pause has lasted a moment. True when it is."""
        return self._redial.hurry()

    async def tried(self, timeout: float) -> None:
        """After `hurry`: returns when that attempt is over, either way, or after `timeout` seconds."""
        await self._until(lambda: self.state != "unreachable" or self._redial.resting, timeout)

    async def wait_connected(self) -> None:
        """Returns when requests can be sent."""
        async with self._news:
            await self._news.wait_for(lambda: self.connected)

    async def wait_published(self, revision: int, timeout: float) -> bool:
        """True when the tracker has our list up to `revision`; False when it does not within `timeout` seconds or is not reachable."""
        await self._until(
            lambda: (
                (self.published is not None and self.published >= revision)
                or self.state in ("unreachable", "wrong_password", "refused")
            ),
            timeout,
        )
        return self.published is not None and self.published >= revision

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(condition), timeout)
            except TimeoutError:
                return

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    # -- the loop -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connects, announces, publishes, and again; until cancelled."""
        while True:
            try:
                lost = await self._session()
            except Exception as error:  # whatever it was, the tracker is tried again
                log.exception("! tracker %s: the session failed", self.endpoint)
                lost = Lost("lost", f"internal error: {error}")
            await self._fell(lost)
            backoff = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(self._failures, 10))
            self._failures += 1
            await self._redial.rest(self.state, lost, backoff * self._rng.uniform(0.5, 1.0))

    async def say_bye(self, timeout: float) -> None:
        """Leaves at once instead of by the end of the lease."""
        if self.connected:
            try:
                await asyncio.wait_for(self.request(Bye(0), timeout), timeout)
            except (Fault, TimeoutError):
                pass  # then the lease ends by itself

    def close(self) -> None:
        """Ends the link."""
        if self._link is not None:
            self._reactor.call(self._link.close)

    async def retire(self) -> None:
        """Its `run` was cancelled for good: nobody waits for it any more."""
        self._link, self.published, self.state = None, None, "unreachable"
        self.error = Fault("network", f"the tracker at {self.endpoint} is no longer in the settings")
        await self._tell()

    async def _fell(self, lost: Lost) -> None:
        self._link, self.published = None, None
        before = self.state
        if self._renewing:
            self._renewing = False
            return
        self.state, self.error = self._proofs.lost(lost)
        self._redial.lost(self.state, lost)
        if before != self.state:
            log.warning("! tracker %s: %s", self.endpoint, self.error.message)
            self.tell(TrackerLost(str(self.endpoint), self.state, error_of(self.error)))
        await self._tell()

    async def _session(self) -> Lost:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Lost | None] = loop.create_future()
        gone: asyncio.Future[Lost] = loop.create_future()

        def on_ready(link: Link) -> None:
            settle(loop, ready, None)

        def on_closed(link: Link, lost: Lost) -> None:
            settle(loop, ready, lost)
            settle(loop, gone, lost)

        try:
            addresses = await asyncio.to_thread(resolve, *self.endpoint)
        except Fault as fault:
            return Lost("unreachable", fault.message)
        address = addresses[self._failures % len(addresses)]
        self.loopback = is_loopback(address.host)

        made: list[Link] = []
        work: asyncio.Future[Lost] | None = None

        def dial() -> Link:
            link = Link(
                self._reactor,
                self._identity,
                Dialect.TRACKER,
                address,
                decode_reply,
                on_ready=on_ready,
                on_closed=on_closed,
                guard=self._guard,
            )
            made.append(link)
            return link

        def close() -> None:
            for link in made:
                link.close()

        try:
            link = await run_on(self._reactor, dial)
            lost = await ready
            if lost is not None:
                return lost
            self._link = link
            self._proofs.taken()
            work = asyncio.ensure_future(self._work(link))
            done, _ = await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work not in done:
                work.cancel()
            result = await asyncio.gather(work, return_exceptions=True)
            if isinstance(result[0], Lost):
                return result[0]
            if isinstance(result[0], Exception) and not isinstance(result[0], Fault):
                log.error("! tracker %s: announcing failed", self.endpoint, exc_info=result[0])
            return gone.result() if gone.done() else Lost("lost", str(result[0]))
        finally:
            if work is not None:
                work.cancel()
            # Also one that is made while this ends: calls keep their order.
            self._reactor.call(close)

    async def _work(self, link: Link) -> Lost:
        """Announces and publishes until something goes wrong."""
        while True:
            self._changed.clear()
            port, host = self._listen()
            revision = self._store.revision
            reply = await ask(
                self._reactor,
                link,
                Announce(0, self._store.share_epoch, revision, port, host),
                REQUEST_SECONDS,
            )
            if isinstance(reply, Lost):
                return reply
            if isinstance(reply, Refused):
                if reply.code == Refusal.BANNED:
                    return Lost("banned", reply.text, reply.code, reply.retry_s)
                if reply.code not in (Refusal.LIMIT, Refusal.BUSY):
                    return Lost("refused", refused(self.endpoint, reply).message, reply.code, reply.retry_s)
                await asyncio.sleep(min(max(1, reply.retry_s), RETRY_MAX))
                continue
            assert isinstance(reply, Announced)
            self._failures = 0
            self.announced_at = asyncio.get_running_loop().time()
            self.observed, self.peers, self.files = reply.observed, reply.peers, reply.files
            if self.state != "connected":
                log.info("= tracker %s: connected", self.endpoint)
                self.state, self.error = "connected", None
                self.tell(TrackerConnected(str(self.endpoint), reply.peers, reply.files))
                self.on_connected()
            known = reply.known_revision if reply.known_epoch == self._store.share_epoch else 0
            reset = reply.known_epoch != self._store.share_epoch
            self._said = []
            await self._tell()
            if not await self._publish(link, known, reset) or not await self._say_fetched(link):
                continue
            deadline = asyncio.get_running_loop().time() + max(REFRESH_MIN, reply.refresh_s)
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.wait_for(self._changed.wait(), left)
                except TimeoutError:
                    break
                # Only the list changed, perhaps while it was published: no need to announce before publishing it.
                self._changed.clear()
                assert self.published is not None
                if not await self._publish(link, self.published, False) or not await self._say_fetched(link):
                    break
            if link.secret != self._identity.keys.current:
                self._renewing, self.state = True, "connecting"
                return Lost("closed", "the tracker may know the newer key by now")

    async def _say_fetched(self, link: Link) -> bool:
        """Tells the tracker what is being fetched here, if that is news. False when it must be announced to again."""
        fetched = sorted(self.fetched())[:MAX_FETCHING]
        if fetched == self._said or not link.features & Feature.FETCHING:
            return True
        reply = await ask(self._reactor, link, Fetching(0, fetched), REQUEST_SECONDS)
        if isinstance(reply, Refused) and reply.code == Refusal.BUSY:
            asyncio.get_running_loop().call_later(min(max(1, reply.retry_s), RETRY_MAX), self.poke)
            return True
        if isinstance(reply, Ok):
            self._said = fetched
        return isinstance(reply, Ok)

    async def _publish(self, link: Link, known: int, reset: bool) -> bool:
        """Brings the tracker from revision `known` to ours. False when it must be asked again what it knows."""
        store = self._store
        if 0 < known < store.pruned_revision or known > store.revision:
            reset = True
        known = 0 if reset else known
        while reset or known < store.revision:
            # What is withdrawn while a complete listing is sent must follow it: so a listing ends at the revision it began with.
            target = store.revision
            for message in publishes(store.share_epoch, known, target, changes(store, known), reset):
                if not await self._send_batch(link, message):
                    return False
            known, reset = target, False
            figures = await ask(self._reactor, link, Stats(0), REQUEST_SECONDS)
            if isinstance(figures, TrackerStats):
                self.peers, self.files = figures.devices, figures.files
        self.published = known
        await self._tell()
        return True

    async def _send_batch(self, link: Link, message: Publish) -> bool:
        while True:
            reply = await ask(self._reactor, link, message, REQUEST_SECONDS)
            if isinstance(reply, Published):
                return True
            if isinstance(reply, Refused) and reply.code in (Refusal.LIMIT, Refusal.BUSY) and reply.retry_s:
                await asyncio.sleep(min(reply.retry_s, RETRY_MAX))
                continue
            if isinstance(reply, Refused):
                log.warning("! tracker %s refused a list: %s", self.endpoint, refusal_text(reply.code))
                await asyncio.sleep(1.0)
            return False
