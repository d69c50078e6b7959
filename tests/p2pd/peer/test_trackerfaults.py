"""p2pd/peer/trackerfaults.py: what a person is told of a tracker that is not there for us."""

from __future__ import annotations

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from p2pd.peer.trackerfaults import judge, refused
from protocol.errors import Refusal
from protocol.tracker import Refused

WHERE = Endpoint("t", 9000)


@pytest.mark.parametrize(
    ("code", "state", "fault"),
    [
        ("auth", "wrong_password", "auth"),
        ("refused", "refused", "refused"),
        ("lost", "unreachable", "network"),
        ("timeout", "unreachable", "network"),
        ("unreachable", "unreachable", "network"),
    ],
)
def test_what_a_lost_link_means(code: str, state: str, fault: str) -> None:
    judged, error = judge(WHERE, Lost(code, "why", Refusal.WRONG_ROLE, 7))
    assert (judged, error.code) == (state, fault)
    assert "t:9000" in error.message or "why" in error.message


def test_another_epoch_and_another_password_have_different_remedies() -> None:
    _, epoch = judge(WHERE, Lost("auth", "", Refusal.UNKNOWN_NETWORK))
    _, password = judge(WHERE, Lost("auth", "", Refusal.BAD_PROOF))
    assert "p2pctl rotate" in epoch.hint
    assert "`p2pd peer --ask-password`" in password.hint


def test_a_key_that_was_refused_before_and_how_long_no_other_is_taken() -> None:
    state, fault = judge(WHERE, Lost("refused", "t:9000 says: banned", Refusal.BANNED, 59), True)
    assert (state, fault.code, fault.exit_status, fault.details) == (
        "wrong_password",
        "auth",
        8,
        {"retry_s": 59},
    )
    assert fault.hint.endswith("takes none from here, for 59 s from now")
    _, silent = judge(WHERE, Lost("unreachable", "hung up", Refusal.BUSY), True)
    assert (silent.code, silent.details) == ("auth", {})
    assert "takes none" not in silent.hint


@pytest.mark.parametrize(("code", "fault"), [(Refusal.BAD_REQUEST, "usage"), (Refusal.LIMIT, "refused")])
def test_a_refused_request(code: int, fault: str) -> None:
    error = refused(WHERE, Refused(1, code, 7))
    assert (error.code, error.hint) == (fault, "try again in 7 s")
    assert "t:9000" in error.message
    assert refused(WHERE, Refused(1, code, 0, "too many")).message.endswith("too many")


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        (Lost("banned", "noise\n", Refusal.BANNED, 90), "network, for 90 s from now: noise\\u{a}"),
        (Lost("banned", "", Refusal.BANNED, 86_400), "network, for 18 hours or more"),
        (Lost("refused", "t:9000 says: banned", Refusal.BANNED, 65_535), "network, for 18 hours or more"),
        (Lost("refused", "t:9000 says: banned", Refusal.BANNED), "network"),
    ],
)
def test_the_banned_are_told_why_and_how_long(lost: Lost, says: str) -> None:
    state, fault = judge(WHERE, lost)
    assert (state, fault.code, fault.exit_status) == ("refused", "refused", 13)
    assert fault.message == f"the tracker at t:9000 has banned this device or its {says}"
    assert "unban" in fault.hint
