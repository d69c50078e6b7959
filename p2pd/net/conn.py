"""One connection of a listening router, and what a dialect does with it."""

from __future__ import annotations

from typing import Protocol

import zmq

from p2pd.net.addresses import canonical
from protocol.codec import encode
from protocol.frames import Info
from protocol.handshake import Responder
from protocol.ids import device_text
from protocol.keys import NetworkSecret
from protocol.session import Session


class Draft(Protocol):
    """A message whose payload is still to come. Ends in exactly one of `send` and `drop`."""

    @property
    def payload(self) -> memoryview:
        """Where the payload belongs."""

    def send(self) -> None:
        """The payload is there. It is sealed and sent soon; what is sent later over its connection comes later."""

    def drop(self) -> None:
        """There will be none."""


class Carrier(Protocol):
    """What a connection asks of its router."""

    def draft(self, conn: Conn, header: bytes, octets: int) -> Draft:
        """A message with a payload of so many octets."""

    def send(self, conn: Conn, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Seals and sends a message."""

    def close(self, conn: Conn, reason: str) -> None:
        """Ends the session."""


class Handler(Protocol):
    """What a dialect does with authenticated connections. Called on the reactor's thread."""

    def opened(self, conn: Conn) -> None:
        """The handshake is through."""

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """A record came. Both views are valid during the call only. ProtocolError ends the connection."""

    def writable(self, conn: Conn) -> None:
        """A connection whose queue was full takes records again."""

    def closed(self, conn: Conn) -> None:
        """The connection is gone."""


class Conn:
    """One connection. `host` is the observed address; `device_id` is set once authenticated."""

    __slots__ = (
        "backlog",
        "busy",
        "closed",
        "descriptor",
        "device_id",
        "host",
        "info",
        "responder",
        "rid",
        "router",
        "secret",
        "session",
        "since",
        "stalled_since",
    )

    def __init__(self, router: Carrier, rid: bytes, host: str, descriptor: int, now: float) -> None:
        self.router = router
        self.rid = rid
        self.host = host
        self.descriptor = descriptor
        self.since = now
        self.device_id = b""
        self.info = Info("")  # what the device told of itself, once authenticated
        self.secret: NetworkSecret | None = None  # the key that it was proven with
        self.responder: Responder | None = None
        self.busy = False  # a handshake step is being computed
        self.session: Session | None = None
        self.backlog: list[bytes | memoryview] = []  # short, and mostly empty: a deque has 600 octets
        self.stalled_since = 0.0
        self.closed = False

    @property
    def blocked(self) -> bool:
        """True while records wait for room in the queue."""
        return bool(self.backlog)

    def send(self, message: object, payload: bytes | bytearray | memoryview = b"") -> None:
        """Seals and sends a message of the dialect. Never blocks; a record that does not fit waits in the backlog."""
        self.router.send(self, encode(message), payload)

    def draft(self, message: object, octets: int) -> Draft:
        """A message with a payload of so many octets that is written where it is sealed and sent from, without a copy."""
        return self.router.draft(self, encode(message), octets)

    def close(self, reason: str) -> None:
        """Ends the session with an authenticated CLOSE."""
        self.router.close(self, reason)

    def __str__(self) -> str:
        return f"{self.host}/{device_text(self.device_id)[:8] if self.device_id else '-'}"


def observed_host(frame: zmq.Frame) -> str:
    """The source address of what a listener received, as an IP literal."""
    try:
        return canonical(str(frame.get("Peer-Address")))
    except zmq.ZMQError:
        return "0.0.0.0"
