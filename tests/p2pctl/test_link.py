"""p2pctl/link.py against libzmq, and against what is something else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from p2pctl.link import Ended, Late, Link, dial
from protocol.errors import RemoteProtocolError

LIMIT = 1 << 20
SECONDS = 20.0


@pytest.fixture
def path(place: Path) -> str:
    return str(place / "l.sock")


@pytest.fixture
def server() -> Iterator[Callable[..., zmq.Socket[Any]]]:
    """Makes a socket of libzmq, bound to a path."""
    context: zmq.Context[Any] = zmq.Context()
    all_made: list[zmq.Socket[Any]] = []

    def make(kind: int, path: str, **options: int) -> zmq.Socket[Any]:
        made = context.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.RCVTIMEO, int(SECONDS * 1000))
        for name, value in options.items():
            made.setsockopt(getattr(zmq, name), value)
        made.bind(f"ipc://{path}")
        all_made.append(made)
        return made

    yield make
    for made in all_made:
        made.close()
    context.term()


@pytest.fixture
def link(path: str) -> Iterator[Callable[[], Link]]:
    made: list[Link] = []

    def make() -> Link:
        made.append(Link(dial(path, SECONDS), LIMIT))
        return made[-1]

    yield make
    for one in made:
        one.close()


Server = Callable[..., "zmq.Socket[Any]"]
Make = Callable[[], Link]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_536, LIMIT])
def test_there_and_back(path: str, server: Server, link: Make, size: int) -> None:
    router = server(zmq.ROUTER, path)
    one = link()
    one.shake(SECONDS)
    one.send(b"q" * min(size, 65_536))
    peer, question = router.recv_multipart()
    assert question == b"q" * min(size, 65_536)
    router.send_multipart([peer, b"a" * size])
    assert one.receive(SECONDS) == b"a" * size


def test_messages_stay_apart_and_in_order(path: str, server: Server, link: Make) -> None:
    router = server(zmq.ROUTER, path)
    one = link()
    one.shake(SECONDS)
    sent = [b"%d" % number * (number % 300) for number in range(200)]
    for message in sent:
        one.send(message)
    got = [router.recv_multipart() for _ in sent]
    assert [message for _, message in got] == sent
    for peer, message in got:
        router.send_multipart([peer, message])
    assert [one.receive(SECONDS) for _ in sent] == sent


def test_much_in_both_directions_at_once(path: str, server: Server, link: Make) -> None:
    """More than the socket's buffers hold: what cannot be sent yet goes out while answers are received."""
    count, size = 40, 60_000
    router = server(zmq.ROUTER, path, RCVHWM=1, SNDHWM=0)

    def echo() -> None:
        for _ in range(count):
            router.send_multipart(router.recv_multipart())

    one = link()
    one.shake(SECONDS)
    thread = threading.Thread(target=echo)
    for number in range(count):
        one.send(bytes((number,)) * size)
    thread.start()
    assert [one.receive(SECONDS) for _ in range(count)] == [
        bytes((number,)) * size for number in range(count)
    ]
    thread.join(SECONDS)


def test_pings_of_libzmq_keep_the_connection(path: str, server: Server, link: Make) -> None:
    router = server(zmq.ROUTER, path, HEARTBEAT_IVL=20, HEARTBEAT_TIMEOUT=200)
    one = link()
    one.shake(SECONDS)
    with pytest.raises(Late):
        one.receive(0.6)  # three times what a silent connection would live
    one.send(b"still here")
    assert router.recv_multipart()[1] == b"still here"


def test_nothing_comes_in_time(path: str, server: Server, link: Make) -> None:
    server(zmq.ROUTER, path)
    one = link()
    one.shake(SECONDS)
    with pytest.raises(Late):
        one.receive(0.05)


def test_what_came_before_the_end_is_received(path: str, server: Server, link: Make) -> None:
    router = server(zmq.ROUTER, path)
    one = link()
    one.shake(SECONDS)
    assert not one.ended()
    one.send(b"")
    peer, _ = router.recv_multipart()
    for number in range(3):
        router.send_multipart([peer, b"%d" % number])
    router.close(linger=int(SECONDS * 1000))
    assert [one.receive(SECONDS) for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(Ended):
        one.receive(SECONDS)
    assert one.ended()
    one.send(b"to nobody")  # is no error of its own
    with pytest.raises(Ended):
        one.receive(SECONDS)


def test_another_kind_of_socket(path: str, server: Server, link: Make) -> None:
    server(zmq.PUB, path)
    with pytest.raises((RemoteProtocolError, Ended)):
        link().shake(SECONDS)


@pytest.mark.parametrize(
    ("says", "error"), [(b"SSH-2.0-OpenSSH_9.2p1\r\n", RemoteProtocolError), (b"", Ended)]
)
def test_something_that_is_no_zeromq(path: str, link: Make, says: bytes, error: type[Exception]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        one = link()
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(says)
            accepted.shutdown(socket.SHUT_WR)
            with pytest.raises(error):
                one.shake(SECONDS)


def test_something_that_says_nothing(path: str, link: Make) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(Late):
            link().shake(0.05)


def test_nobody_there(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        dial(path, 1.0)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(ConnectionRefusedError):
        dial(path, 1.0)


def test_no_place_in_the_queue(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        first = dial(path, 1.0)
        with pytest.raises(BlockingIOError):
            dial(path, 0.05)
        first.close()
