"""Fetches a manifest, or a collection, by content id from whichever source gives it. On the `downloads` reactor.

It proves itself: it counts only when its BLAKE3 is the content id that was asked for. One source is asked at a time; one that is silent
leaves its place to another, for longer and longer each time, so that in the end the slow ones have the time they need.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from p2pd.net.dealer import Lost
from p2pd.net.reactor import Reactor, Timer
from p2pd.peer.links import Peer
from protocol.errors import RemoteProtocolError
from protocol.limits import MANIFEST_PART
from protocol.peer import GetManifest, ManifestPart

Found = TypeVar("Found")

PART_SECONDS = 15.0  # for one part at most; then it is asked for again
PATIENCE_FIRST = (
    1.0  # seconds that it may take while others could be asked; doubled each time that it did not suffice
)


class ManifestFetch(Generic[Found]):
    """One wanted manifest; a User of links. `decode(octets, content_id)` reads it, at most `limit` octets; `done(manifest)` is called
    once; `abandoned(peer, lost)` for each device given up."""

    def __init__(
        self,
        reactor: Reactor,
        content_id: bytes,
        decode: Callable[[bytes, bytes], Found],
        limit: int,
        done: Callable[[Found], object],
        abandoned: Callable[[Peer, Lost], object],
    ) -> None:
        self.content_id = content_id
        self.finished = False
        self._reactor = reactor
        self._decode = decode
        self._limit = limit
        self._done = done
        self._abandoned = abandoned
        self._peers: list[Peer] = []
        self._source: Peer | None = None
        self._data = bytearray()
        self._total = 0
        self._asked = 0  # questions so far; only the last one's answer counts
        self._patience = PATIENCE_FIRST
        self._timer: Timer | None = None
        self._liars: set[str] = set()  # they would send their wrong manifest again and again
        self.progress_at = 0.0
        """Monotonic seconds when the last part came; 0.0 before."""

    def stop(self) -> None:
        """Wants nothing more."""
        self.finished = True
        self._relax()
        for peer in list(self._peers):
            peer.detach(self)
        self._peers.clear()

    def peer_ready(self, peer: Peer) -> None:
        """See User."""
        if peer.name in self._liars:
            peer.detach(self)
            return
        if peer not in self._peers:
            self._peers.append(peer)
        if self.finished:
            return
        if self._source is None or (_quiet(self._source) and not _quiet(peer)):
            self._begin(peer)

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        """See User."""
        self._leave(peer)

    def peer_abandoned(self, peer: Peer, lost: Lost) -> None:
        """See User."""
        self._leave(peer)
        if not self.finished:
            self._abandoned(peer, lost)

    def peer_push(self, peer: Peer, message: Any) -> None:
        """See User."""

    def _leave(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
        if self._source is peer:
            self._source = None
            self._relax()
            if self._peers and not self.finished:
                self._begin(self._best())

    def _best(self) -> Peer:
        """The first that is not silent, if there is one."""
        return min(self._peers, key=_quiet)

    def _begin(self, peer: Peer) -> None:
        self._source = peer
        self._data = bytearray()
        self._total = 0
        self._next()

    def _next(self) -> None:
        assert self._source is not None
        source = self._source
        self._asked += 1
        number = self._asked
        source.ask(
            GetManifest(0, self.content_id, len(self._data)),
            lambda reply, payload: self._part(source, number, reply, payload),
            PART_SECONDS,
        )
        self._wait(source, number)

    def _wait(self, source: Peer, number: int) -> None:
        self._relax()
        self._timer = self._reactor.later(self._patience, self._late, source, number)

    def _relax(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, source: Peer, number: int) -> None:
        """Nothing came of it so far."""
        if self.finished or source is not self._source or number != self._asked:
            return
        if len(self._peers) == 1:
            self._wait(source, number)  # there may be another by then
            return
        self._patience = min(PART_SECONDS, 2 * self._patience)
        self._turn(source)

    def _turn(self, source: Peer) -> None:
        """It is silent, which may pass: the others first."""
        self._peers.remove(source)
        self._peers.append(source)
        self._begin(self._best())

    def _part(self, source: Peer, number: int, reply: Any, payload: memoryview) -> None:
        if self.finished or source is not self._source or number != self._asked:
            return
        if isinstance(reply, Lost) and reply.code == "timeout":
            self._turn(source)
            return
        self._total = self._total or getattr(reply, "total", 0)
        expected = min(MANIFEST_PART, self._total - len(self._data))
        if not isinstance(reply, ManifestPart):
            self._refused(source)
            return
        if reply.total != self._total or reply.total > self._limit or len(payload) != expected:
            self._liars.add(source.name)
            self._refused(source)
            return
        self._data += payload
        self.progress_at = time.monotonic()
        source.failures = 0
        if len(self._data) < reply.total:
            self._next()
            return
        try:
            manifest = self._decode(bytes(self._data), self.content_id)
        except RemoteProtocolError:
            self._liars.add(source.name)
            self._refused(source)
            return
        self.stop()
        self._done(manifest)

    def _refused(self, source: Peer) -> None:
        """This source does not give it: leave it, tell whoever finds sources."""
        self._leave(source)
        source.detach(self)
        if not self.finished:
            self._abandoned(source, Lost("refused", f"{source.endpoint} has no usable manifest"))


def _quiet(peer: Peer) -> bool:
    """Whether it has not answered anybody for a while, though it should."""
    return peer.silence > PATIENCE_FIRST
