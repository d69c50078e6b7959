"""Which piece to ask of a source: the rarest that it has and we want; ties in a seeded random order, or ascending.

Rarity counts only sources that have a part of the file: complete ones add the same to every piece. `_at_least[k]` holds the
pieces that k + 1 or more of them have, each a Python integer as in pieces.py: a source that comes or goes and a choice cost a few
operations on at most 8 KiB for each level, and there are no more levels than sources.
"""

from __future__ import annotations

import random

from p2pd.engine.pieces import lowest


class Picker:
    """Chooses pieces. `rng` breaks ties between pieces of equal rarity."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._count = count
        self._rng = rng
        self._at_least: list[int] = []
        # A single source is read from here on: ascending, as its disk and ours like it, and each downloader elsewhere.
        self._start = rng.randrange(count) if count else 0

    def add(self, bits: int) -> None:
        """A source with these pieces (not all of them) came, or one has these besides."""
        carry = bits
        for level, held in enumerate(self._at_least):
            self._at_least[level] = held | carry
            carry &= held
            if not carry:
                return
        if carry:
            self._at_least.append(carry)

    def discard(self, bits: int) -> None:
        """A source with these pieces left."""
        last = len(self._at_least) - 1
        for level, held in enumerate(self._at_least):
            above = self._at_least[level + 1] if level < last else 0
            self._at_least[level] = held & (~bits | above)
        while self._at_least and not self._at_least[-1]:
            self._at_least.pop()

    def choose(self, candidates: int, *, in_order: bool) -> int | None:
        """One of the rarest pieces in `candidates` (wanted by us, held by the source), or None when there is none.

        `in_order` takes the next ones from a fixed place on: right when nobody else could be served by what we fetch first.
        """
        if not candidates:
            return None
        for held in self._at_least:
            rarest = candidates & ~held
            if rarest:
                candidates = rarest
                break
            # all of them are held by so many; whoever is held by more is not rarer
        start = self._start if in_order else self._rng.randrange(self._count)
        after = candidates >> start
        return start + lowest(after) if after else lowest(candidates)
