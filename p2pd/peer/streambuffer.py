"""The pieces of a stream that are verified and not sent yet, in memory: written by the `downloads` reactor, read by the stream's thread.

The rule: a window of so many pieces from the first that is not sent, each in a buffer that is used again; what does not fit the window
is not kept, so the memory is bounded whatever the file and however slow its reader.
"""

from __future__ import annotations

import threading

from protocol.limits import MIB
from protocol.manifest import Manifest

WINDOW = 64 * MIB  # as much as one source may have outstanding at it
PIECES_MIN = 4


def window_of(manifest: Manifest) -> int:
    """How many pieces are held at most."""
    return max(PIECES_MIN, WINDOW // manifest.piece_size)


class StreamBuffer:
    """See the module. `first` is the first piece that is not sent."""

    def __init__(self, manifest: Manifest, first: int) -> None:
        self._manifest = manifest
        self._window = window_of(manifest)
        self._next = first
        self._ready: set[int] = set()
        self._slots: dict[int, bytearray] = {}
        self._changed = threading.Condition()

    # -- the reactor --------------------------------------------------------------------------------------

    def write(self, offset: int, data: memoryview) -> None:
        """Keeps octets of a piece within the window; others are dropped. See driver.Sink."""
        piece = offset // self._manifest.piece_size
        with self._changed:
            if piece in self._ready or not self._next <= piece < self._next + self._window:
                return
        at = offset - self._manifest.piece_offset(piece)
        self._slot(piece)[at : at + len(data)] = data

    def ready(self, piece: int) -> None:
        """This piece is whole and verified."""
        with self._changed:
            self._ready.add(piece)
            self._changed.notify_all()

    def _slot(self, piece: int) -> memoryview:
        number = piece % self._window
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = bytearray(min(self._manifest.piece_size, self._manifest.size))
        return memoryview(slot)

    # -- the stream's thread ------------------------------------------------------------------------------

    def take(self, piece: int, seconds: float) -> memoryview | None:
        """The octets of this piece, which is the first that is not sent; None when it does not come within `seconds`."""
        with self._changed:
            if not self._changed.wait_for(lambda: piece in self._ready, seconds):
                return None
        return self._slot(piece)[: self._manifest.piece_length(piece)]

    def release(self, piece: int) -> int:
        """It is sent, and its buffer free. The first piece beyond the window now."""
        with self._changed:
            self._ready.discard(piece)
            self._next = piece + 1
            return min(self._manifest.count, self._next + self._window)

    def close(self) -> None:
        """Nothing is kept from now on."""
        with self._changed:
            self._next = self._manifest.count
            self._slots.clear()
