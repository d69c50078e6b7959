"""Where opened records land: one plaintext buffer for all links of a thread, aligned so that a payload can go to the disk as it is.

The rule: what was opened is valid until the next record is opened, unless somebody keeps it; then the next lands in another buffer.
All on the reactor's thread, but for giving a kept buffer back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pd.net.buffers import PAGE, Buffers
from protocol import limits
from protocol.session import PLAIN_HEAD, Opened

SPARE = 16  # buffers kept for the next blocks: as many as wait for a disk at a time (p2pd/peer/writer.py), and some


class PlainBuffer:
    """See the module."""

    def __init__(self) -> None:
        self._pool = Buffers(PAGE + limits.MAX_DIALER_FRAME + 64, SPARE)
        self._buffer = self._pool.take()
        self._header = 0

    def room(self) -> memoryview:
        """Where the next record is to be opened: so that a payload behind a header as long as the last one begins a page."""
        return self._buffer[PAGE - PLAIN_HEAD - self._header :]

    def opened(self, event: Opened) -> None:
        """A record was opened into `room()`."""
        if len(event.payload) >= PAGE:
            self._header = min(len(event.header), PAGE - PLAIN_HEAD)

    def keep(self) -> Callable[[], None]:
        """What was opened last stays as it is until the answered function is called, on any thread."""
        kept, self._buffer = self._buffer, self._pool.take()
        return partial(self._pool.give, kept)
