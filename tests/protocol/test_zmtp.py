"""protocol/zmtp.py: octets as RFC 37 has them, in pieces of any size, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.zmtp import GREETING, Dealer

LIMIT = 1000
READY = bytes.fromhex("04 1c 05 5245414459 0b 536f636b65742d54797065 00000006 524f55544552")
"""READY with Socket-Type ROUTER, made by hand from the RFC."""


def command(name: bytes, data: bytes = b"") -> bytes:
    return bytes((4, 1 + len(name) + len(data), len(name))) + name + data


def kind(name: bytes) -> bytes:
    return command(b"READY", b"\x0bSocket-Type" + len(name).to_bytes(4, "big") + name)


def message(body: bytes) -> bytes:
    if len(body) > 255:
        return b"\x02" + len(body).to_bytes(8, "big") + body
    return bytes((0, len(body))) + body


def shaken() -> Dealer:
    dealer = Dealer(LIMIT)
    assert dealer.feed(GREETING + kind(b"ROUTER")) == []
    assert dealer.ready
    dealer.outgoing.clear()
    return dealer


def test_what_it_says_first() -> None:
    said = bytes(Dealer(LIMIT).outgoing)
    assert said[:64].hex() == "ff00000000000000007f0301" + "4e554c4c" + "00" * 16 + "00" * 32
    assert said[64:].hex() == (
        "0429"
        + "05"
        + b"READY".hex()
        + "0b"
        + b"Socket-Type".hex()
        + "00000006"
        + b"DEALER".hex()
        + "08"
        + b"Identity".hex()
        + "00000000"
    )


def test_the_handshake_by_the_rfc() -> None:
    dealer = Dealer(LIMIT)
    with pytest.raises(LocalProtocolError):
        dealer.send(b"early")
    assert dealer.feed(GREETING) == []
    assert not dealer.ready
    assert kind(b"ROUTER") == READY
    dealer.feed(READY)
    assert dealer.ready


@pytest.mark.parametrize(("length", "head"), [(0, "0000"), (255, "00ff"), (256, "020000000000000100")])
def test_a_message_out(length: int, head: str) -> None:
    dealer = shaken()
    dealer.send(b"x" * length)
    assert bytes(dealer.outgoing) == bytes.fromhex(head) + b"x" * length


def test_a_ping_is_answered_with_its_context() -> None:
    dealer = shaken()
    assert dealer.feed(command(b"PING", b"\x00\x64context") + message(b"m")) == [b"m"]
    assert bytes(dealer.outgoing) == command(b"PONG", b"context")


def test_commands_that_are_not_for_us_are_passed_over() -> None:
    assert shaken().feed(command(b"SUBSCRIBE", b"x") + command(b"") + b"\x04\x00" + message(b"m")) == [b"m"]


@given(st.lists(st.binary(max_size=LIMIT), max_size=6), st.data())
def test_pieces_of_any_size(bodies: list[bytes], data: st.DataObject) -> None:
    octets = GREETING + kind(b"ROUTER") + b"".join(map(message, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=12)))
    dealer = Dealer(LIMIT)
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        got += dealer.feed(octets[start:end])
    assert got == bodies


@given(st.binary(max_size=200), st.sampled_from([b"", GREETING, GREETING + kind(b"ROUTER")]))
def test_anything_else_is_refused_or_waited_for(octets: bytes, before: bytes) -> None:
    dealer = Dealer(LIMIT)
    dealer.feed(before)
    try:
        for message in dealer.feed(octets):
            assert len(message) <= LIMIT
    except RemoteProtocolError:
        pass


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xff\0\0\0\0\0\0\0\0\x7e",
        GREETING[:10] + b"\x02",
        GREETING[:12] + b"CURVE" + bytes(47),
        GREETING + message(b"early"),
        GREETING + command(b"ERROR", b"\x03not"),
        GREETING + kind(b"PUB"),
        GREETING + command(b"READY"),
        GREETING + command(b"READY", b"\x0bSocket-Type\0\0\0\x07ROUTER"),
        GREETING + command(b"READY", b"\0\0\0\0\0"),
        GREETING + command(b"READY", b"\x0bSocket"),
        GREETING + b"\x04\x00",
    ],
)
def test_what_is_no_daemon(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Dealer(LIMIT).feed(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x01\x01a",  # more frames to come
        b"\x08\x01a",  # a reserved flag
        b"\x02" + (LIMIT + 1).to_bytes(8, "big"),
        b"\x06" + (513).to_bytes(8, "big"),
        command(b"ERROR", b"\x03not"),
    ],
)
def test_what_ends_a_connection(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        shaken().feed(octets)


def test_a_message_before_the_handshake_is_refused_before_its_octets_are_here() -> None:
    dealer = Dealer(LIMIT)
    with pytest.raises(RemoteProtocolError):
        dealer.feed(GREETING + b"\x02")
