"""The one table of ZeroMQ socket options of the daemon, each with its reason.

Rule: no other module sets an option; a socket gets its whole row from `apply` after it is made and before
it is bound or connected (libzmq reads most of them only then). Times on sockets are in milliseconds, sizes
in octets, marks in messages. The figures come from protocol/limits.py where the protocol names them and
stand here where only libzmq knows them. The module knows nothing of sessions, addresses or roles.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from protocol import limits

HANDSHAKE_MS = 3_000
CONNECT_MS = 10_000

LISTENER_RCVHWM = 16
LISTENER_SNDHWM = 16
DIALER_RCVHWM = 8
DIALER_SNDHWM = 2 * limits.MAX_OUTSTANDING_BLOCKS
IPC_HWM = 64


class Kind(enum.Enum):
    """What a socket is for; the row of the table it gets."""

    LISTENER = "listener"  # ROUTER on a TCP port: strangers arrive here
    DIALER = "dialer"  # DEALER to one tracker or one source
    IPC = "ipc"  # ROUTER of the control socket
    MONITOR = "monitor"  # PAIR on which a listener tells who came and went


@dataclass(frozen=True, slots=True)
class Option:
    """One socket option, its value and why it has it."""

    name: zmq.SocketOption
    value: int
    reason: str


_EVERYWHERE = (
    Option(zmq.SocketOption.LINGER, 0, "the default waits for ever for a dead peer when the context ends"),
)

_TCP = (
    Option(
        zmq.SocketOption.IPV6, 1, "one socket serves both families; an IPv4 source then reads ::ffff:a.b.c.d"
    ),
    Option(zmq.SocketOption.HANDSHAKE_IVL, HANDSHAKE_MS, "an idle stranger holds a descriptor 3 s, not 30 s"),
    Option(
        zmq.SocketOption.HEARTBEAT_IVL,
        0,
        "sessions ask each other for signs of life; each beat of libzmq looks through the timers of all connections, a "
        "third of a core with 10,000",
    ),
)

_ROUTER = (
    Option(
        zmq.SocketOption.ROUTER_MANDATORY, 1, "without it a full queue or a gone peer loses messages silently"
    ),
    Option(
        zmq.SocketOption.ROUTER_HANDOVER, 0, "with it a stranger takes over a connection by claiming its id"
    ),
)

TABLE: Mapping[Kind, tuple[Option, ...]] = {
    Kind.LISTENER: _EVERYWHERE
    + _TCP
    + _ROUTER
    + (
        Option(zmq.SocketOption.MAXMSGSIZE, limits.MAX_LISTENER_FRAME, "bulk never flows towards a listener"),
        Option(
            zmq.SocketOption.RCVHWM,
            LISTENER_RCVHWM,
            "a memory guard: 16 frames of 64 KiB a connection; beyond it the kernel holds the sender back",
        ),
        Option(
            zmq.SocketOption.SNDHWM,
            LISTENER_SNDHWM,
            "a memory guard: 16 sealed blocks of 1 MiB for a slow reader, above the least credit window so that a quick one "
            "never fills it. Fairness comes from credit; the 64 requests a peer may have open wait unsealed; a full queue "
            "is EAGAIN, which the router polls for",
        ),
        Option(zmq.SocketOption.BACKLOG, 64, "as many as may be unauthenticated at a time"),
    ),
    Kind.DIALER: _EVERYWHERE
    + _TCP
    + (
        Option(
            zmq.SocketOption.MAXMSGSIZE, limits.MAX_DIALER_FRAME, "a block of 1 MiB with its record around it"
        ),
        Option(
            zmq.SocketOption.RCVHWM,
            DIALER_RCVHWM,
            "8 MiB a source while we hash and write; more only hides a slow disk from the sender",
        ),
        Option(
            zmq.SocketOption.SNDHWM,
            DIALER_SNDHWM,
            "twice the requests that may be outstanding, each small: EAGAIN then means a stalled source",
        ),
        Option(
            zmq.SocketOption.RECONNECT_IVL,
            -1,
            "one attempt; the back-off is ours, and a tracker cannot aim us",
        ),
        Option(
            zmq.SocketOption.IMMEDIATE,
            1,
            "queue only for a finished connection: an address that is no peer gets 10 octets",
        ),
        Option(zmq.SocketOption.CONNECT_TIMEOUT, CONNECT_MS, "the kernel's own limit is over two minutes"),
    ),
    Kind.IPC: _EVERYWHERE
    + _ROUTER
    + (
        Option(
            zmq.SocketOption.MAXMSGSIZE,
            limits.MAX_CONTROL_REQUEST,
            "a control request, checked before it is read",
        ),
        Option(zmq.SocketOption.RCVHWM, IPC_HWM, "a script may pipeline requests; 64 of 64 KiB a client"),
        Option(zmq.SocketOption.SNDHWM, IPC_HWM, "event streams to a client that stopped reading end here"),
        Option(
            zmq.SocketOption.HANDSHAKE_IVL, 2_000, "a local process that only connects holds a descriptor 2 s"
        ),
        Option(zmq.SocketOption.BACKLOG, 16, "one-shot clients come one by one"),
    ),
    Kind.MONITOR: (
        *_EVERYWHERE,
        Option(
            zmq.SocketOption.RCVHWM,
            0,
            "libzmq waits for room with a lock held that closing needs too: a thousand members that go at once, at the end, "
            "and the process would stand still for ever",
        ),
    ),
}
"""Kind -> its options. SNDBUF and RCVBUF are missing on purpose: the kernel's own tuning was never slower."""


def apply(socket: zmq.Socket[Any], kind: Kind, zap_domain: str = "") -> None:
    """Set every option of `kind`. Call it before bind or connect.

    `zap_domain` makes libzmq ask the ZAP handler about each connection (RFC 27); a listener without one takes
    everybody. Raises zmq.ZMQError if the library refuses a value.
    """
    for option in TABLE[kind]:
        socket.setsockopt(option.name, option.value)
    if zap_domain:
        socket.setsockopt_string(zmq.SocketOption.ZAP_DOMAIN, zap_domain)


def queue_octets(kind: Kind) -> int:
    """The most that libzmq honestly holds for us from one connection: full queue, one message in hand, one
    arriving.
    """
    rows = {option.name: option.value for option in TABLE[kind]}
    return (rows[zmq.SocketOption.RCVHWM] + 2) * rows[zmq.SocketOption.MAXMSGSIZE]
