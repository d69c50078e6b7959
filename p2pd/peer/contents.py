"""Fetches many small contents, several in one request (GetContents), from all who have the folder. On the `downloads` reactor.

The rule: every content that was wanted is delivered once, as octets that somebody else verifies, or refused once; and no more is
under way than the receiver takes. Octets that turn out wrong cost their sender this folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.dealer import Lost
from p2pd.peer.links import Peer
from protocol.frames import Feature
from protocol.limits import MAX_CONTENTS
from protocol.peer import Contents, GetContents, Refused

WINDOW = 4  # requests open at one source
UNTAKEN = 12  # answers that the receiver may still have to deal with; each up to MAX_BLOCK


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


class ContentsFetch:
    """See the module; a User of links. Called on the reactor: `deliver(delivery)`, after which `taken()` makes room for another;
    `abandoned(peer, lost)` for each source that is of no use any more."""

    def __init__(
        self,
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
        self._open: dict[
            Peer, int
        ] = {}  # sources, and the requests that are open there or wait for their turn
        self._untaken = 0
        self._liars: set[str] = set()
        self.stopped = False

    @property
    def sources(self) -> int:
        """Sources connected now."""
        return len(self._open)

    def stop(self) -> None:
        """Wants nothing more."""
        self.stopped = True
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
        self._open.setdefault(peer, 0)
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
        while self._todo and self._open and not self.stopped:
            peer = min(self._open, key=self._open.__getitem__)
            if self._open[peer] >= WINDOW or self._untaken + sum(self._open.values()) >= UNTAKEN:
                return
            self._open[peer] += 1
            peer.ask_in_turn(self, partial(self._ask, peer))

    def _ask(self, peer: Peer) -> int:
        """Its turn has come: asks for as many contents as make a block. Octets."""
        if self.stopped or peer not in self._open:
            return 0
        batch = self._take(peer.block(self))
        if not batch:
            self._open[peer] -= 1
            return 0
        message = GetContents(0, [want.content_id for want in batch])
        peer.ask_block(message, lambda reply, payload: self._answer(peer, batch, reply, payload))
        return max(1, sum(want.size for want in batch))

    def _take(self, room: int) -> list[Want]:
        batch: list[Want] = []
        while self._todo and len(batch) < MAX_CONTENTS and (not batch or self._todo[0].size <= room):
            want = self._todo.popleft()
            batch.append(want)
            room -= want.size
        return batch

    def _answer(self, peer: Peer, batch: list[Want], reply: Any, payload: memoryview) -> None:
        self.arrived += len(payload)
        if self.stopped:
            return
        if peer in self._open:
            self._open[peer] -= 1
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
