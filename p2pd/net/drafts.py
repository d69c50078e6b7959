"""Messages with bulk that are sealed several at a time, where they lie.

The rule: a payload is written once, into the buffer that libzmq will send from. A draft that was sent is sealed together with others, at
the latest when the reactor has nothing else to do, and before anything that is sent after it. All on the reactor's thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from p2pd.net.buffers import Buffers
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor
from protocol import limits
from protocol.errors import LocalProtocolError
from protocol.fernet import Sealing, seal_all
from protocol.lanes import STEP
from protocol.records import payload_at, record_size

log = logging.getLogger("p2pd.net.drafts")

COPY_BELOW = 64 * limits.KIB  # pyzmq's own threshold: under it a copy costs less than lending a buffer


class Laid(NamedTuple):
    """A record that is not sealed yet."""

    conn: Conn
    sealing: Sealing
    buffer: memoryview
    record: int  # its octets


class SealedDraft:
    """See Draft in conn.py."""

    __slots__ = ("_buffer", "_conn", "_drafts", "_header", "_octets", "payload")

    def __init__(self, drafts: Drafts, conn: Conn, header: bytes, octets: int) -> None:
        self._drafts, self._conn, self._header, self._octets = drafts, conn, header, octets
        self._buffer = drafts.room(record_size(len(header), octets))
        at = payload_at(len(header))
        self.payload = self._buffer[at : at + octets]

    def send(self) -> None:
        """See Draft."""
        self._drafts.sent(self._conn, self._header, self._octets, self._buffer)

    def drop(self) -> None:
        """See Draft."""
        self._drafts.give(self._buffer)


class Drafts:
    """See the module. `transmit(conn, record)` sends, and does not flush; `ready(conn, now)` does what comes before a record
    of the session is made."""

    def __init__(
        self,
        reactor: Reactor,
        buffers: Buffers,
        transmit: Callable[[Conn, memoryview], object],
        ready: Callable[[Conn, float], object],
    ) -> None:
        self._reactor = reactor
        self._buffers = buffers
        self._transmit = transmit
        self._ready = ready
        self._laid: list[Laid] = []
        self._sealed: deque[Laid] = deque()  # empty but while they are sent

    def room(self, record: int) -> memoryview:
        """A buffer for a record of so many octets. Raises LocalProtocolError when no record may be so long."""
        if record < COPY_BELOW:
            return memoryview(bytearray(record))
        if record > self._buffers.size:
            raise LocalProtocolError("record too long")
        return self._buffers.take()

    def give(self, buffer: memoryview) -> None:
        """Takes back what `room` gave."""
        if len(buffer) == self._buffers.size:
            self._buffers.give(buffer)

    def sent(self, conn: Conn, header: bytes, octets: int, buffer: memoryview) -> None:
        """The payload is where it belongs. Raises LocalProtocolError when the session cannot send it."""
        session = conn.session
        if conn.closed or session is None:
            self.give(buffer)
            return
        now = self._reactor.clock()
        try:
            self._ready(conn, now)
            sealing = session.lay(buffer, header, octets, now)
        except BaseException:
            self.give(buffer)
            raise
        self._laid.append(Laid(conn, sealing, buffer, record_size(len(header), octets)))
        if len(self._laid) >= STEP:
            self.flush()
        else:
            self._reactor.add_work(self._flush_at_leisure)

    def flush(self) -> None:
        """Seals and sends what waits, in order. Sending may end a connection, and what is told of that may send to others: it comes here
        again before it does, and finds what is not sent yet."""
        if not self._laid and not self._sealed:
            return
        laid, self._laid = self._laid, []
        try:
            seal_all([each.sealing for each in laid])
        except Exception:
            log.exception("! records could not be sealed")
            for each in laid:  # their numbers are used up, so nothing can follow
                self.give(each.buffer)
                each.conn.close("internal error")
            return
        self._sealed.extend(laid)
        while self._sealed:
            self._send(self._sealed.popleft())

    def _send(self, laid: Laid) -> None:
        conn, _, buffer, record = laid
        if conn.closed:
            self.give(buffer)
            return
        try:
            self._transmit(conn, buffer if record < COPY_BELOW else self._buffers.lend(buffer, record))
        except Exception:  # a fault of ours with this one; the others can go on
            log.exception("! %s: a record could not be sent", conn)
            conn.close("internal error")

    def _flush_at_leisure(self) -> bool:
        self.flush()
        return False
