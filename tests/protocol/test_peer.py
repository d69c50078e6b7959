"""protocol/peer.py: one spelling of each message, every field in its range, requests and answers kept apart."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from protocol import codec, peer
from protocol.errors import ProtocolError, RemoteProtocolError
from protocol.limits import MAX_BLOCK, MAX_COLLECTION, MAX_CONTENTS, MAX_FILE, MAX_PIECES, MIN_BLOCK

CONTENT = bytes(range(32))

REQUESTS = [
    (peer.Interest(1, CONTENT), [16, 1, CONTENT]),
    (peer.GetManifest(2, CONTENT, 262_144), [17, 2, CONTENT, 262_144]),
    (peer.GetBlock(3, CONTENT, 7, 0, MAX_BLOCK), [18, 3, CONTENT, 7, 0, MAX_BLOCK]),
    (peer.Cancel(4, CONTENT), [19, 4, CONTENT, []]),
    (peer.Cancel(4, CONTENT, [3, 65_535]), [19, 4, CONTENT, [3, 65_535]]),
    (peer.GetContents(5, [CONTENT, bytes(32)]), [20, 5, [CONTENT, bytes(32)]]),
]
REPLIES = [
    (peer.Available(1, True), [24, 1, True]),
    (peer.ManifestPart(2, 123), [25, 2, 123]),
    (peer.Block(3), [26, 3]),
    (peer.Done(4), [27, 4]),
    (peer.Refused(5, 3, 10), [28, 5, 3, 10]),
    (peer.Have(CONTENT, [0, 5]), [29, CONTENT, [0, 5]]),
    (peer.Contents(6, [4096, 0, -2]), [31, 6, [4096, 0, -2]]),
    (peer.Pace(MIN_BLOCK), [30, MIN_BLOCK]),
]


def pack(fields: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


@pytest.mark.parametrize(("message", "fields"), REQUESTS)
def test_requests_are_arrays_with_a_tag(message: Any, fields: list[Any]) -> None:
    assert codec.encode(message) == pack(fields)
    assert peer.decode_request(pack(fields)) == message


@pytest.mark.parametrize(("message", "fields"), REPLIES)
def test_answers_are_arrays_with_a_tag(message: Any, fields: list[Any]) -> None:
    assert codec.encode(message) == pack(fields)
    assert peer.decode_reply(pack(fields)) == message


def test_a_refusal_may_leave_out_when_to_ask_again() -> None:
    assert peer.decode_reply(pack([28, 5, 2])) == peer.Refused(5, 2, 0)


def test_a_cancel_may_leave_out_the_pieces() -> None:
    assert peer.decode_request(pack([19, 4, CONTENT])) == peer.Cancel(4, CONTENT, [])


@pytest.mark.parametrize("fields", [fields for _, fields in REPLIES])
def test_an_answer_is_no_request(fields: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        peer.decode_request(pack(fields))


@pytest.mark.parametrize("fields", [fields for _, fields in REQUESTS])
def test_a_request_is_no_answer(fields: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        peer.decode_reply(pack(fields))


@pytest.mark.parametrize(
    "fields",
    [
        [16, -1, CONTENT],
        [16, 2**32, CONTENT],
        [16, 1, CONTENT[:31]],
        [16, 1, CONTENT + b"\0"],
        [16, 1, "x" * 32],
        [16, True, CONTENT],
        [16, 1],
        [16, 1, CONTENT, 0],
        [17, 1, CONTENT, -1],
        [17, 1, CONTENT, MAX_COLLECTION + 1],
        [18, 1, CONTENT, MAX_PIECES, 0, 1],
        [18, 1, CONTENT, 0, MAX_FILE, 1],
        [18, 1, CONTENT, 0, 0, 0],
        [18, 1, CONTENT, 0, 0, MAX_BLOCK + 1],
        [18, 1, CONTENT, 0, 0.0, 1],
        [19, 1, CONTENT, [MAX_PIECES]],
        [19, 1, CONTENT, [0] * 1025],
        [19, 1, CONTENT, 0],
        [20, 1, CONTENT],
        [20, 1, []],
        [20, 1, [CONTENT[:31]]],
        [20, 1, [CONTENT] * (MAX_CONTENTS + 1)],
        [21, 1, CONTENT],
        [],
        ["16", 1, CONTENT],
    ],
)
def test_a_request_out_of_range_is_refused(fields: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        peer.decode_request(pack(fields))


@pytest.mark.parametrize(
    "fields",
    [
        [24, 1, 1],
        [25, 1, 0],
        [25, 1, MAX_COLLECTION + 1],
        [31, 1, []],
        [31, 1, [MAX_BLOCK + 1]],
        [31, 1, [-256]],
        [31, 1, [0] * (MAX_CONTENTS + 1)],
        [28, 1, 0],
        [28, 1, 256],
        [28, 1, 3, -1],
        [28, 1, 3, 3601],
        [29, CONTENT, []],
        [29, CONTENT, [MAX_PIECES]],
        [29, CONTENT, [0] * 1025],
        [30, 1],
    ],
)
def test_an_answer_out_of_range_is_refused(fields: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        peer.decode_reply(pack(fields))


@pytest.mark.parametrize(
    "octets", [b"", b"\xc1", b"\x93", pack([16, 1, CONTENT])[:-1], pack([16, 1, CONTENT]) + b"\0"]
)
def test_what_is_no_message_is_refused(octets: bytes) -> None:
    with pytest.raises(ProtocolError):
        peer.decode_request(octets)
