"""Runs one download: engine commands become requests, answers become engine events. On the `downloads` reactor.

The rule: a piece is told to the engine as done only when it matched its hash and was written. Octets go from the socket's frame
through one plaintext buffer into the file; nothing else is copied. Writing is done in other threads, in the order of arrival for each
piece: what a source that was given up has sent can so never come to lie over what came later. Making pieces durable is the committer's
work, in another thread; how often is decided here (64 MiB or one second).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from blake3 import blake3

from p2pd.engine.download import DownloadState
from p2pd.engine.events import (
    Command,
    Complete,
    Event,
    FetchPiece,
    PieceBad,
    PieceDone,
    PieceFailed,
    Reached,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Suspend,
)
from p2pd.engine.pieces import indexes
from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.dealer import Lost
from p2pd.net.reactor import Reactor, Timer
from p2pd.peer.links import Peer
from p2pd.peer.writer import Sink, Writer
from p2pd.storage.root import StorageError
from protocol.bitfield import Bitfield
from protocol.errors import RemoteProtocolError
from protocol.ids import short
from protocol.manifest import Manifest
from protocol.peer import Available, Block, GetBlock, Have, Interest, Refused

log = logging.getLogger("p2pd.peer.driver")

SYNC_OCTETS = 64 * 1024 * 1024
SYNC_SECONDS = 1.0
TICK_SECONDS = 1.0
WRONG_DATA = "sent wrong data"  # why a source was left


class Owner:
    """What a driver tells; each is called on the reactor's thread and must not block."""

    def __init__(
        self,
        complete: Callable[[], object],
        failed: Callable[[StorageError], object],
        lost: Callable[[Peer, str], object],
        gave: Callable[[Peer], object],
        commit: Callable[[int], object],
        piece: Callable[[int], object] | None = None,
    ) -> None:
        self.complete = complete  # every piece is verified and written
        self.failed = failed  # the disk refused; the driver has stopped
        self.lost = lost  # a source is used no more, and why
        self.gave = gave  # a source gave its first piece
        self.piece = piece  # this piece is verified and written, for those who want to know each
        self.commit = commit  # make durable and record these pieces (bits); answer with Driver.committed


class _Assembly:
    """A piece on its way from one source: its hash so far, and how much is still to come."""

    __slots__ = ("asked", "asked_at", "good", "hasher", "left", "size", "unwritten")

    def __init__(self, asked_at: float, size: int) -> None:
        self.asked_at = asked_at
        self.size = size
        self.asked = 0  # octets
        self.left = size
        self.hasher = blake3()
        self.good = False  # all of it came, and its hash is right
        self.unwritten = 0


class Driver:
    """See the module. Create it on any thread, then use it on the reactor's only; the counters may be read anywhere."""

    def __init__(
        self,
        reactor: Reactor,
        manifest: Manifest,
        part: Sink,
        state: DownloadState,
        owner: Owner,
        limit: int = 0,
    ) -> None:
        self.manifest = manifest
        self.content_id = manifest.content_id
        self.received = 0  # octets of verified pieces from the network
        self.arrived = 0  # octets of blocks, whatever becomes of them
        self.bucket = TokenBucket(limit, reactor.clock())  # this download's own limit
        self.verified = sum(manifest.piece_length(piece) for piece in indexes(state.pieces.have))
        self.stopped = False
        self._reactor = reactor
        self._state = state
        self._owner = owner
        self._peers: dict[str, Peer] = {}
        self._givers: set[str] = set()
        # The latest of each piece; what belongs to others is too late.
        self._assemblies: dict[int, _Assembly] = {}
        self._settled: set[int] = (
            set()
        )  # pieces found right and still being written: nobody is asked for them
        self._writer = Writer(reactor, part)
        self._dirty = 0
        self._committing = False
        self._committed = state.pieces.have
        self._timer: Timer | None = None
        self._ticker = reactor.later(TICK_SECONDS, self._tick)

    @property
    def sources(self) -> int:
        """Sources that can be asked now."""
        return len(self._state.sources)

    def start(self) -> None:
        """Looks whether everything is there already."""
        self._apply(Resumed())

    def reach(self, end: int) -> None:
        """Pieces before `end` may be asked for: the window of a stream has moved on."""
        self._apply(Reached(end))

    def stop(self) -> None:
        """Asks for nothing more and leaves its sources. What was committed stays so."""
        if self.stopped:
            return
        self.stopped = True
        self._ticker.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self._peers.values()):
            peer.withdraw(self)
            peer.detach(self)
        self._peers.clear()

    # -- sources ------------------------------------------------------------------------------------------

    def peer_ready(self, peer: Peer) -> None:
        """See links.User."""
        if self.stopped:
            return
        self._peers[peer.name] = peer
        peer.ask(Interest(0, self.content_id), partial(self._available, peer))

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        """See links.User."""
        self._peers.pop(peer.name, None)
        peer.withdraw(self)
        self._apply(SourceGone(peer.name))

    def peer_abandoned(self, peer: Peer, lost: Lost) -> None:
        """See links.User."""
        if not self.stopped:
            self._owner.lost(peer, lost.text)

    def peer_push(self, peer: Peer, message: Any) -> None:
        """See links.User."""
        if isinstance(message, Have) and message.content_id == self.content_id:
            bits = 0
            for piece in message.pieces:
                bits |= 1 << piece
            self._apply(SourceGained(peer.name, bits))

    def _available(self, peer: Peer, reply: Any, payload: memoryview) -> None:
        if self.stopped or self._peers.get(peer.name) is not peer:
            return
        if isinstance(reply, Available):
            if reply.complete:
                bits = (1 << self.manifest.count) - 1
            else:
                try:
                    bits = Bitfield.from_bytes(payload, self.manifest.count).bits
                except RemoteProtocolError as error:
                    peer.drop(str(error))
                    return
            self._apply(SourceReady(peer.name, bits))
        elif isinstance(reply, Refused):
            self._leave(peer, "no longer has the file")

    def _leave(self, peer: Peer, reason: str) -> None:
        self._peers.pop(peer.name, None)
        peer.withdraw(self)
        peer.detach(self)
        self._owner.lost(peer, reason)

    # -- engine -------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        if self.stopped:
            return
        for command in self._state.apply(event, self._reactor.clock()):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        if isinstance(command, FetchPiece):
            self._fetch(command)
        elif isinstance(command, Suspend):
            peer = self._peers.get(command.source)
            if peer is not None:
                self._leave(peer, WRONG_DATA if command.bad_data else "keeps refusing")
        elif isinstance(command, Complete):
            self._reactor.call(self._complete)

    def _complete(self) -> None:
        if not self.stopped:
            self.stop()
            self._owner.complete()

    def _fetch(self, command: FetchPiece) -> None:
        peer = self._peers.get(command.source)
        if peer is None or command.piece in self._settled:
            return
        assembly = _Assembly(self._reactor.clock(), self.manifest.piece_length(command.piece))
        self._assemblies[command.piece] = assembly
        peer.ask_in_turn(self, partial(self._ask, peer, assembly, command.piece))

    def _ask(self, peer: Peer, assembly: _Assembly, piece: int) -> int:
        """Asks for the next block of a piece: how long it should be is known only now. Its octets; 0 when it is not wanted any more."""
        if self.stopped or not peer.ready or self._assemblies.get(piece) is not assembly:
            return 0  # a link that has ended is told to the engine right after
        offset = assembly.asked
        length = min(peer.block(self), assembly.size - offset)
        if not offset:
            assembly.asked_at = self._reactor.clock()  # the time in our own queue is not the source's
        assembly.asked += length
        message = GetBlock(0, self.content_id, piece, offset, length)
        peer.ask_block(message, partial(self._block, peer, assembly, piece, offset, length))
        if assembly.asked < assembly.size:
            peer.ask_in_turn(self, partial(self._ask, peer, assembly, piece), first=True)
        return length

    def set_limit(self, rate: int) -> None:
        """Another limit of this download, in octets a second; 0: none."""
        self.bucket.set_rate(rate, self._reactor.clock())
        for peer in self._peers.values():
            peer.reconsider()

    # -- blocks -------------------------------------------------------------------------------------------

    def _block(
        self,
        peer: Peer,
        assembly: _Assembly,
        piece: int,
        offset: int,
        length: int,
        reply: Any,
        payload: memoryview,
    ) -> None:
        if isinstance(reply, Block):
            self.arrived += len(payload)
        # A block of a source that was given up must not be written over those of the one asked since.
        if self.stopped or self._assemblies.get(piece) is not assembly:
            return
        if not isinstance(reply, Block):
            del self._assemblies[piece]
            if isinstance(reply, Refused):
                self._apply(PieceFailed(peer.name, piece, reply.code))
            elif isinstance(reply, Lost) and reply.code == "timeout":
                self._apply(PieceFailed(peer.name, piece, 0))
            elif not isinstance(reply, Lost):
                peer.drop("another answer than was asked for")
            return
        if len(payload) != length:
            del self._assemblies[piece]
            log.warning("! %s sent a block of another length than was asked for", peer.endpoint)
            self._apply(PieceBad(peer.name, piece))
            return
        assembly.hasher.update(payload)
        assembly.left -= length
        good = None if assembly.left else assembly.hasher.digest() == self.manifest.piece_hash(piece)
        if good is not None:
            del self._assemblies[piece]
        if good is False:
            log.warning("! %s sent a wrong piece %d of %s", peer.endpoint, piece, short(self.content_id))
            self._apply(PieceBad(peer.name, piece))
            return
        if good:
            assembly.good = True
            self._settled.add(piece)
        # A piece of several blocks is written as it comes: it counts only when its hash is right.
        assembly.unwritten += 1
        self._writer.write(
            piece,
            self.manifest.piece_offset(piece) + offset,
            payload,
            assembly.good,
            peer.keep,
            partial(self._written, peer, assembly, piece),
        )

    def _written(self, peer: Peer, assembly: _Assembly, piece: int, error: StorageError | None) -> None:
        assembly.unwritten -= 1
        if self.stopped:
            return
        if error is not None:
            self.stop()
            self._owner.failed(error)
        elif assembly.good and not assembly.unwritten:
            self._settled.discard(piece)
            self._done(peer, piece, assembly)

    def _done(self, peer: Peer, piece: int, assembly: _Assembly) -> None:
        # A link that gives nothing good is redialled less and less, however often it comes about.
        peer.failures = 0
        if peer.name not in self._givers:
            self._givers.add(peer.name)
            self._owner.gave(peer)
        if not self._state.pieces.have >> piece & 1:
            octets = self.manifest.piece_length(piece)
            self.received += octets
            self.verified += octets
            self._dirty += octets
            if self._owner.piece is not None:
                self._owner.piece(piece)
        self._apply(PieceDone(peer.name, piece, self._reactor.clock() - assembly.asked_at))
        if self._dirty >= SYNC_OCTETS:
            self._commit()
        elif self._timer is None and not self.stopped:
            self._timer = self._reactor.later(SYNC_SECONDS, self._commit_late)

    # -- durability ---------------------------------------------------------------------------------------

    def _commit_late(self) -> None:
        self._timer = None
        self._commit()

    def _commit(self) -> None:
        have = self._state.pieces.have
        if self._committing or self.stopped or have == self._committed:
            return
        self._committing = True
        self._dirty = 0
        self._owner.commit(have)

    def committed(self, bits: int) -> None:
        """These pieces are durable and recorded."""
        self._committing = False
        self._committed = bits
        if self._dirty and self._timer is None and not self.stopped:
            self._timer = self._reactor.later(SYNC_SECONDS, self._commit_late)

    def commit_failed(self, error: StorageError) -> None:
        """The disk could not make pieces durable: nothing of this run is believed any more."""
        self.stop()
        self._owner.failed(error)

    def _tick(self) -> None:
        self._apply(Resumed())
        self._ticker = self._reactor.later(TICK_SECONDS, self._tick)
