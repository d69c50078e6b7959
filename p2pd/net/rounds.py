"""Everything in turn: a look at thousands of things, a few at a time, so that no single look takes long.

Pure. What comes during a round is looked at in the next one; what goes may still be named, so the caller checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Rounds(Generic[T]):
    """Rounds over what `everything()` answers at the beginning of each."""

    def __init__(self, everything: Callable[[], Iterable[T]]) -> None:
        self._everything = everything
        self._left: list[T] = []
        self._share = 0

    @property
    def under_way(self) -> bool:
        """Whether a round has begun and is not over."""
        return bool(self._left)

    def take(self, most: int) -> list[T]:
        """The next ones, at most so many; a new round begins when the last one is over."""
        if not self._left:
            self._left = list(self._everything())
        taken, self._left = self._left[-most:], self._left[:-most]
        return taken

    def part(self, parts: int) -> list[T]:
        """The next ones, so that `parts` calls make a round."""
        if not self._left:
            self._left = list(self._everything())
            self._share = max(1, -(-len(self._left) // parts))
        return self.take(self._share) if self._left else []
