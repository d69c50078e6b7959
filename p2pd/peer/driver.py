"""Runs one download: engine commands become requests, answers become engine events. On the `downloads` reactor.

The rule: a piece is told to the engine as done only when it matched its hash and was written. Octets go from the socket's frame
through one plaintext buffer into the file; nothing else is copied. Writing is done in other threads, in the order of arrival for each
piece: what a source that was given up has sent can so never come to lie over what came later. When pieces are made durable is
decided in commits.py.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from p2pd.engine.download import DownloadState
from p2pd.engine.events import (
    Answered,
    Asked,
    Command,
    Complete,
    Event,
    FetchBlock,
    Paced,
    PieceBad,
    PieceDone,
    PieceFailed,
    Reached,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Stopped,
    Suspend,
    Withdraw,
)
from p2pd.engine.pieces import indexes
from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.dealer import Lost
from p2pd.net.reactor import Reactor, Timer
from p2pd.peer.assembly import Assembly
from p2pd.peer.commits import Commits
from p2pd.peer.links import Peer
from p2pd.peer.owner import Owner
from p2pd.peer.writer import Sink, Writer
from p2pd.storage.root import StorageError
from protocol.bitfield import Bitfield
from protocol.errors import Refusal, RemoteProtocolError
from protocol.ids import short
from protocol.manifest import Manifest
from protocol.peer import Available, Block, Cancel, GetBlock, Have, Interest, Refused

log = logging.getLogger("p2pd.peer.driver")

TICK_SECONDS = 0.25
LUMP = 4  # a block that is so many times too long under a limit of now is not asked for
WRONG_DATA = "sent wrong data"  # why a source was left


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
        self._assemblies: dict[tuple[int, str], Assembly] = {}  # by piece and source
        self._settled: set[int] = set()  # pieces found right and still being written
        self._unasked: dict[int, FetchBlock] = {}  # by ticket: what waits to be asked
        self._paces: dict[str, int] = {}  # how long blocks of each source should be, as the engine knows it
        self._commands: deque[Command] = deque()
        self._obeying = False
        self._writer = Writer(reactor, part)
        self._commits = Commits(reactor, owner.commit, state.pieces.have)
        self._ticker: Timer | None = None

    @property
    def sources(self) -> int:
        """Sources that can be asked now."""
        return len(self._state.sources)

    def start(self) -> None:
        """Looks whether everything is there already, and begins to look for what is late."""
        self._tick()

    def reach(self, end: int) -> None:
        """Pieces before `end` may be asked for: the window of a stream has moved on."""
        self._apply(Reached(end))

    def stop(self) -> None:
        """Asks for nothing more and leaves its sources. What was committed stays so."""
        if self.stopped:
            return
        self._apply(Stopped())
        self.stopped = True
        self._release(lambda asked: True)
        self._assemblies.clear()
        if self._ticker is not None:
            self._ticker.cancel()
        self._commits.stop()
        for peer in list(self._peers.values()):
            peer.withdraw(self)
            peer.detach(self)
        self._peers.clear()

    def unwritten(self) -> list[Future[None]]:
        """Blocks on their way to the disk, also after `stop`."""
        return self._writer.under_way()

    # -- sources ------------------------------------------------------------------------------------------

    def peer_ready(self, peer: Peer) -> None:
        """See links.User."""
        if self.stopped:
            return
        self._peers[peer.name] = peer
        peer.ask(Interest(0, self.content_id), partial(self._available, peer, self._reactor.clock()))

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        """See links.User."""
        self._peers.pop(peer.name, None)
        peer.withdraw(self)
        self._unasked = {n: asked for n, asked in self._unasked.items() if asked.source != peer.name}
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

    def _available(self, peer: Peer, asked_at: float, reply: Any, payload: memoryview) -> None:
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
            longest = self._paces[peer.name] = peer.block(self)
            self._apply(SourceReady(peer.name, bits, self._reactor.clock() - asked_at, longest))
        elif isinstance(reply, Refused):
            self._leave(peer, "no longer has the file")

    def _leave(self, peer: Peer, reason: str) -> None:
        self._peers.pop(peer.name, None)
        peer.withdraw(self)
        self._release(lambda asked: asked.source == peer.name)
        peer.detach(self)
        self._owner.lost(peer, reason)

    # -- engine -------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        if not self.stopped:
            self._settle(event)

    def _settle(self, event: Event) -> None:
        """As _apply, also when all is over: what was asked stays open at its source, and in the books of all downloads."""
        self._commands += self._state.apply(event, self._reactor.clock())
        if self._obeying:
            return  # in the middle of a command: the rest comes first
        self._obeying = True
        try:
            while self._commands:
                self._obey(self._commands.popleft())
        finally:
            self._obeying = False

    def _obey(self, command: Command) -> None:
        if isinstance(command, FetchBlock):
            self._fetch(command)
        elif isinstance(command, Withdraw):
            self._withdraw(command)
        elif isinstance(command, Suspend):
            peer = self._peers.get(command.source)
            if peer is not None:
                self._leave(peer, WRONG_DATA if command.bad_data else "keeps refusing")
                if command.bad_data:
                    peer.lied()
        elif isinstance(command, Complete):
            self._reactor.call(self._complete)

    def _complete(self) -> None:
        if not self.stopped:
            self.stop()
            self._owner.complete()

    def _fetch(self, command: FetchBlock) -> None:
        peer = self._peers.get(command.source)
        if peer is None:
            self._settle(Answered(command.ticket, 0))
            return
        self._unasked[command.ticket] = command
        piece, key = command.piece, (command.piece, command.source)
        if command.offset == 0:
            length = self.manifest.piece_length(piece)
            whole = command.length == length
            self._assemblies[key] = Assembly(length, self.manifest.piece_hash(piece), whole=whole)
        if piece not in self._settled:
            peer.ask_in_turn(self, partial(self._ask, peer, self._assemblies[key], command))

    def _ask(self, peer: Peer, assembly: Assembly, command: FetchBlock) -> int:
        """The turn of a request has come. Its octets; 0 when it is not wanted any more, or another length is."""
        if command.ticket not in self._unasked:
            return 0
        del self._unasked[command.ticket]
        longest = self._pace(peer)
        if not peer.ready or command.length > LUMP * longest:
            self._settle(Answered(command.ticket, 0))
            return 0
        self._settle(Asked(command.ticket))
        request = GetBlock(0, self.content_id, command.piece, command.offset, command.length)
        peer.ask_block(request, partial(self._answered, peer, assembly, command))
        return command.length

    def _pace(self, peer: Peer) -> int:
        """Tells the engine how long blocks of this source should be under the limits of now."""
        longest = peer.block(self)
        if self._paces.get(peer.name) != longest:
            self._paces[peer.name] = longest
            self._apply(Paced(peer.name, longest))
        return longest

    def _release(self, unwanted: Callable[[FetchBlock], bool]) -> None:
        """Requests that were not made yet and never will be."""
        for command in [command for command in self._unasked.values() if unwanted(command)]:
            del self._unasked[command.ticket]
            self._settle(Answered(command.ticket, 0))

    def _withdraw(self, command: Withdraw) -> None:
        for piece in command.pieces:
            self._drop(piece, command.source)
        self._release(lambda asked: asked.source == command.source and asked.piece in command.pieces)
        peer = self._peers.get(command.source)
        if peer is not None:
            peer.ask(Cancel(0, self.content_id, list(command.pieces)), _ignore)

    def _drop(self, piece: int, source: str) -> None:
        assembly = self._assemblies.pop((piece, source), None)
        if assembly is not None:
            assembly.over = True

    def set_limit(self, rate: int) -> None:
        """Another limit of this download, in octets a second; 0: none."""
        self.bucket.set_rate(rate, self._reactor.clock())
        for peer in self._peers.values():
            peer.reconsider()

    # -- blocks -------------------------------------------------------------------------------------------

    def _answered(
        self, peer: Peer, assembly: Assembly, asked: FetchBlock, reply: Any, payload: memoryview
    ) -> None:
        """A request is over. First the verdict on its piece, then the credit, which may ask for more."""
        if isinstance(reply, Block):
            self.arrived += len(payload)
            if not self.stopped:
                self._block(peer, assembly, asked, payload)
            self._settle(Answered(asked.ticket, asked.length))
            return
        if isinstance(reply, Lost) and reply.code != "timeout" and self._peers.get(peer.name) is peer:
            return  # the link has ended, which settles all that was asked over it
        withdrawn, assembly.over = assembly.over, True
        self._settle(Answered(asked.ticket, 0))
        if isinstance(reply, Refused):
            if not (withdrawn and reply.code == Refusal.CANCELLED):
                self._apply(PieceFailed(peer.name, asked.piece, reply.code, reply.retry_s))
        elif not isinstance(reply, Lost):
            peer.drop("another answer than was asked for")
        elif reply.code == "timeout":
            self._apply(PieceFailed(peer.name, asked.piece, 0))

    def _block(self, peer: Peer, assembly: Assembly, asked: FetchBlock, payload: memoryview) -> None:
        piece = asked.piece
        # What is settled, or in the hands of another source, must not be written over.
        settled = piece in self._settled or self._state.pieces.have >> piece & 1
        if settled or (assembly.over and not assembly.whole):
            return
        if len(payload) != asked.length:
            log.warning("! %s sent a block of another length than was asked for", peer.endpoint)
            self._apply(PieceBad(peer.name, piece))
            return
        good = assembly.take(payload)
        if good is False:
            log.warning("! %s sent a wrong piece %d of %s", peer.endpoint, piece, short(self.content_id))
            self._apply(PieceBad(peer.name, piece))
            return
        if good:
            self._settled.add(piece)
        # A piece of several blocks is written as it comes: it counts only when its hash is right.
        assembly.unwritten += 1
        self._writer.write(
            piece,
            self.manifest.piece_offset(piece) + asked.offset,
            payload,
            assembly.good,
            peer.keep,
            partial(self._written, peer, assembly, piece),
        )

    def _written(self, peer: Peer, assembly: Assembly, piece: int, error: StorageError | None) -> None:
        assembly.unwritten -= 1
        if self.stopped:
            return
        if error is not None:
            self.stop()
            self._owner.failed(error)
        elif assembly.good and not assembly.unwritten:
            self._settled.discard(piece)
            self._done(peer, piece)
            self._release(lambda asked: asked.piece == piece)

    def _done(self, peer: Peer, piece: int) -> None:
        peer.failures = 0  # a link that gives nothing good is redialled less and less
        if peer.name not in self._givers:
            self._givers.add(peer.name)
            self._owner.gave(peer)
        octets = self.manifest.piece_length(piece)
        self.received += octets
        self.verified += octets
        if self._owner.piece is not None:
            self._owner.piece(piece)
        for source in self._state.pieces.in_flight.get(piece, ()):
            self._drop(piece, source)
        self._apply(PieceDone(peer.name, piece))
        if not self.stopped:
            self._commits.wrote(octets, self._state.pieces.have)

    # -- durability and time ------------------------------------------------------------------------------

    def committed(self, bits: int) -> None:
        """These pieces are durable and recorded."""
        self._commits.done(bits)

    def commit_failed(self, error: StorageError) -> None:
        """The disk could not make pieces durable: nothing of this run is believed any more."""
        self.stop()
        self._owner.failed(error)

    def _tick(self) -> None:
        if self.stopped:
            return
        self._apply(Resumed())
        self._ticker = self._reactor.later(TICK_SECONDS, self._tick)


def _ignore(reply: Any, payload: memoryview) -> None:
    """What was withdrawn is answered request by request."""
