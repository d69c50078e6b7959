"""p2pd/peer/proofs.py: a refused key is told as what it is, also when the tracker only says that it does not listen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from p2pd.net.keyring import Keyring, Ring
from p2pd.peer.proofs import KEPT_SECONDS, Proofs
from p2pd.storage.state import State
from protocol.errors import Refusal
from protocol.keys import NetworkSecret

WHERE = Endpoint("t", 9000)
WRONG = NetworkSecret(bytes(32), "test", 0)
BAD_PROOF = Lost("auth", "", Refusal.BAD_PROOF)
BANNED = Lost("refused", "t:9000 says: banned", Refusal.BANNED, 59)
HUNG_UP = Lost("unreachable", "t:9000 hung up", Refusal.BUSY)
NOBODY = Lost("unreachable", "nobody answers")


class Now:
    def __init__(self) -> None:
        self.value = 1000.0

    def __call__(self) -> float:
        return self.value


@pytest.fixture
def store(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "peer.db") as store:
        yield store


def proofs(store: State, now: Now, where: Endpoint = WHERE, key: NetworkSecret = WRONG) -> Proofs:
    """Made anew: as after a restart."""
    return Proofs(store, Keyring(key), where, now)


def test_a_ban_after_a_wrong_key_is_a_wrong_key_after_a_restart_too(store: State) -> None:
    now = Now()
    assert proofs(store, now).lost(BANNED)[0] == "refused"
    state, told = proofs(store, now).lost(BAD_PROOF)
    assert (state, told.code) == ("wrong_password", "auth")
    for lost in (BANNED, HUNG_UP, Lost("refused", "busy", Refusal.BUSY, 12)):
        state, fault = proofs(store, now).lost(lost)
        assert (state, fault.code, fault.message) == ("wrong_password", "auth", told.message)
        assert fault.details == ({"retry_s": lost.retry_s} if lost.retry_s else {})
    assert proofs(store, now).lost(NOBODY)[0] == "unreachable"
    assert proofs(store, now).lost(Lost("banned", "noise", Refusal.BANNED, 9))[0] == "refused"  # it knows us


def test_only_this_tracker_and_this_key_and_not_for_ever(store: State) -> None:
    now = Now()
    proofs(store, now).lost(BAD_PROOF)
    assert proofs(store, now, Endpoint("t", 9001)).lost(BANNED)[0] == "refused"
    assert proofs(store, now, key=NetworkSecret(b"x" * 32, "test", 0)).lost(BANNED)[0] == "refused"
    now.value += KEPT_SECONDS
    assert proofs(store, now).lost(BANNED)[0] == "wrong_password"
    now.value += 1
    assert proofs(store, now).lost(BANNED)[0] == "refused"


def test_forgotten_when_the_tracker_takes_the_key(store: State) -> None:
    now = Now()
    one = proofs(store, now)
    one.lost(BAD_PROOF)
    one.taken()
    assert one.lost(BANNED)[0] == "refused"


def test_the_key_is_the_one_of_the_moment(store: State) -> None:
    keys = Keyring(Ring(WRONG))
    one = Proofs(store, keys, WHERE, Now())
    one.lost(BAD_PROOF)
    keys.set(Ring(WRONG).rotated(NetworkSecret(b"x" * 32, "test", 1), 0.0, 0.0))
    assert one.lost(BANNED)[0] == "refused"
