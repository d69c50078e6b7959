"""The blocking client of the control socket: one DEALER, requests out, replies and progress in.

The rule: it never waits for a daemon that is not there, and says why there is none. Knows nothing of commands or output, nor of the octets
on the socket. What a connection needs is imported when it connects, not before.
"""

from __future__ import annotations

import os
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
    from _socket import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from p2pctl.link import Link

CALL_SECONDS = 30.0  # without --timeout, for methods that answer at once
WAY_BACK_SECONDS = 0.25  # kept from the daemon's deadline for its answer to travel
HANDSHAKE_SECONDS = 3.0  # without --timeout: something that is no p2pd listens there, or one that hangs
WINDOW = 16  # requests under way when a command has many arguments: hides round trips, lets the daemon batch
LOOK_SECONDS = 0.1  # for one look whether somebody is there
HANG_HINT = "look at its log; p2pctl ping --wait-daemon 60 waits until it answers"
OTHER_HINT = "p2pd paths tells where the socket of a daemon is; name it with --socket PATH or --home DIR"
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
        self._link: Link | None = None
        self._last_id = 0
        self._unanswered: set[int] = set()
        self.path = ""
        """The socket in use, once connected."""

    def renew(self, timeout_s: float | None) -> None:
        """For the next command: the time begins anew. A connection that has ended, or on which an answer is still to come (somebody
        stopped waiting for it), is dropped; the next request makes another."""
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        if self._unanswered or (self._link is not None and self._link.ended()):
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
        reached = _reach(self.path, LOOK_SECONDS)
        if reached is None or isinstance(reached, Fault):
            return reached is not None
        reached.close()
        return False

    def close(self) -> None:
        """Drop the connection; what the daemon works on goes on."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._unanswered.clear()

    # -- connection -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect to the first path that answers. Raises Fault no_daemon, auth or usage (a path too long)."""
        if self._link is not None:
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
        """Connect to `path`: None, or why not. Raises Fault timeout."""
        from p2pctl.link import Ended, Late, Link

        # Whoever said how long to wait may wait for a daemon that hangs; otherwise that is found out soon.
        end = time.monotonic() + HANDSHAKE_SECONDS if self._deadline is None else self._deadline
        # Its queue may be full, of those that ask a daemon that was stopped.
        reached = _reach(path, max(end - time.monotonic(), LOOK_SECONDS))
        if isinstance(reached, Fault):
            return reached
        if reached is not None:
            self._link = Link(reached, MAX_CONTROL_REPLY)
            import msgpack  # noqa: F401  # needed next; it takes as long as the daemon's answer to the greeting

            try:
                self._link.shake(max(0.0, end - time.monotonic()))
                return None
            except RemoteProtocolError:
                self.close()
                return Fault("no_daemon", f"what listens at {path} is no p2pd", OTHER_HINT)
            except (Ended, Late):
                self.close()
        if self._deadline is not None and time.monotonic() >= end:
            raise self._late()
        return Fault(
            "no_daemon", f"nobody answers at {path}: what listens there hangs, or is no p2pd", HANG_HINT
        )

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
        assert self._link is not None
        self._last_id += 1
        try:
            data = encode_request(self._last_id, method, params, self._budget(waits))
        except Fault as fault:
            answers[index] = fault
            return
        self._unanswered.add(self._last_id)
        self._link.send(data)
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
        from p2pctl.link import Ended, Late

        assert self._link is not None
        try:
            return decode_reply(self._link.receive(seconds))
        except Late:
            raise self._late() from None
        except RemoteProtocolError as error:
            self.close()
            raise Fault("version", f"the daemon's answer makes no sense: {error}", UPGRADE_HINT) from error
        except Ended:
            self.close()
        raise Fault("no_daemon", f"p2pd at {self.path} went away before it answered", START_HINT)


def _with_versions(fault: Fault) -> Fault:
    """One about versions says which these are."""
    theirs = fault.details.get("daemon_version")
    if fault.code != "version" or not isinstance(theirs, str):
        return fault
    hint = f"p2pctl is {VERSION} and p2pd is {theirs}: {UPGRADE_HINT}"
    return Fault(fault.code, fault.message, hint, {**fault.details, "client_version": VERSION})


def _missing(path: str) -> Fault | None:
    """Why `path` cannot be a socket, found without connecting; None if something is there."""
    try:
        os.stat(path)
    except PermissionError:
        return _no_right(path)
    except OSError:
        return Fault("no_daemon", f"p2pd is not running: there is no {path}", START_HINT)
    return None


def _reach(path: str, seconds: float) -> socket | Fault | None:
    """A connection to `path`, or why there is none; None if there is no place in its queue within `seconds`: somebody is there."""
    from p2pctl.link import dial

    try:
        return dial(path, seconds)
    except PermissionError:
        return _no_right(path)
    except FileNotFoundError:
        return _missing(path)
    except BlockingIOError:
        return None
    except OSError:
        return Fault("no_daemon", f"p2pd is not running: nobody answers at {path}", START_HINT)


def _no_right(path: str) -> Fault:
    return Fault("auth", f"no right to use {path}", "only the user who runs p2pd may speak with it")
