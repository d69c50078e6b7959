"""What downloaders asked for and have not been given: who is next, and when. On the `uploads` reactor; knows no files and no records.

The rule: fair between downloaders by octets (engine/turns.py), at most SLOTS of them served at a time, and nothing is read or sealed
before the upload limit lets it go (engine/ratelimit.py).
"""

from __future__ import annotations

from collections.abc import Callable

from p2pd.engine.ratelimit import TokenBucket, block_under
from p2pd.engine.turns import Turns
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor, Timer
from protocol import limits
from protocol.errors import Refusal
from protocol.frames import Feature
from protocol.lanes import STEP
from protocol.peer import GetBlock, GetContents, GetManifest, Pace, Refused

SLOTS = 8  # downloaders served at a time: more would all wait longer for their first whole piece
LUMP = 4  # times the length that is asked for: less is not worth asking again

Bulk = GetBlock | GetManifest | GetContents


class UploadQueue:
    """See the module. `serve(conn, request)` is called once for each request whose turn has come, and says how many octets of
    files went: a manifest or a refusal is none."""

    def __init__(self, serve: Callable[[Conn, Bulk], int]) -> None:
        self._serve = serve
        self._turns: Turns[Conn, Bulk] = Turns(SLOTS)
        self._conns: dict[Conn, None] = {}
        self._bucket = TokenBucket()
        self._timer: Timer | None = None
        self._reactor: Reactor | None = None

    def run_on(self, reactor: Reactor) -> None:
        """Where it works; before the first request."""
        self._reactor = reactor

    def __len__(self) -> int:
        """Downloaders that wait for something."""
        return len(self._turns)

    # -- limit --------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """Octets a second; 0: none."""
        return self._bucket.rate

    def set_limit(self, rate: int) -> None:
        """Another limit, from now on. On the reactor's thread, or before it runs."""
        before = block_under(self._bucket.rate)
        self._bucket.set_rate(rate, self._reactor.clock() if self._reactor is not None else 0.0)
        longest = block_under(rate)
        if longest != before:
            for conn in self._conns:
                self._pace(conn)
                # What was asked for in long blocks before would come in lumps: let it be asked for again.
                for late in self._turns.remove(conn, lambda request: _longer(request, LUMP * longest)):
                    conn.send(Refused(late.req, Refusal.LIMIT, 1))
        if self._timer is not None:
            self._timer.cancel()
            self._wake()

    def _pace(self, conn: Conn) -> None:
        if conn.info.features & Feature.PACE:
            conn.send(Pace(block_under(self._bucket.rate)))

    # -- downloaders --------------------------------------------------------------------------------------

    def came(self, conn: Conn) -> None:
        """A downloader: under a limit it is told before its first answer how long its blocks should be."""
        self._conns[conn] = None
        if self._bucket.rate:
            self._pace(conn)

    def left(self, conn: Conn) -> None:
        """It is gone, and what it waited for is forgotten."""
        self._conns.pop(conn, None)
        self._turns.leave(conn)

    def add(self, conn: Conn, request: Bulk) -> bool:
        """One more request; False when this downloader has as many as it may."""
        if self._turns.waiting(conn) >= limits.MAX_OUTSTANDING_BLOCKS:
            return False
        self._turns.add(conn, request)
        self.work()
        return True

    def withdraw(self, conn: Conn, unwanted: Callable[[Bulk], bool]) -> list[Bulk]:
        """Takes out requests of a downloader; in order."""
        return self._turns.remove(conn, unwanted)

    # -- serving ------------------------------------------------------------------------------------------

    def work(self) -> None:
        """There may be something to do: a new request, or room in a queue that was full."""
        if self._reactor is not None and self._timer is None and len(self._turns):
            self._reactor.add_work(self.step)

    def step(self) -> bool:
        """Serves a few requests, which are sealed together. True while there is more to do."""
        return all(self._one() for _ in range(STEP))

    def _one(self) -> bool:
        """Serves one request. True while there is more to do."""
        assert self._reactor is not None
        now = self._reactor.clock()
        if wait := self._bucket.wait(now):
            if self._timer is None:
                self._timer = self._reactor.later(wait, self._wake)
            return False
        found = self._turns.next(now, _ready)
        if found is None:
            return False  # a blocked one comes back through work()
        conn, request = found
        octets = self._serve(conn, request)
        self._turns.charge(conn, octets)
        self._bucket.take(octets, now)
        return bool(len(self._turns))

    def _wake(self) -> None:
        self._timer = None
        self.work()


def _longer(request: Bulk, octets: int) -> bool:
    return isinstance(request, GetBlock) and request.length > octets


def _ready(conn: Conn) -> bool:
    return not conn.blocked
