"""What may happen to a download, and what the engine may ask for. Small frozen types, named as facts and as wishes.

`source` is a device id in text form; `piece` an index; `ticket` the number of one request for a block; times are the caller's
monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.limits import MAX_BLOCK


@dataclass(frozen=True, slots=True)
class SourceReady:
    """A source answered and has these pieces (bit i = piece i).

    `round_trip`: seconds that the answer took, 0 if not known. `longest`: see Paced.
    """

    source: str
    pieces: int
    round_trip: float = 0.0
    longest: int = MAX_BLOCK


@dataclass(frozen=True, slots=True)
class SourceGained:
    """A source has more pieces than before."""

    source: str
    pieces: int


@dataclass(frozen=True, slots=True)
class SourceGone:
    """The link to a source ended: whatever was asked of it will not be answered."""

    source: str


@dataclass(frozen=True, slots=True)
class Paced:
    """Under the limits of both ends, blocks of this source should have no more than so many octets from now on."""

    source: str
    longest: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was wished for is on its way: from now on it may be late."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A request for a block is over: so many octets came (after the verdict on its piece), or 0: refused, timed out, never made."""

    ticket: int
    octets: int


@dataclass(frozen=True, slots=True)
class PieceDone:
    """A piece came, matched its hash and is written."""

    source: str
    piece: int


@dataclass(frozen=True, slots=True)
class PieceBad:
    """A piece came, all of it from this source, and did not match its hash."""

    source: str
    piece: int


@dataclass(frozen=True, slots=True)
class PieceFailed:
    """A source refused a block of a piece (`code` of Refusal; ask again after `retry` seconds), or stayed silent (0)."""

    source: str
    piece: int
    code: int
    retry: float = 0.0


@dataclass(frozen=True, slots=True)
class PieceLost:
    """A verified piece cannot be read back from disk."""

    piece: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Time has passed: a tick, several in a second. Looks for the overdue, and asks again of all sources."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Pieces before `end` may be asked for from now on; for a download with a window."""

    end: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing is wanted any more. Only Answered may follow."""


Event = (
    SourceReady
    | SourceGained
    | SourceGone
    | Paced
    | Asked
    | Answered
    | PieceDone
    | PieceBad
    | PieceFailed
    | PieceLost
    | Resumed
    | Reached
    | Stopped
)


@dataclass(frozen=True, slots=True)
class FetchBlock:
    """Ask `source` for `length` octets from `offset` of `piece`. Answer with Asked(ticket) when it was, then Answered(ticket)."""

    source: str
    piece: int
    offset: int
    length: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """These pieces are no longer wanted of `source`: it need not answer what it has not begun. Tickets stay open until answered."""

    source: str
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suspend:
    """Use `source` no more for this file; `bad_data` says whether it lied."""

    source: str
    bad_data: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """Every piece is verified."""


Command = FetchBlock | Withdraw | Suspend | Complete
