"""Puts the blocks of one download where they belong, in threads that wait for the disk. Called on the `downloads` reactor.

The rule: writes of one piece happen in the order of these calls, so what a source that was given up has sent never comes to lie over what
the next one sent; and no more than MAX_UNWRITTEN blocks wait: then the caller waits too, and TCP tells the senders.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from p2pd.net.reactor import Reactor
from p2pd.storage.root import StorageError, StorageFailed

MAX_UNWRITTEN = 12
WRITE_HERE = 256 * 1024  # fewer octets are in the page cache sooner than handed to another thread

Release = Callable[[], None]


class Sink(Protocol):
    """Where octets go: the part file, or the buffer of a stream."""

    def write(self, offset: int, data: memoryview, /) -> None:
        """Puts all of `data` at `offset` of the file; in any thread, in order for each piece. Raises StorageError."""


class Writer:
    """See the module."""

    def __init__(self, reactor: Reactor, sink: Sink) -> None:
        self._reactor = reactor
        self._sink = sink
        self._waiting: deque[Future[None]] = deque()
        self._pieces: Counter[int] = Counter()  # writes under way of each

    def write(
        self,
        piece: int,
        offset: int,
        data: memoryview,
        verified: bool,
        keep: Callable[[], Release],
        then: Callable[[StorageError | None], object],
    ) -> None:
        """Puts `data` at `offset` of the file, then calls `then(error)` on the reactor's thread: before this returns when little is to be
        written. `keep` makes `data` stay as it is beyond this call; `verified` says that it is all of a right piece.
        """
        put = partial(self._sink.write, offset, data)
        # What is not known to be right must not pass what is: it goes behind the writes of its piece.
        if verified and len(data) < WRITE_HERE and piece not in self._pieces:
            try:
                put()
            except StorageError as error:
                then(error)
            else:
                then(None)
            return
        self._pieces[piece] += 1
        work = partial(_finally, put, keep())
        self._waiting.append(self._reactor.in_order(piece, work, partial(self._written, piece, then)))
        if len(self._waiting) > MAX_UNWRITTEN:
            self._waiting.popleft().result()

    def under_way(self) -> list[Future[None]]:
        """The writes that are not done yet."""
        return [waiting for waiting in self._waiting if not waiting.done()]

    def _written(
        self,
        piece: int,
        then: Callable[[StorageError | None], object],
        _: None,
        error: BaseException | None,
    ) -> None:
        self._pieces -= Counter((piece,))
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if error is not None and not isinstance(error, StorageError):
            error = StorageFailed(str(error))
        then(error)


def _finally(work: Callable[[], None], release: Release) -> None:
    """Does it, and gives the buffer back at once: the reactor may have more to go through before it hears of it."""
    try:
        work()
    finally:
        release()
