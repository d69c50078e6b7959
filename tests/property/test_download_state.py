"""One download against sources that come, go, refuse, lie and answer late: the invariant holds after every event, and with one
honest source that stays everything arrives.
"""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pd.engine.download import DownloadState
from p2pd.engine.events import (
    Command,
    Complete,
    Event,
    FetchPiece,
    PieceBad,
    PieceDone,
    PieceFailed,
    PieceLost,
    Resumed,
    SourceGained,
    SourceGone,
    SourceReady,
    Suspend,
)
from p2pd.engine.pieces import indexes
from protocol.errors import Refusal
from protocol.limits import MAX_OUTSTANDING_BLOCKS, MIB

NAMES = ["a", "b", "c"]
HONEST = "honest"
CODES = [Refusal.BUSY, Refusal.LIMIT, Refusal.NOT_FOUND, Refusal.CHANGED, Refusal.CANCELLED]


class Downloading(RuleBasedStateMachine):
    """The world around one DownloadState: what each source holds and was asked, by its own account."""

    @initialize(
        count=st.integers(0, 24),
        have=st.integers(0, 2**24 - 1),
        blocks=st.sampled_from([1, 2, 16]),
        seed=st.integers(0, 9),
    )
    def begin(self, count: int, have: int, blocks: int, seed: int) -> None:
        """A file of `count` pieces, some of them here already."""
        self.everything = (1 << count) - 1
        self.blocks = blocks
        self.state = DownloadState(count, blocks * MIB, have & self.everything, random.Random(seed))
        self.have = have & self.everything
        self.holds: dict[str, int] = {}
        self.asked: dict[str, set[int]] = {}
        self.liars: set[str] = set()
        self.said_complete = False
        self.now = 0.0

    def apply(self, event: Event, seconds: float = 0.01) -> list[Command]:
        """One event in; its commands are obeyed in the model, and checked on the way."""
        self.now += seconds
        commands = self.state.apply(event, self.now)
        for command in commands:
            if isinstance(command, FetchPiece):
                assert command.source not in self.liars
                assert self.holds[command.source] >> command.piece & 1
                assert not self.have >> command.piece & 1
                assert command.piece not in self.asked[command.source]
                self.asked[command.source].add(command.piece)
            elif isinstance(command, Suspend):
                self.asked.pop(command.source)
                self.holds.pop(command.source)
            elif isinstance(command, Complete):
                assert not self.said_complete
                self.said_complete = True
        return commands

    # -- what may happen ----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), bits=st.integers(0, 2**24 - 1), whole=st.booleans())
    def comes(self, name: str, bits: int, whole: bool) -> None:
        """A source with all or some pieces; perhaps one that was here, or that lied before."""
        held = self.everything if whole else bits & self.everything
        if name not in self.liars:
            self.holds[name], self.asked[name] = held, set()
        self.apply(SourceReady(name, bits if not whole else self.everything))

    @rule(name=st.sampled_from(NAMES), bits=st.integers(0, 2**24 - 1))
    def gains(self, name: str, bits: int) -> None:
        """A source has more."""
        if name in self.holds:
            self.holds[name] |= bits & self.everything
        self.apply(SourceGained(name, bits))

    @rule(name=st.sampled_from(NAMES))
    def leaves(self, name: str) -> None:
        """A link ends."""
        self.holds.pop(name, None)
        self.asked.pop(name, None)
        self.apply(SourceGone(name))

    def one_asked(self, data: st.DataObject) -> tuple[str, int]:
        """One of the open questions."""
        return data.draw(
            st.sampled_from(sorted((name, piece) for name in self.asked for piece in self.asked[name]))
        )

    def questions(self) -> bool:
        """True while any source owes an answer."""
        return any(getattr(self, "asked", {}).values())

    def arrived(self, name: str, piece: int, seconds: float) -> None:
        """A good piece."""
        self.have |= 1 << piece
        for asked in self.asked.values():
            asked.discard(piece)
        self.apply(PieceDone(name, piece, seconds))

    @precondition(questions)
    @rule(data=st.data(), seconds=st.floats(0, 2))
    def answers(self, data: st.DataObject, seconds: float) -> None:
        """A good piece comes from whom it was asked."""
        self.arrived(*self.one_asked(data), seconds)

    @precondition(questions)
    @rule(data=st.data())
    def lies(self, data: st.DataObject) -> None:
        """A piece does not match its hash."""
        name, piece = self.one_asked(data)
        if name == HONEST:
            return
        commands = self.apply(PieceBad(name, piece))
        assert Suspend(name, True) in commands
        self.liars.add(name)

    @precondition(questions)
    @rule(data=st.data(), code=st.sampled_from(CODES))
    def refuses(self, data: st.DataObject, code: int) -> None:
        """A refusal or a time-out."""
        name, piece = self.one_asked(data)
        if name == HONEST:
            return
        self.asked[name].discard(piece)
        self.apply(PieceFailed(name, piece, code))

    @rule(name=st.sampled_from(NAMES), piece=st.integers(0, 30))
    def answers_late(self, name: str, piece: int) -> None:
        """A piece from somebody who was not asked for it, or no longer."""
        if piece < self.everything.bit_length():
            self.arrived(name, piece, 1.0)

    @rule(name=st.sampled_from([*NAMES, "stranger"]), piece=st.integers(0, 30))
    def fails_late(self, name: str, piece: int) -> None:
        """A refusal of what is not asked (any more)."""
        if piece not in self.asked.get(name, set()) and name not in self.holds:
            self.apply(PieceFailed(name, piece, Refusal.BUSY))

    @precondition(lambda self: getattr(self, "have", 0))
    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        """The disk gives back something else."""
        piece = data.draw(st.sampled_from(list(indexes(self.have))))
        self.have ^= 1 << piece
        self.said_complete = False
        self.apply(PieceLost(piece))

    @rule()
    def ticks(self) -> None:
        """A second passes: whoever has something that is wanted is asked for something."""
        self.apply(Resumed(), 1.0)
        for name, held in self.holds.items():
            assert self.asked[name] or not held & self.state.pieces.wanted

    # -- what must be true --------------------------------------------------------------------------------

    @invariant()
    def is_sound(self) -> None:
        """STATE.md, and the model's own account."""
        if not hasattr(self, "state"):
            return
        self.state.check()
        assert self.state.pieces.have == self.have
        assert {name: source.asked for name, source in self.state.sources.items()} == self.asked
        assert self.state.suspended == self.liars
        for source in self.state.sources.values():
            assert 1 <= source.window.size <= MAX_OUTSTANDING_BLOCKS

    def teardown(self) -> None:
        """However it went: one honest source that has everything and stays completes the file."""
        if not hasattr(self, "state"):
            return
        self.holds[HONEST], self.asked[HONEST] = self.everything, set()
        self.apply(SourceReady(HONEST, self.everything))
        for name in NAMES:
            self.leaves(name)
        self.apply(Resumed(), 1.0)
        for _ in range(self.everything.bit_length()):
            if self.asked[HONEST]:
                self.arrived(HONEST, min(self.asked[HONEST]), 0.01)
        assert self.state.pieces.complete
        assert self.said_complete


Downloading.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestDownloading = Downloading.TestCase
