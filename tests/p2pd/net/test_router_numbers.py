"""p2pd/net/router.py: a descriptor's number that is used again belongs to the new connection."""

from __future__ import annotations

import os
import socket
import threading

from protocol.frames import OFFER
from protocol.peer import Interest
from tests.fakes.pair import make_initiator
from tests.fakes.reactors import DEADLINE, HOST, Net, Recorder

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def read(raw: socket.socket, octets: int) -> bytes:
    """Exactly so many."""
    heard = b""
    while len(heard) < octets:
        more = raw.recv(octets - len(heard))
        assert more, "the new connection was ended for the old one"
        heard += more
    return heard


def frame(raw: socket.socket) -> bytes:
    """The next frame (RFC 37), a command or a message."""
    flags, size = read(raw, 2)
    if flags & 2:
        size = int.from_bytes(bytes([size]) + read(raw, 7), "big")
    return read(raw, size)


def settle(raw: socket.socket, port: int) -> None:
    """Connects, and finishes the ZMTP handshake (NULL mechanism)."""
    raw.settimeout(DEADLINE)
    raw.connect((HOST, port))
    raw.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    read(raw, len(GREETING))
    assert frame(raw).startswith(b"\x05READY")


def test_the_end_of_the_connection_before_is_not_that_of_the_next(net: Net) -> None:
    """The reactor is at work while one connection ends and the next one, under the same number, says HELLO."""
    working, go_on = threading.Event(), threading.Event()

    def answer(*_: object) -> None:
        working.set()
        assert go_on.wait(DEADLINE)

    port = net.listen(Recorder(answer)).port
    member = net.stranger(port)
    member.shake_hands("member")
    first, second = socket.socket(), socket.socket()
    settle(first, port)
    member.send(member.seal(Interest(1, bytes(32))))
    assert working.wait(DEADLINE)

    # `first` ends, and its number here stays in use, so that the next free one is that of its other end.
    placeholder = os.open(os.devnull, os.O_RDONLY)
    os.dup2(placeholder, first.fileno())
    settle(second, port)
    hello = make_initiator("late").hello()
    second.sendall(b"\x02" + len(hello).to_bytes(8, "big") + hello)
    go_on.set()
    assert frame(second)[0] == OFFER
    for raw in (first, second):
        raw.close()
    os.close(placeholder)
