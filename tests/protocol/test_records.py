"""Sizes of records and tags of messages."""

from __future__ import annotations

import pytest

from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.fernet import PLAIN_AT
from protocol.records import (
    PLAIN_HEAD,
    RECORD_HEAD,
    check_header,
    message_tag,
    payload_at,
    record_size,
    room_to_open_record,
)


@pytest.mark.parametrize("payload", [0, 1, 15, 16, 1 << 20])
@pytest.mark.parametrize("header", [0, 3, 40])
def test_the_payload_lies_within_its_record(header: int, payload: int) -> None:
    at, size = payload_at(header), record_size(header, payload)
    assert at == RECORD_HEAD + PLAIN_AT + PLAIN_HEAD + header
    # Behind it are one to sixteen octets of padding, and the MAC.
    assert 1 + 32 <= size - at - payload <= 16 + 32
    assert room_to_open_record(size) >= PLAIN_HEAD + header + payload


@pytest.mark.parametrize("tag", [0, 1, 16, 127, 128, 255])
@pytest.mark.parametrize("fields", [0, 1, 14, 15, 300])
def test_message_tag_is_what_the_codec_writes(tag: int, fields: int) -> None:
    header = encode([tag, *range(fields)])
    assert message_tag(header) == tag
    assert message_tag(memoryview(header)) == tag


@pytest.mark.parametrize(
    "header",
    [b"", b"\x91", b"\x90\x10", b"\xdc\x00", b"\xdc\x00\x01", b"\x91\xcc", b"\x91\xcc\x7f", b"\x91\xff"],
)
def test_no_message_tag(header: bytes) -> None:
    assert message_tag(header) == -1


def test_a_header_is_a_message_of_a_dialect() -> None:
    for tag in (16, 255):
        check_header(encode([tag, 1]))
    for header in (encode([15, 1]), encode([256]), encode(["x"]), b"", b"\x90"):
        with pytest.raises(LocalProtocolError, match="tag from 16"):
            check_header(header)
