"""One source of one download: what it has, what was asked of it and what is still to be asked.

A piece that is asked of a source is a Job: its blocks are asked in order as credit allows, all of this one source, so that a bad piece has
one sender. Knows nothing of other sources; which pieces are asked of whom is decided in download.py.
"""

from __future__ import annotations

import math

from p2pd.engine.credit import Credit
from protocol.limits import MAX_BLOCK


class Job:
    """A piece asked of one source in blocks of `block` octets."""

    __slots__ = ("asked_at", "block", "came", "length", "next", "open", "piece")

    def __init__(self, piece: int, length: int, block: int) -> None:
        self.piece = piece
        self.asked_at = math.inf  # when the first request was on its way
        self.length = length  # octets of the piece
        self.block = block
        self.next = 0  # the first octet that was not asked for
        self.came = 0  # octets that arrived
        self.open: set[int] = set()  # tickets

    @property
    def whole(self) -> bool:
        """True when it comes as one block: then it is written only when its hash is right."""
        return self.block >= self.length

    @property
    def left(self) -> int:
        """Octets that have not come."""
        return self.length - self.came


class Source:
    """What a download knows of one device."""

    __slots__ = (
        "credit",
        "failures",
        "jobs",
        "longest",
        "name",
        "partial",
        "pieces",
        "probation",
        "troubled_at",
        "wait_until",
    )

    def __init__(
        self, name: str, pieces: int, partial: bool, credit: Credit, longest: int = MAX_BLOCK
    ) -> None:
        self.name = name
        self.pieces = pieces
        self.partial = partial
        self.credit = credit
        self.longest = longest  # octets of a block, by the limits of both ends
        self.jobs: dict[int, Job] = {}  # by piece, in the order in which they were asked
        self.failures = 0  # refusals and time-outs since the last good piece
        self.probation = False  # it was overdue: asked for nothing until it gives something, or owes nothing
        self.wait_until = 0.0  # it said that it is busy
        self.troubled_at = -math.inf  # when that cost it credit

    @property
    def asked(self) -> set[int]:
        """The pieces that are asked of it."""
        return set(self.jobs)

    @property
    def block(self) -> int:
        """Octets to ask for in one request."""
        return min(self.longest, self.credit.block)

    @property
    def queued(self) -> int:
        """Octets asked of it, or about to be, that have not come."""
        return sum(job.left for job in self.jobs.values())

    def unasked(self) -> Job | None:
        """The first piece that has blocks which were not asked for yet."""
        for job in self.jobs.values():
            if job.next < job.length:
                return job
        return None

    def seconds_for(self, octets: int) -> float | None:
        """How long so many octets take at its rate; None when the rate is not known."""
        credit = self.credit
        if not credit.rate:
            return None
        return octets / credit.rate + credit.round_trip

    def silence(self, now: float) -> float:
        """Seconds since it gave something or was asked for the first of what is asked now; 0 when nothing is."""
        for job in self.jobs.values():
            return max(0.0, now - max(self.credit.heard, job.asked_at))
        return 0.0


class Ticket:
    """One request for a block, open until it is answered, whatever became of its piece meanwhile."""

    __slots__ = ("asked_at", "credit", "job", "length", "source")

    def __init__(self, source: Source, job: Job, length: int) -> None:
        self.source = source.name
        self.credit = source.credit
        self.job: Job | None = job  # None: withdrawn
        self.length = length
        self.asked_at = math.inf  # when it was on its way
