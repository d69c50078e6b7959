"""Which piece to ask of a second source when nothing else is left to ask of it: the one that its owner would deliver last.

A copy costs octets, so it is asked for only when it is likely to come in half the time, of pieces in one block (what comes in parts is
written as it comes, by one source at a time), and of one further source. Pure; the caller does the asking.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from p2pd.engine.source import Source
from protocol.limits import MAX_BLOCK

COPIES = 2  # sources that are asked for the same piece at a time
GAIN = 2.0  # how much sooner the copy must come
GAIN_MIN = 0.25  # seconds: what comes by itself so soon is waited for
LUMP = 4  # a copy may be so many times longer than blocks should be under a limit
UNKNOWN_SECONDS = 1.0  # what a source of unknown rate is believed to need at least


def latest(
    idle: Source, sources: Iterable[Source], in_flight: dict[int, set[str]], length: int, now: float
) -> int | None:
    """The piece that `idle` should be asked for too, or None. `length`: octets of a piece."""
    if length > MAX_BLOCK or length > LUMP * idle.longest:
        return None
    ours = idle.seconds_for(idle.queued + length)
    best, worst = None, max(GAIN_MIN, GAIN * (UNKNOWN_SECONDS if ours is None else ours))
    for owner in sources:
        if owner is idle:
            continue
        ahead = 0
        silence = owner.silence(now)
        for piece, job in owner.jobs.items():
            ahead += job.left
            if not job.left:
                continue  # here, and being written
            if not idle.pieces >> piece & 1 or piece in idle.jobs or len(in_flight[piece]) >= COPIES:
                continue
            # Of unknown rate, and silent: as long as it is silent already. On probation: perhaps never.
            theirs = math.inf if owner.probation else max(owner.seconds_for(ahead) or 0.0, silence)
            if theirs > worst:
                best, worst = piece, theirs
    return best
