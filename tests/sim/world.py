"""A swarm in virtual time: holders that upload, downloaders around a real DownloadState, links that delay, stall and break.

The rule: everything that happens is an event in one queue, drawn from one seed; the same seed is the same run. What the downloader's
driver does with octets is modelled cell by cell, so that a piece which counts although its octets on the disk are wrong is found.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from p2pd.engine.conduct import Conduct
from p2pd.engine.credit import Credits
from p2pd.engine.download import DownloadState
from p2pd.engine.events import (
    Answered,
    Asked,
    Command,
    Complete,
    Event,
    FetchBlock,
    PieceBad,
    PieceDone,
    PieceFailed,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Stopped,
    Suspend,
    Withdraw,
)
from protocol.errors import Refusal
from protocol.limits import KIB, MAX_OUTSTANDING_BLOCKS

TICK = 0.25
CELL = 16 * KIB
SILENCE = 60.0  # a link on which nothing comes for so long is dead
OFFER = 5.0  # how often a tracker is asked for sources


class World:
    """The clock and the queue of what will happen."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """`work` happens in so many seconds."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, work))

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Until it is true; False when it is not by `limit`."""
        while not until():
            if not self._queue or self._queue[0][0] > limit:
                return False
            self.now, _, work = heapq.heappop(self._queue)
            work()
        return True


@dataclass(eq=False)
class Request:
    """A block on its way: asked of a holder over one link."""

    link: Link
    command: FetchBlock


@dataclass(eq=False)
class Link:
    """From one downloader to one holder; ends for good."""

    client: Downloader
    holder: Holder
    delay: float  # seconds, one way
    alive: bool = True
    pending: dict[int, tuple[FetchBlock, _Assembly]] = field(default_factory=dict)
    heard: float = 0.0


class Holder:
    """A device that has pieces. `rate`: octets a second that it uploads, to one downloader after the other."""

    def __init__(self, world: World, name: str, pieces: int, rate: float) -> None:
        self.world = world
        self.name = name
        self.pieces = pieces
        self.rate = rate
        self.sent = 0  # octets
        self.lies = 0.0  # share of its blocks that are wrong
        self.busy = False  # refuses whatever comes
        self.stalled = False
        self.up = True
        self.links: list[Link] = []
        self._queues: dict[Link, deque[Request]] = {}
        self._turn: deque[Link] = deque()
        self._sending = False

    def came(self, link: Link) -> None:
        """A downloader."""
        self.links.append(link)
        self._queues[link] = deque()

    def left(self, link: Link) -> None:
        """It is gone."""
        if link in self._queues:
            self.links.remove(link)
            del self._queues[link]
            if link in self._turn:
                self._turn.remove(link)

    def asked(self, request: Request) -> None:
        """A request has arrived."""
        queue = self._queues.get(request.link)
        if queue is None:
            return
        assert len(queue) < MAX_OUTSTANDING_BLOCKS
        if self.busy:
            self._answer(request, Refusal.BUSY)
            return
        queue.append(request)
        if request.link not in self._turn:
            self._turn.append(request.link)
        self._next()

    def cancelled(self, link: Link, pieces: tuple[int, ...]) -> None:
        """What waits for these is refused."""
        queue = self._queues.get(link)
        if queue is not None:
            for request in [request for request in queue if request.command.piece in pieces]:
                queue.remove(request)
                self._answer(request, Refusal.CANCELLED)

    def resume(self) -> None:
        """After a stall."""
        self.stalled = False
        self._next()

    def gained(self, piece: int) -> None:
        """It has one more piece, and says so."""
        if not self.pieces >> piece & 1:
            self.pieces |= 1 << piece
            for link in self.links:
                self.world.after(link.delay, lambda link=link: link.client.told(link, 1 << piece))  # type: ignore[misc]

    def _next(self) -> None:
        if self._sending or self.stalled or not self.up:
            return
        while self._turn:
            link = self._turn.popleft()
            queue = self._queues.get(link)
            if queue:
                request = queue.popleft()
                if queue:
                    self._turn.append(link)
                self._sending = True
                self.world.after(request.command.length / self.rate, partial(self._sent, request))
                return

    def _sent(self, request: Request) -> None:
        self._sending = False
        if self.up and request.link in self._queues:
            if self.pieces >> request.command.piece & 1:
                self.sent += request.command.length
                self._answer(request, 0)
            else:
                self._answer(request, Refusal.NOT_FOUND)
        self._next()

    def _answer(self, request: Request, code: int) -> None:
        link = request.link
        bad = not code and self.lies > 0 and self.world.rng.random() < self.lies
        self.world.after(link.delay, lambda: link.client.answered(link, request.command, code, bad))


class _Assembly:
    """A piece on its way from one source, as in peer/assembly.py."""

    def __init__(self, left: int, whole: bool) -> None:
        self.left = left
        self.whole = whole
        self.over = False
        self.bad = False


class Downloader:
    """One download on one device. It serves what it has, as the holder of the same name."""

    def __init__(self, world: World, name: str, size: int, piece_size: int, rate: float) -> None:
        self.world = world
        self.name = name
        self.size = size
        self.piece_size = piece_size
        self.credits = Credits()
        self.conduct = Conduct()
        self.holder = Holder(world, name, 0, rate)
        self.received = 0  # octets of blocks
        self.done_at: float | None = None
        self.known: dict[str, tuple[Holder, float]] = {}  # what the tracker would tell: holder and delay
        self.asked_of: set[str] = set()
        self.lost = 0  # octets of pieces that a crash took
        self._begin(0)

    def _begin(self, have: int) -> None:
        self.state = DownloadState(
            self.size, self.piece_size, have, random.Random(self.world.rng.random()), self.credits
        )
        self.links: dict[str, Link] = {}
        self.assemblies: dict[tuple[int, str], _Assembly] = {}
        self.disk: dict[int, set[int]] = {}  # piece -> cells that hold right octets
        self.stopped = False
        self.life = object()
        self.tick(self.life)
        self.offer(self.life)

    # -- life ---------------------------------------------------------------------------------------------

    def tick(self, life: object) -> None:
        """A quarter of a second has passed."""
        if life is not self.life or self.stopped:
            return
        for link in list(self.links.values()):
            if link.pending and self.world.now - link.heard > SILENCE:
                self.broken(link)
        self.apply(Resumed())
        self.world.after(TICK, lambda: self.tick(life))

    def offer(self, life: object) -> None:
        """Dials whoever is known and not connected."""
        if life is not self.life or self.stopped:
            return
        for name, (holder, delay) in list(self.known.items()):
            if name not in self.links and holder.up and not self.conduct.banned(name, self.world.now):
                self.links[name] = link = Link(self, holder, delay, heard=self.world.now)
                self.world.after(3 * delay, lambda link=link, asked=self.world.now: self.ready(link, asked))  # type: ignore[misc]
        self.world.after(OFFER, lambda: self.offer(life))

    def ready(self, link: Link, asked: float) -> None:
        """The holder said what it has."""
        if link.alive and link.holder.up:
            link.holder.came(link)
            link.heard = self.world.now
            self.apply(SourceReady(link.holder.name, link.holder.pieces, max(2 * link.delay, 1e-3)))
        elif link.alive:
            self.broken(link)

    def told(self, link: Link, bits: int) -> None:
        """Have."""
        if link.alive:
            self.apply(SourceGained(link.holder.name, bits))

    def broken(self, link: Link) -> None:
        """The link has ended."""
        if link.alive:
            self._unlink(link)
            self.apply(SourceGone(link.holder.name))

    def _unlink(self, link: Link) -> None:
        link.alive = False
        link.holder.left(link)
        if self.links.get(link.holder.name) is link:
            del self.links[link.holder.name]

    def crash(self, keeps: int) -> None:
        """The process dies and is started again; it has those of its pieces that are in `keeps`."""
        if self.stopped:
            return
        have = self.state.pieces.have & keeps
        for link in [*self.links.values(), *self.holder.links]:
            if link.client is self:
                self._unlink(link)
            else:
                link.client.broken(link)
        self.lost += (self.state.pieces.have & ~keeps).bit_count() * self.piece_size
        self.credits = Credits()
        self.holder.pieces = have
        self._begin(have)

    # -- engine -------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """One event in, what must be true checked, commands obeyed."""
        commands = deque(self._feed(event))
        while commands:
            commands += self._obey(commands.popleft())

    def _feed(self, event: Event) -> list[Command]:
        commands = self.state.apply(event, self.world.now)
        self.state.check()
        for credit in self.credits:
            assert credit.open <= MAX_OUTSTANDING_BLOCKS
            assert credit.open == sum(credit.by_user.values())
        return commands

    def _obey(self, command: Command) -> list[Command]:
        if isinstance(command, FetchBlock):
            return self._fetch(command)
        if isinstance(command, Withdraw):
            for piece in command.pieces:
                self._drop(piece, command.source)
            link = self.links.get(command.source)
            if link is not None:
                self.world.after(link.delay, lambda: link.holder.cancelled(link, command.pieces))
        elif isinstance(command, Suspend):
            if command.bad_data:
                self.conduct.bad(command.source, self.world.now)
            link = self.links.get(command.source)
            if link is not None:
                # The link may live on for other downloads; here it is the only one.
                self._unlink(link)
                return [c for n in list(link.pending) for c in self._feed(Answered(n, 0))]
        elif isinstance(command, Complete):
            assert self.state.pieces.complete
            self.done_at = self.world.now
            self.stopped = True
            return self._feed(Stopped())
        return []

    def _fetch(self, command: FetchBlock) -> list[Command]:
        name, piece = command.source, command.piece
        link = self.links[name]
        assert name not in self.state.suspended
        assert link.holder.pieces >> piece & 1 or name not in self.known
        assert not self.state.pieces.have >> piece & 1
        self.asked_of.add(name)
        if command.offset == 0:
            length = self.state.piece_length(piece)
            self.assemblies[piece, name] = _Assembly(length, command.length == length)
        link.pending[command.ticket] = command, self.assemblies[piece, name]
        self.world.after(link.delay, lambda: link.holder.asked(Request(link, command)))
        return self._feed(Asked(command.ticket))

    def _drop(self, piece: int, name: str) -> None:
        assembly = self.assemblies.pop((piece, name), None)
        if assembly is not None:
            assembly.over = True

    # -- octets -------------------------------------------------------------------------------------------

    def answered(self, link: Link, command: FetchBlock, code: int, bad: bool) -> None:
        """A block, or a refusal."""
        if not link.alive or link.client is not self or command.ticket not in link.pending:
            return
        _, assembly = link.pending.pop(command.ticket)
        link.heard = self.world.now
        if code:
            withdrawn, assembly.over = assembly.over, True
            self.apply(Answered(command.ticket, 0))
            if code != Refusal.CANCELLED or not withdrawn:
                self.apply(PieceFailed(command.source, command.piece, code))
            return
        self.received += command.length
        self._block(command, assembly, bad, link.holder)
        self.apply(Answered(command.ticket, command.length))

    def _block(self, command: FetchBlock, assembly: _Assembly, bad: bool, holder: Holder) -> None:
        piece = command.piece
        if self.stopped or self.state.pieces.have >> piece & 1:
            return
        if assembly.over and not assembly.whole:
            return  # in the hands of another source; a whole one is as good as any, late or not
        assembly.left -= command.length
        assembly.bad |= bad
        if assembly.left or not assembly.bad:
            cells = self.disk.setdefault(piece, set())
            touched = range(command.offset // CELL, -(-(command.offset + command.length) // CELL))
            (cells.difference_update if bad else cells.update)(touched)
        if assembly.left:
            return
        if assembly.bad:
            assert holder.lies
            self.apply(PieceBad(command.source, piece))
            return
        length = self.state.piece_length(piece)
        assert self.disk[piece] == set(range(-(-length // CELL))), "a piece counts whose octets are wrong"
        for name in list(self.state.pieces.in_flight.get(piece, ())):
            self._drop(piece, name)
        self.apply(PieceDone(command.source, piece))
        self.holder.gained(piece)
