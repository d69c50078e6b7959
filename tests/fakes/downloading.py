"""A DownloadState under test: a clock that steps, the invariant checked after each event, and sources that answer when told."""

from __future__ import annotations

import random

from p2pd.engine.credit import Credits
from p2pd.engine.download import DownloadState
from p2pd.engine.events import (
    Answered,
    Asked,
    Command,
    Event,
    FetchBlock,
    PieceDone,
    PieceFailed,
    Resumed,
    SourceReady,
)
from protocol.limits import MIB


class Harness:
    """A state with a clock that steps 10 ms an event, and `check()` after each."""

    def __init__(
        self, count: int, have: int = 0, piece_size: int = MIB, credits: Credits | None = None, **more: int
    ) -> None:
        self.state = DownloadState(count * piece_size, piece_size, have, random.Random(1), credits, **more)
        self.everything = (1 << count) - 1
        self.now = 0.0

    def __call__(self, event: Event, seconds: float = 0.01) -> list[Command]:
        self.now += seconds
        commands = self.state.apply(event, self.now)
        self.state.check()
        for command in commands:
            if isinstance(command, FetchBlock):
                assert self.state.apply(Asked(command.ticket), self.now) == []
        return commands

    def ready(self, name: str, pieces: int | None = None, rate: int = 0) -> list[Command]:
        """A source comes; with `rate` (octets a second) one that was used before."""
        if rate:
            credit = self.state.credits.of(name)
            credit.rate, credit.round_trip, credit.heard = float(rate), 0.001, self.now
        return self(SourceReady(name, self.everything if pieces is None else pieces))

    def asked(self, name: str) -> list[int]:
        """Its pieces in the order in which they were asked for."""
        return list(self.state.sources[name].jobs)

    def give(self, name: str, piece: int | None = None, seconds: float = 0.01) -> list[Command]:
        """A piece comes, block by block, as fast as it is asked for."""
        if piece is None:
            piece = self.asked(name)[0]
        commands: list[Command] = []
        while job := self.state.sources[name].jobs.get(piece):
            number = min(job.open)
            length = self.state.tickets[number].length
            if job.came + length == job.length:
                commands += self(PieceDone(name, piece), seconds)
            commands += self(Answered(number, length), 0.0)
        return commands

    def refuse(self, name: str, piece: int, code: int, retry: float = 0.0) -> list[Command]:
        """The first open block of a piece is refused."""
        number = min(self.state.sources[name].jobs[piece].open)
        return self(Answered(number, 0)) + self(PieceFailed(name, piece, code, retry), 0.0)

    def tick(self, seconds: float, step: float = 0.25) -> list[Command]:
        """Time passes."""
        commands: list[Command] = []
        end = self.now + seconds
        while self.now < end:
            commands += self(Resumed(), step)
        return commands


def pieces(commands: list[Command], source: str) -> set[int]:
    """What is asked of this source."""
    return {c.piece for c in commands if isinstance(c, FetchBlock) and c.source == source}
