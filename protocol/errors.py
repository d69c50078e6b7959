"""Errors by blame and by remedy, and the codes that travel.

Two families. `ProtocolError` speaks of a peer on the wire: `LocalProtocolError` is our own misuse of a state machine (a
bug), `RemoteProtocolError` is the other side breaking the rules (its session ends, no detail is sent back).
`Fault` is what a person meets: a code of the published exit-status table, a message and a hint.

Imported by the client: must stay free of heavy imports.
"""

from __future__ import annotations

EXIT_STATUS: dict[str, int] = {
    "ok": 0,
    "failure": 1,
    "usage": 2,
    "no_daemon": 3,
    "not_found": 4,
    "ambiguous": 5,
    "timeout": 6,
    "network": 7,
    "auth": 8,
    "integrity": 9,
    "storage": 10,
    "exists": 11,
    "partial": 12,
    "refused": 13,
    "version": 14,
}
"""Name of an outcome -> exit status of the process (docs/control-api.md, "Exit statuses"). Never reused."""


class ProtocolError(Exception):
    """A rule of docs/protocol.md was broken."""


class LocalProtocolError(ProtocolError):
    """We used a state machine wrongly; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side broke a rule: its session ends and it is told nothing."""


class AuthenticationError(RemoteProtocolError):
    """A MAC, confirmation or signature did not verify. Counted as a password guess during a handshake."""


class Fault(Exception):
    """A failure that is reported to a person or a script.

    `code` is a key of EXIT_STATUS other than "ok"; `hint` says what to do next; `details` are extra
    machine-readable fields (plain msgpack types).
    """

    def __init__(
        self, code: str, message: str, hint: str = "", details: dict[str, object] | None = None
    ) -> None:
        if code not in EXIT_STATUS or code == "ok":
            raise LocalProtocolError(f"unknown fault code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details or {}

    @property
    def exit_status(self) -> int:
        """The process exit status for this fault."""
        return EXIT_STATUS[self.code]


class Refusal:
    """Codes of REFUSED messages and REFUSE frames (docs/protocol.md, "Refusal codes")."""

    BAD_REQUEST = 1
    NOT_FOUND = 2
    BUSY = 3
    CHANGED = 4
    LIMIT = 5
    BANNED = 6
    RESYNC = 7
    STORAGE = 8
    CLOSING = 9
    BAD_PROOF = 10
    UNKNOWN_NETWORK = 11
    VERSION = 12
    WRONG_ROLE = 13
    NO_SESSION = 14
    CANCELLED = 15


REFUSAL_TEXT: dict[int, str] = {
    Refusal.BAD_REQUEST: "bad request",
    Refusal.NOT_FOUND: "not found",
    Refusal.BUSY: "busy",
    Refusal.CHANGED: "the file changed",
    Refusal.LIMIT: "over a limit",
    Refusal.BANNED: "banned",
    Refusal.RESYNC: "out of step, send everything",
    Refusal.STORAGE: "storage error",
    Refusal.CLOSING: "shutting down",
    Refusal.BAD_PROOF: "the password differs",
    Refusal.UNKNOWN_NETWORK: "another network",
    Refusal.VERSION: "no common version",
    Refusal.WRONG_ROLE: "this role is not served here",
    Refusal.NO_SESSION: "no such session",
    Refusal.CANCELLED: "cancelled",
}


_NAMES = {code: name.lower() for name, code in vars(Refusal).items() if isinstance(code, int)}


def refusal_name(code: int) -> str:
    """The name of a refusal code in lower case, for counters; those of newer peers are "other"."""
    return _NAMES.get(code, "other")


def refusal_text(code: int) -> str:
    """The words for a refusal code; unknown codes (from newer peers) get their number."""
    return REFUSAL_TEXT.get(code, f"refusal {code}")
