"""One download: `apply(event, now) -> commands`. The only door to its state.

Pure: knows pieces and sources by name, no sockets, files or clock. What is true after each event is in STATE.md and checked
by `check()`.
"""

from __future__ import annotations

import random

from p2pd.engine.credit import Window
from p2pd.engine.events import (
    Command,
    Complete,
    Event,
    FetchPiece,
    PieceBad,
    PieceDone,
    PieceFailed,
    PieceLost,
    Reached,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Suspend,
)
from p2pd.engine.picker import Picker
from p2pd.engine.pieces import PieceMap, lowest
from protocol.errors import Refusal
from protocol.limits import MAX_BLOCK

LOAD = (Refusal.BUSY, Refusal.LIMIT)
FAILURES = 3  # refusals or time-outs in a row before a source is left alone


class Source:
    """One source of this download: what it has, what was asked of it, and its credit."""

    __slots__ = ("asked", "failures", "partial", "pieces", "window")

    def __init__(self, pieces: int, partial: bool) -> None:
        self.pieces = pieces
        self.partial = partial
        self.asked: set[int] = set()
        self.window = Window()
        self.failures = 0


class DownloadState:
    """The pieces of one file and the sources they may come from.

    With `window` (pieces) it is sequential: asked for from the first to the last, and none beyond what `Reached` allows; at first
    so many after those that it has.
    """

    def __init__(
        self, count: int, piece_size: int, have: int, rng: random.Random, *, window: int | None = None
    ) -> None:
        self.pieces = PieceMap(count, have)
        self.piece_size = piece_size
        self.sources: dict[str, Source] = {}
        self.suspended: set[str] = set()
        self.finished = False
        self._blocks_per_piece = -(-piece_size // MAX_BLOCK)
        self._picker = Picker(count, rng)
        self._sequential = window is not None
        self._reach = self.pieces.everything if window is None else (1 << have.bit_count() + window) - 1

    def apply(self, event: Event, now: float) -> list[Command]:
        """Takes one event in; says what to do now. Events about unknown sources or settled pieces change nothing."""
        commands: list[Command] = []
        if isinstance(event, PieceDone):
            self._piece_done(event, now)
            source = self.sources.get(event.source)
            if source is not None:
                self._fill(event.source, source, commands)
        elif isinstance(event, SourceReady):
            self._source_ready(event)
            self._fill_all(commands)
        elif isinstance(event, SourceGained):
            self._source_gained(event)
            self._fill_all(commands)
        elif isinstance(event, SourceGone):
            self._forget(event.source)
            self._fill_all(commands)
        elif isinstance(event, PieceBad):
            self._suspend(event.source, bad_data=True, commands=commands)
            self._fill_all(commands)
        elif isinstance(event, PieceFailed):
            self._piece_failed(event, commands)
            self._fill_all(commands, but=event.source if event.code in LOAD else None)
        elif isinstance(event, PieceLost):
            self.pieces.lose(event.piece)
            self.finished = False
            self._fill_all(commands)
        elif isinstance(event, Reached):
            self._reach |= (1 << event.end) - 1
            self._fill_all(commands)
        elif isinstance(event, Resumed):
            self._fill_all(commands)
        if self.pieces.complete and not self.finished:
            self.finished = True
            commands.append(Complete())
        return commands

    def check(self) -> None:
        """The invariant of STATE.md. Raises AssertionError."""
        self.pieces.check()
        asked = {(piece, name) for name, source in self.sources.items() for piece in source.asked}
        flying = {(piece, name) for piece, askers in self.pieces.in_flight.items() for name in askers}
        assert asked == flying
        assert not self.suspended & self.sources.keys()

    # -- events -------------------------------------------------------------------------------------------

    def _source_ready(self, event: SourceReady) -> None:
        if event.source in self.suspended:
            return
        self._forget(event.source)
        pieces = event.pieces & self.pieces.everything
        partial = pieces != self.pieces.everything
        self.sources[event.source] = Source(pieces, partial)
        if partial:
            self._picker.add(pieces)

    def _source_gained(self, event: SourceGained) -> None:
        source = self.sources.get(event.source)
        if source is None:
            return
        new = event.pieces & self.pieces.everything & ~source.pieces
        source.pieces |= new
        if source.partial:
            self._picker.add(new)

    def _piece_done(self, event: PieceDone, now: float) -> None:
        askers = set(self.pieces.in_flight.get(event.piece, ()))
        self.pieces.done(event.piece)
        for name in askers:
            other = self.sources.get(name)
            if other is not None:
                other.asked.discard(event.piece)
        source = self.sources.get(event.source)
        if source is not None:
            source.failures = 0
            source.window.delivered(self.piece_size, event.seconds, now)

    def _piece_failed(self, event: PieceFailed, commands: list[Command]) -> None:
        source = self.sources.get(event.source)
        if source is None:
            return
        source.asked.discard(event.piece)
        self.pieces.give_up(event.piece, event.source)
        source.window.trouble()
        if event.code in LOAD:
            return  # it will, later: asked again at the next tick
        source.failures += 1
        if source.failures >= FAILURES or event.code in (Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.STORAGE):
            self._suspend(event.source, bad_data=False, commands=commands)

    def _suspend(self, name: str, *, bad_data: bool, commands: list[Command]) -> None:
        if name not in self.sources:
            return
        self._forget(name)
        if bad_data:
            self.suspended.add(name)
        commands.append(Suspend(name, bad_data))

    def _forget(self, name: str) -> None:
        source = self.sources.pop(name, None)
        if source is None:
            return
        for piece in source.asked:
            self.pieces.give_up(piece, name)
        if source.partial:
            self._picker.discard(source.pieces)

    # -- choosing -----------------------------------------------------------------------------------------

    def _fill_all(self, commands: list[Command], but: str | None = None) -> None:
        for name, source in self.sources.items():
            if name != but:
                self._fill(name, source, commands)

    def _fill(self, name: str, source: Source, commands: list[Command]) -> None:
        in_order = len(self.sources) == 1
        room = max(1, source.window.size // self._blocks_per_piece)
        while len(source.asked) < room:
            candidates = self.pieces.wanted & source.pieces & self._reach
            if self._sequential and candidates:
                piece: int | None = lowest(candidates)
            else:
                piece = self._picker.choose(candidates, in_order=in_order)
            if piece is None:
                return
            self.pieces.ask(piece, name)
            source.asked.add(piece)
            commands.append(FetchPiece(name, piece))
