"""A piece on its way from one source: hashed as it comes. Reading, writing and what follows from a wrong one are not known here."""

from __future__ import annotations

from blake3 import blake3


class Assembly:
    """A piece of `left` octets that should have this hash.

    Withdrawn or settled by another source it is `over` and nothing of it may be written, with one exception: a piece that comes in
    one block (`whole`) is written only when its hash is right, so a late one is as good as any while the piece is missing.
    """

    __slots__ = ("_hash", "_hasher", "good", "left", "over", "unwritten", "whole")

    def __init__(self, left: int, digest: bytes, *, whole: bool) -> None:
        self.left = left
        self.whole = whole
        self.over = False
        self.good = False  # all of it came, and its hash is right
        self.unwritten = 0  # writes under way
        self._hash = digest
        self._hasher = blake3()

    def take(self, payload: memoryview) -> bool | None:
        """The next octets of it. True when they complete the right piece, False a wrong one, None while more is to come."""
        self._hasher.update(payload)
        self.left -= len(payload)
        if self.left:
            return None
        self.good = self._hasher.digest() == self._hash
        return self.good
