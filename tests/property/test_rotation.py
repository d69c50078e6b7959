"""Two ends in the middle of a rotation, in every combination of the keys that each of them holds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from protocol.errors import AuthenticationError, Refusal
from protocol.handshake import Dialect, Established, HandshakeRefused, Info, Initiator, Responder
from protocol.keys import NetworkSecret
from tests.fakes.pair import Seeded, make_device, make_initiator, make_secret

KEYS = {
    "0a": make_secret(b"a" * 32, epoch=0),
    "0b": make_secret(b"b" * 32, epoch=0),
    "1a": make_secret(b"A" * 32, epoch=1),
    "1b": make_secret(b"B" * 32, epoch=1),
}
RINGS = [(old,) for old in KEYS] + [("1a", "0a"), ("1a", "0b"), ("1b", "0a"), ("1b", "0b")]
"""What an end may hold: one key, or the newer and the older of a rotation."""
PAIRS = list(itertools.product(RINGS, RINGS))


def listener(newest: NetworkSecret, *others: NetworkSecret) -> Responder:
    return Responder(newest, make_device("b"), Info("p2pd/test"), Dialect.PEER, Seeded("b"), others)


@dataclass(frozen=True)
class Outcome:
    """What became of the attempts of an initiator: the key of the session, the failed guesses that were counted, HELLOs refused."""

    session: str | None
    guesses: int
    refused: int


def dial(mine: tuple[str, ...], theirs: tuple[str, ...]) -> Outcome:
    """As dealer.py and router.py do it: the newer first, the older only when the newer is unknown there."""
    guesses = refused = 0
    for name in mine:
        initiator = make_initiator("a", KEYS[name])
        newest, *others = (KEYS[key] for key in theirs)
        responder = listener(newest, *others)
        try:
            offer = responder.receive_hello(initiator.hello())
        except HandshakeRefused as error:
            if error.code != Refusal.UNKNOWN_NETWORK:
                raise
            refused += 1
            continue
        try:
            accept, there = responder.receive_prove(initiator.receive_offer(offer))
        except AuthenticationError:
            return Outcome(None, guesses + 1, refused)
        here = initiator.receive_accept(accept)
        assert agree(initiator, here, responder, there)
        return Outcome(name, guesses, refused)
    return Outcome(None, guesses, refused)


def agree(initiator: Initiator, here: Established, responder: Responder, there: Established) -> bool:
    same: bool = (here.sid, here.send_key, here.recv_key) == (there.sid, there.recv_key, there.send_key)
    return same and initiator.secret == responder.secret


def expected(mine: tuple[str, ...], theirs: tuple[str, ...]) -> Outcome:
    """From the words of the document: the first of my epochs that the other end knows decides."""
    epochs = {KEYS[name].epoch: name for name in theirs}
    for refused, name in enumerate(mine):
        if KEYS[name].epoch in epochs:
            return (
                Outcome(name, 0, refused) if epochs[KEYS[name].epoch] == name else Outcome(None, 1, refused)
            )
    return Outcome(None, 0, len(mine))


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_each_combination(mine: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    assert dial(mine, theirs) == expected(mine, theirs)


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_members_of_one_swarm_always_meet_and_are_never_counted_as_guessing(
    mine: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    """Whoever has not begun, is in the middle, or has not finished: all but those at the two ends meet."""
    ours = {("0a",), ("1a", "0a"), ("1a",)}
    if mine in ours and theirs in ours:
        outcome = dial(mine, theirs)
        assert outcome.guesses == 0
        assert (outcome.session is None) == ({mine, theirs} == {("0a",), ("1a",)})


def test_an_answer_for_one_epoch_is_worth_nothing_in_the_other() -> None:
    """The epoch is in the transcript and in the PAKE: the same key octets under another epoch are another key."""
    old, new = NetworkSecret(b"k" * 32, "example", 0), NetworkSecret(b"k" * 32, "example", 1)
    initiator = make_initiator("a", new)
    responder = listener(old, new)
    prove = initiator.receive_offer(responder.receive_hello(initiator.hello()))
    other = listener(old)
    other.receive_hello(make_initiator("c", old).hello())
    with pytest.raises(AuthenticationError):
        other.receive_prove(prove)
