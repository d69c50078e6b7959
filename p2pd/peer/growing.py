"""What a download has so far, as it is served to others while it grows: verified pieces, read from its part file.

The rule: a piece is in `bits` only after it matched its hash and was written, so nothing else is ever read here. The descriptor is
its own: the file may get its name, and the part file be closed, in the middle of a read, and the same octets are served on until the
finished file takes over. Written by the downloads reactor, read by the uploads reactor, ended by the main thread.
"""

from __future__ import annotations

import os
import threading

from protocol.bitfield import Bitfield
from protocol.manifest import Manifest


class Growing:
    """See the module. Takes over `fd`; `have` are the pieces (bits) that are good from the start."""

    def __init__(self, manifest: Manifest, fd: int, have: int) -> None:
        self.content_id = manifest.content_id
        self.bits = have  # replaced whole: a reader sees a piece or does not
        self._manifest = manifest
        self._fd = fd
        self._lock = threading.Lock()
        self._closed = False

    @property
    def complete(self) -> bool:
        """Whether every piece is there."""
        return self.bits == (1 << self._manifest.count) - 1

    @property
    def bitfield(self) -> bytes:
        """The pieces, for the wire."""
        return Bitfield.from_bits(self._manifest.count, self.bits).to_bytes()

    @property
    def octets(self) -> bytes:
        """The canonical manifest."""
        return self._manifest.encode()

    def add(self, piece: int) -> None:
        """This piece is verified and written. One thread only."""
        self.bits |= 1 << piece

    def within(self, piece: int, offset: int, length: int) -> bool:
        """Whether these octets of a piece exist."""
        manifest = self._manifest
        return piece < manifest.count and offset + length <= manifest.piece_length(piece)

    def has(self, piece: int) -> bool:
        """Whether this piece may be served."""
        return bool(self.bits >> piece & 1)

    def read_into(self, piece: int, offset: int, view: memoryview) -> bool:
        """Fills `view` from a piece that is there; False when it cannot be read (any more)."""
        start = self._manifest.piece_offset(piece) + offset
        with self._lock:
            if self._closed:
                return False
            try:
                done = 0
                while done < len(view):
                    count = os.preadv(self._fd, [view[done:]], start + done)
                    if count == 0:
                        return False
                    done += count
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Serves nothing more. May be called twice, in any thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._fd)
