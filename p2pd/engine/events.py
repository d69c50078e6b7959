"""What may happen to a download, and what the engine may ask for. Small frozen types, named as facts and as wishes.

`source` is a device id in text form; `piece` an index; times are the caller's monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceReady:
    """A source answered and has these pieces (bit i = piece i)."""

    source: str
    pieces: int


@dataclass(frozen=True, slots=True)
class SourceGained:
    """A source has more pieces than before."""

    source: str
    pieces: int


@dataclass(frozen=True, slots=True)
class SourceGone:
    """The link to a source ended, or it no longer has the file."""

    source: str


@dataclass(frozen=True, slots=True)
class PieceDone:
    """A piece came, matched its hash and is written. `seconds`: from request to arrival."""

    source: str
    piece: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PieceBad:
    """A piece came and did not match its hash."""

    source: str
    piece: int


@dataclass(frozen=True, slots=True)
class PieceFailed:
    """A source refused a piece (`code` of Refusal), or stayed silent (0)."""

    source: str
    piece: int
    code: int


@dataclass(frozen=True, slots=True)
class PieceLost:
    """A verified piece cannot be read back from disk."""

    piece: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Ask again of all sources (after a pause, or a tick)."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Pieces before `end` may be asked for from now on; for a download with a window."""

    end: int


Event = (
    SourceReady
    | SourceGained
    | SourceGone
    | PieceDone
    | PieceBad
    | PieceFailed
    | PieceLost
    | Resumed
    | Reached
)


@dataclass(frozen=True, slots=True)
class FetchPiece:
    """Ask `source` for all blocks of `piece`."""

    source: str
    piece: int


@dataclass(frozen=True, slots=True)
class Suspend:
    """Use `source` no more for this file; `bad_data` says whether it lied."""

    source: str
    bad_data: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """Every piece is verified."""


Command = FetchPiece | Suspend | Complete
