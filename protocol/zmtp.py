"""ZMTP 3.1 (ZeroMQ RFC 37) as far as a client of the control socket needs it: a DEALER, the NULL mechanism, messages of one frame.

The rule: pure, octets in and messages out; the length of a frame is checked before its octets are waited for, and before the handshake is
over hardly any are taken. Why p2pctl does not use libzmq for this: docs/decisions/0021. Knows nothing of what messages say.
"""

from __future__ import annotations

from protocol.errors import LocalProtocolError, RemoteProtocolError

SIGNATURE = b"\xff\0\0\0\0\0\0\0\0\x7f"
GREETING = SIGNATURE + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""signature, version 3.1, mechanism, as-server 0, filler (RFC 37, "The ZMTP Frame and Greeting")."""

MORE, LONG, COMMAND = 1, 2, 4  # bits of a frame's first octet; the others are reserved
MAX_COMMAND = 512  # octets: READY has two properties of some octets, PING 18
MAX_SHORT = 255
PEERS = frozenset({b"ROUTER", b"REP", b"DEALER"})
"""Socket types that a DEALER may speak with (RFC 28)."""


class Dealer:
    """One connection's state machine. `outgoing` holds what is to be sent; the caller deletes what it has sent.

    `limit`: octets of the longest message that is taken.
    """

    def __init__(self, limit: int) -> None:
        self.outgoing = bytearray(
            GREETING + _command(b"READY", _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""))
        )
        self.ready = False
        """Whether the handshake is over: messages may be sent."""
        self._limit = limit
        self._greeted = False
        self._received = bytearray()

    def send(self, message: bytes) -> None:
        """Queue one message. Raises LocalProtocolError before the handshake is over."""
        if not self.ready:
            raise LocalProtocolError("a message before the handshake")
        self.outgoing += _frame(0, message)

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets as they came; returns the messages that are complete with them, in order.

        Raises RemoteProtocolError for what is not ZMTP 3 or not allowed here; nothing can be fed after that.
        """
        self._received += data
        messages: list[bytes] = []
        if not self._greeted and not self._greet():
            return messages
        while (frame := self._next()) is not None:
            flags, body = frame
            if flags & COMMAND:
                self._obey(body)
            else:
                messages.append(body)
        return messages

    def _greet(self) -> bool:
        """Whether the other side's greeting is here. Octets 1 to 8 of it may be anything."""
        got = self._received
        if got and (got[0] != SIGNATURE[0] or (len(got) > 9 and got[9] != SIGNATURE[9])):
            raise RemoteProtocolError("this is no ZeroMQ")
        if len(got) > 10 and got[10] < 3:
            raise RemoteProtocolError("a ZMTP before version 3")
        if len(got) < len(GREETING):
            return False
        if got[12:32] != GREETING[12:32]:
            raise RemoteProtocolError("another security mechanism than NULL")
        del got[: len(GREETING)]
        self._greeted = True
        return True

    def _next(self) -> tuple[int, bytes] | None:
        """The next whole frame: flags and body."""
        got = self._received
        if not got:
            return None
        flags = got[0]
        if flags & ~(LONG | COMMAND):
            raise RemoteProtocolError("a message of several frames, or a reserved flag")
        if not self.ready and not flags & COMMAND:
            raise RemoteProtocolError("a message before the handshake")
        start = 9 if flags & LONG else 2
        if len(got) < start:
            return None
        length = int.from_bytes(got[1:start], "big")
        if length > (MAX_COMMAND if flags & COMMAND else self._limit):
            raise RemoteProtocolError("frame too long")
        if len(got) < start + length:
            return None
        body = bytes(got[start : start + length])
        del got[: start + length]
        return flags, body

    def _obey(self, body: bytes) -> None:
        """One command: READY ends the handshake, PING is answered, others that may come later are not for us."""
        name = body[1 : 1 + body[0]] if body else b""
        rest = body[1 + len(name) :]
        if not self.ready:
            if name != b"READY":
                raise RemoteProtocolError(f"{name[:16]!r} in place of READY")
            if _properties(rest).get(b"socket-type") not in PEERS:
                raise RemoteProtocolError("a socket of another type")
            self.ready = True
        elif name == b"PING":
            self.outgoing += _command(b"PONG", rest[2:])  # without the time to live
        elif name == b"ERROR":
            raise RemoteProtocolError("the other side ended the connection")


def _frame(flags: int, body: bytes) -> bytes:
    if len(body) <= MAX_SHORT:
        return bytes((flags, len(body))) + body
    return bytes((flags | LONG,)) + len(body).to_bytes(8, "big") + body


def _command(name: bytes, data: bytes) -> bytes:
    return _frame(COMMAND, bytes((len(name),)) + name + data)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Name, in lower case since case does not matter -> value. Raises RemoteProtocolError."""
    found: dict[bytes, bytes] = {}
    while data:
        after = 1 + data[0]
        start = after + 4
        end = start + int.from_bytes(data[after:start], "big")
        if after == 1 or len(data) < max(start, end):
            raise RemoteProtocolError("metadata that makes no sense")
        found[data[1:after].lower()] = data[start:end]
        data = data[end:]
    return found
