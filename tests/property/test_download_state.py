"""One download against sources that come, go, refuse, lie and answer late: the invariant holds after every event, and with one
honest source that stays everything arrives.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    PieceLost,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Suspend,
    Withdraw,
)
from p2pd.engine.pieces import indexes
from protocol.errors import Refusal
from protocol.limits import MAX_OUTSTANDING_BLOCKS, MIB

NAMES = ["a", "b", "c"]
HONEST = "honest"
CODES = [0, Refusal.BUSY, Refusal.LIMIT, Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.CANCELLED]


@dataclass
class Request:
    """A request as its source sees it; `wanted` until it is withdrawn or settled."""

    command: FetchBlock
    wanted: bool = True


class Downloading(RuleBasedStateMachine):
    """The world around one DownloadState: what each source holds and was asked, by its own account."""

    @initialize(
        count=st.integers(0, 24),
        have=st.integers(0, 2**24 - 1),
        blocks=st.sampled_from([1, 2, 16]),
        short=st.integers(0, MIB - 1),
        seed=st.integers(0, 9),
    )
    def begin(self, count: int, have: int, blocks: int, short: int, seed: int) -> None:
        """A file of `count` pieces, some of them here already."""
        self.everything = (1 << count) - 1
        size = max(0, count * blocks * MIB - short)
        self.state = DownloadState(size, blocks * MIB, have & self.everything, random.Random(seed))
        self.have = have & self.everything
        self.holds: dict[str, int] = {}
        self.open: dict[int, Request] = {}
        self.came: dict[tuple[str, int], int] = {}
        self.liars: set[str] = set()
        self.said_complete = False
        self.now = 0.0

    def apply(self, event: Event, seconds: float = 0.01) -> list[Command]:
        """One event in; its commands are obeyed in the model, and checked on the way."""
        self.now += seconds
        commands = self.state.apply(event, self.now)
        for command in commands:
            if isinstance(command, FetchBlock):
                self.asked(command)
            elif isinstance(command, Withdraw):
                for piece in command.pieces:
                    self.dropped(command.source, piece)
            elif isinstance(command, Suspend):
                self.holds.pop(command.source)
            elif isinstance(command, Complete):
                assert not self.said_complete
                self.said_complete = True
        return commands

    def asked(self, command: FetchBlock) -> None:
        """A request: of somebody who may be asked, of something not had, in order and not twice."""
        key = (command.source, command.piece)
        assert command.source not in self.liars
        assert self.holds[command.source] >> command.piece & 1
        assert not self.have >> command.piece & 1
        assert command.ticket not in self.open
        if command.offset == 0:
            assert not self.wanted(*key)
            self.came[key] = 0
        done = self.came[key] + sum(self.open[number].command.length for number in self.wanted(*key))
        assert command.offset == done
        self.open[command.ticket] = Request(command)
        if self.now % 0.03 < 0.02:
            assert self.state.apply(Asked(command.ticket), self.now) == []
        assert sum(a.command.source == command.source for a in self.open.values()) <= MAX_OUTSTANDING_BLOCKS

    def wanted(self, name: str, piece: int) -> list[int]:
        """Tickets of one piece that are open and not withdrawn, in the order in which they were asked."""
        return sorted(
            number
            for number, asked in self.open.items()
            if asked.wanted and (asked.command.source, asked.command.piece) == (name, piece)
        )

    def dropped(self, name: str, piece: int) -> None:
        """Nothing more of this piece counts from this source."""
        for number in self.wanted(name, piece):
            self.open[number].wanted = False

    # -- what may happen ----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), bits=st.integers(0, 2**24 - 1), whole=st.booleans())
    def comes(self, name: str, bits: int, whole: bool) -> None:
        """A source with all or some pieces; perhaps one that was here, or that lied before."""
        if name not in self.liars:
            self.holds[name] = self.everything if whole else bits & self.everything
        self.apply(SourceReady(name, bits if not whole else self.everything, 0.02))

    @rule(name=st.sampled_from(NAMES), bits=st.integers(0, 2**24 - 1))
    def gains(self, name: str, bits: int) -> None:
        """A source has more."""
        if name in self.holds:
            self.holds[name] |= bits & self.everything
        self.apply(SourceGained(name, bits))

    @rule(name=st.sampled_from(NAMES))
    def leaves(self, name: str) -> None:
        """A link ends, and all that was asked over it."""
        self.holds.pop(name, None)
        self.open = {number: asked for number, asked in self.open.items() if asked.command.source != name}
        self.apply(SourceGone(name))

    def questions(self) -> bool:
        """True while any source owes an answer."""
        return bool(getattr(self, "open", None))

    def pick(self, data: st.DataObject) -> tuple[int, Request]:
        """One of the open requests."""
        number = data.draw(st.sampled_from(sorted(self.open)))
        return number, self.open[number]

    def arrived(self, name: str, piece: int) -> None:
        """A good piece."""
        self.have |= 1 << piece
        for asked in self.open.values():
            if asked.command.piece == piece:
                asked.wanted = False
        self.apply(PieceDone(name, piece))

    @precondition(questions)
    @rule(data=st.data(), seconds=st.floats(0, 2))
    def answers(self, data: st.DataObject, seconds: float) -> None:
        """The oldest open block of a piece comes; the last one makes the piece."""
        number, asked = self.pick(data)
        name, piece = asked.command.source, asked.command.piece
        if asked.wanted:
            number = self.wanted(name, piece)[0]
            self.came[name, piece] += self.open[number].command.length
            if self.came[name, piece] == self.state.piece_length(piece):
                self.arrived(name, piece)
        length = self.open.pop(number).command.length
        self.apply(Answered(number, length), seconds)

    @precondition(questions)
    @rule(data=st.data())
    def lies(self, data: st.DataObject) -> None:
        """A piece does not match its hash."""
        number, asked = self.pick(data)
        name = asked.command.source
        if name == HONEST or name not in self.holds:
            return
        commands = self.apply(PieceBad(name, asked.command.piece))
        assert Suspend(name, True) in commands
        self.liars.add(name)
        del self.open[number]
        self.apply(Answered(number, asked.command.length))

    @precondition(questions)
    @rule(data=st.data(), code=st.sampled_from(CODES), retry=st.floats(0, 3))
    def refuses(self, data: st.DataObject, code: int, retry: float) -> None:
        """A refusal or a time-out."""
        number, asked = self.pick(data)
        name, piece = asked.command.source, asked.command.piece
        if name == HONEST:
            return
        del self.open[number]
        if asked.wanted:
            self.dropped(name, piece)
        self.apply(Answered(number, 0))
        self.apply(PieceFailed(name, piece, code, retry))

    @rule(name=st.sampled_from(NAMES), piece=st.integers(0, 30))
    def answers_late(self, name: str, piece: int) -> None:
        """A piece from somebody who was not asked for it, or no longer."""
        if piece < self.everything.bit_length() and not self.wanted(name, piece):
            self.arrived(name, piece)

    @rule(piece=st.integers(0, 30))
    def fails_late(self, piece: int) -> None:
        """A refusal of what is not asked (any more)."""
        self.apply(PieceFailed("stranger", piece, Refusal.BUSY))

    @precondition(lambda self: getattr(self, "have", 0))
    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        """The disk gives back something else."""
        piece = data.draw(st.sampled_from(list(indexes(self.have))))
        self.have ^= 1 << piece
        self.said_complete = False
        self.apply(PieceLost(piece))

    @rule(seconds=st.floats(0.05, 2))
    def ticks(self, seconds: float) -> None:
        """Time passes: whoever has something that is wanted, and may be asked, is asked for something."""
        self.apply(Resumed(), seconds)
        for name, source in self.state.sources.items():
            owes = any(asked.command.source == name for asked in self.open.values())
            if not owes and source.wait_until <= self.now:
                assert not source.pieces & self.state.pieces.wanted

    # -- what must be true --------------------------------------------------------------------------------

    @invariant()
    def is_sound(self) -> None:
        """STATE.md, and the model's own account."""
        if not hasattr(self, "state"):
            return
        self.state.check()
        assert self.state.pieces.have == self.have
        assert {name: source.pieces for name, source in self.state.sources.items()} == self.holds
        assert self.state.suspended == self.liars
        assert self.state.tickets.keys() == self.open.keys()
        for credit in self.state.credits:
            assert 1 <= credit.size <= MAX_OUTSTANDING_BLOCKS
        assert sum(credit.open for credit in self.state.credits) == len(self.open)

    def teardown(self) -> None:
        """However it went: one honest source that has everything and stays completes the file."""
        if not hasattr(self, "state"):
            return
        self.holds[HONEST] = self.everything
        self.apply(SourceReady(HONEST, self.everything))
        for name in NAMES:
            self.leaves(name)
        self.apply(Resumed(), 1.0)
        while self.open:
            number = min(self.open)
            command = self.open[number].command
            if command.offset + command.length == self.state.piece_length(command.piece):
                self.arrived(HONEST, command.piece)
            else:
                self.came[HONEST, command.piece] += command.length
            del self.open[number]
            self.apply(Answered(number, command.length))
            self.is_sound()
        assert self.state.pieces.complete
        assert self.said_complete


Downloading.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestDownloading = Downloading.TestCase
