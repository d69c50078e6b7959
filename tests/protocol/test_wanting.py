"""protocol/wanting.py: its messages are of the tracker dialect, and bounded."""

from __future__ import annotations

import pytest

from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_CONTROL_MESSAGE, MAX_QUERY, MAX_WANTS
from protocol.tracker import By, decode_reply, decode_request
from protocol.wanting import Want, Wanted, Wish


def test_as_octets() -> None:
    want = Want(7, [Wish(int(By.TEXT), "a b", "ogg"), Wish(int(By.NAME), "x", phrases=["p q"])])
    assert decode_request(encode(want)) == want
    assert encode(Want(7, [])).hex() == "931b0790"
    assert encode(Wanted(7, [0, 3])).hex() == "932a0792" + "0003"
    assert decode_reply(encode(Wanted(7, [0, 3]))) == Wanted(7, [0, 3])


def test_what_a_device_may_want_fits_a_message() -> None:
    full = Want(2**32 - 1, [Wish(0, "ä" * (MAX_QUERY // 2), "e" * 32)] * MAX_WANTS)
    assert len(encode(full)) < MAX_CONTROL_MESSAGE
    assert decode_request(encode(full)) == full


@pytest.mark.parametrize(
    "octets",
    [
        encode([27, 7, [[4]]]),
        encode([27, 7, [[0, "x" * 1025]]]),
        encode([27, 7, [[0]] * (MAX_WANTS + 1)]),
        encode([27, 7]),
        encode([27, 7, [[0, "x", "", 5, -1]]]),
    ],
)
def test_what_breaks_the_grammar(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(octets)


def test_positions_are_bounded() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_reply(encode([42, 7, [MAX_WANTS]]))
