"""p2pd/net/outcome.py: what the error of a handshake means."""

from __future__ import annotations

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.outcome import Lost, lost_in_handshake
from protocol.errors import AuthenticationError, Refusal, RemoteProtocolError
from protocol.handshake import HandshakeRefused

WHERE = Endpoint("10.0.0.1", 9000)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (HandshakeRefused(Refusal.BAD_PROOF), "auth", "another password"),
        (HandshakeRefused(Refusal.UNKNOWN_NETWORK), "auth", "another network, or to another epoch"),
        (HandshakeRefused(Refusal.BUSY, 7), "refused", "busy"),
        (AuthenticationError("wrong confirmation"), "auth", "another password"),
        (RemoteProtocolError("garbage"), "lost", "garbage"),
        (None, "lost", "failed"),
    ],
)
def test_each_error_has_its_code_and_words(error: Exception | None, code: str, words: str) -> None:
    lost = lost_in_handshake(error, WHERE)
    assert lost.code == code
    assert words in lost.text
    assert "10.0.0.1:9000" in lost.text
    assert lost.retry_s == (7 if code == "refused" else 0)


def test_a_lost_link_speaks_for_itself() -> None:
    assert str(Lost("timeout", "did not answer")) == "did not answer"
