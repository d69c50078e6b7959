"""The five frames of a handshake as octets: their type numbers, contents and parsers.

    HELLO 01, OFFER 02, PROVE 03, ACCEPT 04, REFUSE 05, RECORD 10

The rule: sizes are checked before anything is decoded, each field has a type and a range, and a parser
answers octets of its own or raises RemoteProtocolError. This module knows no keys and no order of messages:
handshake.py does.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

import msgspec

from protocol.codec import Decoder, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError, refusal_text
from protocol.fernet import Octets
from protocol.keys import TAG_SIZE
from protocol.limits import HELLO_SIZE, MAX_OFFER, MAX_PROOF, MAX_REFUSE, MAX_SOFTWARE, MAX_VERSIONS

HELLO, OFFER, PROVE, ACCEPT, REFUSE, RECORD = 0x01, 0x02, 0x03, 0x04, 0x05, 0x10
"""First octet of a frame."""

_HELLO_HEAD = 3  # type and the length of the body
_REFUSE_SIZE = 4

_Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Octets32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Octets64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
_Numbers = Annotated[list[_Octet], msgspec.Meta(min_length=1, max_length=MAX_VERSIONS)]


class Dialect(IntEnum):
    """What the two ends will talk about."""

    TRACKER = 1
    PEER = 2


class Feature(IntFlag):
    """Bits of Info.features."""

    PACE = 1  # a downloader that heeds Pace (protocol/peer.py)
    FETCHING = 4  # a tracker that takes Fetching (protocol/tracker.py)
    TERMS = 8  # a tracker that takes SearchTerms (protocol/tracker.py)
    CHECKS = 16  # a tracker that takes Clock and Reach (protocol/checks.py)
    WANTS = 32  # a tracker that takes Want (protocol/wanting.py)
    CONTENTS = 2  # an uploader that answers GetContents (protocol/peer.py)


class Info(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a device tells about itself, under seal. ASCII and numbers: nothing that needs escaping."""

    software: Annotated[str, msgspec.Meta(max_length=MAX_SOFTWARE, pattern=r"^[ -~]*\Z")]
    """Name and version, for people."""
    listen_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """The port this device listens on for peers; 0 when it does not."""
    features: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    """A bit for each optional feature; unknown bits are ignored."""


class Hello(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Body of a HELLO. Its layout is the same in all versions."""

    versions: _Numbers
    suites: _Numbers
    tag: Annotated[bytes, msgspec.Meta(min_length=TAG_SIZE, max_length=TAG_SIZE)]
    epoch: _Octet
    nonce: _Octets32
    dialect: _Octet
    element: _Octets32


class Offer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Body of an OFFER; `choice` is (version, suite)."""

    choice: tuple[_Octet, _Octet]
    nonce: _Octets32
    element: _Octets32


class Proof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is sealed in a PROVE or an ACCEPT."""

    confirmation: _Octets32
    public: _Octets32
    signature: _Octets64
    info: Info


_hello = Decoder[Hello](Hello, HELLO_SIZE)
_offer = Decoder[Offer](Offer, MAX_OFFER)
_proof = Decoder[Proof](Proof, MAX_PROOF)


class HandshakeRefused(RemoteProtocolError):
    """The run cannot go on, and there is a code for it: to send in a REFUSE, or received in one.

    `code` is one of Refusal (a received one may be unknown), `retry` the seconds to wait before another try,
    `received` tells which of the two it is. A received REFUSE is not authenticated: a hint, no more.
    """

    def __init__(self, code: int, retry: int = 0, received: bool = False) -> None:
        super().__init__(f"{'refused by the other side' if received else 'refused'}: {refusal_text(code)}")
        self.code = code
        self.retry = retry
        self.received = received


def make_hello(hello: Hello) -> bytes:
    """The HELLO frame: 01, length of the body (2 octets), body, zeros up to HELLO_SIZE."""
    body = encode(hello)
    frame = bytes((HELLO,)) + len(body).to_bytes(2, "big") + body
    if len(frame) > HELLO_SIZE:
        raise LocalProtocolError("HELLO too long")
    return frame.ljust(HELLO_SIZE, b"\0")


def parse_hello(frame: Octets) -> tuple[bytes, Hello]:
    """(frame, body) of a HELLO."""
    octets = take_frame(frame, HELLO, HELLO_SIZE)
    end = _HELLO_HEAD + int.from_bytes(octets[1:_HELLO_HEAD], "big")
    # A length beyond the frame takes the padding into the body, which then does not decode.
    if len(octets) != HELLO_SIZE or any(octets[end:]):
        raise RemoteProtocolError("malformed HELLO")
    return octets, _hello.decode(octets[_HELLO_HEAD:end])


def make_offer(offer: Offer) -> bytes:
    """The OFFER frame: 02, body."""
    return bytes((OFFER,)) + encode(offer)


def parse_offer(frame: Octets) -> tuple[bytes, Offer]:
    """(frame, body) of an OFFER. Raises HandshakeRefused for a REFUSE."""
    octets = take_answer(frame, OFFER, MAX_OFFER)
    return octets, _offer.decode(octets[1:])


def parse_proof(body: bytes) -> Proof:
    """What was sealed in a PROVE or ACCEPT."""
    return _proof.decode(body)


def make_refuse(code: int, retry: int = 0) -> bytes:
    """The REFUSE frame: 05, code, seconds to wait (2 octets, cut to what fits)."""
    return bytes((REFUSE, code)) + min(max(retry, 0), 0xFFFF).to_bytes(2, "big")


def parse_refuse(frame: Octets) -> tuple[int, int]:
    """(code, retry seconds) of a REFUSE. Octets behind those are left to later versions."""
    octets = take_frame(frame, REFUSE, MAX_REFUSE)
    if len(octets) < _REFUSE_SIZE:
        raise RemoteProtocolError("malformed REFUSE")
    return octets[1], int.from_bytes(octets[2:_REFUSE_SIZE], "big")


def take_frame(frame: Octets, kind: int, limit: int) -> bytes:
    """The frame in octets of our own, if it is of this kind and at most `limit` octets."""
    if not 1 < len(frame) <= limit or frame[0] != kind:
        raise RemoteProtocolError("unexpected frame")
    return bytes(frame)


def take_answer(frame: Octets, kind: int, limit: int) -> bytes:
    """As `take_frame`, for the initiator: raises HandshakeRefused if the answer is a REFUSE."""
    if len(frame) and frame[0] == REFUSE:
        code, retry = parse_refuse(frame)
        raise HandshakeRefused(code, retry, received=True)
    return take_frame(frame, kind, limit)
