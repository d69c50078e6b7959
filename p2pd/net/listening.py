"""The watch on connections (warden.py), run by the reactor that owns their sockets: of a listener, or of all dialled links of a thread.

Also what to say when a listener cannot be bound.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from p2pd.net import options
from p2pd.net.addresses import format_endpoint, zmq_endpoint
from p2pd.net.admission import Admission
from p2pd.net.reactor import Reactor
from p2pd.net.warden import DIALER_BUDGET, EVENTS, Warden
from protocol.errors import Fault
from protocol.frames import HELLO

_HELLO = bytes([HELLO])
CONDEMNED_SECONDS = 1.0  # a refused connection may stay so long: the last frame is on its way


class Guard:
    """A Warden whose scans are run by a reactor: soon after news, seldom in quiet times. On the reactor's thread, or before it starts."""

    def __init__(self, reactor: Reactor, warden: Warden) -> None:
        self._reactor = reactor
        self._warden = warden
        self._timer = reactor.later(warden.pause, self._scan)

    def take(self, event: Mapping[str, Any]) -> None:
        """A monitor event. Scans sooner when it gives reason to."""
        now = self._reactor.clock()
        self._warden.on_event(event, now)
        if self._timer.when > now + self._warden.pause:
            self._timer.cancel()
            self._timer = self._reactor.later(self._warden.pause, self._scan)

    def delivered(self, frame: zmq.Frame) -> int:
        """A frame was given to us; its connection's descriptor, -1 when it cannot be told."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return -1
        self._warden.delivered(descriptor, len(frame.buffer))
        return descriptor

    def authenticated(self, descriptor: int) -> None:
        """The handshake on this connection is through."""
        self._warden.authenticated(descriptor)

    def condemn(self, descriptor: int, reason: str) -> None:
        """This connection must end soon."""
        self._warden.condemn(descriptor, reason, self._reactor.clock() + CONDEMNED_SECONDS)

    def close(self) -> None:
        """Ends the watch."""
        self._timer.cancel()
        self._warden.close()

    def _scan(self) -> None:
        self._warden.scan(self._reactor.clock())
        self._timer = self._reactor.later(self._warden.pause, self._scan)


def dialer_guard(reactor: Reactor) -> Guard:
    """One watch for all links that a reactor dials."""
    return Guard(reactor, Warden(None, DIALER_BUDGET))


class ListenerGuard(Guard):
    """The watch of one listener, fed by its monitor. `on_gone(descriptor)`: a connection ended."""

    def __init__(
        self,
        reactor: Reactor,
        socket: zmq.Socket[bytes],
        admission: Admission,
        on_gone: Callable[[int], object],
    ) -> None:
        super().__init__(reactor, Warden(admission))
        self._socket = socket
        self._on_gone = on_gone
        self._monitor = _monitor(reactor.context, socket)
        self._closed = False
        reactor.add_socket(self._monitor, self.drain)

    def drain(self) -> None:
        """Takes in what happened so far. Called before frames are read, so that a descriptor number is known for what it is now."""
        while not self._closed:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if event["event"] == zmq.Event.DISCONNECTED:
                self._on_gone(int(event["value"]))
            self.take(event)

    def delivered(self, frame: zmq.Frame) -> int:
        """See Guard. The number of a newcomer may have been another connection's a moment ago, whose end, when it is heard of later,
        must not be taken for that of the new one.
        """
        if frame.buffer[:1] == _HELLO:
            self.drain()
        return super().delivered(frame)

    def close(self) -> None:
        """Ends the watch; call it before the socket is closed."""
        self._closed = True
        self._reactor.remove_socket(self._monitor)
        self._socket.monitor(None, 0)
        self._monitor.close(linger=0)
        super().close()

    def _scan(self) -> None:
        self.drain()
        super()._scan()


def _monitor(context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Where a listener tells of its connections. Not pyzmq's own: its options must be set before it is connected."""
    address = f"inproc://p2pd.monitor.{id(socket):x}"
    socket.monitor(address, int(EVENTS))
    monitor = context.socket(zmq.PAIR)
    options.apply(monitor, options.Kind.MONITOR)
    monitor.connect(address)
    return monitor


def listen(context: zmq.Context[Any], domain: str, host: str, port: int) -> tuple[zmq.Socket[bytes], int]:
    """A bound ROUTER and its port. Raises Fault("network") with what to do when it cannot be had."""
    socket = context.socket(zmq.ROUTER)
    options.apply(socket, options.Kind.LISTENER, domain)
    try:
        socket.bind(zmq_endpoint(host or "*", port))
    except zmq.ZMQError as error:
        socket.close()
        raise bind_fault(error, host, port, domain) from error
    return socket, int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def bind_fault(error: zmq.ZMQError, host: str, port: int, role: str) -> Fault:
    """What to tell a person when a listener cannot be bound."""
    where = format_endpoint(host or "*", port)
    if error.errno in (zmq.EADDRINUSE, errno.EADDRINUSE):
        return Fault(
            "network",
            f"port {port} is in use already ({where})",
            f"another p2pd {role} may be running here: choose another port with --listen, or 0 for any free one",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Fault(
            "network", f"no right to listen on {where}", "choose a port of 1024 or above with --listen"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return Fault(
        "network", f"cannot listen on {where}: {reason}", "choose an address of this machine with --listen"
    )
