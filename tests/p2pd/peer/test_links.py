"""p2pd/peer/links.py: one link a device, shared by all who want it, dialled less and less while nobody answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from p2pd.net.router import Conn
from p2pd.peer.links import ATTEMPTS, BACKOFF_MAX, IDLE_SECONDS, Links, Peer
from protocol.peer import Available, Have, Interest
from tests.fakes.pair import make_device, make_secret
from tests.fakes.reactors import HOST, Box, Net, Recorder, make_identity, until

ID = bytes(32)
UPLOADER = make_device("uploader").device_id


class Wants:
    """A User: keeps what it is told."""

    def __init__(self) -> None:
        self.ready: Box[Peer] = Box()
        self.lost: Box[Lost] = Box()
        self.abandoned: Box[Lost] = Box()
        self.pushes: Box[Any] = Box()

    def peer_ready(self, peer: Peer) -> None:
        self.ready.put(peer)

    def peer_lost(self, peer: Peer, lost: Lost) -> None:
        self.lost.put(lost)

    def peer_abandoned(self, peer: Peer, lost: Lost) -> None:
        self.abandoned.put(lost)

    def peer_push(self, peer: Peer, message: Any) -> None:
        self.pushes.put(message)


class Bench:
    """Links on the dialling reactor, and an uploader."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.links = Links(net.dialling, make_identity("downloader"))
        self.uploader = Recorder(self.answer)
        self.port = net.listen(self.uploader).port

    def answer(self, conn: Conn, request: Any, payload: memoryview) -> None:
        conn.send(Available(request.req, True))

    def attach(self, user: Wants, port: int | None = None, device_id: bytes = UPLOADER) -> None:
        endpoint = Endpoint(HOST, port or self.port)
        self.net.on(self.net.dialling, lambda: self.links.attach(device_id, endpoint, user))

    def on(self, work: Any) -> Any:
        return self.net.on(self.net.dialling, work)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Net() as net:
        bench = Bench(net)
        yield bench
        bench.on(bench.links.close)


@pytest.fixture
def nowhere() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        yield free.getsockname()[1]


def test_two_users_share_one_link(bench: Bench) -> None:
    first, second = Wants(), Wants()
    bench.attach(first)
    peer = first.ready.get()
    assert peer.ready
    assert peer.device_id == UPLOADER
    bench.attach(second)
    bench.attach(second)
    assert second.ready.get() is peer
    assert not second.ready.items
    assert len(bench.uploader.openings.wait(1)) == 1
    answers: Box[Any] = Box()
    bench.on(lambda: peer.ask(Interest(0, ID), lambda reply, payload: answers.put(reply)))
    assert answers.get() == Available(1, True)


def test_unasked_messages_go_to_every_user(bench: Bench) -> None:
    users = [Wants(), Wants()]
    for user in users:
        bench.attach(user)
        user.ready.get()
    conn = bench.uploader.openings.get()
    bench.net.listening.call(conn.send, Have(ID, [1]))
    assert [user.pushes.get() for user in users] == [Have(ID, [1])] * 2


def test_one_lie_costs_the_device_nothing_here_and_the_second_ends_its_link_for_everybody(
    bench: Bench,
) -> None:
    first, second = Wants(), Wants()
    bench.attach(first)
    bench.attach(second)
    peer = first.ready.get()
    bench.on(peer.lied)
    assert peer.ready
    assert not first.abandoned.items
    bench.on(peer.lied)
    for user in (first, second):
        assert user.lost.get().code == "banned"
        assert user.abandoned.get().code == "banned"
    assert not peer.ready
    bench.attach(first)
    assert not bench.links.peers


def test_a_device_that_owes_an_answer_is_silent_until_it_gives_one(bench: Bench) -> None:
    user = Wants()
    bench.attach(user)
    peer, conn = user.ready.get(), bench.uploader.openings.get()
    bench.uploader.answer = None
    answers: Box[Any] = Box()

    def silence() -> float:
        found: float = bench.on(lambda: peer.silence)
        return found

    def ask() -> int:
        bench.on(lambda: peer.ask(Interest(0, ID), lambda reply, payload: answers.put(reply)))
        number: int = bench.uploader.requests.get().req
        return number

    assert silence() == 0.0
    first, second = ask(), ask()
    bench.net.advance(5)
    assert silence() >= 5
    bench.net.listening.call(conn.send, Available(first, True))
    answers.get()
    bench.net.advance(3)
    assert 3 <= silence() < 5, "the second is still owed"
    bench.net.listening.call(conn.send, Available(second, True))
    answers.get()
    bench.net.advance(3)
    assert silence() == 0.0
    ask()
    bench.net.advance(3)
    bench.net.on(bench.net.listening, lambda: bench.net.routers[0].close(conn, "over"))
    user.lost.get()
    bench.net.advance(1)
    assert user.ready.get() is peer
    assert silence() == 0.0, "a new link owes nothing"


def test_a_device_never_dials_itself(bench: Bench) -> None:
    bench.attach(Wants(), device_id=make_device("downloader").device_id)
    assert not bench.links.peers


def test_a_lost_link_is_dialled_again(bench: Bench) -> None:
    user = Wants()
    bench.attach(user)
    user.ready.get()
    conn = bench.uploader.openings.get()
    bench.net.listening.call(conn.close, "restart")
    assert user.lost.get().code == "lost"
    bench.net.advance(1.0)
    assert user.ready.get().ready
    assert not user.abandoned.items


def test_whoever_does_not_answer_is_given_up_after_some_attempts(bench: Bench, nowhere: int) -> None:
    user = Wants()
    bench.attach(user, nowhere)
    for attempt in range(1, ATTEMPTS + 1):
        user.lost.wait(attempt)
        bench.net.advance(BACKOFF_MAX)
    assert user.abandoned.get().code == "unreachable"
    assert len(user.lost.items) == ATTEMPTS
    assert not bench.links.peers
    # named again, it is dialled again
    bench.attach(user)
    assert user.ready.get().ready


def test_the_pauses_between_attempts_grow(bench: Bench, nowhere: int) -> None:
    user = Wants()
    bench.attach(user, nowhere)
    (peer,) = bench.links.peers.values()
    pauses = []
    for attempt in range(1, ATTEMPTS):
        user.lost.wait(attempt)
        until(lambda: peer.timer is not None)
        assert peer.timer is not None
        pauses.append(peer.timer.when - bench.net.clock())
        bench.net.advance(BACKOFF_MAX)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8], abs=0.2)


def test_a_new_address_begins_the_count_anew(bench: Bench, nowhere: int) -> None:
    user = Wants()
    bench.attach(user, nowhere)
    user.lost.wait(1)
    bench.attach(user, bench.port)
    bench.net.advance(BACKOFF_MAX)
    assert user.ready.get().endpoint == Endpoint(HOST, bench.port)


def test_another_device_at_the_address_is_not_taken(bench: Bench) -> None:
    user = Wants()
    bench.attach(user, device_id=make_device("somebody else").device_id)
    assert user.lost.get().code == "refused"
    assert not user.ready.items


def test_a_device_with_another_password_is_left_alone_until_our_keys_change(bench: Bench) -> None:
    """Each try is a guess to it: its address would be banned there."""
    theirs = Recorder()
    port = bench.net.listen(theirs, "rotated", make_secret(epoch=1)).port
    device = make_device("rotated").device_id
    for number in range(5):
        user = Wants()
        bench.attach(user, port, device)
        if number == 0:
            assert user.abandoned.get().code == "auth"
    bench.net.advance(1.0)
    assert bench.net.admission.counts()["known_addresses"] == 0
    assert bench.on(lambda: bench.links.foreign.all([device], bench.net.clock()))
    assert bench.links.peers == {}
    bench.links.foreign.forget()
    user = Wants()
    bench.attach(user, port, device)
    assert user.abandoned.get().code == "auth"


def test_a_link_nobody_wants_is_closed_after_a_while(bench: Bench) -> None:
    user, other = Wants(), Wants()
    bench.attach(user)
    peer = user.ready.get()
    bench.on(lambda: peer.detach(user))
    bench.attach(other)
    bench.net.advance(IDLE_SECONDS + 1)
    assert peer.ready
    bench.on(lambda: peer.detach(other))
    bench.on(lambda: peer.detach(other))
    bench.net.advance(IDLE_SECONDS + 1)
    bench.uploader.closings.get()
    assert not bench.links.peers
    assert not other.lost.items


def test_nobody_is_dialled_for_nobody(bench: Bench, nowhere: int) -> None:
    user = Wants()
    bench.attach(user, nowhere)
    (peer,) = bench.links.peers.values()
    user.lost.get()
    bench.on(lambda: peer.detach(user))
    bench.net.advance(BACKOFF_MAX)
    assert peer.link is None
    bench.net.advance(IDLE_SECONDS)
    assert not bench.links.peers


def test_a_device_that_broke_the_rules_is_dropped(bench: Bench) -> None:
    user = Wants()
    bench.attach(user)
    peer = user.ready.get()
    bench.on(lambda: peer.drop("nonsense"))
    assert user.lost.get().code == "closed"
    assert not peer.ready
    bench.on(lambda: peer.drop("again"))


def test_a_question_without_a_link_is_lost(bench: Bench, nowhere: int) -> None:
    user = Wants()
    bench.attach(user, nowhere)
    (peer,) = bench.links.peers.values()
    user.lost.get()
    answers: Box[Any] = Box()
    bench.on(lambda: peer.ask(Interest(0, ID), lambda reply, payload: answers.put(reply)))
    assert answers.get().code == "closed"


def test_the_end_closes_everything_quietly(bench: Bench, nowhere: int) -> None:
    user, waiting = Wants(), Wants()
    bench.attach(user)
    bench.attach(waiting, nowhere, make_device("nobody").device_id)
    user.ready.get()
    waiting.lost.get()
    bench.on(bench.links.close)
    bench.uploader.closings.get()
    bench.net.advance(BACKOFF_MAX)
    assert not bench.links.peers
    assert not user.lost.items
    assert len(waiting.lost.items) == 0
