"""Frames of the handshake: shape, sizes, and that garbage is refused before it is understood."""

from __future__ import annotations

import pytest

from protocol.codec import encode
from protocol.errors import LocalProtocolError, Refusal, RemoteProtocolError
from protocol.frames import (
    HandshakeRefused,
    Hello,
    Info,
    Offer,
    Proof,
    make_hello,
    make_offer,
    make_refuse,
    parse_hello,
    parse_offer,
    parse_proof,
    parse_refuse,
)
from protocol.limits import HELLO_SIZE, MAX_OFFER, MAX_PROOF, MAX_REFUSE

GOOD_HELLO = [[1], [1], b"t" * 8, 0, b"n" * 32, 2, b"e" * 32]
GOOD_OFFER = [[1, 1], b"n" * 32, b"e" * 32]
GOOD_INFO = ["p2pd/0.1.0", 8001, 0]
GOOD_PROOF = [b"c" * 32, b"p" * 32, b"s" * 64, GOOD_INFO]


def changed(message: list, at: int, value: object) -> list:
    return [*message[:at], value, *message[at + 1 :]]


def hello_frame(body: list, pad: bytes = b"\0") -> bytes:
    octets = encode(body)
    return (b"\x01" + len(octets).to_bytes(2, "big") + octets).ljust(HELLO_SIZE, pad)


# -- HELLO ------------------------------------------------------------------------------------------------


def test_hello_round_trip() -> None:
    hello = Hello(*GOOD_HELLO)
    frame = make_hello(hello)
    assert len(frame) == HELLO_SIZE
    assert frame == hello_frame(GOOD_HELLO)
    assert parse_hello(memoryview(frame)) == (frame, hello)


def test_the_longest_hello_fits() -> None:
    numbers = list(range(240, 256))
    frame = make_hello(Hello(numbers, numbers, b"t" * 8, 255, b"n" * 32, 255, b"e" * 32))
    assert parse_hello(frame)[1].versions == numbers
    with pytest.raises(LocalProtocolError):
        make_hello(Hello([200] * 60, [200] * 60, b"t" * 8, 255, b"n" * 32, 255, b"e" * 32))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, []),
        (0, [256]),
        (0, [-1]),
        (0, [1] * 17),
        (0, 1),
        (1, []),
        (1, [1] * 17),
        (2, b"t" * 7),
        (2, b"t" * 9),
        (2, "t" * 8),
        (3, 256),
        (3, -1),
        (4, b"n" * 31),
        (4, b"n" * 33),
        (5, 256),
        (5, None),
        (6, b"e" * 31),
        (6, b"e" * 33),
    ],
)
def test_hello_with_a_wrong_field(at: int, value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_hello(hello_frame(changed(GOOD_HELLO, at, value)))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        hello_frame(GOOD_HELLO)[:-1],
        hello_frame(GOOD_HELLO) + b"\0",
        b"\x02" + hello_frame(GOOD_HELLO)[1:],
        hello_frame(GOOD_HELLO, pad=b"x"),
        hello_frame(GOOD_HELLO)[:-1] + b"\x01",
        b"\x01\xff\xff" + hello_frame(GOOD_HELLO)[3:],
        b"\x01\x00\x00" + bytes(253),
        hello_frame([*GOOD_HELLO, 1]),
        hello_frame(GOOD_HELLO[:-1]),
    ],
    ids=range(11),
)
def test_hello_of_a_wrong_shape(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_hello(frame)


# -- OFFER ------------------------------------------------------------------------------------------------


def test_offer_round_trip_and_no_amplification() -> None:
    offer = Offer((255, 255), b"n" * 32, b"e" * 32)
    frame = make_offer(offer)
    assert parse_offer(memoryview(frame)) == (frame, offer)
    assert len(frame) <= MAX_OFFER < HELLO_SIZE


@pytest.mark.parametrize(
    "body",
    [
        changed(GOOD_OFFER, 0, [1]),
        changed(GOOD_OFFER, 0, [1, 1, 1]),
        changed(GOOD_OFFER, 0, [1, 256]),
        changed(GOOD_OFFER, 1, b"n" * 31),
        changed(GOOD_OFFER, 2, b"e" * 33),
        [*GOOD_OFFER, 1],
        GOOD_OFFER[:-1],
    ],
    ids=range(7),
)
def test_offer_with_a_wrong_field(body: list) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_offer(b"\x02" + encode(body))


@pytest.mark.parametrize("frame", [b"", b"\x02", b"\x03" + encode(GOOD_OFFER), b"\x02" + bytes(MAX_OFFER)])
def test_offer_of_a_wrong_shape(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        parse_offer(frame)
    assert not isinstance(raised.value, HandshakeRefused)


def test_a_refuse_instead_of_an_offer_says_why() -> None:
    with pytest.raises(HandshakeRefused, match="busy") as raised:
        parse_offer(make_refuse(Refusal.BUSY, 30))
    assert (raised.value.code, raised.value.retry, raised.value.received) == (Refusal.BUSY, 30, True)


# -- PROVE and ACCEPT -------------------------------------------------------------------------------------


def test_proof_round_trip() -> None:
    proof = Proof(b"c" * 32, b"p" * 32, b"s" * 64, Info("p2pd/0.1.0", 8001))
    assert encode(proof) == encode(GOOD_PROOF)
    assert parse_proof(encode(proof)) == proof


@pytest.mark.parametrize(
    "body",
    [
        changed(GOOD_PROOF, 0, b"c" * 31),
        changed(GOOD_PROOF, 1, b"p" * 33),
        changed(GOOD_PROOF, 2, b"s" * 63),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 0, "x" * 65)),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 0, "\x1b[2J")),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 0, "line\n")),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 0, "\u202e")),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 1, -1)),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 1, 65_536)),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 2, -1)),
        changed(GOOD_PROOF, 3, changed(GOOD_INFO, 2, 2**32)),
        changed(GOOD_PROOF, 3, [*GOOD_INFO, 1]),
        [*GOOD_PROOF, 1],
        b"x" * (MAX_PROOF + 1),
    ],
    ids=range(14),
)
def test_proof_with_a_wrong_field(body: object) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_proof(encode(body))


# -- REFUSE -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retry", "sent"), [(0, 0), (30, 30), (65_535, 65_535), (70_000, 65_535), (-1, 0)])
def test_refuse_round_trip(retry: int, sent: int) -> None:
    frame = make_refuse(Refusal.BANNED, retry)
    assert len(frame) == 4
    assert parse_refuse(memoryview(frame)) == (Refusal.BANNED, sent)


def test_refuse_of_a_later_version_may_be_longer() -> None:
    assert parse_refuse(make_refuse(77, 5) + b"more") == (77, 5)


@pytest.mark.parametrize(
    "frame", [b"", b"\x05", b"\x05\x01\x00", b"\x04\x01\x00\x00", b"\x05" * (MAX_REFUSE + 1)]
)
def test_what_is_no_refuse(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_refuse(frame)
