"""p2pd.net.warden: what a stranger can take, what a member can take, and that only the right one is cut."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message

from p2pd.net import options
from p2pd.net.admission import Admission, AdmissionLimits
from p2pd.net.context import make_context
from p2pd.net.warden import EVENTS, Budget, Cut, Warden
from protocol.limits import KIB, MIB

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
PART = 60 * KIB
ENDLESS = (b"\x03" + PART.to_bytes(8, "big") + bytes(PART)) * 16  # parts that all say: more follows
DEADLINE = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="octets are counted on Linux only")


def memory() -> int:
    """Resident octets of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def dial(port: int) -> socket.socket:
    """A raw connection that has finished the ZMTP handshake (RFC 37, NULL mechanism)."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    raw.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    heard = b""
    while b"READY" not in heard or not heard.endswith(b"ROUTER"):  # before it, a message breaks the protocol
        heard += raw.recv(1)
    return raw


def is_cut(raw: socket.socket) -> bool:
    """Waits for the end of the connection."""
    try:
        while raw.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


class Listener:
    """A ROUTER that echoes, with a warden around it; `let me in` authenticates its sender."""

    def __init__(self, admission: Admission | None = None, budget: Budget | None = None) -> None:
        self.context = make_context()
        self.router = self.context.socket(zmq.SocketType.ROUTER)
        options.apply(self.router, options.Kind.LISTENER)
        self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.monitor = self.router.get_monitor_socket(EVENTS)
        self.warden = Warden(admission, budget or Budget())
        self.cuts: list[Cut] = []
        self.descriptors: dict[bytes, int] = {}
        self.echoed = 0
        self.peak = self.floor = memory()
        self._next_scan = 0.0

    def turn(self) -> None:
        """One round of what a router's thread does."""
        ready = zmq.select([self.router, self.monitor], [], [], self.warden.pause)[0]
        if self.monitor in ready:
            event = parse_monitor_message(self.monitor.recv_multipart())
            cut = self.warden.on_event(event, time.monotonic())
            self.cuts += [cut] if cut else []
        if self.router in ready:
            identity, frame = self.router.recv_multipart(copy=False)
            fd = frame.get(zmq.SRCFD)
            self.descriptors[identity.bytes] = fd
            self.warden.delivered(fd, len(frame.buffer))
            if frame.bytes == b"let me in":
                self.warden.authenticated(fd)
            try:
                self.router.send_multipart([identity.bytes, frame.bytes], zmq.NOBLOCK)
                self.echoed += 1
            except zmq.ZMQError:
                pass
        now = time.monotonic()
        if now >= self._next_scan:
            self.cuts += self.warden.scan(now)
            self._next_scan = now + self.warden.pause
        self.peak = max(self.peak, memory())

    def until(self, condition: Callable[[], bool]) -> None:
        """Turns until the condition holds; fails after the deadline."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            state = f"{self.cuts}, {len(self.warden)} watched, {self.echoed} echoed"
            assert time.monotonic() < deadline, f"waited in vain: {state}"
            self.turn()

    def close(self) -> None:
        self.router.disable_monitor()
        self.monitor.close()
        self.router.close()
        self.context.destroy(linger=0)
        self.warden.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(admission: Admission | None = None, budget: Budget | None = None) -> Listener:
        made.append(Listener(admission, budget))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def listener(listen: Callable[..., Listener]) -> Listener:
    return listen()


def stream(raw: socket.socket, octets: int, ended: threading.Event) -> None:
    try:
        for _ in range(octets // len(ENDLESS)):
            raw.sendall(ENDLESS)
    except OSError:
        pass
    finally:
        ended.set()


def test_endless_multipart_of_strangers_is_cut_and_an_honest_peer_goes_on(listener: Listener) -> None:
    honest = listener.context.socket(zmq.SocketType.DEALER)
    honest.linger = 0
    honest.connect(f"tcp://127.0.0.1:{listener.port}")
    honest.send(b"let me in")
    listener.until(lambda: listener.echoed == 1)
    raws = [dial(listener.port) for _ in range(4)]
    listener.until(lambda: len(listener.warden) == 5)
    listener.floor = memory()
    ends = [threading.Event() for _ in raws]
    threads = [
        threading.Thread(target=stream, args=(raw, 300 * MIB, ended))
        for raw, ended in zip(raws, ends, strict=True)
    ]
    for thread in threads:
        thread.start()
    asked = 0

    def ask() -> bool:
        nonlocal asked
        if asked < 50 and listener.echoed > asked:
            honest.send(b"still there?")
            asked += 1
        return asked == 50 and listener.echoed >= 51 and len(listener.cuts) == 4

    listener.until(ask)
    for thread in threads:
        thread.join(DEADLINE)
    assert all(ended.is_set() for ended in ends)
    listener.until(lambda: len(listener.warden) == 1)
    assert {cut.reason for cut in listener.cuts} == {"sent too much before it authenticated"}
    assert listener.peak - listener.floor < 64 * MIB
    for raw in raws:
        raw.close()
    honest.close()


def test_an_authenticated_peer_is_cut_too_once_its_queue_budget_is_gone(listener: Listener) -> None:
    raw = dial(listener.port)
    raw.sendall(b"\x00\x09let me in")
    listener.until(lambda: listener.echoed == 1)
    ended = threading.Event()
    thread = threading.Thread(target=stream, args=(raw, 300 * MIB, ended))
    thread.start()
    listener.until(ended.is_set)
    thread.join(DEADLINE)
    assert [cut.reason for cut in listener.cuts] == ["sent more than its queue may hold"]
    assert listener.peak - listener.floor < 64 * MIB
    raw.close()


def test_a_peer_whose_messages_are_read_may_send_far_more_than_its_budget(listener: Listener) -> None:
    raw = dial(listener.port)
    raw.sendall(b"\x00\x09let me in")
    listener.until(lambda: listener.echoed == 1)
    message = b"\x02" + PART.to_bytes(8, "big") + bytes(PART)
    count = 100  # 6 MB through a budget of 1.2 MB
    ended = threading.Event()

    def talk() -> None:
        for _ in range(count):
            raw.sendall(message)
        ended.set()

    def hear() -> None:
        is_cut(raw)

    threads = [threading.Thread(target=talk), threading.Thread(target=hear)]
    for thread in threads:
        thread.start()
    listener.until(lambda: len(listener.descriptors) == 1 and ended.is_set() and listener.echoed > count // 2)
    assert listener.cuts == []
    assert len(listener.warden) == 1
    raw.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(DEADLINE)
    raw.close()


def test_a_full_kernel_buffer_is_not_held_against_an_authenticated_peer(listener: Listener) -> None:
    raw = dial(listener.port)
    raw.sendall(b"\x00\x09let me in")
    listener.until(lambda: listener.echoed == 1)
    raw.setblocking(False)
    message = b"\x02" + PART.to_bytes(8, "big") + bytes(PART)
    sent = 0
    while sent < 64 * MIB:  # whole messages that nobody reads: the queue fills, then the kernel's buffers
        try:
            sent += raw.send(message * 8)
        except BlockingIOError:
            break
    assert sent > Budget().held_octets
    assert listener.warden.scan(time.monotonic()) == []
    raw.close()


def test_a_connection_that_never_authenticates_is_cut_when_its_time_is_up(
    listen: Callable[..., Listener],
) -> None:
    listener = listen(budget=Budget(stranger_seconds=0.2))
    raw = dial(listener.port)
    listener.until(lambda: len(listener.cuts) == 1)
    assert listener.cuts[0].reason == "did not authenticate in time"
    assert listener.cuts[0].address == "127.0.0.1"
    assert is_cut(raw)
    listener.until(lambda: len(listener.warden) == 0)
    raw.close()


def test_a_condemned_connection_is_cut_at_its_time_and_not_before(listener: Listener) -> None:
    raw = dial(listener.port)
    raw.sendall(b"\x00\x09let me in")
    listener.until(lambda: listener.echoed == 1)
    (fd,) = listener.descriptors.values()
    listener.warden.condemn(fd, "refused", 1e9 + 5.0)
    assert listener.warden.scan(1e9 + 4.9) == []
    assert [cut.reason for cut in listener.warden.scan(1e9 + 5.0)] == ["refused"]
    assert is_cut(raw)
    raw.close()


def test_admission_counts_follow_the_connections(listen: Callable[..., Listener]) -> None:
    admission = Admission(AdmissionLimits(per_address=2))
    listener = listen(admission)
    raws = [dial(listener.port) for _ in range(2)]
    listener.until(lambda: admission.counts()["connections"] == 2)
    raws[0].sendall(b"\x00\x09let me in")
    listener.until(lambda: admission.counts()["unauthenticated"] == 1)
    raws.append(dial(listener.port))
    listener.until(lambda: len(listener.cuts) == 1)
    assert listener.cuts[0].reason == "too many connections from this address"
    assert is_cut(raws[2])
    for raw in raws:
        raw.close()
    listener.until(lambda: admission.counts()["connections"] == 0)
    assert admission.counts()["unauthenticated"] == 0


def accepted(fd: int) -> dict[str, int]:
    return {"event": int(zmq.Event.ACCEPTED), "value": fd}


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


def test_a_descriptor_that_now_belongs_to_another_connection_is_left_alone() -> None:
    warden = Warden(budget=Budget(stranger_seconds=1.0))
    client, server = pair()
    other_client, other = pair()
    number = server.fileno()
    warden.on_event(accepted(number), 0.0)
    os.dup2(other.fileno(), number)  # closed by libzmq and reused, before its DISCONNECTED was read
    assert warden.scan(2.0) == []
    assert len(warden) == 0
    server.sendall(b"alive")
    assert other_client.recv(5) == b"alive"
    for sock in (client, server, other_client, other):
        sock.close()


def test_a_descriptor_that_is_no_socket_any_more_is_left_alone(tmp_path: os.PathLike[str]) -> None:
    warden = Warden(budget=Budget(stranger_seconds=1.0))
    client, server = pair()
    number = server.fileno()
    warden.on_event(accepted(number), 0.0)
    with open(os.path.join(tmp_path, "file"), "wb") as file:
        os.dup2(file.fileno(), number)
    assert warden.scan(0.5) == []
    assert len(warden) == 0
    assert os.fstat(number).st_size == 0  # still open
    client.close()
    server.close()


def test_events_for_closed_and_unknown_descriptors_are_harmless() -> None:
    admission = Admission()
    warden = Warden(admission)
    client, server = pair()
    number = server.fileno()
    client.close()
    server.close()
    warden.on_event(accepted(number), 0.0)
    assert admission.counts()["connections"] == 1
    warden.on_event({"event": int(zmq.Event.DISCONNECTED), "value": 9999}, 0.0)
    warden.on_event({"event": int(zmq.Event.ACCEPT_FAILED), "value": 24}, 0.0)
    assert not warden.authenticated(9999)
    assert warden.cut(number, "?") is None
    warden.on_event({"event": int(zmq.Event.DISCONNECTED), "value": number}, 0.0)
    assert admission.counts()["connections"] == 0


def test_frames_of_an_earlier_connection_give_the_next_one_no_credit() -> None:
    warden = Warden(budget=Budget(held_octets=100_000))
    client, server = pair()
    fd = server.fileno()
    warden.on_event(accepted(fd), 0.0)
    warden.delivered(fd, 10 * MIB)  # late frames of the connection that had this number before
    assert warden.authenticated(fd)
    assert warden.scan(0.1) == []
    client.sendall(bytes(150_000))
    received = 0
    while received < 150_000:
        received += len(server.recv(65536))
    assert [cut.reason for cut in warden.scan(0.2)] == ["sent more than its queue may hold"]
    client.close()
    server.close()


def test_the_pause_is_short_while_a_stranger_is_there() -> None:
    warden = Warden()
    idle = warden.pause
    client, server = pair()
    warden.on_event(accepted(server.fileno()), 0.0)
    busy = warden.pause
    assert busy < idle
    warden.scan(0.1)
    assert warden.pause == busy
    warden.authenticated(server.fileno())
    warden.scan(0.2)
    assert busy < warden.pause <= idle
    client.close()
    server.close()
