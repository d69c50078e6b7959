"""A member of a swarm that lies: it knows the password, runs in the test's process, and says what the test likes.

The rule: it uses the real wire (p2pd.net, protocol) and none of the roles, so that it can say what they never would.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from p2pd.net.addresses import Endpoint
from p2pd.net.admission import Admission
from p2pd.net.conn import Conn
from p2pd.net.context import make_context
from p2pd.net.dealer import Link
from p2pd.net.identity import Identity
from p2pd.net.keyring import Keyring
from p2pd.net.reactor import Reactor
from p2pd.net.router import SealedRouter
from p2pd.net.zap import ZapHandler
from protocol import peer as peer_messages
from protocol import tracker as tracker_messages
from protocol.handshake import Dialect, Info
from protocol.keys import DeviceKey, NetworkSecret, derive_network_key
from tests.fakes.processes import PASSWORD


class Liar:
    """A member in this process: knows the password, speaks the wire, says what it likes."""

    def __init__(self) -> None:
        self._context = make_context()
        self._executor = ThreadPoolExecutor(2)
        self._zap = ZapHandler(self._context)
        self._zap.start()
        self._reactors: list[Reactor] = []
        secret = NetworkSecret(derive_network_key(PASSWORD, "default", 0), "default", 0)
        self.device = DeviceKey.generate(os.urandom(32))
        self._identity = Identity(Keyring(secret), self.device, Info(software="liar"), os.urandom)

    def __enter__(self) -> Liar:
        return self

    def __exit__(self, *_: object) -> None:
        for reactor in self._reactors:
            reactor.stop(5.0)
        self._zap.stop()
        self._executor.shutdown()
        self._context.destroy(linger=0)

    def _reactor(self, name: str) -> Reactor:
        self._reactors.append(Reactor(name, self._context, self._executor))
        return self._reactors[-1]

    def serve(self, dialect: Dialect, answer: Callable[[Any], tuple[Any, bytes]]) -> int:
        """Listens; `answer(request)` gives message and payload. The port."""
        reactor = self._reactor(dialect.name)
        admission = Admission()
        self._zap.add(dialect.name, admission)
        handler = _Handler(tracker_messages if dialect is Dialect.TRACKER else peer_messages, answer)
        router = SealedRouter(reactor, self._identity, dialect, admission, dialect.name, handler)
        port = router.bind("127.0.0.1", 0)
        reactor.start()
        return port

    def ask(self, port: int, *messages: Any) -> list[Any]:
        """Dials a tracker and asks one thing after the other; the replies, `Lost` for none."""
        reactor = self._reactor("dial")
        reactor.start()
        ready = threading.Event()
        replies: list[Any] = []
        links: list[Link] = []

        def dial() -> None:
            links.append(
                Link(
                    reactor,
                    self._identity,
                    Dialect.TRACKER,
                    Endpoint("127.0.0.1", port),
                    tracker_messages.decode_reply,
                    on_ready=lambda link: ready.set(),
                    on_closed=lambda link, lost: ready.set(),
                )
            )

        reactor.call(dial)
        assert ready.wait(10.0)
        for message in messages:
            answered = threading.Event()

            def put(reply: Any, payload: memoryview, answered: threading.Event = answered) -> None:
                replies.append(reply)
                answered.set()

            reactor.call(links[0].ask, message, put, 5.0)
            assert answered.wait(10.0)
        reactor.call(links[0].close)
        return replies


class _Handler:
    """Handler of a SealedRouter that passes requests to a function."""

    def __init__(self, dialect: Any, answer: Callable[[Any], tuple[Any, bytes]]) -> None:
        self._dialect = dialect
        self._answer = answer

    def opened(self, conn: Conn) -> None:
        """See router.Handler."""

    def closed(self, conn: Conn) -> None:
        """See router.Handler."""

    def writable(self, conn: Conn) -> None:
        """See router.Handler."""

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """One request, one answer."""
        message, octets = self._answer(self._dialect.decode_request(header))
        conn.send(message, octets)
