"""Fetches a manifest, or a collection, by content id from whichever source gives it. On the `downloads` reactor.

It proves itself: it counts only when its BLAKE3 is the content id that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from p2pd.net.dealer import Lost
from p2pd.peer.links import Peer
from protocol.errors import RemoteProtocolError
from protocol.limits import MANIFEST_PART
from protocol.peer import GetManifest, ManifestPart

Found = TypeVar("Found")

PART_SECONDS = 15.0  # for one part; then another source is asked


class ManifestFetch(Generic[Found]):
    """One wanted manifest; a User of links. `decode(octets, content_id)` reads it, at most `limit` octets; `done(manifest)` is called
    once; `abandoned(peer, lost)` for each device given up."""

    def __init__(
        self,
        content_id: bytes,
        decode: Callable[[bytes, bytes], Found],
        limit: int,
        done: Callable[[Found], object],
        abandoned: Callable[[Peer, Lost], object],
    ) -> None:
        self.content_id = content_id
        self.finished = False
        self._decode = decode
        self._limit = limit
        self._done = done
        self._abandoned = abandoned
        self._peers: list[Peer] = []
        self._source: Peer | None = None
        self._data = bytearray()
        self._total = 0
        self._liars: set[str] = set()  # they would send their wrong manifest again and again
        self.progress_at = 0.0
        """Monotonic seconds when the last part came; 0.0 before."""

    def stop(self) -> None:
        """Wants nothing more."""
        self.finished = True
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
        if self._source is None and not self.finished:
            self._source = peer
            self._data = bytearray()
            self._total = 0
            self._next()

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
            if self._peers and not self.finished:
                self.peer_ready(self._peers[0])

    def _next(self) -> None:
        assert self._source is not None
        source = self._source
        source.ask(
            GetManifest(0, self.content_id, len(self._data)),
            lambda reply, payload: self._part(source, reply, payload),
            PART_SECONDS,
        )

    def _part(self, source: Peer, reply: Any, payload: memoryview) -> None:
        if self.finished or source is not self._source:
            return
        if isinstance(reply, Lost) and reply.code == "timeout":
            # Silent, which may pass: the others first.
            self._peers.remove(source)
            self._peers.append(source)
            self._source = None
            self.peer_ready(self._peers[0])
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
