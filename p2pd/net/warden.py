"""Watches the connections of a socket from the outside and cuts those that libzmq would let grow without end.

A multipart message that never ends is counted by no high-water mark: one stranger could fill the memory of
any ROUTER. So the socket's monitor tells which descriptors were accepted, the kernel (TCP_INFO) how many
octets came in on each, the router how many it was given; the difference is what libzmq holds.

The rule: a connection that has not authenticated gets seconds and a few KiB, one that has gets what its
queue may hold; what goes beyond is ended by shutdown(2) on libzmq's own descriptor, which libzmq takes for
a disconnect. A descriptor may have been closed and given to something else meanwhile: before acting, its
inode and peer name must still be those seen at first, on a duplicate that cannot change underneath.

Driven by calls from the one thread that owns the socket; knows no messages and no clock. Octets are counted
on Linux; elsewhere only ages and numbers of connections are watched, which `counts_octets` says and the log
too.
"""

from __future__ import annotations

import array
import logging
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import zmq

from p2pd.net.addresses import canonical
from p2pd.net.admission import Admission
from p2pd.net.options import Kind, queue_octets
from p2pd.net.rounds import Rounds
from protocol import limits

if sys.platform != "win32":
    import fcntl
    import termios

_log = logging.getLogger(__name__)

EVENTS = zmq.Event.ACCEPTED | zmq.Event.CONNECTED | zmq.Event.DISCONNECTED | zmq.Event.ACCEPT_FAILED
"""What a listener's monitor must report: `socket.get_monitor_socket(EVENTS)`."""
DIALER_EVENTS = (
    zmq.Event.CONNECTED
    | zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.DISCONNECTED
    | zmq.Event.CLOSED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)
"""The same for a dialler."""

IDLE_SECONDS = 0.1  # between scans while nothing moves
CALM_SECONDS = 0.05
BUSY_SECONDS = 0.005  # while a stranger is connected or somebody has used half of a budget
SLICE = (
    256  # of the connections that have settled, looked at in one scan, and those at most each CALM_SECONDS
)
GROWTH = 64 << 20  # octets that this process may grow by until all are looked at,
GROWTH_SLICE = 2048  # so many in one scan: some 8 ms, and 10,000 in a tenth of a second

_TCP_INFO = 11  # <netinet/tcp.h>
_TCP_INFO_SIZE = 136
_RECEIVED_AT = 128  # struct tcp_info, tcpi_bytes_received (Linux 4.1)
_SETUP_OCTETS = 1024  # greeting and READY: not delivered to anybody
_HEARTBEAT_OCTETS_PER_SECOND = 8  # of a far end whose libzmq sends PINGs, delivered to nobody
_LONG_FRAME = 255  # longer frames have 9 octets of header, others 2 (ZMTP 3.1)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a connection may take: seconds and octets while unauthenticated, then octets held by libzmq."""

    stranger_seconds: float = limits.UNAUTHENTICATED_SECONDS
    stranger_octets: int = limits.UNAUTHENTICATED_OCTETS
    held_octets: int = queue_octets(Kind.LISTENER)


LISTENER_BUDGET = Budget()
DIALER_BUDGET = Budget(held_octets=queue_octets(Kind.DIALER))


class Cut(NamedTuple):
    """A connection that was ended: its descriptor (at the time), the far end's address and why."""

    fd: int
    address: str
    reason: str


@dataclass(slots=True)
class _Watched:
    identity: tuple[int, object] | None  # inode and peer name; None if it was gone before we looked
    address: str
    since: float
    deadline: float
    why: str = "did not authenticate in time"
    authenticated: bool = False
    received: int = 0
    delivered: int = 0
    cut: bool = False


class Warden:
    """The connections of one listener, or of any number of diallers. See the module.

    `admission` is told of each connection opened, settled and released; None for diallers.
    """

    counts_octets = sys.platform == "linux"

    def __init__(
        self,
        admission: Admission | None = None,
        budget: Budget = LISTENER_BUDGET,
        resident: Callable[[], int] | None = None,
    ) -> None:
        self._admission = admission
        self._resident = resident or resident_octets
        self._looked_at = self._resident()  # what this process held when all were looked at
        self._budget = budget
        self._watched: dict[int, _Watched] = {}
        self._hot: set[int] = set()  # descriptors to look at in every scan
        self._settled = Rounds(lambda: [fd for fd in self._watched if fd not in self._hot])
        self._next_slice = float("-inf")
        self._grown: list[int] = []  # to be looked at soon, since the process has grown
        self._pause = IDLE_SECONDS
        if not self.counts_octets:
            _log.warning("! floods cannot be measured on this system: put a firewall in front")

    def __len__(self) -> int:
        return len(self._watched)

    # -- what happened ------------------------------------------------------------------------------------

    def on_event(self, event: Mapping[str, Any], now: float) -> Cut | None:
        """Take a monitor event (zmq.utils.monitor.parse_monitor_message). A Cut if the newcomer is over a
        limit.
        """
        kind, value = event["event"], int(event["value"])
        if kind in (zmq.Event.ACCEPTED, zmq.Event.CONNECTED):
            return self._opened(value, now)
        if kind == zmq.Event.DISCONNECTED:
            self._gone(value)
        elif kind == zmq.Event.ACCEPT_FAILED:
            _log.warning("! a connection could not be accepted: %s", os.strerror(value))
        return None

    def delivered(self, fd: int, octets: int) -> None:
        """The socket gave us one frame of this size from this descriptor (zmq.SRCFD of the frame)."""
        watched = self._watched.get(fd)
        if watched is not None:
            watched.delivered += octets + (9 if octets > _LONG_FRAME else 2)

    def authenticated(self, fd: int) -> bool:
        """The handshake on this connection is through; False if it is not known (any more)."""
        watched = self._watched.get(fd)
        if watched is None:
            return False
        if not watched.authenticated:
            watched.authenticated = True
            watched.deadline = float("inf")
            if self._admission is not None:
                self._admission.settled(watched.address)
        return True

    def condemn(self, fd: int, reason: str, at: float) -> None:
        """Cut this connection at the time `at`, if it is still there: leaves time for a last frame to be
        sent.
        """
        watched = self._watched.get(fd)
        if watched is not None and at < watched.deadline:
            watched.deadline = at
            watched.why = reason
            self._hot.add(fd)

    # -- what to do ---------------------------------------------------------------------------------------

    def cut(self, fd: int, reason: str, abort: bool = True) -> Cut | None:
        """End this connection now; None if it is not known or no longer itself. DISCONNECTED will follow.

        With `abort` the far end gets a reset and what was on its way to it is dropped: the kernel keeps nothing.
        """
        watched = self._watched.get(fd)
        if watched is None or watched.cut:
            return None
        if watched.identity is None or not _shut(fd, watched.identity, abort):
            return None
        watched.cut = True
        _log.info("! %s: cut: %s", watched.address, reason)
        return Cut(fd, watched.address, reason)

    def scan(self, now: float) -> list[Cut]:
        """Look at connections and cut those over their budget. Call it every `pause` seconds.

        Strangers, condemned ones and those that used half of their budget are looked at each time, of the others a slice: with
        thousands of members a look at all would take most of a core. A round over 10,000 takes two seconds, in which one could pour in
        gigabytes: so all are looked at soon, too, when the process has grown by GROWTH since they were.
        """
        cuts = []
        pause = IDLE_SECONDS
        for fd in [*self._hot, *self._slice(now)]:
            watched = self._watched.get(fd)
            if watched is None or watched.cut:
                self._hot.discard(fd)
                continue
            reason, used, moved = self._judge(fd, watched, now)
            if reason:
                done = self.cut(fd, reason, abort=now < watched.deadline)
                if done is not None:
                    cuts.append(done)
                elif watched.identity is not None:
                    self._gone(fd)  # the descriptor is closed or another's: its DISCONNECTED is on the way
            elif used > 0.5 or not watched.authenticated:
                self._hot.add(fd)
                pause = BUSY_SECONDS
            else:
                if watched.deadline == float("inf"):
                    self._hot.discard(fd)
                if moved:
                    pause = min(pause, CALM_SECONDS)
        pause = min(pause, CALM_SECONDS) if self._settled.under_way else pause
        self._pause = BUSY_SECONDS if self._grown else pause
        return cuts

    def _slice(self, now: float) -> list[int]:
        """The settled connections whose turn it is."""
        resident = self._resident()
        if resident - self._looked_at > GROWTH and not self._grown:
            self._looked_at = resident
            self._grown = list(self._watched)
        self._looked_at = min(self._looked_at, resident)
        if self._grown:
            taken, self._grown = self._grown[-GROWTH_SLICE:], self._grown[:-GROWTH_SLICE]
            return taken
        if now < self._next_slice:
            return []
        self._next_slice = now + CALM_SECONDS * 0.9  # a scan that is a little early still has its slice
        return self._settled.take(SLICE)

    @property
    def pause(self) -> float:
        """Seconds until the next scan is due, from what the last one and the events since have seen."""
        return self._pause

    def close(self) -> None:
        """Forget everybody, after the socket was closed."""
        for fd in list(self._watched):
            self._gone(fd)

    # -- inside -------------------------------------------------------------------------------------------

    def _opened(self, fd: int, now: float) -> Cut | None:
        self._gone(fd)
        identity, address = _identify(fd)
        self._watched[fd] = _Watched(identity, address, now, now + self._budget.stranger_seconds)
        self._hot.add(fd)
        self._pause = BUSY_SECONDS
        if self._admission is None:
            return None
        verdict = self._admission.opened(address, now)
        return None if verdict else self.cut(fd, verdict.reason)

    def _gone(self, fd: int) -> None:
        watched = self._watched.pop(fd, None)
        self._hot.discard(fd)
        if watched is not None and self._admission is not None:
            self._admission.released(watched.address, watched.authenticated)

    def _judge(self, fd: int, watched: _Watched, now: float) -> tuple[str, float, bool]:
        """Why this connection must end ("" to stay), the used part of its budget, whether octets came."""
        if now >= watched.deadline:
            return watched.why, 1.0, False
        if not self.counts_octets:
            return "", 0.0, False
        received = _octets_received(fd)
        if received is None:
            return "gone", 0.0, False
        moved = received != watched.received
        watched.received = received
        watched.delivered = min(
            watched.delivered, received
        )  # frames of an earlier connection with this number
        if not watched.authenticated:
            used = received / self._budget.stranger_octets
            return ("sent too much before it authenticated" if used > 1 else ""), used, moved
        budget = (
            self._budget.held_octets + _SETUP_OCTETS + (now - watched.since) * _HEARTBEAT_OCTETS_PER_SECOND
        )
        held = received - watched.delivered
        if held > budget / 2:
            held -= _octets_waiting(fd)  # in the kernel's buffer: bounded there
        used = held / budget
        return ("sent more than its queue may hold" if used > 1 else ""), used, moved


def resident_octets() -> int:
    """What this process holds in memory, files that it mapped left out (proc(5), statm); 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb") as stream:
            _, resident, shared, *_ = stream.read().split()
            return (int(resident) - int(shared)) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0


def _identify(fd: int) -> tuple[tuple[int, object] | None, str]:
    """Inode and peer name of a descriptor, and its address; (None, "") when it is no connected socket now."""
    try:
        inode = os.fstat(fd).st_ino
        borrowed = socket.socket(fileno=fd)  # finds the family out: with a wrong one the name is cut short
    except OSError:
        return None, ""
    try:
        peer = borrowed.getpeername()
    except OSError:
        return None, ""
    finally:
        borrowed.detach()
    return (inode, peer), canonical(str(peer[0])) if isinstance(peer, tuple) else ""


def _octets_received(fd: int) -> int | None:
    """All octets that ever came in on a TCP descriptor; None if it is none (any more)."""
    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return None
    finally:
        borrowed.detach()
    if len(info) < _TCP_INFO_SIZE:
        return 0
    (received,) = struct.unpack_from("=Q", info, _RECEIVED_AT)
    return int(received)


def _octets_waiting(fd: int) -> int:
    """Octets in the kernel's receive buffer (tcp(7), SIOCINQ)."""
    if sys.platform == "win32":
        return 0
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
    except OSError:
        return 0
    return max(0, waiting[0])


def _shut(fd: int, identity: tuple[int, object], abort: bool) -> bool:
    """shutdown(2) both ways if the descriptor is still the same connection; False if it is not."""
    try:
        held = os.dup(fd)
    except OSError:
        held = -1  # no descriptor left, or closed: the check below tells, with a race of two system calls
    try:
        number = fd if held < 0 else held
        if _identify(number)[0] != identity:
            return False
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=number)
        try:
            if abort:  # else a flooder at a closed window keeps our half of the connection for a minute
                borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            borrowed.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        finally:
            borrowed.detach()
        return True
    except OSError:
        return False
    finally:
        if held >= 0:
            os.close(held)
