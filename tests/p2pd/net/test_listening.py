"""p2pd/net/listening.py: descriptors are known for what they are, and a port that cannot be had is explained."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
import zmq

from p2pd.net import options
from p2pd.net.admission import AdmissionLimits
from p2pd.net.context import make_context
from p2pd.net.listening import ListenerGuard, _monitor, bind_fault, listen
from p2pd.net.router import SealedRouter
from protocol import limits
from protocol.errors import Fault
from protocol.handshake import Dialect
from tests.fakes.reactors import DOMAIN, HOST, Box, Net, Recorder, make_identity, until


class Guarded:
    """A bare ROUTER under guard, on the listening reactor."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.gone: Box[int] = Box()
        self.frames: Box[tuple[int, bytes]] = Box()
        net.on(net.listening, self._make)

    def _make(self) -> None:
        self.socket = self.net.context.socket(zmq.ROUTER)
        options.apply(self.socket, options.Kind.LISTENER, DOMAIN)
        self.port = self.socket.bind_to_random_port(f"tcp://{HOST}")
        self.guard = ListenerGuard(self.net.listening, self.socket, self.net.admission, self.gone.put)
        self.net.listening.add_socket(self.socket, self._readable)

    def _readable(self) -> None:
        self.guard.drain()
        _, frame = self.socket.recv_multipart(copy=False)
        self.frames.put((self.guard.delivered(frame), bytes(frame.buffer)))

    def close(self) -> None:
        self.guard.close()
        self.net.listening.remove_socket(self.socket)
        self.socket.close()


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def guarded(net: Net) -> Iterator[Guarded]:
    guarded = Guarded(net)
    yield guarded
    net.on(net.listening, guarded.close)


def test_frames_and_the_end_of_a_connection_name_the_same_descriptor(net: Net, guarded: Guarded) -> None:
    first, second = net.stranger(guarded.port), net.stranger(guarded.port)
    first.send(b"1")
    descriptor, data = guarded.frames.get()
    second.send(b"2")
    other, _ = guarded.frames.get()
    assert data == b"1"
    assert descriptor != other
    first.socket.close()
    assert guarded.gone.get() == descriptor
    until(lambda: net.admission.counts()["connections"] == 1)


def test_a_stranger_has_seconds_and_a_member_has_not(net: Net, guarded: Guarded) -> None:
    member, stranger = net.stranger(guarded.port), net.stranger(guarded.port)
    member.send(b"1")
    known, _ = guarded.frames.get()
    stranger.send(b"2")
    unknown, _ = guarded.frames.get()
    net.on(net.listening, lambda: guarded.guard.authenticated(known))
    net.advance(limits.UNAUTHENTICATED_SECONDS + 1)
    assert guarded.gone.get() == unknown
    member.send(b"3")
    assert guarded.frames.get()[0] == known
    assert not guarded.gone.items


def test_a_stranger_that_sends_too_much_is_cut(net: Net, guarded: Guarded) -> None:
    stranger = net.stranger(guarded.port, reconnect_ivl=-1)
    stranger.send(b"1")
    descriptor, _ = guarded.frames.get()
    stranger.send(bytes(limits.UNAUTHENTICATED_OCTETS + 1))
    assert guarded.gone.get() == descriptor


def test_connections_over_the_limit_are_cut() -> None:
    with Net(AdmissionLimits(per_address=1)) as net:
        guarded = Guarded(net)
        net.stranger(guarded.port).send(b"1")
        kept, _ = guarded.frames.get()
        net.stranger(guarded.port, reconnect_ivl=-1).send(b"2")
        # A frame may be quicker than the news of its connection; the connection ends all the same.
        assert guarded.gone.get() != kept
        net.on(net.listening, guarded.close)


def test_after_the_end_nothing_is_counted_any_more(net: Net) -> None:
    guarded = Guarded(net)
    net.stranger(guarded.port).send(b"1")
    guarded.frames.get()
    net.on(net.listening, guarded.close)
    net.on(net.listening, guarded.guard.drain)
    assert net.admission.counts()["connections"] == 0


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (zmq.EADDRINUSE, "port 8001 is in use already (10.0.0.1:8001)", "another p2pd peer may be running"),
        (errno.EACCES, "no right to listen on 10.0.0.1:8001", "1024"),
        (zmq.EADDRNOTAVAIL, "cannot listen on 10.0.0.1:8001", "an address of this machine"),
    ],
)
def test_a_listener_that_cannot_be_bound_is_explained(number: int, message: str, hint: str) -> None:
    fault = bind_fault(zmq.ZMQError(number), "10.0.0.1", 8001, "peer")
    assert fault.code == "network"
    assert message in fault.message
    assert hint in fault.hint


def test_any_address_is_shown_as_a_star() -> None:
    assert "*:8001" in bind_fault(zmq.ZMQError(zmq.EADDRINUSE), "", 8001, "tracker").message


def test_a_taken_port_is_a_fault_and_leaves_nothing_open(net: Net) -> None:
    taken = net.listen(Recorder()).port

    def bind_again() -> None:
        router = SealedRouter(
            net.listening, make_identity("second"), Dialect.PEER, net.admission, DOMAIN, Recorder()
        )
        router.bind(HOST, taken)

    with pytest.raises(Fault) as caught:
        net.on(net.listening, bind_again)
    assert caught.value.code == "network"
    assert str(taken) in caught.value.message


def test_a_monitor_has_room_for_whatever_happens() -> None:
    context = make_context()
    listener, port = listen(context, "tracker", "127.0.0.1", 0)
    monitor = _monitor(context, listener)
    assert monitor.rcvhwm == 0
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    assert monitor.poll(5000)
    for peer in peers:
        peer.close()
    listener.monitor(None, 0)
    monitor.close()
    listener.close()
    context.destroy(linger=0)
