"""When pieces that were written are made durable and recorded: after 64 MiB or a second, one commit at a time.

The rule: what is committed is what was verified and written when it was asked for. The work itself is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pd.net.reactor import Reactor, Timer

SYNC_OCTETS = 64 * 1024 * 1024
SYNC_SECONDS = 1.0


class Commits:
    """`commit(bits)` is called with the pieces to commit; `done(bits)` answers it. On the reactor's thread."""

    def __init__(self, reactor: Reactor, commit: Callable[[int], object], have: int) -> None:
        self._reactor = reactor
        self._commit = commit
        self._have = have
        self._committed = have
        self._dirty = 0  # octets written since the last commit was asked for
        self._under_way = False
        self._timer: Timer | None = None

    def wrote(self, octets: int, have: int) -> None:
        """So much more was written; these pieces are there now."""
        self._dirty += octets
        self._have = have
        if self._dirty >= SYNC_OCTETS:
            self._ask()
        else:
            self._later()

    def done(self, bits: int) -> None:
        """These pieces are durable and recorded."""
        self._under_way = False
        self._committed = bits
        if self._dirty:
            self._later()

    def stop(self) -> None:
        """Asks for nothing more."""
        self._dirty = 0
        self._have = self._committed
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.later(SYNC_SECONDS, self._due)

    def _due(self) -> None:
        self._timer = None
        self._ask()

    def _ask(self) -> None:
        if self._under_way or self._have == self._committed:
            return
        self._under_way = True
        self._dirty = 0
        self._commit(self._have)
