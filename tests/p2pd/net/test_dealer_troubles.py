"""p2pd/net/dealer.py, troubles: links that never come about, and listeners that break the rules."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import pytest
import zmq

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import CONNECT_SECONDS, Lost
from protocol import limits
from protocol.errors import Refusal
from protocol.frames import Dialect, make_refuse
from protocol.peer import Available, GetBlock, Interest, Refused
from tests.fakes.pair import make_device, make_responder, make_secret
from tests.fakes.reactors import HOST, Box, Liar, Net, Recorder

ID = bytes(32)


# -- links that never come about --------------------------------------------------------------------------


def test_nobody_there(net: Net) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
        lost = net.dial(port).closed.get()
    assert lost.code == "unreachable"
    assert f"nobody answers at {HOST}:{port}" in str(lost)


def test_an_address_that_cannot_be_dialled(net: Net) -> None:
    dialled = net.dial(70_000)
    assert dialled.closed.get().code == "unreachable"
    assert not dialled.ready.items


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4])
def test_something_else_that_listens_there(net: Net, says: bytes) -> None:
    with socket.create_server((HOST, 0)) as server:
        dialled = net.dial(server.getsockname()[1])
        server.settimeout(10)
        connection, _ = server.accept()
        with connection:
            connection.sendall(says)
            net.advance(CONNECT_SECONDS + 1)
            lost = dialled.closed.get()
    assert lost.code == "unreachable"


def test_a_banned_address_is_told_more_than_that_nobody_answers(net: Net) -> None:
    port = net.listen(Recorder()).port
    for _ in range(3):
        net.admission.failed(HOST, net.clock())
    lost = net.dial(port).closed.get()
    assert (lost.code, lost.refusal) == ("refused", Refusal.BANNED)
    assert 0 < lost.retry_s <= limits.BAN_SECONDS_FIRST + 1
    while net.admission.allow_connection(HOST, net.clock()):
        pass  # too often, and there is not even an answer
    lost = net.dial(port).closed.get()
    assert (lost.code, lost.refusal) == ("unreachable", Refusal.BUSY)
    assert "hung up" in lost.text


@pytest.mark.parametrize(
    ("secret", "dialect", "code", "refusal"),
    [
        (make_secret(bytes(32)), Dialect.PEER, "auth", Refusal.BAD_PROOF),
        (make_secret(network="another"), Dialect.PEER, "auth", Refusal.UNKNOWN_NETWORK),
        (make_secret(), Dialect.TRACKER, "refused", Refusal.WRONG_ROLE),
    ],
    ids=["password", "network", "role"],
)
def test_a_refusal_says_why(net: Net, secret: object, dialect: Dialect, code: str, refusal: int) -> None:
    handler = Recorder()
    lost = net.dial(net.listen(handler).port, secret=secret, dialect=dialect).closed.get()  # type: ignore[arg-type]
    assert (lost.code, lost.refusal, lost.retry_s) == (code, refusal, 0)
    assert not handler.openings.items


def test_the_third_wrong_password_tells_how_long_the_ban_is(net: Net) -> None:
    port = net.listen(Recorder()).port
    losses = [net.dial(port, secret=make_secret(bytes(32))).closed.get() for _ in range(3)]
    assert [lost.code for lost in losses] == ["auth"] * 3
    assert [lost.retry_s for lost in losses] == [0, 0, int(limits.BAN_SECONDS_FIRST)]


def test_another_device_than_expected_is_not_talked_to(net: Net) -> None:
    dialled = net.dial(net.listen(Recorder()).port, expected=make_device("somebody else").device_id)
    assert dialled.closed.get().code == "refused"
    assert not dialled.ready.items


def test_a_listener_that_never_offers(net: Net, lie: Callable[[Callable[[Liar], object]], Liar]) -> None:
    liar = lie(Liar.receive)
    dialled = net.dial(liar.port)
    liar.thread.join(10)
    net.advance(limits.HANDSHAKE_SECONDS + 0.5)
    assert dialled.closed.get().code == "timeout"


def test_a_listener_without_the_password_proves_nothing(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    def pretend(liar: Liar) -> None:
        liar.send(make_responder("liar", make_secret(bytes(32))).receive_hello(liar.receive()))
        liar.receive()
        liar.send(b"\x04" + os.urandom(300))

    lost = net.dial(lie(pretend).port).closed.get()
    assert lost.code in ("auth", "lost")


@pytest.mark.parametrize(
    "frames",
    [(b"",), (b"\x02" * 50,), (b"\x10" * 100,), (b"\x02", b"\x02"), (b"\x05",), (bytes(150),)],
    ids=["empty", "offer", "record", "two parts", "refuse", "zeros"],
)
def test_a_listener_that_answers_nonsense(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar], frames: tuple[bytes, ...]
) -> None:
    def nonsense(liar: Liar) -> None:
        liar.receive()
        liar.send(*frames)

    dialled = net.dial(lie(nonsense).port)
    assert dialled.closed.get().code == "lost"
    assert not dialled.ready.items


def test_a_flood_behind_an_offer_is_not_kept(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    def flood(liar: Liar) -> None:
        offer = make_responder("liar").receive_hello(liar.receive())
        for _ in range(8):
            liar.send(offer)

    assert net.dial(lie(flood).port).closed.get().code == "lost"


# -- listeners that break the rules -----------------------------------------------------------------------


def broken(kind: str, liar: Liar) -> None:
    """A session, then something that must not be."""
    liar.shake_hands()
    liar.receive()
    record = liar.seal(Refused(77 if kind == "unasked" else 1, Refusal.NOT_FOUND))
    liar.send(
        *{
            "changed": (record[:-1] + bytes((record[-1] ^ 1,)),),
            "two parts": (record, record),
            "refuse": (make_refuse(Refusal.NO_SESSION),),
            "unasked": (record,),
            "out of order": (liar.seal(Available(1, True)),),
            "garbage": (os.urandom(1000),),
        }[kind]
    )


@pytest.mark.parametrize("kind", ["changed", "two parts", "refuse", "unasked", "out of order", "garbage"])
def test_a_listener_that_breaks_the_rules_loses_the_link(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar], kind: str
) -> None:
    dialled = net.dial(lie(lambda liar: broken(kind, liar)).port)
    dialled.ready.get()
    box = dialled.ask(Interest(0, ID))
    assert dialled.closed.get().code == "lost"
    assert box.get()[0].code == "lost"


def test_an_answer_twice_ends_the_link_after_the_first(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    def twice(liar: Liar) -> None:
        liar.shake_hands()
        liar.receive()
        liar.send(liar.seal(Available(1, True)))
        liar.send(liar.seal(Available(1, True)))

    dialled = net.dial(lie(twice).port)
    dialled.ready.get()
    box = dialled.ask(Interest(0, ID))
    assert dialled.closed.get().code == "lost"
    assert [reply for reply, _ in box.items] == [Available(1, True)]


def test_an_answer_and_the_end_at_one_moment_are_one_answer(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    leave = threading.Event()

    def answer_and_leave(liar: Liar) -> None:
        liar.shake_hands()
        liar.receive()
        liar.send(liar.seal(Available(1, True)))
        assert leave.wait(10)
        liar.socket.close()

    dialled = net.dial(lie(answer_and_leave).port)
    dialled.ready.get()
    link = dialled.link

    box: Box[tuple[object, bytes]] = Box()

    def ask_and_hold_the_reactor_until_both_are_there() -> None:
        link.ask(Interest(0, ID), lambda reply, payload: box.put((reply, bytes(payload))), 30.0)
        assert link._socket.poll(10_000)
        leave.set()
        assert link._monitor.poll(10_000)

    net.on(net.dialling, ask_and_hold_the_reactor_until_both_are_there)
    assert dialled.closed.get().code == "lost"
    # libzmq drops what it has not handed over when it may not reconnect: either is right, both are not.
    reply, _ = box.get()
    assert reply == Available(1, True) or (isinstance(reply, Lost) and reply.code == "lost")
    assert not box.items


def test_a_listener_that_takes_nothing_is_given_up_when_the_queue_is_full(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    dialled = net.dial(lie(Liar.shake_hands).port)
    dialled.ready.get()
    boxes: list[Box[tuple[object, bytes]]] = []

    def flood() -> None:
        # far more than the queues of both ends and the kernel hold
        for _ in range(200_000):
            if dialled.closed.items or (len(boxes) and boxes[-1].items):
                return
            box: Box[tuple[object, bytes]] = Box()
            dialled.link.ask(
                GetBlock(0, ID, 0, 0, 1), lambda reply, payload, box=box: box.put((reply, b"")), 1000
            )
            boxes.append(box)
            if not dialled.link._socket.get(zmq.EVENTS) & zmq.POLLOUT:
                break
        dialled.link.ask(GetBlock(0, ID, 0, 0, 1), lambda reply, payload: None, 1000)

    net.on(net.dialling, flood)
    assert "cannot send" in dialled.closed.get().text
    assert all(isinstance(box.get()[0], Lost) for box in boxes)


def test_an_endpoint_is_shown_as_people_write_it() -> None:
    assert str(Endpoint("::1", 8001)) == "[::1]:8001"
