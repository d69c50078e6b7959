"""One download: `apply(event, now) -> commands`. The only door to its state.

Pure: knows pieces and sources by name, no sockets, files or clock. What is true after each event is in STATE.md and checked
by `check()`. What devices may have open is shared by all downloads through `credits`.
"""

from __future__ import annotations

import random

from p2pd.engine.credit import Credits
from p2pd.engine.endgame import COPIES, latest
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
    PieceLost,
    Reached,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Stopped,
    Suspend,
    Withdraw,
)
from p2pd.engine.picker import Picker
from p2pd.engine.pieces import PieceMap, lowest
from p2pd.engine.source import Job, Source, Ticket
from protocol.errors import Refusal
from protocol.limits import MAX_BLOCK, MAX_OUTSTANDING_BLOCKS

LATER = (Refusal.BUSY, Refusal.LIMIT, Refusal.CANCELLED)  # it will, in a while
NEVER = (Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.STORAGE)  # not this file
FAILURES = 3  # refusals or time-outs in a row before a source is left alone
BUSY_SECONDS = 1.0  # at least so long a busy source is left in peace
LATE_TICK = 1.0  # after a tick that came so late it was us who slept


class DownloadState:
    """The pieces of one file of `size` octets and the sources they may come from; `have` is a set of pieces that are here.

    With `window` (pieces) it is sequential: asked for from the first to the last whatever their rarity, and none beyond what
    `Reached` allows; at first so many after those that it has.
    """

    def __init__(
        self,
        size: int,
        piece_size: int,
        have: int,
        rng: random.Random,
        credits: Credits | None = None,
        *,
        window: int | None = None,
    ) -> None:
        count = -(-size // piece_size)
        self.pieces = PieceMap(count, have)
        self.size = size
        self.piece_size = piece_size
        self.sources: dict[str, Source] = {}
        self.suspended: set[str] = set()
        self.finished = False
        self.stopped = False
        self.credits = credits if credits is not None else Credits()
        self.tickets: dict[int, Ticket] = {}
        self._last_ticket = 0
        self._picker = Picker(count, rng)
        self._sequential = window is not None
        self._reach = self.pieces.everything if window is None else (1 << have.bit_count() + window) - 1
        self._ticked_at: float | None = None

    def apply(self, event: Event, now: float) -> list[Command]:
        """Takes one event in; says what to do now. Events about unknown sources or settled pieces change nothing."""
        commands: list[Command] = []
        if isinstance(event, Answered):
            self._answered(event, now, commands)
        elif isinstance(event, Asked):
            self._asked(event, now)
        elif self.stopped:
            pass
        elif isinstance(event, PieceDone):
            self._piece_done(event, commands)
        elif isinstance(event, SourceReady):
            self._source_ready(event, commands)
            self._fill_all(now, commands)
        elif isinstance(event, Paced):
            if event.source in self.sources:
                self.sources[event.source].longest = event.longest
        elif isinstance(event, SourceGained):
            self._source_gained(event, now, commands)
        elif isinstance(event, SourceGone):
            self._source_gone(event, now)
            self._fill_all(now, commands)
        elif isinstance(event, PieceBad):
            self._suspend(event.source, bad_data=True, commands=commands)
            self._fill_all(now, commands)
        elif isinstance(event, PieceFailed):
            self._piece_failed(event, now, commands)
            self._fill_all(now, commands)
        elif isinstance(event, PieceLost):
            self.pieces.lose(event.piece)
            self.finished = False
            self._fill_all(now, commands)
        elif isinstance(event, Reached):
            self._reach |= (1 << event.end) - 1
            self._fill_all(now, commands)
        elif isinstance(event, Resumed):
            self._take_back(now, commands)
            self._fill_all(now, commands)
        elif isinstance(event, Stopped):
            self._stop(commands)
        if self.pieces.complete and not self.finished and not self.stopped:
            self.finished = True
            commands.append(Complete())
        return commands

    def piece_length(self, piece: int) -> int:
        """Octets of a piece; the last may be short."""
        return min(self.piece_size, self.size - piece * self.piece_size)

    def check(self) -> None:
        """The invariant of STATE.md. Raises AssertionError."""
        self.pieces.check()
        asked = {(piece, name) for name, source in self.sources.items() for piece in source.jobs}
        flying = {(piece, name) for piece, askers in self.pieces.in_flight.items() for name in askers}
        assert asked == flying
        assert not self.suspended & self.sources.keys()
        for piece, askers in self.pieces.in_flight.items():
            assert len(askers) <= COPIES
            assert sum(not self.sources[name].jobs[piece].whole for name in askers) <= 1
        live: dict[int, Ticket] = {}
        for source in self.sources.values():
            for job in source.jobs.values():
                assert job.came <= job.next <= job.length
                open_octets = sum(self.tickets[number].length for number in job.open)
                assert job.next - job.came == open_octets
                for number in job.open:
                    assert self.tickets[number].job is job
                    assert self.tickets[number].source == source.name
                    live[number] = self.tickets[number]
        assert live == {number: ticket for number, ticket in self.tickets.items() if ticket.job is not None}
        for credit in {ticket.credit for ticket in self.tickets.values()}:
            assert credit.by_user[self] == sum(ticket.credit is credit for ticket in self.tickets.values())
            assert credit.open <= MAX_OUTSTANDING_BLOCKS

    # -- sources ------------------------------------------------------------------------------------------

    def _source_ready(self, event: SourceReady, commands: list[Command]) -> None:
        if event.source in self.suspended:
            return
        self._forget(event.source, commands)
        pieces = event.pieces & self.pieces.everything
        partial = pieces != self.pieces.everything
        credit = self.credits.of(event.source)
        credit.answered_in(event.round_trip)
        self.sources[event.source] = Source(event.source, pieces, partial, credit, event.longest)
        if partial:
            self._picker.add(pieces)

    def _source_gained(self, event: SourceGained, now: float, commands: list[Command]) -> None:
        source = self.sources.get(event.source)
        if source is None:
            return
        new = event.pieces & self.pieces.everything & ~source.pieces
        source.pieces |= new
        if source.partial:
            self._picker.add(new)
        self._fill(source, now, commands)

    def _source_gone(self, event: SourceGone, now: float) -> None:
        self._forget(event.source, None)
        for number in [number for number, ticket in self.tickets.items() if ticket.source == event.source]:
            self._close(number, 0, now)

    def _forget(self, name: str, commands: list[Command] | None) -> None:
        """A source is used no more, and with `commands` told so. Its tickets stay open: their answers may still come."""
        source = self.sources.pop(name, None)
        if source is None:
            return
        self._drop(source, list(source.jobs), commands)
        if source.partial:
            self._picker.discard(source.pieces)
        source.credit.content(self)

    def _suspend(self, name: str, *, bad_data: bool, commands: list[Command]) -> None:
        if name not in self.sources:
            return
        self._forget(name, commands)
        if bad_data:
            self.suspended.add(name)
        commands.append(Suspend(name, bad_data))

    def _stop(self, commands: list[Command]) -> None:
        for name in list(self.sources):
            self._forget(name, commands)
        self.stopped = True

    # -- pieces and blocks --------------------------------------------------------------------------------

    def _asked(self, event: Asked, now: float) -> None:
        ticket = self.tickets.get(event.ticket)
        if ticket is not None:
            ticket.asked_at = now
            if ticket.job is not None:
                ticket.job.asked_at = min(ticket.job.asked_at, now)

    def _answered(self, event: Answered, now: float, commands: list[Command]) -> None:
        ticket = self.tickets.get(event.ticket)
        if ticket is None:
            return
        job = ticket.job
        if job is not None:
            job.open.discard(event.ticket)
            if event.octets:
                job.came += ticket.length
            else:
                # No data, and nobody said that its piece failed: asked for again, but not at once.
                self._drop(self.sources[ticket.source], [job.piece], commands)
                self.sources[ticket.source].wait_until = now + BUSY_SECONDS
        self._close(event.ticket, event.octets, now)
        source = self.sources.get(ticket.source)
        if source is None:
            return
        if event.octets or not self._owes(source):
            source.probation = False
        self._fill(source, now, commands)

    def _close(self, number: int, octets: int, now: float) -> None:
        ticket = self.tickets.pop(number)
        ticket.credit.give_back(self, octets, now - ticket.asked_at, now)

    def _piece_done(self, event: PieceDone, commands: list[Command]) -> None:
        askers = sorted(self.pieces.in_flight.get(event.piece, ()))
        self.pieces.done(event.piece)
        for name in askers:
            # Whoever gave it has nothing of it open but the block of this moment.
            self._drop(self.sources[name], [event.piece], None if name == event.source else commands)
        source = self.sources.get(event.source)
        if source is not None:
            source.failures = 0

    def _piece_failed(self, event: PieceFailed, now: float, commands: list[Command]) -> None:
        source = self.sources.get(event.source)
        if source is None:
            return
        if event.piece in source.jobs:
            self._drop(source, [event.piece], commands)
        if event.code in LATER:
            if event.code != Refusal.CANCELLED and now - source.troubled_at > BUSY_SECONDS:
                source.troubled_at = now  # once for all that it refuses in one breath
                source.credit.trouble()
            source.wait_until = now + max(BUSY_SECONDS, event.retry)
            return
        source.failures += 1
        if source.failures >= FAILURES or event.code in NEVER:
            self._suspend(event.source, bad_data=False, commands=commands)

    def _drop(self, source: Source, pieces: list[int], commands: list[Command] | None) -> None:
        """These are asked of this source no more: wanted again, unless had or asked of others too. With `commands` it is told so."""
        open_ones = []
        for piece in pieces:
            job = source.jobs.pop(piece)
            if job.open:
                open_ones.append(piece)
            for number in job.open:
                self.tickets[number].job = None
            self.pieces.give_up(piece, source.name)
        if open_ones and commands is not None:
            commands.append(Withdraw(source.name, tuple(open_ones)))

    # -- the overdue --------------------------------------------------------------------------------------

    def _owes(self, source: Source) -> bool:
        return any(ticket.source == source.name for ticket in self.tickets.values())

    def _take_back(self, now: float, commands: list[Command]) -> None:
        """What a silent source was asked for goes to others that are not silent; it is asked again when it gives something."""
        before, self._ticked_at = self._ticked_at, now
        if before is not None and now - before > LATE_TICK:
            return
        oldest: dict[str, float] = {}
        for ticket in self.tickets.values():
            if ticket.job is not None and ticket.asked_at <= now:
                oldest[ticket.source] = min(ticket.asked_at, oldest.get(ticket.source, ticket.asked_at))
        for name, asked_at in oldest.items():
            source = self.sources[name]
            since = max(source.credit.heard, asked_at)
            if now - since <= source.credit.patience:
                continue
            others = 0
            for other in self.sources.values():
                if other is not source and self._able(other, since, now):
                    others |= other.pieces
            pieces = [piece for piece, job in source.jobs.items() if job.left and others >> piece & 1]
            if pieces:
                self._drop(source, pieces, commands)
                source.probation = True

    def _able(self, source: Source, since: float, now: float) -> bool:
        """Whether this source gave something since then, or is free to."""
        if source.probation or source.wait_until > now:
            return False
        return source.credit.heard > since or not source.credit.open

    # -- choosing -----------------------------------------------------------------------------------------

    def _fill_all(self, now: float, commands: list[Command]) -> None:
        for source in list(self.sources.values()):
            self._fill(source, now, commands)

    def _fill(self, source: Source, now: float, commands: list[Command]) -> None:
        if source.wait_until > now or (source.probation and self._owes(source)):
            source.credit.content(self)
            return
        while source.credit.room(self):
            job = source.unasked() or self._begin(source, now)
            if job is None:
                source.credit.content(self)
                return
            commands.append(self._ask(source, job, now))
            if source.probation:
                return

    def _begin(self, source: Source, now: float) -> Job | None:
        """Assigns one more piece to this source."""
        block = source.block
        candidates = self.pieces.wanted & source.pieces & self._reach
        if self._sequential:
            piece = lowest(candidates) if candidates else None
        else:
            piece = self._picker.choose(candidates, in_order=len(self.sources) == 1)
        if piece is None:
            # A copy comes whole.
            block = MAX_BLOCK
            piece = latest(source, self.sources.values(), self.pieces.in_flight, self.piece_size, now)
            if piece is None:
                return None
        self.pieces.ask(piece, source.name)
        job = source.jobs[piece] = Job(piece, self.piece_length(piece), block)
        return job

    def _ask(self, source: Source, job: Job, now: float) -> FetchBlock:
        length = min(job.block, job.length - job.next)
        self._last_ticket += 1
        self.tickets[self._last_ticket] = Ticket(source, job, length)
        job.open.add(self._last_ticket)
        source.credit.take(self, now)
        command = FetchBlock(source.name, job.piece, job.next, length, self._last_ticket)
        job.next += length
        return command
