"""Which piece to ask of a source: the rarest that it has and we want; ties in a seeded random order, or ascending.

Rarity counts only sources that have a part of the file: complete ones add the same to every piece. Pieces of equal rarity
form one level, a Python integer as in pieces.py, so a choice costs a few operations on at most 8 KiB.
"""

from __future__ import annotations

import random

from p2pd.engine.pieces import indexes, lowest


class Picker:
    """Chooses pieces. `rng` breaks ties between pieces of equal rarity."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._count = count
        self._rng = rng
        self._rarity = [0] * count
        self._levels: dict[int, int] = {0: (1 << count) - 1} if count else {}

    def add(self, bits: int) -> None:
        """A source with these pieces (not all of them) came."""
        self._shift(bits, 1)

    def discard(self, bits: int) -> None:
        """A source with these pieces left."""
        self._shift(bits, -1)

    def _shift(self, bits: int, step: int) -> None:
        for piece in indexes(bits):
            before = self._rarity[piece]
            after = before + step
            self._rarity[piece] = after
            mask = 1 << piece
            remaining = self._levels[before] & ~mask
            if remaining:
                self._levels[before] = remaining
            else:
                del self._levels[before]
            self._levels[after] = self._levels.get(after, 0) | mask

    def choose(self, candidates: int, *, in_order: bool) -> int | None:
        """One of the pieces in `candidates` (wanted by us, held by the source), or None when there is none.

        `in_order` takes the lowest of the rarest: right when nobody else could be served by what we fetch first.
        """
        if not candidates:
            return None
        for level in sorted(self._levels):
            rarest = self._levels[level] & candidates
            if rarest:
                if in_order:
                    return lowest(rarest)
                start = self._rng.randrange(self._count)
                after = rarest >> start
                return start + lowest(after) if after else lowest(rarest)
        return None
