"""The session's own messages: tags below those of the dialects, and nothing but what is specified."""

from __future__ import annotations

import pytest

from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.records import FIRST_DIALECT_TAG, message_tag
from protocol.session_control import Close, Control, KeyUpdate, Ping, Pong, control_messages


@pytest.mark.parametrize(
    ("message", "tag"),
    [(KeyUpdate(), 1), (Close(0), 2), (Close(255), 2), (Ping(0), 3), (Ping(2**32 - 1), 3), (Pong(7), 4)],
)
def test_each_has_its_tag_and_comes_back(message: Control, tag: int) -> None:
    octets = encode(message)
    assert message_tag(octets) == tag < FIRST_DIALECT_TAG
    assert control_messages.decode(octets) == message


@pytest.mark.parametrize(
    "message",
    [[0], [5], [15], [1, 0], [2], [2, 256], [2, -1], [2, "x"], [3], [3, 2**32], [3, 1, 1], [4, None], []],
)
def test_anything_else_is_an_error(message: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        control_messages.decode(encode(message))
