"""Where opened records land: one plaintext buffer for all links of a thread, aligned so that a payload can go to the disk as it is.

The rule: what was opened is valid until the next record has its turn, unless somebody keeps it; then the next lands in another buffer.
Records that are opened together, before their turns come, land in a buffer each.
All on the reactor's thread, but for giving a kept buffer back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from p2pd.net.buffers import PAGE, Buffers
from protocol import limits
from protocol.records import PLAIN_HEAD
from protocol.session import Opened

SPARE = 16  # buffers kept for the next blocks: as many as wait for a disk at a time (p2pd/peer/writer.py), and some


class PlainBuffer:
    """See the module."""

    def __init__(self) -> None:
        self._pool = Buffers(PAGE + limits.MAX_DIALER_FRAME + 64, SPARE)
        self._buffers = deque([self._pool.take()])  # the first is of the record whose turn it is
        self._header = 0

    def room(self) -> memoryview:
        """Where the next record is to be opened: so that a payload behind a header as long as the last one begins a page."""
        return self._buffers[0][self._start :]

    def rooms(self, count: int) -> list[memoryview]:
        """As `room`, for the next records together. `turn` comes between one and the next."""
        while len(self._buffers) < count:
            self._buffers.append(self._pool.take())
        return [self._buffers[at][self._start :] for at in range(count)]

    def turn(self) -> None:
        """It is the turn of the next of those that were opened together."""
        if len(self._buffers) > 1:
            self._pool.give(self._buffers.popleft())

    @property
    def _start(self) -> int:
        return PAGE - PLAIN_HEAD - self._header

    def opened(self, event: Opened) -> None:
        """A record was opened into `room()`."""
        if len(event.payload) >= PAGE:
            self._header = min(len(event.header), PAGE - PLAIN_HEAD)

    def keep(self) -> Callable[[], None]:
        """What was opened last stays as it is until the answered function is called, on any thread."""
        kept, self._buffers[0] = self._buffers[0], self._pool.take()
        return partial(self._pool.give, kept)
