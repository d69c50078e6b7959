"""Real reactors, routers and links on loopback for tests, ends that break the rules, and a clock that can be moved.

The rule: everything made here is closed here, and whoever waits waits for an event with a deadline.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import zmq

from p2pd.net.addresses import Endpoint
from p2pd.net.admission import Admission, AdmissionLimits
from p2pd.net.context import make_context
from p2pd.net.dealer import Link, Lost
from p2pd.net.identity import Identity
from p2pd.net.keyring import Keyring
from p2pd.net.reactor import Reactor
from p2pd.net.router import Conn, SealedRouter
from p2pd.net.zap import ZapHandler
from protocol.codec import encode
from protocol.errors import RemoteProtocolError
from protocol.frames import Dialect, Info
from protocol.keys import NetworkSecret
from protocol.peer import Available, Interest, decode_reply, decode_request
from protocol.session import Opened, Session
from tests.fakes.pair import make_device, make_initiator, make_responder, make_secret

T = TypeVar("T")
DEADLINE = 10.0  # seconds that any wait may take before the test fails
HOST = "127.0.0.1"
DOMAIN = "test"


class Clock:
    """Monotonic seconds that run, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Now."""
        return time.monotonic() + self.ahead


class Box(Generic[T]):
    """A list that other threads put into and a test takes from."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """From any thread."""
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def get(self, seconds: float = DEADLINE) -> T:
        """The oldest item, taken out; waits for one."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.items, seconds), "nothing came"
            return self.items.pop(0)

    def wait(self, count: int, seconds: float = DEADLINE) -> list[T]:
        """All items, once there are `count`."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.items) >= count, seconds)
            assert enough, f"{len(self.items)} of {count} came"
            return list(self.items)


def until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Waits for a condition of another thread that tells nobody."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.002)


def make_identity(name: str, secret: NetworkSecret | Keyring | None = None) -> Identity:
    """The device of this name, a member of the test network unless told otherwise."""
    keys = secret if isinstance(secret, Keyring) else Keyring(secret or make_secret())
    return Identity(keys, make_device(name), Info("p2pd/test"), os.urandom)


class Recorder:
    """Handler of a router: keeps what happened; `answer(conn, request, payload)` may reply on the reactor's thread."""

    def __init__(self, answer: Callable[[Conn, Any, memoryview], object] | None = None) -> None:
        self.openings: Box[Conn] = Box()
        self.closings: Box[Conn] = Box()
        self.requests: Box[Any] = Box()
        self.room: Box[Conn] = Box()
        self.answer = answer
        self.on_opened: Callable[[Conn], object] | None = None

    def opened(self, conn: Conn) -> None:
        """See router.Handler."""
        if self.on_opened is not None:
            self.on_opened(conn)
        self.openings.put(conn)

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """See router.Handler."""
        request = decode_request(header)
        self.requests.put(request)
        if self.answer is not None:
            self.answer(conn, request, payload)

    def writable(self, conn: Conn) -> None:
        """See router.Handler."""
        self.room.put(conn)

    def closed(self, conn: Conn) -> None:
        """See router.Handler."""
        self.closings.put(conn)


def echo(conn: Conn, request: Any, payload: memoryview) -> None:
    """For a Recorder: answers an Interest."""
    if isinstance(request, Interest):
        conn.send(Available(request.req, True))


def half_open(net: Net) -> int:
    """Handshakes under way, once the listener has done what it is at."""
    return net.on(net.listening, net.admission.counts)["half_open"]


class Dialled:
    """A Link, what it told, and asking it from the test's thread."""

    def __init__(self, net: Net, link: Link, ready: Box[Link], closed: Box[Lost], pushes: Box[Any]) -> None:
        self.net = net
        self.link = link
        self.ready = ready
        self.closed = closed
        self.pushes = pushes

    def ask(self, message: Any, timeout: float = 30.0) -> Box[tuple[Any, bytes]]:
        """A box for the answer: (reply, payload)."""
        box: Box[tuple[Any, bytes]] = Box()
        self.net.dialling.call(
            self.link.ask, message, lambda reply, payload: box.put((reply, bytes(payload))), timeout
        )
        return box

    def close(self) -> None:
        """Ends it from here."""
        self.net.dialling.call(self.link.close)


class Net:
    """One context with a listening and a dialling reactor. Use as a context manager; `limits` are of the admission."""

    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        self.clock = Clock()
        self.context = make_context()
        self.executor = ThreadPoolExecutor(2)
        self.admission = Admission(limits)
        self.zap = ZapHandler(self.context, {DOMAIN: self.admission}, self.clock)
        self.listening = Reactor("listening", self.context, self.executor, self.clock)
        self.dialling = Reactor("dialling", self.context, self.executor, self.clock)
        self.routers: list[SealedRouter] = []
        self.dialled: list[Dialled] = []
        self.strangers: list[Stranger] = []

    def __enter__(self) -> Net:
        self.zap.start()
        self.listening.start()
        self.dialling.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for stranger in self.strangers:
            stranger.socket.close(linger=0)
        for dialled in self.dialled:
            dialled.close()
        for router in self.routers:
            self.listening.call(router.shut)
        assert self.dialling.stop(DEADLINE)
        assert self.listening.stop(DEADLINE)
        self.zap.stop()
        self.executor.shutdown()
        self.context.destroy(linger=0)

    def on(self, reactor: Reactor, work: Callable[[], T]) -> T:
        """The result of `work()` on a reactor's thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        reactor.call(run)
        return future.result(DEADLINE)

    def advance(self, seconds: float) -> None:
        """Puts the clock forward, and lets both reactors see it."""
        self.clock.ahead += seconds
        for reactor in (self.listening, self.dialling):
            self.on(reactor, lambda: None)
            self.on(reactor, lambda: None)

    def listen(
        self,
        handler: Any,
        name: str = "uploader",
        secret: NetworkSecret | Keyring | None = None,
        dialect: Dialect = Dialect.PEER,
    ) -> SealedRouter:
        """A router on a free port of loopback."""

        def bind() -> SealedRouter:
            router = SealedRouter(
                self.listening, make_identity(name, secret), dialect, self.admission, DOMAIN, handler
            )
            router.bind(HOST, 0)
            return router

        router = self.on(self.listening, bind)
        self.routers.append(router)
        return router

    def dial(
        self,
        port: int,
        name: str = "downloader",
        secret: NetworkSecret | Keyring | None = None,
        dialect: Dialect = Dialect.PEER,
        expected: bytes | None = None,
    ) -> Dialled:
        """A link to a port."""
        ready: Box[Link] = Box()
        closed: Box[Lost] = Box()
        pushes: Box[Any] = Box()

        def make() -> Link:
            return Link(
                self.dialling,
                make_identity(name, secret),
                dialect,
                Endpoint(HOST, port),
                decode_reply,
                expected_device=expected,
                on_ready=ready.put,
                on_closed=lambda link, lost: closed.put(lost),
                on_push=pushes.put,
            )

        dialled = Dialled(self, self.on(self.dialling, make), ready, closed, pushes)
        self.dialled.append(dialled)
        return dialled

    def stranger(self, port: int, **options: int) -> Stranger:
        """A bare DEALER that may send anything."""
        stranger = Stranger(self, port, options)
        self.strangers.append(stranger)
        return stranger


class Stranger:
    """A bare DEALER: speaks the wire by hand, in the test's thread. `options` are names of zmq.SocketOption in lower case."""

    def __init__(self, net: Net, port: int, options: dict[str, int]) -> None:
        self.net = net
        self.socket = net.context.socket(zmq.DEALER)
        self.socket.linger = 0
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq.SocketOption, name.upper()), value)
        self.socket.connect(f"tcp://{HOST}:{port}")
        self.session: Session | None = None

    def send(self, *frames: bytes) -> None:
        """One message."""
        self.socket.send_multipart(frames)

    def receive(self, seconds: float = DEADLINE) -> bytes:
        """The next message, of one part."""
        assert self.socket.poll(int(seconds * 1000)), "nothing came"
        (frame,) = self.socket.recv_multipart()
        return frame

    def hears_nothing(self, seconds: float = 0.05) -> bool:
        """True when nothing is there after the listener has had its turn."""
        self.net.on(self.net.listening, lambda: None)
        return not self.socket.poll(int(seconds * 1000))

    def shake_hands(self, name: str = "stranger", secret: NetworkSecret | None = None) -> Session:
        """A whole handshake; the session."""
        initiator = make_initiator(name, secret)
        self.send(initiator.hello())
        self.send(initiator.receive_offer(self.receive()))
        established = initiator.receive_accept(self.receive())
        self.session = Session(established, self.net.clock(), time.time(), os.urandom)
        return self.session

    def seal(self, message: Any) -> bytes:
        """The next record with this message."""
        assert self.session is not None
        return self.session.seal(encode(message), now=self.net.clock())

    def event(self, seconds: float = DEADLINE) -> Any:
        """What the next record says."""
        assert self.session is not None
        record = self.receive(seconds)
        return self.session.open_into(record, memoryview(bytearray(len(record) + 64)), self.net.clock())

    def reply(self, seconds: float = DEADLINE) -> tuple[Any, bytes]:
        """The next message of the dialect and its payload."""
        event = self.event(seconds)
        if not isinstance(event, Opened):
            raise RemoteProtocolError(f"{event} instead of a message")
        return decode_reply(event.header), bytes(event.payload)


class Liar:
    """A bare ROUTER that plays the listening end by hand, in a thread."""

    def __init__(self, net: Net, script: Callable[[Liar], object]) -> None:
        self.socket = net.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.ipv6 = True
        self.port = self.socket.bind_to_random_port(f"tcp://{HOST}")
        self.rid = b""
        self.session: Session | None = None
        self.net = net
        self.thread = threading.Thread(target=self._run, args=(script,))
        self.thread.start()

    def _run(self, script: Callable[[Liar], object]) -> None:
        script(self)

    def receive(self) -> bytes:
        """The next frame of whoever dialled."""
        assert self.socket.poll(10_000), "nothing came"
        self.rid, frame = self.socket.recv_multipart()
        return frame

    def send(self, *frames: bytes) -> None:
        """One message to whoever dialled."""
        self.socket.send_multipart([self.rid, *frames])

    def shake_hands(self) -> None:
        """The whole handshake."""
        responder = make_responder("liar")
        self.send(responder.receive_hello(self.receive()))
        accept, established = responder.receive_prove(self.receive())
        self.session = Session(established, self.net.clock(), time.time(), os.urandom)
        self.send(accept)

    def seal(self, message: object, payload: bytes = b"") -> bytes:
        """The next record."""
        assert self.session is not None
        return self.session.seal(encode(message), payload, now=self.net.clock())

    def close(self) -> None:
        """Joins the thread first."""
        self.thread.join(10)
        self.socket.close(linger=0)
