"""The pieces of a file that is on our own disk already, for a stream: read in order, verified, one buffer.

The rule: octets that do not match their hash go nowhere. Files are tried one after the other; when none is good, `failed(piece)` is
called once, from the thread that asked, and whoever knows other sources goes on from there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence

from blake3 import blake3

from p2pd.storage.hashing import open_shared
from protocol.display import safe
from protocol.errors import Fault
from protocol.manifest import Manifest, blocks

log = logging.getLogger("p2pd.peer.localpieces")


class LocalPieces:
    """See the module. For one thread, but for `failed`."""

    def __init__(self, paths: Sequence[str], manifest: Manifest, failed: Callable[[int], object]) -> None:
        self._paths = list(paths)
        self._manifest = manifest
        self._failed = failed
        self._told = False
        self._never = threading.Event()
        self._fd = -1
        self._buffer = memoryview(bytearray(min(manifest.piece_size, manifest.size)))

    def take(self, piece: int, seconds: float) -> memoryview | None:
        """The octets of this piece; None when no file has them, then after `seconds` if that is known already."""
        while self._paths:
            if (view := self._read(piece)) is not None:
                return view
            log.info("= %s is not what it was: its octets come from elsewhere", safe(self._paths[0]))
            self.close()
            del self._paths[0]
        if self._told:
            self._never.wait(seconds)
        else:
            self._told = True
            self._failed(piece)
        return None

    def release(self, piece: int) -> int:
        """See StreamBuffer; every piece may be asked for here."""
        return self._manifest.count

    def close(self) -> None:
        """Lets the file go."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read(self, piece: int) -> memoryview | None:
        start, hasher = self._manifest.piece_offset(piece), blake3()
        view = self._buffer[: self._manifest.piece_length(piece)]
        try:
            if self._fd < 0:
                self._fd, _ = open_shared(self._paths[0])
            for offset, length in blocks(len(view)):
                block = view[offset : offset + length]
                if os.preadv(self._fd, [block], start + offset) != length:
                    return None
                hasher.update(block)
        except (OSError, Fault):
            return None
        return view if hasher.digest() == self._manifest.piece_hash(piece) else None
