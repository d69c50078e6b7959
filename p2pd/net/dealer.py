"""One dialled connection: a DEALER with a handshake, a session, and requests that are matched with their answers.

The rule: one attempt with each key that may be used (two while a rotation is under way, the newer first), never reconnected; whoever
owns the link decides about another one and its back-off. Every request ends in exactly one call of its callback: with an answer, or with
a `Lost`. All on the reactor's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from p2pd.net import options
from p2pd.net.addresses import Endpoint, zmq_endpoint
from p2pd.net.identity import Identity
from p2pd.net.landing import PlainBuffer
from p2pd.net.listening import Guard
from p2pd.net.outcome import CannotDial, LinkState, Lost, lost_in_handshake
from p2pd.net.pending import Answer, Pending
from p2pd.net.reactor import Reactor
from p2pd.net.warden import DIALER_EVENTS
from protocol import limits
from protocol.codec import encode, numbered
from protocol.errors import ProtocolError, Refusal, RemoteProtocolError
from protocol.handshake import Dialect, Established, HandshakeRefused, Initiator
from protocol.ids import device_text
from protocol.lanes import STEP
from protocol.session import Ahead, Closed, Opened, Pinged, Session, State

__all__ = ["Answer", "CannotDial", "Link", "LinkState", "Lost"]

log = logging.getLogger("p2pd.net.dealer")

BATCH = 32  # messages taken per wake-up; one of BULK octets ends it: written blocks want to be told, and the next asked for
BULK = 64 * limits.KIB
CONNECT_SECONDS = 10.0

_EMPTY = memoryview(b"")


class Link:
    """See the module. `decode` reads the dialect's replies; `on_ready(link)`, `on_closed(link, lost)`, `on_push(message)`."""

    def __init__(
        self,
        reactor: Reactor,
        identity: Identity,
        dialect: Dialect,
        endpoint: Endpoint,
        decode: Callable[[memoryview], Any],
        *,
        expected_device: bytes | None = None,
        on_ready: Callable[[Link], object],
        on_closed: Callable[[Link, Lost], object],
        on_push: Callable[[Any], object] | None = None,
        plain: PlainBuffer | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.state = LinkState.CONNECTING
        self.device_id, self.features = expected_device or b"", 0
        self.connected = False  # somebody took the connection, whoever it is
        self.pending = Pending(reactor.clock())
        self._reactor = reactor
        self._decode = decode
        self._guard = guard
        self._descriptor = -1
        self._on_ready = on_ready
        self._on_closed = on_closed
        self._on_push = on_push
        self._request = 0
        self._session: Session | None = None
        self._busy = False
        self._early: list[bytes] = []
        self._plain = plain or PlainBuffer()
        self._identity, self._dialect, self._expected = identity, dialect, expected_device
        self._secrets = list(identity.keys.for_dialling(expected_device or str(endpoint)))
        self._open()
        self._ticker = reactor.later(1.0, self._tick)

    def _open(self) -> None:
        """A connection, for a handshake with the next of our keys. Raises CannotDial."""
        identity, reactor = self._identity, self._reactor
        self.secret = self._secrets.pop(0)
        self.state = LinkState.CONNECTING
        self._initiator = Initiator(
            self.secret, identity.device, identity.info, self._dialect, identity.entropy, self._expected
        )
        try:
            self._socket: zmq.Socket[bytes] = reactor.context.socket(zmq.DEALER)
        except zmq.ZMQError as error:
            raise CannotDial(str(error)) from error
        try:
            options.apply(self._socket, options.Kind.DIALER)
            self._monitor = self._socket.get_monitor_socket(int(DIALER_EVENTS))
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            raise CannotDial(str(error)) from error
        reactor.add_socket(self._monitor, self._monitored)
        reactor.add_socket(self._socket, self._readable)
        self._deadline = reactor.later(CONNECT_SECONDS, self._timed_out)
        try:
            self._socket.connect(zmq_endpoint(*self.endpoint))
        except zmq.ZMQError as error:
            reactor.call(self._end, Lost("unreachable", f"cannot dial {self.endpoint}: {error}"))

    def _again(self) -> None:
        """The far end does not know this key: another connection, with the older one."""
        log.info("= %s does not know the newer key: trying the older", self.endpoint)
        self._shut(0)
        try:
            self._open()
        except CannotDial as error:
            self._end(Lost("unreachable", f"cannot dial {self.endpoint}: {error}"))

    @property
    def ready(self) -> bool:
        """True while requests can be sent."""
        return self.state is LinkState.READY

    # -- using --------------------------------------------------------------------------------------------

    def ask(self, message: Any, answer: Answer, timeout: float) -> int:
        """Sends a request (its `req` is set here); `answer` is called once, later. Answers the request number."""
        self._request = (self._request + 1) % 2**32
        if not self.ready:
            self._reactor.call(answer, Lost("closed", "not connected"), _EMPTY)
            return self._request
        self.pending.add(self._request, answer, self._reactor.clock(), timeout)
        self._seal_and_send(encode(numbered(message, self._request)))
        return self._request

    def close(self) -> None:
        """Says CLOSE and ends; open requests are answered with Lost."""
        session = self._session
        if session is not None and self.ready and session.state is State.OPEN:
            self._send(session.seal_close(0, self._reactor.clock()))
        self._end(Lost("closed", "closed here"), linger=100)

    # -- the far end --------------------------------------------------------------------------------------

    def _monitored(self) -> None:
        while self.state is not LinkState.CLOSED:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            kind = event["event"]
            if self._guard is not None:
                self._guard.take(event)
            if kind == zmq.EVENT_CONNECTED:
                self._descriptor, self.connected = int(event["value"]), True
                continue
            if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected()
            elif self.state is LinkState.CONNECTING:
                if kind == zmq.EVENT_CLOSED:
                    self._end(Lost("unreachable", f"nobody answers at {self.endpoint}"))
                else:
                    # A banned address and a full house are cut before the first frame: there is no REFUSE to read.
                    text = f"{self.endpoint} hung up: it is no p2pd, or takes no connection from here for now"
                    self._end(Lost("unreachable", text, Refusal.BUSY))
            else:
                # what the far end sent before it went may still be in the socket's queue
                self._readable()
                self._end(Lost("lost", f"the connection to {self.endpoint} was lost"))

    def _connected(self) -> None:
        if self.state is LinkState.CONNECTING and not self._busy:
            self._busy = True
            self._deadline.cancel()
            self._deadline = self._reactor.later(limits.HANDSHAKE_SECONDS, self._timed_out)
            self._reactor.offload(self._initiator.hello, self._said_hello)

    def _said_hello(self, hello: bytes | None, error: BaseException | None) -> None:
        self._busy = False
        if self.state is LinkState.CLOSED:
            return
        if hello is None:
            self._end(Lost("lost", f"handshake failed: {error}"))
            return
        self.state = LinkState.HELLO
        self._send(hello)

    def _readable(self) -> None:
        for _ in range(BATCH):
            frame = self._next_frame()
            if frame is None:
                return
            if len(frame) >= BULK and self.ready:
                self._together(frame)
                return
            self._taken(frame)

    def _next_frame(self) -> zmq.Frame | None:
        """The next message, if one is here and the link is still one."""
        if self.state is LinkState.CLOSED:
            return None
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        if len(frames) != 1:
            self._end(Lost("lost", "not one part"))
            return None
        if self._guard is not None:
            self._guard.delivered(frames[0])
        return frames[0]

    def _together(self, frame: zmq.Frame) -> None:
        """A block, and those right behind it: opened together, and then taken one by one. What is short ends it."""
        assert self._session is not None
        frames = [frame]
        while len(frames) < STEP and len(frames[-1]) >= BULK:
            following = self._next_frame()
            if following is None:
                break
            frames.append(following)
        if not self.ready:
            return  # what came last ended the link
        rooms = self._plain.rooms(len(frames))
        opened = self._session.ahead(
            [(frame.buffer, room) for frame, room in zip(frames, rooms, strict=True)]
        )
        for each, ahead in zip(frames, opened, strict=True):
            if self.ready:
                self._taken(each, ahead)
            self._plain.turn()

    def _taken(self, frame: zmq.Frame, ahead: Ahead | None = None) -> None:
        try:
            self._received(frame, ahead)
        except ProtocolError as error:
            self._end(Lost("lost", f"protocol error: {error}"))
        except Exception:  # a fault of ours in taking an answer: this link cannot be trusted to go on
            log.exception("! %s: an answer could not be handled", self.endpoint)
            self._end(Lost("lost", "internal error"))

    def _received(self, frame: zmq.Frame, ahead: Ahead | None) -> None:
        if self.state is LinkState.READY:
            self._record(frame.buffer, ahead)
        elif self._busy:
            # a record right behind ACCEPT, while ACCEPT is still being checked
            self._early.append(frame.bytes)
            if len(self._early) > 4:
                raise RemoteProtocolError("too much before the handshake is through")
        elif self.state is LinkState.HELLO:
            self._step(partial(self._initiator.receive_offer, frame.bytes), self._proved)
        elif self.state is LinkState.PROVE:
            self._step(partial(self._initiator.receive_accept, frame.bytes), self._accepted)

    def _step(self, work: Callable[[], Any], then: Callable[[Any, BaseException | None], object]) -> None:
        self._busy = True
        self._reactor.offload(work, then)

    def _proved(self, prove: bytes | None, error: BaseException | None) -> None:
        self._busy = False
        if self.state is LinkState.CLOSED:
            return
        if self._secrets and isinstance(error, HandshakeRefused) and error.code == Refusal.UNKNOWN_NETWORK:
            self._again()
            return
        if prove is None:
            self._end(lost_in_handshake(error, self.endpoint))
            return
        self.state = LinkState.PROVE
        self._send(prove)

    def _accepted(self, established: Established | None, error: BaseException | None) -> None:
        self._busy = False
        if self.state is LinkState.CLOSED:
            return
        if established is None:
            self._end(lost_in_handshake(error, self.endpoint))
            return
        self._deadline.cancel()
        keys = self._identity.keys
        if not keys.admits(established.device_id, self.secret):
            self._end(Lost("auth", f"{self.endpoint} has proven a newer key before", Refusal.UNKNOWN_NETWORK))
            return
        place = "" if self._expected else str(self.endpoint)
        keys.met(established.device_id, self.secret, self.endpoint.host, place)
        self.device_id, self.features = established.device_id, established.info.features
        self._session = Session(established, self._reactor.clock(), time.time(), self._identity.entropy)
        self.state = LinkState.READY
        if self._guard is not None:
            self._guard.authenticated(self._descriptor)
        log.info("= %s/%s connected", self.endpoint, device_text(self.device_id)[:8])
        self._on_ready(self)
        early, self._early = self._early, []
        for record in early:
            if self.ready:
                try:
                    self._record(memoryview(record))
                except ProtocolError as broken:
                    self._end(Lost("lost", f"protocol error: {broken}"))

    def _record(self, data: memoryview, ahead: Ahead | None = None) -> None:
        assert self._session is not None
        now = self._reactor.clock()
        event = self._session.open_into(data, self._plain.room(), now, ahead)
        if isinstance(event, Opened):
            self._plain.opened(event)
            reply = self._decode(event.header)
            number = getattr(reply, "req", None)
            if number is None:
                if self._on_push is not None:
                    self._on_push(reply)
                return
            answer = self.pending.answered(number, now)
            if answer is None:
                raise RemoteProtocolError("an answer nobody asked for")
            answer(reply, event.payload)
        elif isinstance(event, Pinged):
            self._rekey(now)
            self._send(self._session.seal_pong(event.number, now))
        elif isinstance(event, Closed):
            if event.reason == Refusal.BANNED:
                self._end(Lost("refused", f"{self.endpoint} says: banned", event.reason))
            else:
                self._end(Lost("lost", f"{self.endpoint} closed the session"))

    # -- sending ------------------------------------------------------------------------------------------

    def _seal_and_send(self, header: bytes) -> None:
        assert self._session is not None
        now = self._reactor.clock()
        self._rekey(now)
        self._send(self._session.seal(header, now=now))

    def _rekey(self, now: float) -> None:
        """Before anything is sealed: a session that only ever answers pings grows old too."""
        if self._session is not None and self._session.rekey_due(now):
            self._send(self._session.seal_rekey(now))

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            # The queue holds twice what may be outstanding: a full one means that the far end is stuck.
            self._reactor.call(self._end, Lost("lost", f"cannot send to {self.endpoint}: {error}"))

    # -- time and end -------------------------------------------------------------------------------------

    def _timed_out(self) -> None:
        code = "unreachable" if self.state is LinkState.CONNECTING else "timeout"
        self._end(Lost(code, f"{self.endpoint} did not answer in time"))

    def _tick(self) -> None:
        if self.state is LinkState.CLOSED:
            return
        # First, so that nothing that goes wrong below can end it.
        self._ticker = self._reactor.later(1.0, self._tick)
        now = self._reactor.clock()
        for answer in self.pending.late(now):
            answer(Lost("timeout", f"{self.endpoint} did not answer in time"), _EMPTY)
        if self.ready and self._session is not None:
            keys = self._identity.keys
            if keys.admits(self.device_id, self.secret):
                keys.met(self.device_id, self.secret, self.endpoint.host)
            else:
                self._end(Lost("lost", f"the key of the session with {self.endpoint} has stopped"))
                return
            if self._session.dead(now):
                self._end(Lost("lost", f"{self.endpoint} is silent"))
            elif self._session.ping_due(now):
                self._rekey(now)
                self._send(self._session.seal_ping(now))

    def _end(self, lost: Lost, linger: int = 0) -> None:
        if self.state is LinkState.CLOSED:
            return
        self.state = LinkState.CLOSED
        self._ticker.cancel()
        self._shut(linger)
        self._session = None
        if lost.code != "closed":
            log.info("= %s: %s", self.endpoint, lost.text)
        for answer in self.pending.clear():
            answer(lost, _EMPTY)
        self._on_closed(self, lost)

    def _shut(self, linger: int) -> None:
        self._deadline.cancel()
        if self._socket.closed:
            return  # the second one could not be made
        self._reactor.remove_socket(self._monitor)
        self._reactor.remove_socket(self._socket)
        if self._guard is not None and self._descriptor >= 0:
            self._guard.take({"event": zmq.EVENT_DISCONNECTED, "value": self._descriptor})
        self._descriptor = -1
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger)
