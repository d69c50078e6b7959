"""What downloads under way give to others: each has an entry in the catalogue while it grows, and the swarm is told. On the event loop.

The rule: an entry is there from the opened part file until the finished file is served in its place, or until the try of the
download ends; what reads it ends with it. Only `piece` may be called on another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pd.peer.catalogue import Catalogue
from p2pd.peer.growing import Growing
from p2pd.storage.partfile import PartFile
from protocol.manifest import Manifest

TELL_SECONDS = 0.3  # a download that is over sooner is nothing to tell trackers of


class Swarming:
    """See the module. `gained(content_id, bits)` and `over(content_id)` reach those who showed interest, from any thread;
    `changed()` tells the trackers what is fetched."""

    def __init__(
        self,
        catalogue: Catalogue,
        gained: Callable[[bytes, int], object],
        over: Callable[[bytes], object],
        changed: Callable[[], object],
    ) -> None:
        self._catalogue = catalogue
        self._gained = gained
        self._over = over
        self._changed = changed
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, part: PartFile, manifest: Manifest, have: int) -> Growing | None:
        """Serves the pieces of a download from now on. None when there is nothing to gain by it: one piece, or served already."""
        if manifest.count < 2:
            return None
        growing = Growing(manifest, part.duplicate(), have)
        if not self._catalogue.grow(growing):
            growing.close()
            return None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)
        return growing

    def piece(self, growing: Growing, piece: int) -> None:
        """One more piece is verified and written. On the thread that verifies."""
        growing.add(piece)
        self._gained(growing.content_id, 1 << piece)

    def end(self, growing: Growing) -> None:
        """Serves it no more from the part file."""
        self._catalogue.ungrow(growing)
        self._over(growing.content_id)
        growing.close()
        if self._told:
            self._tell()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        fetched = bool(self._catalogue.fetched)
        if fetched or self._told:
            self._told = fetched
            self._changed()
