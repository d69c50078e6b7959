"""p2pd.net.options: every option of the table arrives at the socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from p2pd.net import options
from p2pd.net.options import Kind
from protocol import limits

SOCKET_TYPE = {
    Kind.LISTENER: zmq.SocketType.ROUTER,
    Kind.DIALER: zmq.SocketType.DEALER,
    Kind.IPC: zmq.SocketType.ROUTER,
    Kind.MONITOR: zmq.SocketType.PAIR,
}
WRITE_ONLY = {zmq.SocketOption.ROUTER_MANDATORY, zmq.SocketOption.ROUTER_HANDOVER}


class Sockets:
    """A context that keeps its sockets until the test is over."""

    def __init__(self) -> None:
        self.context = zmq.Context[zmq.Socket[bytes]]()
        self.made: list[zmq.Socket[bytes]] = []

    def socket(self, kind: zmq.SocketType) -> zmq.Socket[bytes]:
        self.made.append(self.context.socket(kind))
        return self.made[-1]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.context.destroy(linger=0)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_option_is_set(sockets: Sockets, kind: Kind) -> None:
    sock = sockets.socket(SOCKET_TYPE[kind])
    options.apply(sock, kind)
    for option in options.TABLE[kind]:
        if option.name not in WRITE_ONLY:
            assert sock.getsockopt(option.name) == option.value, option.name.name


@pytest.mark.parametrize("kind", list(Kind))
def test_each_option_stands_once_and_has_a_reason(kind: Kind) -> None:
    names = [option.name for option in options.TABLE[kind]]
    assert len(names) == len(set(names))
    assert all(len(option.reason) > 20 for option in options.TABLE[kind])


def test_a_listener_refuses_to_send_into_nothing(sockets: Sockets) -> None:
    sock = sockets.socket(zmq.SocketType.ROUTER)
    options.apply(sock, Kind.LISTENER)
    with pytest.raises(zmq.ZMQError) as caught:
        sock.send_multipart([b"nobody", b"x"], zmq.NOBLOCK)
    assert caught.value.errno == zmq.EHOSTUNREACH


def test_a_second_connection_with_the_same_id_does_not_take_over(
    sockets: Sockets,
) -> None:
    router = sockets.socket(zmq.SocketType.ROUTER)
    options.apply(router, Kind.LISTENER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealers: list[zmq.Socket[bytes]] = []
    for _ in range(2):
        dealer = sockets.socket(zmq.SocketType.DEALER)
        options.apply(dealer, Kind.DIALER)
        dealer.setsockopt(zmq.SocketOption.ROUTING_ID, b"same")
        dealer.setsockopt(zmq.SocketOption.SNDTIMEO, 5000)
        dealer.connect(f"tcp://127.0.0.1:{port}")
        dealer.send(b"first" if not dealers else b"second")
        dealers.append(dealer)
        if len(dealers) == 1:
            assert router.poll(5000)
            assert router.recv_multipart() == [b"same", b"first"]
    router.send_multipart([b"same", b"hello"])
    assert dealers[0].poll(5000)
    assert dealers[0].recv() == b"hello"


def test_the_zap_domain_is_set_only_when_asked_for(sockets: Sockets) -> None:
    open_socket, fenced = sockets.socket(zmq.SocketType.ROUTER), sockets.socket(zmq.SocketType.ROUTER)
    options.apply(open_socket, Kind.LISTENER)
    options.apply(fenced, Kind.LISTENER, "peer")
    assert open_socket.getsockopt_string(zmq.SocketOption.ZAP_DOMAIN) == ""
    assert fenced.getsockopt_string(zmq.SocketOption.ZAP_DOMAIN) == "peer"


def test_a_dialled_message_fits_and_a_larger_one_ends_the_connection(
    sockets: Sockets,
) -> None:
    router = sockets.socket(zmq.SocketType.ROUTER)
    options.apply(router, Kind.LISTENER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer = sockets.socket(zmq.SocketType.DEALER)
    options.apply(dealer, Kind.DIALER)
    monitor = dealer.get_monitor_socket(zmq.Event.DISCONNECTED)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.setsockopt(zmq.SocketOption.SNDTIMEO, 5000)
    dealer.send(bytes(limits.MAX_LISTENER_FRAME))
    assert router.poll(5000)
    identity, _ = router.recv_multipart()
    router.send_multipart([identity, bytes(limits.MAX_BLOCK + limits.RECORD_OVERHEAD)])
    assert dealer.poll(5000)
    dealer.recv()
    dealer.send(bytes(limits.MAX_LISTENER_FRAME + 1))
    assert monitor.poll(5000)
    assert not router.poll(0)
    dealer.disable_monitor()
    monitor.close()


def test_the_queue_budget_covers_the_queue_and_stays_sane() -> None:
    listener = options.queue_octets(Kind.LISTENER)
    assert listener >= options.LISTENER_RCVHWM * limits.MAX_LISTENER_FRAME
    assert listener * limits.MAX_CONNECTIONS <= 320 * limits.MIB
    assert options.queue_octets(Kind.DIALER) <= 12 * limits.MIB
