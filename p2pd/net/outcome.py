"""How a dialled link stands and how it ends: its states, and the reason of an end in words for people. Knows no sockets."""

from __future__ import annotations

from enum import Enum

from p2pd.net.addresses import Endpoint
from protocol.errors import AuthenticationError, Refusal, refusal_text
from protocol.handshake import HandshakeRefused


class LinkState(Enum):
    """Where a link stands."""

    CONNECTING = "connecting"
    HELLO = "waiting for OFFER"
    PROVE = "waiting for ACCEPT"
    READY = "ready"
    CLOSED = "closed"


class CannotDial(Exception):
    """No socket could be made: descriptors or sockets have run out."""


class Lost:
    """Why a link or request ended without an answer. `code`: unreachable, lost, timeout, refused, auth, closed."""

    __slots__ = ("code", "refusal", "retry_s", "text")

    def __init__(self, code: str, text: str, refusal: int = 0, retry_s: int = 0) -> None:
        self.code = code
        self.text = text
        self.refusal = refusal
        self.retry_s = retry_s

    def __str__(self) -> str:
        return self.text


def lost_in_handshake(error: BaseException | None, endpoint: Endpoint) -> Lost:
    """What the error of a handshake step means for its link."""
    if isinstance(error, HandshakeRefused):
        if error.code == Refusal.BAD_PROOF:
            return Lost("auth", f"{endpoint} uses another password", error.code, error.retry)
        if error.code == Refusal.UNKNOWN_NETWORK:
            return Lost(
                "auth",
                f"{endpoint} belongs to another network, or to another epoch of it",
                error.code,
                error.retry,
            )
        return Lost("refused", f"{endpoint} says: {refusal_text(error.code)}", error.code, error.retry)
    if isinstance(error, AuthenticationError):
        return Lost("auth", f"{endpoint} uses another password", Refusal.BAD_PROOF)
    return Lost("lost", f"handshake with {endpoint} failed: {error}")
