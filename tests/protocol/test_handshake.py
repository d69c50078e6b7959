"""The handshake: both ends, every refusal, and the golden vector against an independent reckoning."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from protocol import handshake
from protocol.codec import encode
from protocol.errors import AuthenticationError, LocalProtocolError, Refusal, RemoteProtocolError
from protocol.fernet import TokenKey
from protocol.frames import Proof, make_hello, make_offer, parse_hello, parse_offer
from protocol.handshake import (
    Dialect,
    HandshakeRefused,
    Info,
    Initiator,
    Responder,
    State,
    WrongDevice,
    make_refuse,
)
from protocol.limits import MAX_OFFER, MAX_PROOF
from tests.fakes.pair import (
    Run,
    Seeded,
    make_device,
    make_initiator,
    make_responder,
    make_secret,
    run_handshake,
)


@pytest.fixture(scope="module")
def run() -> Run:
    return run_handshake(make_initiator(), make_responder())


# -- both ends --------------------------------------------------------------------------------------------


def test_both_ends_agree(run: Run) -> None:
    a, b = run.initiator, run.responder
    assert a.sid == b.sid
    assert (a.send_key, a.recv_key) == (b.recv_key, b.send_key)
    assert a.send_key != a.recv_key
    assert (len(a.sid), len(a.send_key), len(a.recv_key)) == (8, 32, 32)
    assert a.device_id == make_device("responder").device_id
    assert b.device_id == make_device("initiator").device_id
    assert a.info == Info("p2pd/test responder", 8002)
    assert b.info == Info("p2pd/test initiator", 8001)
    assert (a.initiator, b.initiator) == (True, False)
    assert a.dialect is b.dialect is Dialect.PEER
    assert (a.version, a.suite) == (b.version, b.suite) == (1, 1)


def test_sizes(run: Run) -> None:
    assert len(run.hello) == 256
    assert len(run.offer) <= MAX_OFFER < len(run.hello)
    assert max(len(run.prove), len(run.accept)) <= MAX_PROOF


def test_the_longest_info_fits() -> None:
    info = Info("x" * 64, 65_535, 2**32 - 1)
    initiator = Initiator(make_secret(), make_device("a"), info, 1, Seeded("a"))
    responder = Responder(make_secret(), make_device("b"), info, 1, Seeded("b"))
    run = run_handshake(initiator, responder)
    assert run.initiator.info == run.responder.info == info
    assert max(len(run.prove), len(run.accept)) <= MAX_PROOF


def test_an_info_over_the_limit_is_a_mistake_of_ours() -> None:
    initiator = Initiator(make_secret(), make_device("a"), Info("x" * 2000), 1, Seeded("a"))
    responder = make_responder(dialect=1)
    offer = responder.receive_hello(initiator.hello())
    with pytest.raises(LocalProtocolError, match="info"):
        initiator.receive_offer(offer)


def test_keys_are_not_shown(run: Run) -> None:
    assert repr(run.initiator.send_key) not in repr(run.initiator)
    assert repr(run.initiator.recv_key) not in repr(run.initiator)


def test_no_device_id_and_no_name_is_sent_in_clear(run: Run) -> None:
    wire = run.hello + run.offer + run.prove + run.accept
    for name in ("initiator", "responder"):
        device = make_device(name)
        assert device.public not in wire
        assert device.device_id not in wire
        assert f"p2pd/test {name}".encode() not in wire
    assert b"example" not in wire


def test_views_do_as_well_as_bytes() -> None:
    initiator, responder = make_initiator(), make_responder()
    offer = responder.receive_hello(memoryview(bytearray(initiator.hello())))
    accept, there = responder.receive_prove(memoryview(bytearray(initiator.receive_offer(memoryview(offer)))))
    assert initiator.receive_accept(bytearray(accept)).sid == there.sid


# -- refusals ---------------------------------------------------------------------------------------------


def test_wrong_password_is_seen_by_the_responder_and_tells_nothing() -> None:
    initiator, responder = make_initiator(secret=make_secret(key=b"w" * 32)), make_responder()
    prove = initiator.receive_offer(responder.receive_hello(initiator.hello()))
    with pytest.raises(AuthenticationError):
        responder.receive_prove(prove)
    assert responder.state is State.FAILED


def test_responder_without_the_password_is_found_out() -> None:
    outsiders = make_secret(key=b"w" * 32)
    foreign = run_handshake(make_initiator("x", outsiders), make_responder("y", outsiders))
    initiator, responder = make_initiator(), make_responder("y", outsiders)
    initiator.receive_offer(responder.receive_hello(initiator.hello()))
    with pytest.raises(AuthenticationError):
        initiator.receive_accept(foreign.accept)


@pytest.mark.parametrize(
    ("secret", "dialect", "code"),
    [
        ({"network": "another"}, Dialect.PEER, Refusal.UNKNOWN_NETWORK),
        ({"epoch": 1}, Dialect.PEER, Refusal.UNKNOWN_NETWORK),
        ({}, Dialect.TRACKER, Refusal.WRONG_ROLE),
    ],
)
def test_hello_for_somebody_else(secret: dict, dialect: int, code: int) -> None:
    initiator = make_initiator(secret=make_secret(**secret), dialect=dialect)
    with pytest.raises(HandshakeRefused) as raised:
        make_responder().receive_hello(initiator.hello())
    assert (raised.value.code, raised.value.received) == (code, False)


def test_hello_with_the_right_tag_and_another_epoch() -> None:
    _, hello = parse_hello(make_initiator().hello())
    forged = make_hello(
        type(hello)(hello.versions, hello.suites, hello.tag, 1, hello.nonce, hello.dialect, hello.element)
    )
    with pytest.raises(HandshakeRefused) as raised:
        make_responder().receive_hello(forged)
    assert raised.value.code == Refusal.UNKNOWN_NETWORK


@pytest.mark.parametrize("lists", [([2], [1]), ([1], [2]), ([0, 2, 3], [1])])
def test_no_common_version_or_suite(lists: tuple[list[int], list[int]]) -> None:
    _, hello = parse_hello(make_initiator().hello())
    forged = make_hello(
        type(hello)(*lists, hello.tag, hello.epoch, hello.nonce, hello.dialect, hello.element)
    )
    with pytest.raises(HandshakeRefused) as raised:
        make_responder().receive_hello(forged)
    assert raised.value.code == Refusal.VERSION


@pytest.mark.parametrize("choice", [(2, 1), (1, 2), (0, 1), (255, 255)])
def test_a_choice_that_was_not_offered(choice: tuple[int, int]) -> None:
    initiator = make_initiator()
    _, offer = parse_offer(make_responder().receive_hello(initiator.hello()))
    with pytest.raises(HandshakeRefused) as raised:
        initiator.receive_offer(make_offer(type(offer)(choice, offer.nonce, offer.element)))
    assert raised.value.code == Refusal.VERSION


def test_the_newest_common_version_and_suite_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "VERSIONS", (1, 2, 3))
    monkeypatch.setattr(handshake, "SUITES", (1, 2))
    run = run_handshake(make_initiator(), make_responder())
    assert (
        (run.initiator.version, run.initiator.suite) == (run.responder.version, run.responder.suite) == (3, 2)
    )


def test_a_downgrade_on_the_way_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "VERSIONS", (1, 2))
    initiator, responder = make_initiator(), make_responder()
    _, hello = parse_hello(initiator.hello())
    weaker = make_hello(
        type(hello)([1], hello.suites, hello.tag, hello.epoch, hello.nonce, hello.dialect, hello.element)
    )
    prove = initiator.receive_offer(responder.receive_hello(weaker))
    with pytest.raises(AuthenticationError):
        responder.receive_prove(prove)


@pytest.mark.parametrize("step", ["offer", "accept"])
def test_a_refuse_tells_why(step: str) -> None:
    initiator, responder = make_initiator(), make_responder()
    offer = responder.receive_hello(initiator.hello())
    if step == "accept":
        initiator.receive_offer(offer)
    receive = initiator.receive_offer if step == "offer" else initiator.receive_accept
    with pytest.raises(HandshakeRefused, match="the password differs") as raised:
        receive(make_refuse(Refusal.BAD_PROOF, 60))
    assert (raised.value.code, raised.value.retry, raised.value.received) == (Refusal.BAD_PROOF, 60, True)
    with pytest.raises(LocalProtocolError):
        receive(offer)


def test_self_connection_is_refused_by_both_ends() -> None:
    device = make_device("me")
    initiator, responder = make_initiator(device=device), make_responder(device=device)
    prove = initiator.receive_offer(responder.receive_hello(initiator.hello()))
    with pytest.raises(WrongDevice) as raised:
        responder.receive_prove(prove)
    assert raised.value.device_id == device.device_id


class Careless(Responder):
    """Does not notice that the other end is itself."""

    def _check(self, *arguments: Any) -> Proof:
        own, self._device = self._device, make_device("somebody else")
        try:
            return super()._check(*arguments)
        finally:
            self._device = own


def test_initiator_notices_that_it_called_itself() -> None:
    device = make_device("me")
    careless = Careless(make_secret(), device, Info("p2pd"), Dialect.PEER, Seeded("r"))
    with pytest.raises(WrongDevice):
        run_handshake(make_initiator(device=device), careless)


def test_expected_device() -> None:
    right = make_initiator(expected_device=make_device("responder").device_id)
    assert run_handshake(right, make_responder()).initiator.device_id == make_device("responder").device_id
    with pytest.raises(WrongDevice) as raised:
        run_handshake(make_initiator(expected_device=bytes(20)), make_responder())
    assert raised.value.device_id == make_device("responder").device_id


def test_proof_by_a_member_with_a_stolen_public_key_is_refused() -> None:
    thief = make_device("thief")
    thief.public = make_device("victim").public
    initiator, responder = make_initiator(device=thief), make_responder()
    prove = initiator.receive_offer(responder.receive_hello(initiator.hello()))
    with pytest.raises(AuthenticationError, match="signature"):
        responder.receive_prove(prove)


class Unconfirmed(Initiator):
    """Knows the keys, and sends a confirmation that is not of this run."""

    def _prove(self, kind: int, key: TokenKey, confirmation: bytes, transcript: bytes) -> bytes:
        return super()._prove(kind, key, bytes(32), transcript)


def test_a_wrong_confirmation_is_refused() -> None:
    initiator = Unconfirmed(make_secret(), make_device("i"), Info("p2pd"), Dialect.PEER, Seeded("i"))
    with pytest.raises(AuthenticationError, match="confirmation"):
        run_handshake(initiator, make_responder())


def test_frames_of_another_run_are_refused(run: Run) -> None:
    initiator, responder = make_initiator("x"), make_responder("y")
    offer = responder.receive_hello(initiator.hello())
    with pytest.raises(AuthenticationError):
        responder.receive_prove(run.prove)
    initiator.receive_offer(offer)
    with pytest.raises(AuthenticationError):
        initiator.receive_accept(run.accept)


def test_replayed_hello_gets_a_fresh_answer(run: Run) -> None:
    responder = make_responder("later")
    assert responder.receive_hello(run.hello) != run.offer
    with pytest.raises(AuthenticationError):
        responder.receive_prove(run.prove)


@pytest.mark.parametrize("element", [bytes(32), b"\x01" + bytes(31), b"\x02" + bytes(31)])
def test_element_outside_the_group(element: bytes) -> None:
    initiator, responder = make_initiator(), make_responder()
    _, hello = parse_hello(initiator.hello())
    forged = make_hello(
        type(hello)(hello.versions, hello.suites, hello.tag, hello.epoch, hello.nonce, hello.dialect, element)
    )
    _, offer = parse_offer(responder.receive_hello(forged))
    with pytest.raises(RemoteProtocolError):
        responder.receive_prove(b"\x03" + bytes(200))
    with pytest.raises(RemoteProtocolError):
        initiator.receive_offer(make_offer(type(offer)(offer.choice, offer.nonce, element)))


# -- order of calls ---------------------------------------------------------------------------------------


def test_order_of_calls_is_a_table(run: Run) -> None:
    calls = {
        "initiator": {"hello": (), "receive_offer": (run.offer,), "receive_accept": (run.accept,)},
        "responder": {"receive_hello": (run.hello,), "receive_prove": (run.prove,)},
    }
    allowed = handshake.TRANSITIONS
    assert len(allowed) == 5
    for role, methods in calls.items():
        for state in State:
            for method, arguments in methods.items():
                if (role, state, method) in allowed:
                    continue
                machine = make_initiator() if role == "initiator" else make_responder()
                machine.state = state
                with pytest.raises(LocalProtocolError, match=f"{method} in state"):
                    getattr(machine, method)(*arguments)
                assert machine.state is state


def test_a_finished_run_is_over(run: Run) -> None:
    initiator, responder = make_initiator(), make_responder()
    run_handshake(initiator, responder)
    assert initiator.state is responder.state is State.DONE
    with pytest.raises(LocalProtocolError):
        initiator.hello()
    with pytest.raises(LocalProtocolError):
        responder.receive_hello(run.hello)


def test_an_unknown_dialect_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError):
        make_initiator(dialect=3)


def test_encoding_is_the_msgpack_everybody_has(run: Run) -> None:
    _, hello = parse_hello(run.hello)
    assert msgpack.packb(msgpack.unpackb(encode(hello))) == encode(hello)
