"""What this device serves right now, by content id: the one table that the upload thread reads and the main thread writes.

An entry is replaced whole, never changed, so that a reader sees either the old or the new one without a lock. Files of folders
are not entries: there may be 100,000 of them, so they are looked up in the state when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.peer.growing import Growing
from p2pd.storage.hashing import Stamp


@dataclass(frozen=True, slots=True)
class Served:
    """One content that can be served from a file in place."""

    content_id: bytes
    share_id: int  # minus the folder's id for a file of a folder
    path: str
    stamp: Stamp
    size: int
    piece_size: int
    count: int

    def piece_length(self, piece: int) -> int:
        """Octets of a piece; the last one may be short."""
        return min(self.piece_size, self.size - piece * self.piece_size)


class Catalogue:
    """Content id -> Served. `load_manifest(content_id)` reads canonical octets from the state, `load_member(content_id)` finds
    a file of a folder there, `is_folder(content_id)` knows whether a folder is this collection. All may be called in any thread."""

    def __init__(
        self,
        load_manifest: Callable[[bytes], bytes | None],
        load_member: Callable[[bytes], Served | None] = lambda content_id: None,
        is_folder: Callable[[bytes], bool] = lambda content_id: False,
    ) -> None:
        self._served: dict[bytes, Served] = {}
        self._load_manifest = load_manifest
        self._load_member = load_member
        self._is_folder = is_folder
        self._growing: dict[bytes, Growing] = {}
        self._last = (b"", b"")  # a long collection is asked for in many parts

    def find(self, content_id: bytes) -> Served | None:
        """The file that is served under this id."""
        return self._served.get(content_id) or self._load_member(content_id)

    def growing(self, content_id: bytes) -> Growing | None:
        """What a download under way has of this, unless a whole file is served."""
        return None if content_id in self._served else self._growing.get(content_id)

    def grow(self, growing: Growing) -> bool:
        """Serve what it has from now on; False when another download of the same content is served already."""
        return self._growing.setdefault(growing.content_id, growing) is growing

    def ungrow(self, growing: Growing) -> None:
        """Serve it no more."""
        if self._growing.get(growing.content_id) is growing:
            del self._growing[growing.content_id]

    @property
    def fetched(self) -> list[bytes]:
        """The contents of which parts are served."""
        return list(self._growing)

    def holds(self, content_id: bytes) -> bool:
        """Whether a file or a folder is served under this id."""
        return self.find(content_id) is not None or self._is_folder(content_id)

    def put(self, served: Served) -> None:
        """Serve this from now on."""
        self._served[served.content_id] = served

    def remove(self, content_id: bytes, share_id: int) -> None:
        """Serve it no more, if it is still this share that serves it."""
        served = self._served.get(content_id)
        if served is not None and served.share_id == share_id:
            del self._served[content_id]

    def manifest(self, content_id: bytes) -> bytes | None:
        """The canonical manifest, or collection, of something that is served."""
        growing = self.growing(content_id)
        if growing is not None:
            return growing.octets
        if not self.holds(content_id):
            return None
        known, octets = self._last
        if known != content_id:
            octets = self._load_manifest(content_id) or b""
            self._last = (content_id, octets)
        return octets or None

    def __len__(self) -> int:
        return len(self._served)
