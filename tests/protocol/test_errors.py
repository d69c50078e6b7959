"""Errors: the families, the published exit statuses, the codes that travel."""

from __future__ import annotations

import pytest

from protocol.errors import (
    EXIT_STATUS,
    REFUSAL_TEXT,
    AuthenticationError,
    Fault,
    LocalProtocolError,
    ProtocolError,
    Refusal,
    RemoteProtocolError,
    refusal_text,
)

PUBLISHED = {
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


def test_exit_statuses_are_published_and_never_change() -> None:
    assert EXIT_STATUS == PUBLISHED


def test_blame() -> None:
    assert issubclass(AuthenticationError, RemoteProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert issubclass(LocalProtocolError, ProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert not issubclass(Fault, ProtocolError)


@pytest.mark.parametrize("code", [code for code in PUBLISHED if code != "ok"])
def test_a_fault_has_the_status_of_its_code(code: str) -> None:
    fault = Fault(code, "message", "hint", {"size_bytes": 3})
    assert fault.exit_status == PUBLISHED[code]
    assert (str(fault), fault.message, fault.hint, fault.details) == (
        "message",
        "message",
        "hint",
        {"size_bytes": 3},
    )


def test_faults_do_not_share_their_details() -> None:
    one, other = Fault("usage", "one"), Fault("usage", "other")
    one.details["field"] = 1
    assert other.details == {}


@pytest.mark.parametrize("code", ["ok", "", "no such code"])
def test_a_fault_has_a_known_code(code: str) -> None:
    with pytest.raises(LocalProtocolError):
        Fault(code, "message")


def test_each_refusal_has_its_own_code_and_words() -> None:
    codes = {name: code for name, code in vars(Refusal).items() if name.isupper()}
    assert len(set(codes.values())) == len(codes)
    assert set(codes.values()) == set(REFUSAL_TEXT)
    assert len(set(REFUSAL_TEXT.values())) == len(REFUSAL_TEXT)
    assert all(0 < code < 256 for code in codes.values())


def test_refusal_words() -> None:
    assert refusal_text(Refusal.BUSY) == "busy"
    assert refusal_text(200) == "refusal 200"
