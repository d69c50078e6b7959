"""Page-aligned buffers that are used again: a new megabyte for each block would be mapped, faulted in and unmapped each time.

The rule: a buffer is with exactly one holder: the pool, whoever took it, or libzmq. What libzmq holds comes back by itself, when the
view that was given to it dies (pyzmq keeps it alive until the octets are in the kernel). `give` may be called on any thread.
"""

from __future__ import annotations

import mmap
import sys
import weakref
from collections import deque

PAGE = 4096  # alignment that unbuffered writes need: at least the logical block of any usual disk


def _memory(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # Not shared, which is mmap's default and makes each page a file's, several times as dear to touch first.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Buffers:
    """Buffers of `size` octets; at most `spare` are kept while nobody needs them."""

    def __init__(self, size: int, spare: int) -> None:
        self.size = -(-size // PAGE) * PAGE
        self._spare = spare
        self._free: deque[memoryview] = deque()
        self._lent: dict[int, tuple[weakref.ref[memoryview], memoryview]] = {}

    @property
    def lent(self) -> int:
        """Buffers that libzmq still reads."""
        return len(self._lent)

    def take(self) -> memoryview:
        """A writable buffer, its octets anything. The one used last comes first: its pages are warm."""
        try:
            return self._free.pop()
        except IndexError:
            return memoryview(_memory(self.size))

    def give(self, buffer: memoryview) -> None:
        """Takes back a whole buffer that `take` gave out."""
        if len(self._free) < self._spare:
            self._free.append(buffer)

    def lend(self, buffer: memoryview, octets: int) -> memoryview:
        """The first octets of a buffer, to be sent without a copy; the buffer is given back when the view is gone."""
        view = buffer[:octets]
        reference = weakref.ref(view, self._ended)
        self._lent[id(reference)] = (reference, buffer)
        return view

    def _ended(self, reference: weakref.ref[memoryview]) -> None:
        self.give(self._lent.pop(id(reference))[1])
