"""Identifiers: text at the edges, octets inside."""

from __future__ import annotations

import pytest

from protocol.errors import RemoteProtocolError
from protocol.ids import (
    before_prefix,
    content_from_text,
    content_text,
    device_from_text,
    device_text,
    is_hex,
    short,
)

CONTENT = bytes(range(32))
DEVICE = bytes(range(20))


def test_content_id_round_trip() -> None:
    text = content_text(CONTENT)
    assert text == "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    assert content_from_text(text) == CONTENT


@pytest.mark.parametrize("text", ["", "00", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "é" * 64, " " + "0" * 63])
def test_what_is_no_content_id(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        content_from_text(text)


def test_device_id_round_trip_in_any_case() -> None:
    text = device_text(DEVICE)
    assert text == "aaaqeayeaudaocajbifqydiob4ibceqt"
    assert device_from_text(text) == device_from_text(text.upper()) == DEVICE


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "a" * 40, "1" * 32, "é" * 32, "a" * 26 + "=" * 6])
def test_what_is_no_device_id(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        device_from_text(text)


@pytest.mark.parametrize("prefix", ["aaaqe", "AAAQEA", "aaaqeayeaudaocajbifqydiob4ibceqt"])
def test_a_device_comes_right_after_what_is_before_its_prefix(prefix: str) -> None:
    before = before_prefix(prefix)
    assert before is not None
    assert before < DEVICE
    assert not device_text(before).startswith(prefix.lower())
    assert device_text((int.from_bytes(before) + 1).to_bytes(20)).startswith(prefix.lower())


def test_what_is_before_the_first_and_what_begins_no_id() -> None:
    assert before_prefix("aaaaaa") == b""
    assert [before_prefix(text) for text in ("", "1", "é", "a" * 33, "10.0.0.1")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "expected"), [("0", True), ("0af9", True), ("", False), ("0A", False), ("0x1", False)]
)
def test_is_hex(text: str, expected: bool) -> None:
    assert is_hex(text) is expected


def test_short() -> None:
    assert short(CONTENT) == "00010203"
