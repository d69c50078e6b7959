"""Fetches many small contents, several in one request (GetContents), from all who have the folder. On the `downloads` reactor.

The rule: every content that was wanted is delivered once, as octets that somebody else verifies, or refused once; and no more is
under way than the receiver takes. Octets that turn out wrong cost their sender this folder. What a source was asked for and has not
sent is asked of others when it is silent for longer than it usually is, while others are not; what it sends of that later is dropped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.dealer import Lost
from p2pd.net.reactor import Reactor, Timer
from p2pd.peer.links import Peer
from protocol.frames import Feature
from protocol.limits import MAX_CONTENTS
from protocol.peer import Contents, GetContents, Refused

WINDOW = 4  # requests open at one source
UNTAKEN = 12  # answers that the receiver may still have to deal with; each up to MAX_BLOCK
TICK_SECONDS = 0.25
LATE_TICK = 1.0  # after a tick that came so late it was us who slept
PATIENCE_FIRST = 3.0  # seconds of silence of a source that has given nothing yet,
PATIENCE_MIN = 1.0  # and of one that has: at least so many,
PATIENCE_ANSWERS = 6  # or so many times as long as it lets us wait otherwise
FADING = 0.7  # what is left of that after each answer that came sooner


@dataclass(frozen=True, slots=True)
class Want:
    """One content and its octets."""

    content_id: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer. `octets` holds those contents of `wants` that came, in order; `results` says which (see Contents)."""

    wants: Sequence[Want]
    results: Sequence[int]
    octets: bytes
    peer: Peer


@dataclass(slots=True, eq=False)
class _Asked:
    """A request that is open. `over`: it was taken back, and its answer counts no more."""

    batch: list[Want]
    at: float
    over: bool = False


class _Source:
    """What is open at one source."""

    def __init__(self) -> None:
        self.open = 0  # requests that are open there or wait for their turn
        self.asked: list[_Asked] = []  # the open ones, the oldest first
        self.heard = -math.inf  # when it gave something
        self.usual = 0.0  # seconds that it lets us wait, rather too many; 0: not known
        self.probation = False  # it was silent for too long: asked for nothing until it gives something

    @property
    def silent_since(self) -> float:
        """Since when it owes us something and gave nothing; infinite when it owes nothing."""
        return max(self.heard, self.asked[0].at) if self.asked else math.inf

    @property
    def patience(self) -> float:
        """For how long that is no trouble."""
        return max(PATIENCE_MIN, PATIENCE_ANSWERS * self.usual) if self.usual else PATIENCE_FIRST

    def gave(self, request: _Asked, now: float) -> None:
        """An answer came."""
        self.usual = max(now - max(self.heard, request.at), FADING * self.usual)
        self.heard = now
        self.probation = False

    def able(self, since: float) -> bool:
        """Whether it gave something since then, or is free to."""
        return not self.probation and (self.heard > since or not self.open)


class ContentsFetch:
    """See the module; a User of links. Called on the reactor: `deliver(delivery)`, after which `taken()` makes room for another;
    `abandoned(peer, lost)` for each source that is of no use any more."""

    def __init__(
        self,
        reactor: Reactor,
        wants: Sequence[Want],
        deliver: Callable[[Delivery], object],
        abandoned: Callable[[Peer, Lost], object],
        bucket: TokenBucket,
    ) -> None:
        self.bucket = bucket  # this download's own limit
        self.arrived = 0  # octets that came, whatever becomes of them
        self._todo = deque(wants)
        self._deliver = deliver
        self._abandoned = abandoned
        self._open: dict[Peer, _Source] = {}
        self._untaken = 0
        self._liars: set[str] = set()
        self.stopped = False
        self._reactor = reactor
        self._timer: Timer | None = None
        self._ticked_at = 0.0
        self._awake_since = 0.0

    @property
    def sources(self) -> int:
        """Sources connected now."""
        return len(self._open)

    def stop(self) -> None:
        """Wants nothing more."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._todo.clear()
        for peer in list(self._open):
            peer.withdraw(self)
            peer.detach(self)
        self._open.clear()

    def taken(self) -> None:
        """The receiver has dealt with a delivery."""
        self._untaken -= 1
        self._pump()

    def again(self, wants: Sequence[Want], liar: Peer) -> None:
        """What this source sent was wrong: it is asked no more, others are."""
        self._liars.add(liar.name)
        self._todo.extend(wants)
        self._leave(liar, Lost("refused", f"{liar.endpoint} sent wrong data"))
        self._pump()

    # -- user of links ------------------------------------------------------------------------------------

    def peer_ready(self, peer: Peer) -> None:
        """See User."""
        if self.stopped:
            return
        if peer.name in self._liars or not peer.features & Feature.CONTENTS:
            peer.detach(self)  # silently: it is offered again and again
            return
        self._open.setdefault(peer, _Source())
        if self._timer is None:
            self._ticked_at = self._reactor.clock()
            self._timer = self._reactor.later(TICK_SECONDS, self._tick)
        self._pump()

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        """See User."""
        self._open.pop(peer, None)
        peer.withdraw(self)

    def peer_abandoned(self, peer: Peer, lost: Lost) -> None:
        """See User."""
        self._open.pop(peer, None)
        peer.withdraw(self)
        if not self.stopped:
            self._abandoned(peer, lost)

    def peer_push(self, peer: Peer, message: Any) -> None:
        """See User."""

    # -- requests -----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Lets requests wait for their turn at the least busy sources."""
        while self._todo and not self.stopped:
            ready = {peer: source for peer, source in self._open.items() if not source.probation}
            if not ready:
                return
            peer, source = min(ready.items(), key=lambda each: each[1].open)
            under_way = sum(each.open for each in self._open.values())
            if source.open >= WINDOW or self._untaken + under_way >= UNTAKEN:
                return
            source.open += 1
            peer.ask_in_turn(self, partial(self._ask, peer))

    def _ask(self, peer: Peer) -> int:
        """Its turn has come: asks for as many contents as make a block. Octets."""
        source = self._open.get(peer)
        if self.stopped or source is None:
            return 0
        batch = self._take(peer.block(self)) if not source.probation else []
        if not batch:
            source.open -= 1
            return 0
        request = _Asked(batch, self._reactor.clock())
        source.asked.append(request)
        message = GetContents(0, [want.content_id for want in batch])
        peer.ask_block(message, lambda reply, payload: self._answer(peer, request, reply, payload))
        return max(1, sum(want.size for want in batch))

    def _take(self, room: int) -> list[Want]:
        batch: list[Want] = []
        while self._todo and len(batch) < MAX_CONTENTS and (not batch or self._todo[0].size <= room):
            want = self._todo.popleft()
            batch.append(want)
            room -= want.size
        return batch

    def _answer(self, peer: Peer, request: _Asked, reply: Any, payload: memoryview) -> None:
        self.arrived += len(payload)
        if self.stopped:
            return
        batch, source = request.batch, self._open.get(peer)
        if source is not None and request in source.asked:
            source.asked.remove(request)
            source.open -= 1
        if source is not None and isinstance(reply, Contents):
            source.gave(request, self._reactor.clock())
        if request.over:
            self._pump()
            return
        if not isinstance(reply, Contents):
            self._todo.extendleft(reversed(batch))
            if isinstance(reply, Refused) and peer in self._open:
                # Over a limit or closing: others first; it is attached again when sources are looked for.
                self._leave(peer, Lost("refused", f"{peer.endpoint} refuses", reply.code, reply.retry_s))
            self._pump()
            return
        if not _fits(batch, reply.results, len(payload)):
            self._todo.extendleft(reversed(batch))
            self._liars.add(peer.name)
            self._open.pop(peer, None)
            peer.withdraw(self)
            peer.drop("an answer that does not fit what was asked for")
            self._pump()
            return
        peer.failures = 0
        self._untaken += 1
        self._deliver(Delivery(batch, reply.results, bytes(payload), peer))
        self._pump()

    def _tick(self) -> None:
        """Several times in a second: looks for the silent."""
        before, self._ticked_at = self._ticked_at, self._reactor.clock()
        if self._ticked_at - before > LATE_TICK:
            self._awake_since = self._ticked_at
        self._take_back(self._ticked_at)
        self._timer = self._reactor.later(TICK_SECONDS, self._tick)

    def _take_back(self, now: float) -> None:
        """What a silent source owes goes to others that are not silent. When all are, the trouble is ours."""
        for source in self._open.values():
            since = max(source.silent_since, self._awake_since)
            if now - since <= source.patience:
                continue
            if not any(other.able(since) for other in self._open.values() if other is not source):
                continue
            for request in reversed(source.asked):
                request.over = True
                self._todo.extendleft(reversed(request.batch))
            source.open -= len(source.asked)
            source.asked.clear()
            source.probation = True
        self._pump()

    def _leave(self, peer: Peer, lost: Lost) -> None:
        self._open.pop(peer, None)
        peer.withdraw(self)
        peer.detach(self)
        if not self.stopped:
            self._abandoned(peer, lost)


def _fits(batch: Sequence[Want], results: Sequence[int], octets: int) -> bool:
    """Whether an answer has a result for each content, each with the size it must have, and the octets of all."""
    if len(results) != len(batch) or sum(result for result in results if result > 0) != octets:
        return False
    return all(result == want.size or result < 0 for want, result in zip(batch, results, strict=True))
