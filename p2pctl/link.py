"""A connection to the control socket: connecting, the handshake, messages out and in, each within a time.

The rule: it never waits for a daemon that is not there, and what arrived before the end of a connection is still received. The octets are
`protocol.zmtp`'s. Knows nothing of requests, commands or output. Imports no more than it must: that is paid at each start of p2pctl.
"""

from __future__ import annotations

import time

from protocol.zmtp import Dealer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

PIECE = 1 << 18  # octets received at a time: a page of a list mostly comes in one


class Ended(Exception):
    """The other side closed the connection, or it broke."""


class Late(Exception):
    """The time passed."""


def dial(path: str, seconds: float) -> socket:
    """A blocking connection to a Unix socket. Raises OSError: BlockingIOError when `seconds` passed without a place in its queue."""
    # Not `socket`: its enumerations and selectors take 3 ms, a tenth of a whole run of p2pctl.
    from _socket import AF_UNIX, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET, socket
    from struct import pack

    made = socket(AF_UNIX, SOCK_STREAM)
    try:
        # Not settimeout: it makes the socket non-blocking, and then a full queue is an error at once.
        made.setsockopt(
            SOL_SOCKET, SO_SNDTIMEO, pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        )  # socket(7)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


class Link:
    """A connection that `dial` made. `limit`: octets of the longest message that is received."""

    def __init__(self, connected: socket, limit: int) -> None:
        from select import POLLIN, POLLOUT, poll

        self._in, self._out = POLLIN, POLLOUT
        self._socket = connected
        self._socket.setblocking(False)
        self._poll = poll()
        self._poll.register(connected.fileno(), POLLIN)
        self._dealer = Dealer(limit)
        self._messages: list[bytes] = []
        self._ended = False
        self._flush()

    def shake(self, seconds: float) -> None:
        """The handshake. Raises Late, Ended, or RemoteProtocolError when it is something else that listens there."""
        end = time.monotonic() + seconds
        while not self._dealer.ready:
            self._step(end)
            if self._ended and not self._dealer.ready:
                raise Ended

    def send(self, message: bytes) -> None:
        """Send one message, or as much of it as there is room for now; the rest goes out while messages are received."""
        self._dealer.send(message)
        self._flush()

    def receive(self, seconds: float | None) -> bytes:
        """The next message; None: however long it takes. Raises Late, Ended and RemoteProtocolError."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._messages:
            if self._ended:
                raise Ended
            self._step(end)
        return self._messages.pop(0)

    def ended(self) -> bool:
        """Whether the other side closed the connection, as far as is known without waiting."""
        if not self._ended and self._poll.poll(0):
            self._take()
        return self._ended

    def close(self) -> None:
        self._socket.close()

    def _step(self, end: float | None) -> None:
        """Wait until something can be sent or received, and do it. Raises Late when that is not so before `end`."""
        self._flush()
        if self._ended:
            return
        wait = None if end is None else max(0.0, end - time.monotonic()) * 1000
        self._poll.modify(self._socket.fileno(), self._in | (self._out if self._dealer.outgoing else 0))
        ready = self._poll.poll(wait)
        if not ready:
            raise Late
        if ready[0][1] & ~self._out:
            self._take()

    def _flush(self) -> None:
        """Send what there is room for."""
        outgoing = self._dealer.outgoing
        while outgoing:
            try:
                sent = self._socket.send(outgoing)
            except BlockingIOError:
                return
            except OSError:
                # The other side is gone; what it sent before is still to be received.
                outgoing.clear()
                return
            del outgoing[:sent]

    def _take(self) -> None:
        """Receive what is there."""
        try:
            data = self._socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._messages += self._dealer.feed(data)
        else:
            self._ended = True
