"""Which downloaders want to hear of new pieces of what grows here, and the news for them. On the `uploads` reactor.

The rule: a downloader that was told a bitfield is told of every piece that comes after it, soon and in batches; nobody else is told
anything.
"""

from __future__ import annotations

from p2pd.engine.pieces import indexes
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor
from protocol.limits import MAX_ARRAY
from protocol.peer import Have

NEWS_SECONDS = 0.05  # pieces of so long are told together


class Interests:
    """See the module."""

    def __init__(self) -> None:
        self._told: dict[bytes, dict[Conn, int]] = {}  # content -> who -> pieces (bits) that it was told of
        self._bits: dict[bytes, int] = {}  # what there is to tell
        self._timer = False
        self._reactor: Reactor | None = None

    def run_on(self, reactor: Reactor) -> None:
        """Where it works; before the first downloader."""
        self._reactor = reactor

    def add(self, conn: Conn, content_id: bytes, bits: int) -> None:
        """`conn` was just told that these pieces are there."""
        self._told.setdefault(content_id, {})[conn] = bits

    def left(self, conn: Conn) -> None:
        """It is gone."""
        for content_id in list(self._told):
            conns = self._told[content_id]
            conns.pop(conn, None)
            if not conns:
                del self._told[content_id]

    def gained(self, content_id: bytes, bits: int) -> None:
        """These pieces are there now."""
        if content_id not in self._told or self._reactor is None:
            return
        self._bits[content_id] = self._bits.get(content_id, 0) | bits
        if not self._timer:
            self._timer = True
            self._reactor.later(NEWS_SECONDS, self._tell)

    def over(self, content_id: bytes) -> None:
        """It grows no more: there is no more news of it, but what there is goes out."""
        self._tell_of(content_id)
        self._told.pop(content_id, None)

    def _tell(self) -> None:
        self._timer = False
        for content_id in list(self._bits):
            self._tell_of(content_id)

    def _tell_of(self, content_id: bytes) -> None:
        bits = self._bits.pop(content_id, 0)
        for conn, told in list(self._told.get(content_id, {}).items()):
            news = list(indexes(bits & ~told))
            self._told[content_id][conn] = told | bits
            for start in range(0, len(news), MAX_ARRAY):
                conn.send(Have(content_id, news[start : start + MAX_ARRAY]))
