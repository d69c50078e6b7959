"""The codec: typed decoding, bounded, and no exception of msgspec ever gets out."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from protocol.codec import Decoder, encode, numbered
from protocol.errors import RemoteProtocolError


class Point(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=16):
    x: Annotated[int, msgspec.Meta(ge=0, le=9)]
    name: Annotated[str, msgspec.Meta(max_length=4)] = ""


class Line(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=17):
    points: Annotated[list[Point], msgspec.Meta(max_length=2)]


DECODER: Decoder[Point | Line] = Decoder(Point | Line, 64)


@pytest.mark.parametrize("message", [Point(3), Point(9, "four"), Line([]), Line([Point(1), Point(2, "b")])])
def test_round_trip(message: Point | Line) -> None:
    data = encode(message)
    assert DECODER.decode(data) == message
    assert DECODER.decode(memoryview(bytearray(data))) == message


def test_messages_are_arrays_that_begin_with_their_tag() -> None:
    assert encode(Point(3, "a")) == bytes([0x93, 16, 3, 0xA1, ord("a")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode([16]),
        encode([16, 10]),
        encode([16, -1]),
        encode([16, "3"]),
        encode([16, 3.0]),
        encode([16, 3, "five!"]),
        encode([16, 3, b"four"]),
        encode([16, 3, "a", 1]),
        encode([18, 3]),
        encode({"x": 3}),
        encode(3),
        encode([17, [[16, 1], [16, 1], [16, 1]]]),
        encode([17, [[17, []]]]),
        encode([16, 3]) + b"\0",
        encode([16, 3])[:-1],
        b"\x93\x10\x03\xa2\xff\xfe",  # not UTF-8
        b"\x92\x11\xdd\xff\xff\xff\xff",  # a list of 2^32 - 1 items, it says
        b"\x93\x10\x03\xdb\xff\xff\xff\xff",  # a text as long
    ],
    ids=lambda data: data.hex() or "empty",
)
def test_garbage_is_the_other_sides_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        DECODER.decode(data)


def test_the_limit_is_checked_before_decoding() -> None:
    with pytest.raises(RemoteProtocolError, match="too long"):
        DECODER.decode(b"\xc1" * 65)
    with pytest.raises(RemoteProtocolError, match="malformed"):
        DECODER.decode(b"\xc1" * 64)


def test_deep_nesting_ends_at_the_types() -> None:
    deep: Decoder[Line] = Decoder(Line, 100_000)
    with pytest.raises(RemoteProtocolError):
        deep.decode(b"\x92\x11\x91" + b"\x91" * 90_000)


def test_deep_nesting_of_an_untyped_field_does_not_get_out() -> None:
    anything: Decoder[object] = Decoder(object, 100_000)
    with pytest.raises(RemoteProtocolError):
        anything.decode(b"\x91" * 90_000 + b"\x00")


class Ask(msgspec.Struct, array_like=True, frozen=True, tag=18):
    req: int
    text: str


def test_numbered_gives_a_copy() -> None:
    ask = Ask(0, "text")
    assert numbered(ask, 7) == Ask(7, "text")
    assert ask.req == 0
