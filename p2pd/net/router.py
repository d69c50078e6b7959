"""A listening ROUTER with sealed sessions behind it: handshakes, records, keep-alive and back-pressure.

The rule: a connection is nothing until its handshake is through; before that it costs a bounded number of objects and gets
no more than OFFER, ACCEPT or REFUSE. What comes after is a session bound to (routing id, sid); any error in it ends
it without a word. Sends never block: a full queue is remembered per connection and retried (ROUTER_MANDATORY, EAGAIN), a
vanished peer is closed (EHOSTUNREACH). The dialect is the handler's business.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import zmq

from p2pd.net.admission import Admission
from p2pd.net.buffers import Buffers
from p2pd.net.conn import Conn, Handler, observed_host
from p2pd.net.drafts import COPY_BELOW, Drafts, SealedDraft
from p2pd.net.identity import Identity
from p2pd.net.listening import ListenerGuard, listen
from p2pd.net.reactor import Reactor
from p2pd.net.rounds import Rounds
from protocol import limits
from protocol.errors import AuthenticationError, ProtocolError, Refusal
from protocol.frames import HELLO, PROVE, RECORD, make_refuse
from protocol.handshake import Dialect, Established, HandshakeRefused, Responder
from protocol.keys import NetworkSecret
from protocol.records import record_size
from protocol.session import Closed, Opened, Pinged, Session, State

log = logging.getLogger("p2pd.net.router")

TICKS = 10  # in which all connections are looked at once: thousands at a time would hold up an answer
TICK_SECONDS = 1.0 / TICKS
BATCH = 64  # messages taken per wake-up, so that timers and other work get their turn
RETRY_SECONDS = 0.002  # how soon a full queue is tried again
RETRY_SECONDS_MAX = 0.008
BACKLOG = 128  # sealed records waiting for one connection; more means it does not read
STALL_SECONDS = 60.0  # a connection that takes nothing for so long is closed
SPARE_BUFFERS = 24  # of sealed blocks, kept for the next: a full queue to one quick reader, and some


class SealedRouter:
    """See the module. `domain` names the listener to the ZAP handler; `banned(device, host)`: seconds for which a member is kept out."""

    def __init__(
        self,
        reactor: Reactor,
        identity: Identity,
        dialect: Dialect,
        admission: Admission,
        domain: str,
        handler: Handler,
        banned: Callable[[bytes, str], float] = lambda device_id, host: 0.0,
    ) -> None:
        self.reactor = reactor
        self.handler = handler
        self.on_banned: Callable[[str, float], object] = lambda host, seconds: None  # in the reactor's thread
        self.port = 0
        self.conns: dict[bytes, Conn] = {}
        self._by_descriptor: dict[int, Conn] = {}
        self._rounds = Rounds(self.conns.values)
        self._identity = identity
        self._dialect = dialect
        self._admission = admission
        self._domain = domain
        self._banned = banned
        self.received_bytes = self.sent_bytes = 0  # of frames, sealed as they travel
        self._socket: zmq.Socket[bytes] | None = None
        self._guard: ListenerGuard | None = None
        self._plain = memoryview(bytearray(limits.MAX_LISTENER_FRAME + 64))
        self._buffers = Buffers(limits.MAX_DIALER_FRAME, SPARE_BUFFERS)
        self._drafts = Drafts(reactor, self._buffers, self._put, self._rekey)
        self._unix_time = time.time

    # -- life ---------------------------------------------------------------------------------------------

    def bind(self, host: str, port: int) -> int:
        """Binds before the reactor starts; answers the port. Raises Fault("network") with what to do when it is taken."""
        socket, self.port = listen(self.reactor.context, self._domain, host, port)
        self._socket = socket
        self._guard = ListenerGuard(self.reactor, socket, self._admission, self._gone)
        self.reactor.add_socket(socket, self._readable)
        self.reactor.later(TICK_SECONDS, self._tick)
        return self.port

    def shut(self) -> None:
        """Says CLOSE to everybody and closes the socket. On the reactor's thread."""
        for conn in list(self.conns.values()):
            self.close(conn, "shutting down")
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._socket is not None:
            self.reactor.remove_socket(self._socket)
            self._socket.close(linger=200)
            self._socket = None

    # -- receiving ----------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._guard is not None:
            self._guard.drain()
        for _ in range(BATCH):
            if self._socket is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if len(frames) != 2:
                self._misbehaved(bytes(frames[0].buffer), "not one part")
                continue
            rid, frame = frames[0].bytes, frames[1]
            descriptor = self._guard.delivered(frame) if self._guard is not None else -1
            self._received(rid, frame, descriptor)

    def _received(self, rid: bytes, frame: zmq.Frame, descriptor: int) -> None:
        data = frame.buffer
        self.received_bytes += len(data)
        now = self.reactor.clock()
        conn = self.conns.get(rid)
        kind = data[0] if len(data) else 0
        if conn is not None and conn.session is not None:
            if kind == RECORD:
                self._record(conn, conn.session, data, now)
            else:
                self._misbehaved(rid, "handshake inside a session")
        elif kind == HELLO and conn is None:
            self._hello(rid, frame, descriptor, now)
        elif kind == PROVE and conn is not None and not conn.busy and conn.responder is not None:
            self._prove(conn, bytes(data))
        elif kind == RECORD and conn is None:
            self._raw_send(rid, make_refuse(Refusal.NO_SESSION))
        else:
            self._misbehaved(rid, "unexpected frame")

    def _record(self, conn: Conn, session: Session, data: memoryview, now: float) -> None:
        try:
            event = session.open_into(data, self._plain, now)
            if isinstance(event, Opened):
                self.handler.message(conn, event.header, event.payload)
            elif isinstance(event, Pinged):
                self._rekey(conn, now)  # which ends the connection when nobody reads there
                self._transmit(conn, session.seal_pong(event.number, now))
            elif isinstance(event, Closed):
                self._drop(conn, "closed by the peer")
        except ProtocolError as error:
            self._drop(conn, f"protocol error: {error}")
        except Exception:  # a fault of ours: without an answer its connection cannot go on; the others can
            log.exception("! %s: a message could not be handled", conn)
            self._drop(conn, "internal error")

    # -- handshake ----------------------------------------------------------------------------------------

    def _hello(self, rid: bytes, frame: zmq.Frame, descriptor: int, now: float) -> None:
        host = observed_host(frame)
        verdict = self._admission.allow_hello(host, now)
        if not verdict:
            log.info("! %s: refused: %s", host, verdict.reason)
            self._raw_send(rid, make_refuse(verdict.code, int(verdict.retry_seconds) + 1))
            return
        conn = Conn(self, rid, host, descriptor, now)
        self.conns[rid] = conn
        if descriptor >= 0:
            self._by_descriptor[descriptor] = conn
        identity = self._identity
        newest, *others = identity.keys.accepted()
        responder = Responder(newest, identity.device, identity.info, self._dialect, identity.entropy, others)
        data = frame.bytes
        conn.busy = True
        conn.responder = responder
        self.reactor.offload(partial(responder.receive_hello, data), partial(self._offer, conn))

    def _offer(self, conn: Conn, offer: bytes | None, error: BaseException | None) -> None:
        conn.busy = False
        if conn.closed:
            return
        if error is not None:
            code = error.code if isinstance(error, HandshakeRefused) else Refusal.BAD_REQUEST
            self._refuse(conn, code, f"HELLO refused: {error}")
            self._admission.abandoned(conn.host)
            return
        assert offer is not None
        if not self._raw_send(conn.rid, offer):
            self._admission.abandoned(conn.host)
            self._forget(conn)

    def _prove(self, conn: Conn, data: bytes) -> None:
        assert conn.responder is not None
        conn.busy = True
        self.reactor.offload(partial(conn.responder.receive_prove, data), partial(self._accept, conn))

    def _accept(
        self, conn: Conn, result: tuple[bytes, Established] | None, error: BaseException | None
    ) -> None:
        conn.busy = False
        now = self.reactor.clock()
        if conn.closed:
            return
        if error is not None:
            if isinstance(error, AuthenticationError):
                banned = self._admission.failed(conn.host, now)
                if banned:
                    self.on_banned(conn.host, banned)
                self._refuse(conn, Refusal.BAD_PROOF, "wrong password", int(banned))
            else:
                self._admission.abandoned(conn.host)
                code = error.code if isinstance(error, HandshakeRefused) else Refusal.BAD_REQUEST
                self._refuse(conn, code, f"PROVE refused: {error}")
            return
        assert result is not None
        assert conn.responder is not None
        accept, established = result
        secret, keys = conn.responder.secret, self._identity.keys
        if not keys.admits(established.device_id, secret):
            self._admission.abandoned(conn.host)
            self._refuse(conn, Refusal.UNKNOWN_NETWORK, "an older key, by a device that has the newer one")
            return
        keys.met(established.device_id, secret, conn.host)
        self._admission.proved(conn.host, now)
        conn.responder, conn.secret = None, secret
        conn.device_id, conn.info = established.device_id, established.info
        if left := self._banned(conn.device_id, conn.host):
            self._refuse(conn, Refusal.BANNED, "banned", int(min(left, limits.BAN_TOLD_SECONDS)) + 1)
            return
        if not self._raw_send(conn.rid, accept):
            self._drop(conn, "gone during the handshake")
            return
        conn.session = Session(established, now, self._unix_time(), self._identity.entropy)
        if self._guard is not None:
            self._guard.authenticated(conn.descriptor)
        log.info("= %s connected", conn)
        self.handler.opened(conn)

    def _refuse(self, conn: Conn, code: int, reason: str, retry: int = 0) -> None:
        log.info("! %s: %s", conn, reason)
        self._raw_send(conn.rid, make_refuse(code, retry))
        self._forget(conn)

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, conn: Conn, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """See Conn.send."""
        if conn.closed or (session := conn.session) is None:
            return
        if record_size(len(header), len(payload)) < COPY_BELOW:
            now = self.reactor.clock()
            self._rekey(conn, now)
            self._transmit(conn, session.seal(header, payload, now=now))
            return
        draft = self.draft(conn, header, len(payload))
        draft.payload[:] = payload
        draft.send()

    def draft(self, conn: Conn, header: bytes, octets: int) -> SealedDraft:
        """See Carrier."""
        return SealedDraft(self._drafts, conn, header, octets)

    def _rekey(self, conn: Conn, now: float) -> None:
        """Before anything is sealed: a session that only ever answers pings grows old too."""
        if conn.session is not None and conn.session.rekey_due(now):
            self._transmit(conn, conn.session.seal_rekey(now))

    def _transmit(self, conn: Conn, record: bytes | memoryview) -> None:
        self._drafts.flush()
        self._put(conn, record)

    def _put(self, conn: Conn, record: bytes | memoryview) -> None:
        if conn.closed:  # as what was sent before it may have done
            return
        if conn.backlog:
            self._keep(conn, record)
        elif not self._try_send(conn, record):
            self._keep(conn, record)
            conn.stalled_since = self.reactor.clock()
            self.reactor.later(RETRY_SECONDS, self._retry, conn, RETRY_SECONDS)

    def _keep(self, conn: Conn, record: bytes | memoryview) -> None:
        if len(conn.backlog) >= BACKLOG:
            self._drop(conn, "does not read")
            return
        conn.backlog.append(record)

    def _try_send(self, conn: Conn, record: bytes | memoryview) -> bool:
        """False when the queue is full. A vanished peer is dropped (and counts as sent)."""
        if self._socket is None:
            return True
        try:
            self._socket.send(conn.rid, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            self._drop(conn, "gone" if error.errno == zmq.EHOSTUNREACH else f"send failed: {error}")
            return True
        self._socket.send(record, zmq.NOBLOCK, copy=len(record) < COPY_BELOW)
        self.sent_bytes += len(record)
        return True

    def _retry(self, conn: Conn, waited: float) -> None:
        while conn.backlog and not conn.closed:
            if not self._try_send(conn, conn.backlog[0]):
                now = self.reactor.clock()
                if now - conn.stalled_since > STALL_SECONDS:
                    self._drop(conn, "does not read")
                    return
                waited = min(2 * waited, RETRY_SECONDS_MAX)
                self.reactor.later(waited, self._retry, conn, waited)
                return
            waited = RETRY_SECONDS
            if conn.backlog:
                conn.backlog.pop(0)
                conn.stalled_since = self.reactor.clock()
        if not conn.closed:
            self.handler.writable(conn)

    def _raw_send(self, rid: bytes, frame: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.send_multipart((rid, frame), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    # -- ending -------------------------------------------------------------------------------------------

    def close(self, conn: Conn, reason: str, code: int = 0) -> None:
        """See Conn.close."""
        self._drafts.flush()
        session = conn.session
        if session is not None and session.state is State.OPEN and not conn.backlog:
            self._try_send(conn, session.seal_close(code, self.reactor.clock()))
        self._drop(conn, reason)

    def expel(self, banned: Callable[[bytes, str], object]) -> int:
        """Ends the sessions of whoever `banned(device, host)` is true for. How many. On the reactor's thread."""
        found = [c for c in self.conns.values() if c.session is not None and banned(c.device_id, c.host)]
        for conn in found:
            self.close(conn, "banned", Refusal.BANNED)
        return len(found)

    def _gone(self, descriptor: int) -> None:
        if (conn := self._by_descriptor.get(descriptor)) is not None:
            self._drop(conn, "the connection ended")

    def _misbehaved(self, rid: bytes, what: str) -> None:
        if (conn := self.conns.get(rid)) is not None:
            self._drop(conn, what)

    def _drop(self, conn: Conn, reason: str) -> None:
        if conn.closed:
            return
        had_session, half_open = conn.session is not None, conn.responder is not None
        self._forget(conn)
        log.info("= %s disconnected: %s", conn, reason)
        if half_open:
            self._admission.abandoned(conn.host)
        if had_session:
            self.handler.closed(conn)

    def _forget(self, conn: Conn) -> None:
        conn.closed = True
        conn.session = conn.responder = None
        conn.backlog.clear()
        self.conns.pop(conn.rid, None)
        if self._by_descriptor.get(conn.descriptor) is conn:
            del self._by_descriptor[conn.descriptor]
            if self._guard is not None:
                self._guard.condemn(conn.descriptor, "its session is over")

    def _tick(self) -> None:
        # First, so that nothing that goes wrong below can end it.
        self.reactor.later(TICK_SECONDS, self._tick)
        now, only = self.reactor.clock(), self._identity.keys.only()
        for conn in self._rounds.part(TICKS):
            if not conn.closed:
                self._look_at(conn, now, only)

    def _look_at(self, conn: Conn, now: float, only: NetworkSecret | None) -> None:
        """About once a second: is it still to be there, and does it want a ping?"""
        if (session := conn.session) is None or conn.secret is None:
            if now - conn.since > limits.HANDSHAKE_SECONDS:
                self._drop(conn, "handshake timed out")
            return
        if conn.secret is not only:
            keys = self._identity.keys
            if not keys.admits(conn.device_id, conn.secret):
                self.close(conn, "its key has stopped")
                return
            keys.met(conn.device_id, conn.secret, conn.host)
        if session.dead(now):
            self._drop(conn, "silent")
        elif session.ping_due(now) and not conn.backlog:
            self._rekey(conn, now)
            self._transmit(conn, session.seal_ping(now))
