"""What this device serves right now, by content id: the one table that the upload thread reads and the main thread writes.

An entry is replaced whole, never changed, so that a reader sees either the old or the new one without a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.storage.hashing import Stamp


@dataclass(frozen=True, slots=True)
class Served:
    """One content that can be served from a file in place."""

    content_id: bytes
    share_id: int
    path: str
    stamp: Stamp
    size: int
    piece_size: int
    count: int

    def piece_length(self, piece: int) -> int:
        """Octets of a piece; the last one may be short."""
        return min(self.piece_size, self.size - piece * self.piece_size)


class Catalogue:
    """Content id -> Served. `load_manifest(content_id)` reads canonical manifest octets from the state."""

    def __init__(self, load_manifest: Callable[[bytes], bytes | None]) -> None:
        self._served: dict[bytes, Served] = {}
        self._load_manifest = load_manifest

    def find(self, content_id: bytes) -> Served | None:
        """What is served under this id."""
        return self._served.get(content_id)

    def put(self, served: Served) -> None:
        """Serve this from now on."""
        self._served[served.content_id] = served

    def remove(self, content_id: bytes, share_id: int) -> None:
        """Serve it no more, if it is still this share that serves it."""
        served = self._served.get(content_id)
        if served is not None and served.share_id == share_id:
            del self._served[content_id]

    def manifest(self, content_id: bytes) -> bytes | None:
        """The canonical manifest of something that is served."""
        return self._load_manifest(content_id) if content_id in self._served else None

    def __len__(self) -> int:
        return len(self._served)
