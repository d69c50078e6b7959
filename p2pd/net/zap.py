"""The ZAP handler: libzmq asks it about every connection before the first frame (ZeroMQ RFC 27).

Rule: it answers every request it can read and survives every one it cannot; without an answer libzmq drops
the connection at the end of the handshake interval, so a dead handler refuses everybody. It runs in a
thread of its own so that a busy listener never holds up the door. It decides nothing itself: each domain
(one listener) has its own Admission.

Start it before any socket with a ZAP domain is bound: requests made earlier would be refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import zmq

from p2pd.net.addresses import canonical
from p2pd.net.admission import Verdict

_log = logging.getLogger(__name__)

ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_FIXED_FRAMES = 6  # version, request id, domain, address, routing id, mechanism; then credentials
_JOIN_SECONDS = 5.0


class Door(Protocol):
    """What is asked of a domain's policy: p2pd.net.admission.Admission has it."""

    def allow_connection(self, address: str, now: float) -> Verdict:
        """May a connection from this address go on? Called in the ZAP thread."""


class ZapHandler:
    """Answers for one context until `stop`. Domains may be added at any time before their listener binds."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        doors: Mapping[str, Door] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._doors: dict[bytes, Door] = {}
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._stop_endpoint = f"inproc://p2pd.zap.stop.{id(self):x}"
        self._stopper: zmq.Socket[bytes] | None = None
        for domain, door in (doors or {}).items():
            self.add(domain, door)

    def add(self, domain: str, door: Door) -> None:
        """Let `door` decide about the connections of this domain."""
        self._doors[domain.encode("utf-8")] = door

    def start(self) -> None:
        """Bind, then answer in a thread. Raises zmq.ZMQError if the context already has a handler."""
        requests = self._context.socket(zmq.SocketType.ROUTER)
        requests.linger = 0
        stop = self._context.socket(zmq.SocketType.PAIR)
        stop.linger = 0
        try:
            requests.bind(ENDPOINT)
            stop.bind(self._stop_endpoint)
            self._stopper = self._context.socket(zmq.SocketType.PAIR)
            self._stopper.linger = 0
            self._stopper.connect(self._stop_endpoint)
        except zmq.ZMQError:
            requests.close()
            stop.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(requests, stop), name="zap", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its sockets; harmless when not started. Close the listeners first."""
        if self._stopper is not None:
            self._stopper.send(b"")
            self._stopper.close()
            self._stopper = None
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
            self._thread = None

    def _run(self, requests: zmq.Socket[bytes], stop: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(requests, zmq.POLLIN)
        poller.register(stop, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll())
                if stop in ready:
                    return
                self._answer(requests)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.ETERM, zmq.ENOTSOCK):  # the context ended under us
                _log.exception("! zap: the handler ends: nobody is let in any more")
        finally:
            with suppress(zmq.ZMQError):  # close alone frees the names some time later
                requests.unbind(ENDPOINT)
                stop.unbind(self._stop_endpoint)
            requests.close()
            stop.close()

    def _answer(self, requests: zmq.Socket[bytes]) -> None:
        try:
            frames = requests.recv_multipart(zmq.NOBLOCK)
            reply = self.reply(frames)
            if reply is not None:
                requests.send_multipart(reply, zmq.NOBLOCK)
        except zmq.ContextTerminated:
            raise
        except zmq.ZMQError as error:
            _log.debug("! zap: %s", error)

    def reply(self, frames: list[bytes]) -> list[bytes] | None:
        """The reply to a request with its envelope; None if it cannot be answered. Raises nothing.

        200 lets the connection in; 400 closes it at once with an ERROR command; 500 says that we failed.
        """
        try:
            cut = frames.index(b"")
        except ValueError:
            return None
        envelope, body = frames[: cut + 1], frames[cut + 1 :]
        if len(body) < _FIXED_FRAMES or body[0] != _VERSION:
            request_id = body[1] if len(body) > 1 else b""
            return [*envelope, _VERSION, request_id, b"500", b"bad request", b"", b""]
        status, text = self._decide(body[2], body[3])
        return [*envelope, _VERSION, body[1], status, text, b"", b""]

    def _decide(self, domain: bytes, address: bytes) -> tuple[bytes, bytes]:
        door = self._doors.get(domain)
        if door is None:
            return b"400", b"no such domain"
        try:
            verdict = door.allow_connection(canonical(address.decode("ascii", "replace")), self._clock())
        except Exception:  # a dead handler would refuse everybody: a fault costs this connection only
            _log.exception("! zap: admission failed; the connection is refused")
            return b"500", b"internal"
        if verdict:
            return b"200", b"OK"
        _log.info(
            "! refused a connection from %s: %s", address.decode("ascii", "backslashreplace"), verdict.reason
        )
        return b"400", b"refused"
