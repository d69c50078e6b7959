"""`download REF -o -`: the octets of a file from the daemon's socket to standard output, in order, as they are verified.

The rule: stdout carries octets of the file and nothing else; a reader that goes away ends everything at once, also while nothing comes; and
the status is 0 only when the daemon says that every octet was sent and all of them were written.
"""

from __future__ import annotations

import os
import sys
import time

from p2pctl.progress import Silent
from p2pctl.render import note
from p2pctl.units import format_duration, format_rate, format_size
from protocol.control import fault_of
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    import socket
    from types import FrameType
    from typing import Any

    from p2pctl.invocation import Invocation

    Item = dict[str, Any]

SHOW_SECONDS = 0.5  # between two looks at how it goes
PIPE_SIZE = MIB  # of a pipe on stdout, if the system lets us: fewer switches between the two processes
STOPPED = "stopped before the end; what was written is the beginning of the file"
AGAIN = "a stream cannot be resumed: download it to a file with -o FILE for that"


def run(invocation: Invocation, ref: str, limit: int | None) -> int:
    """All of it, at most `limit` octets a second from the network. Raises Fault, BrokenPipeError when the reader went away."""
    try:
        out = sys.stdout.fileno()
    except OSError as error:
        raise Fault("usage", "the octets of a file have no place in a document", "use -o FILE") from error
    if os.isatty(out):
        raise Fault(
            "usage", "standard output is a terminal", "send the octets on: p2pctl download REF -o - | COMMAND"
        )
    invocation.waiting(STOPPED, AGAIN)
    # One deadline for all of it, also while the reader of a pipe does not read.
    _alarm(invocation.timeout_s)
    try:
        return _run(invocation, {"ref": ref, "limit_bytes_per_s": limit}, out)
    except Fault as fault:
        if fault.code != "timeout":
            raise
        raise _late(invocation) from fault
    finally:
        _alarm(None)


def _run(invocation: Invocation, params: Item, out: int) -> int:
    import socket

    client = invocation.client
    begun = client.call("stream", params)
    name = str(begun.get("name"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
        try:
            conn.connect(str(begun.get("path")))
        except OSError as error:
            raise Fault("no_daemon", f"the daemon's stream cannot be opened: {error}") from error
        began = time.monotonic()
        written = _copy(invocation, conn, out, begun)
    invocation.progress.close()
    item = client.call("stream_status", {"stream": begun.get("stream"), "wait": True})
    if item.get("error") is not None:
        raise fault_of(item["error"])
    if item.get("state") != "done" or written != item.get("size_bytes"):
        raise Fault("failure", f"the daemon ended the stream of {name} after {written} octets", AGAIN)
    if not invocation.values.quiet:
        note(safe(_summary(item, written, time.monotonic() - began)))
    return 0


def _copy(invocation: Invocation, conn: socket.socket, out: int, begun: Item) -> int:
    """Everything that comes; how many octets that were. Raises BrokenPipeError."""
    import select
    import socket

    _widen(out)
    poller = select.poll()
    poller.register(conn, select.POLLIN)
    poller.register(out, 0)  # a pipe without a reader is an error all the same
    buffer = memoryview(bytearray(MIB))
    written = 0
    shown = time.monotonic()
    visible = type(invocation.progress) is not Silent
    while True:
        try:
            got = conn.recv_into(buffer, MIB, socket.MSG_DONTWAIT)
        except BlockingIOError:
            _wait(poller, out)
            got = -1
        except ConnectionError:
            return written
        if not got:
            return written
        if got > 0:
            _write(out, buffer[:got])
            written += got
            if written == begun.get("size_bytes"):
                poller.unregister(
                    out
                )  # it has all: whether it stays for the end is its own affair (tar does not)
        if visible and time.monotonic() - shown >= SHOW_SECONDS:
            _show(invocation, begun, written)
            shown = time.monotonic()


def _wait(poller: select.poll, out: int) -> None:
    """Until something comes, or it is time to look how it goes. Raises BrokenPipeError."""
    from select import POLLERR, POLLHUP

    for descriptor, event in poller.poll(SHOW_SECONDS * 1000):
        if descriptor == out and event & (POLLERR | POLLHUP):
            raise BrokenPipeError("nobody reads standard output any more")


def _write(out: int, view: memoryview) -> None:
    while view:
        try:
            view = view[os.write(out, view) :]
        except BlockingIOError:  # somebody made the pipe non-blocking
            from select import select

            select((), (out,), ())


def _widen(out: int) -> None:
    try:
        from fcntl import F_SETPIPE_SZ, fcntl  # type: ignore[attr-defined,unused-ignore]

        fcntl(out, F_SETPIPE_SZ, PIPE_SIZE)
    except (ImportError, OSError):
        pass  # no pipe, or no such call


def _show(invocation: Invocation, begun: Item, written: int) -> None:
    item = invocation.client.call("stream_status", {"stream": begun.get("stream")})
    invocation.progress.event(0, str(begun.get("name")), {**item, "received_bytes": written})


def _summary(item: Item, written: int, seconds: float) -> str:
    source = ", ".join(item.get("from") or ()) or "this device"
    facts = (
        f"{format_size(written)} in {format_duration(seconds)}, {format_rate(written / max(seconds, 1e-3))}"
    )
    return f"Streamed {item['name']} from {source} ({facts}, verified)"


# -- the deadline -----------------------------------------------------------------------------------------


def _alarm(seconds: float | None) -> None:
    """Fault timeout after so many seconds, wherever we are; None: never (any more)."""
    from signal import ITIMER_REAL, SIGALRM, setitimer, signal

    if seconds is not None:
        signal(SIGALRM, _rings)
    setitimer(ITIMER_REAL, seconds or 0.0)


def _rings(number: int, frame: FrameType | None) -> None:
    raise Fault("timeout", "the time is over")


def _late(invocation: Invocation) -> Fault:
    return Fault("timeout", f"not done within {invocation.timeout_s:g} s; {STOPPED}", AGAIN)
