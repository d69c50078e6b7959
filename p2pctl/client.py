"""The blocking client of the control socket: one DEALER, requests out, replies and progress in.

The rule: it never waits for a daemon that is not there. libzmq would retry in silence, so reconnecting is
off and the socket's monitor tells of a refused connection or a lost daemon at once; only then is the reason
looked up. Knows nothing of commands or output. Imports zmq when it connects, not before.
"""

from __future__ import annotations

import os
import sys
import time

from protocol.control import (
    METHODS,
    UPGRADE_HINT,
    Progress,
    Reply,
    candidates,
    decode_reply,
    encode_request,
    endpoint,
    in_home,
)
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import CONTROL_PAGE, MAX_CONTROL_REPLY
from protocol.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    import zmq

CALL_SECONDS = 30.0  # without --timeout, for methods that answer at once
WAY_BACK_SECONDS = 0.25  # kept from the daemon's deadline for its answer to travel
HANDSHAKE_MILLISECONDS = 3000  # without --timeout: something that is no p2pd listens there, or one that hangs
WINDOW = 16  # requests under way when a command has many arguments: hides round trips, lets the daemon batch
NEVER_MILLISECONDS = 3_600_000  # until libzmq would reconnect by itself
LOOK_SECONDS = 0.1  # for one look whether somebody is there
LAST_WORDS_MILLISECONDS = 20  # for an answer that the monitor's news of the end overtook
HANG_HINT = "look at its log; p2pctl ping --wait-daemon 60 waits until it answers"
START_HINT = "start it with: p2pd peer --tracker HOST"


def socket_paths(socket: str | None, home: str | None, environ: Mapping[str, str]) -> list[str]:
    """Absolute paths to try, best first: the flags, then the environment (docs/control-api.md)."""
    if socket:
        paths = [socket]
    elif home:
        paths = [in_home(home)]
    else:
        paths = candidates(environ)
    return [os.path.abspath(path) for path in paths]


class Client:
    """A connection to the daemon, made at the first request.

    `timeout_s` bounds the whole life of the client (Fault timeout); None means 30 s for methods that answer
    at once and no bound for those that wait.
    """

    def __init__(self, paths: Sequence[str], timeout_s: float | None = None) -> None:
        self._paths = paths
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._context: zmq.Context[Any] | None = None
        self._socket: zmq.Socket[Any] | None = None
        self._monitor: zmq.Socket[Any] | None = None
        self._last_id = 0
        self._unanswered: set[int] = set()
        self.path = ""
        """The socket in use, once connected."""

    def renew(self, timeout_s: float | None) -> None:
        """For the next command: the time begins anew. A connection that has ended, or on which an answer is still to come (somebody
        stopped waiting for it), is dropped; the next request makes another."""
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        if self._unanswered or (self._monitor is not None and self._monitor.poll(0)):
            self.close()

    # -- requests -------------------------------------------------------------------------------------

    def call(
        self, method: str, params: Mapping[str, Any], on_event: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """The result of one request. Raises Fault: the daemon's, or no_daemon, auth, timeout, version."""
        for _, result in self.each(method, [params], lambda _, event: on_event and on_event(event)):
            if isinstance(result, Fault):
                raise result
            return result
        raise AssertionError("each() answers every request")

    def each(
        self,
        method: str,
        params: Sequence[Mapping[str, Any]],
        on_event: Callable[[int, dict[str, Any]], object] | None = None,
    ) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
        """Send many requests of one method, a window at a time; yields (index, result or Fault) in order.

        A lost daemon or a passed timeout becomes the Fault of every request that has no answer yet.
        """
        waits = METHODS[method]
        under_way: dict[int, int] = {}
        answers: dict[int, dict[str, Any] | Fault] = {}
        sent = 0
        broken: Fault | None = None
        for index in range(len(params)):
            while index not in answers and broken is None:
                try:
                    while sent < len(params) and len(under_way) < WINDOW:
                        self._submit(method, params[sent], waits, sent, under_way, answers)
                        sent += 1
                    if index not in answers:
                        self._take(waits, under_way, answers, on_event)
                except Fault as fault:
                    broken = fault
            yield index, answers.pop(index) if broken is None or index in answers else broken

    def pages(
        self,
        method: str,
        params: Mapping[str, Any],
        limit: int | None,
        cursor: str | None,
        follow: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """The pages of a list. `limit`: so many items at most over all pages; with neither `limit` nor
        `cursor` everything there is, unless `follow` is false (then one page).
        """
        follow = follow and cursor is None
        left = limit
        while True:
            size = None if left is None else min(left, CONTROL_PAGE)
            page = self.call(method, {**params, "cursor": cursor, "limit": size})
            if not isinstance(page.get("items"), list):
                raise Fault("version", "the daemon's answer is not a list", UPGRADE_HINT)
            yield page
            following = page.get("next")
            if left is not None:
                left -= len(page["items"])
            if following is None or (left is not None and left <= 0) or (left is None and not follow):
                return
            if following == cursor:
                raise Fault("failure", "the daemon answers the same page again and again")
            cursor = following

    def gone(self) -> bool:
        """True when nobody answers at the socket any more (a fresh look, not this connection)."""
        return _diagnose(self.path, LOOK_SECONDS) is not None

    def close(self) -> None:
        """Drop the connection; what the daemon works on goes on."""
        if self._context is not None:
            for socket in (self._socket, self._monitor):
                if socket is not None:
                    socket.close(linger=0)
            self._context.term()
            self._context = self._socket = self._monitor = None
        self._unanswered.clear()

    # -- connection -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect to the first path that answers. Raises Fault no_daemon, auth or usage (a path too long)."""
        if self._socket is not None:
            return
        fault: Fault | None = None
        for path in self._paths:
            endpoint(path)
            missing = _missing(path)
            if missing is None:
                missing = self._try(path)
            if missing is None:
                self.path = path
                return
            fault = fault or missing
        if fault is None:
            raise Fault("no_daemon", "no place for the control socket is known", "give it with --socket PATH")
        raise Fault(fault.code, fault.message, fault.hint, {"tried": list(self._paths)})

    def _try(self, path: str) -> Fault | None:
        """Connect to `path`: None, or why not."""
        import zmq

        left = self._remaining(False) if self._deadline is not None else HANDSHAKE_MILLISECONDS / 1000
        end = time.monotonic() + (left or 0.0)
        while True:
            self._open(path)
            event = self._first_event()
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return None
            self.close()
            if event != zmq.EVENT_CLOSED:
                break  # connected, but not to one of us
            # A daemon whose backlog is full refuses libzmq, but a blocking connect waits for a place.
            left = end - time.monotonic()
            if (fault := _diagnose(path, max(left, LOOK_SECONDS))) is not None:
                return fault
            if left <= 0.0 and self._deadline is not None:
                raise self._late()
            if left <= 0.0:
                break
        return Fault(
            "no_daemon", f"nobody answers at {path}: what listens there hangs, or is no p2pd", HANG_HINT
        )

    def _open(self, path: str) -> None:
        import zmq

        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._monitor = self._context.socket(zmq.PAIR)
        # Not -1: libzmq 4.3.5 then throws away what it received just before the connection ended.
        self._socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MILLISECONDS)
        # Whoever said how long to wait may wait for a daemon that hangs; otherwise that is found out soon.
        patience = None if self._deadline is None else _milliseconds(self._remaining(False) or 0.0)
        silence = HANDSHAKE_MILLISECONDS if patience is None else patience + HANDSHAKE_MILLISECONDS
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, silence)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_REPLY)
        self._socket.monitor(
            "inproc://monitor",
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_CLOSED
            | zmq.EVENT_DISCONNECTED,
        )
        self._monitor.connect("inproc://monitor")
        self._socket.connect(endpoint(path))

    def _first_event(self) -> int:
        """Wait for the handshake or its failure, which HANDSHAKE_IVL bounds; returns the monitor's event."""
        assert self._monitor is not None
        if not self._monitor.poll(_milliseconds(self._remaining(False))):
            self.close()
            raise self._late()
        # zmq_socket_monitor(3): the first frame is a 16-bit event and a 32-bit value in native order
        frames: list[bytes] = self._monitor.recv_multipart()
        return int.from_bytes(frames[0][:2], sys.byteorder)

    def _remaining(self, waits: bool) -> float | None:
        if self._deadline is None:
            return None if waits else CALL_SECONDS
        return max(0.0, self._deadline - time.monotonic())

    def _budget(self, waits: bool) -> float | None:
        """What the daemon is told: a little less than is left, so that its answer arrives in time."""
        left = self._remaining(waits)
        return None if left is None else left - min(WAY_BACK_SECONDS, left / 10)

    def _late(self) -> Fault:
        seconds = CALL_SECONDS if self._timeout_s is None else self._timeout_s
        return Fault("timeout", f"no answer within {seconds:g} s", "what was begun goes on in the daemon")

    # -- messages -------------------------------------------------------------------------------------

    def _submit(
        self,
        method: str,
        params: Mapping[str, Any],
        waits: bool,
        index: int,
        under_way: dict[int, int],
        answers: dict[int, dict[str, Any] | Fault],
    ) -> None:
        """Send request `index`; one that fits no message is answered here."""
        self.connect()
        assert self._socket is not None
        self._last_id += 1
        try:
            data = encode_request(self._last_id, method, params, self._budget(waits))
        except Fault as fault:
            answers[index] = fault
            return
        self._unanswered.add(self._last_id)
        self._socket.send(data)
        under_way[self._last_id] = index

    def _take(
        self,
        waits: bool,
        under_way: dict[int, int],
        answers: dict[int, dict[str, Any] | Fault],
        on_event: Callable[[int, dict[str, Any]], object] | None,
    ) -> None:
        """Receive one message and put it where it belongs; one for a request given up earlier is dropped."""
        message = self._receive(self._remaining(waits))
        if isinstance(message, Reply):
            self._unanswered.discard(message.id)
        index = under_way.get(message.id)
        if index is None:
            return
        if isinstance(message, Progress):
            if on_event is not None:
                on_event(index, message.event)
            return
        del under_way[message.id]
        answers[index] = message.result if message.fault is None else _with_versions(message.fault)

    def _receive(self, seconds: float | None) -> Reply | Progress:
        import zmq

        assert self._socket is not None
        assert self._monitor is not None
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        ready = dict(poller.poll(_milliseconds(seconds)))
        if not ready:
            raise self._late()
        # An answer sent just before the daemon went away is still an answer: look for it first.
        if self._socket in ready or self._socket.poll(LAST_WORDS_MILLISECONDS):
            try:
                return decode_reply(self._socket.recv())
            except RemoteProtocolError as error:
                raise Fault(
                    "version", f"the daemon's answer makes no sense: {error}", UPGRADE_HINT
                ) from error
        self.close()
        raise Fault("no_daemon", f"p2pd at {self.path} went away before it answered", START_HINT)


def _with_versions(fault: Fault) -> Fault:
    """One about versions says which these are."""
    theirs = fault.details.get("daemon_version")
    if fault.code != "version" or not isinstance(theirs, str):
        return fault
    hint = f"p2pctl is {VERSION} and p2pd is {theirs}: {UPGRADE_HINT}"
    return Fault(fault.code, fault.message, hint, {**fault.details, "client_version": VERSION})


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, round(seconds * 1000))


def _missing(path: str) -> Fault | None:
    """Why `path` cannot be a socket, found without connecting; None if something is there."""
    try:
        os.stat(path)
    except PermissionError:
        return _no_right(path)
    except OSError:
        return Fault("no_daemon", f"p2pd is not running: there is no {path}", START_HINT)
    return None


def _diagnose(path: str, seconds: float) -> Fault | None:
    """Why a connection to `path` fails; None if it does not, or there is no place for it within `seconds`."""
    import socket
    from struct import pack

    timeval = pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))  # socket(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Not settimeout: it makes the socket non-blocking, and then a full backlog is an error at once.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        try:
            probe.connect(path)
        except PermissionError:
            return _no_right(path)
        except FileNotFoundError:
            return _missing(path)
        except BlockingIOError:
            return None  # so many wait to be let in that there is no place for one more: somebody is there
        except OSError:
            return Fault("no_daemon", f"p2pd is not running: nobody answers at {path}", START_HINT)
    return None


def _no_right(path: str) -> Fault:
    return Fault("auth", f"no right to use {path}", "only the user who runs p2pd may speak with it")
