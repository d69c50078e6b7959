"""Whom a driver works for: what it tells."""

from __future__ import annotations

from collections.abc import Callable

from p2pd.peer.links import Peer
from p2pd.storage.root import StorageError


class Owner:
    """What a driver tells; each is called on the reactor's thread and must not block."""

    def __init__(
        self,
        complete: Callable[[], object],
        failed: Callable[[StorageError], object],
        lost: Callable[[Peer, str], object],
        gave: Callable[[Peer], object],
        commit: Callable[[int], object],
        piece: Callable[[int], object] | None = None,
    ) -> None:
        self.complete = complete  # every piece is verified and written
        self.failed = failed  # the disk refused; the driver has stopped
        self.lost = lost  # a source is used no more, and why
        self.gave = gave  # a source gave its first piece
        self.piece = piece  # this piece is verified and written, for those who want to know each
        self.commit = commit  # make durable and record these pieces (bits); answer with Driver.committed
