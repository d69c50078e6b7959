"""A TCP proxy of our own: one thread between two daemons that slows, delays, stalls, cuts and records.

The rule: what it does to a link depends on its arguments and seed only, not on how the octets were cut into reads; it looks at
nothing that passes. Not built for speed: one thread, one copy.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from random import Random

READ = 64 * 1024
ROOM = 4 * READ  # held for one direction; more stays in the sender's socket
FAR = 256 * 1024 * 1024  # octets a second that a delayed link can hold on their way
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting: deque[tuple[float, bytes]] = deque()  # (when it may leave, octets)
        self.held = 0
        self.free_at = 0.0  # when the rate lets the next octets through
        self.ended = False  # the source has sent its last
        self.shut = False  # and the sink was told


class Proxy:
    """Listens on `port` and connects each caller to `target`, which may be set later and changed.

    `rate`: octets a second in each direction of each connection, 0 for no bound. `delay`: seconds each way. `record`: keep
    what passes in `captured`. `cut_after(low, high)`: each new connection is reset after a number of octets drawn from
    the seed. Every attribute may be changed while it runs.
    """

    def __init__(self, *, rate: float = 0, delay: float = 0.0, seed: int = 1, record: bool = False) -> None:
        self.target: tuple[str, int] | None = None
        self.rate = rate
        self.delay = delay
        self.connections = 0  # so far
        self.cuts = 0
        self.passed = 0  # octets, both directions
        self.captured = bytearray()
        self.stalled = False
        self.refusing = False
        self._record = record
        self._rng = Random(seed)
        self._cut_range: tuple[int, int] | None = None
        self._budgets: dict[_Way, int] = {}
        self._ways: dict[socket.socket, tuple[_Way, _Way]] = {}  # socket -> (reads from it, writes to it)
        self._cutting = False
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"proxy {self.port}")
        self._thread.start()

    @property
    def address(self) -> str:
        """HOST:PORT to be given instead of the target's."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Resets every connection now; new ones are accepted."""
        self._cutting = True
        self._wake_out.send(b"c")

    def cut_after(self, low: int, high: int) -> None:
        """From now on each new connection is reset after between `low` and `high` octets."""
        self._cut_range = (low, high)

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._closing = True
        self._wake_out.send(b"e")
        self._thread.join(10.0)
        assert not self._thread.is_alive()

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            self._interests()
            for key, events in self._selector.select(self._pause()):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    self._accept()
                elif sock is self._wake_in:
                    sock.recv(4096)
                elif events & selectors.EVENT_READ and sock in self._ways:
                    self._read(self._ways[sock][0])
            if self._cutting:
                self._cutting = False
                for sock in list(self._ways):
                    self._reset(sock)
            now = time.monotonic()
            for reads, _ in list(self._ways.values()):
                self._write(reads, now)
        for sock in list(self._ways):
            self._reset(sock)
        for end in (self._listener, self._wake_in, self._wake_out):
            end.close()
        self._selector.close()

    def _interests(self) -> None:
        """Reads only where there is room, so that a slow link is slow for the sender too."""
        room = ROOM + int(FAR * self.delay)
        for sock, (reads, _) in self._ways.items():
            wants = not reads.ended and reads.held < room and not self.stalled
            known = sock in self._selector.get_map()
            if wants and not known:
                self._selector.register(sock, selectors.EVENT_READ)
            elif known and not wants:
                self._selector.unregister(sock)

    def _pause(self) -> float:
        now = time.monotonic()
        due = [max(way.waiting[0][0], way.free_at) - now for way, _ in self._ways.values() if way.waiting]
        return 0.05 if not due or self.stalled else min(0.05, max(0.001, min(due)))

    def _accept(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except OSError:
            return
        if self.target is None or self.refusing:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            caller.close()
            return
        try:
            called = socket.create_connection(self.target, 5.0)
        except OSError:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            caller.close()
            return
        self.connections += 1
        for sock in (caller, called):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        forth, back = _Way(caller, called), _Way(called, caller)
        self._ways[caller], self._ways[called] = (forth, back), (back, forth)
        if self._cut_range is not None:
            self._budgets[back] = self._rng.randint(*self._cut_range)

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            self._reset(way.source)
            return
        if not data:
            way.ended = True
            return
        if self._record:
            self.captured += data
        way.waiting.append((time.monotonic() + self.delay, data))
        way.held += len(data)

    def _write(self, way: _Way, now: float) -> None:
        while way.waiting and not self.stalled and way.waiting[0][0] <= now and way.free_at <= now:
            data = way.waiting[0][1]
            allowed = min(len(data), self._budgets.get(way, len(data)))
            try:
                sent = way.sink.send(data[:allowed]) if allowed else 0
            except BlockingIOError:
                way.free_at = now + 0.001
                return
            except OSError:
                self._reset(way.source)
                return
            self.passed += sent
            way.held -= sent
            if self.rate:
                way.free_at = max(way.free_at, now - 0.01) + sent / self.rate
            if way in self._budgets:
                self._budgets[way] -= sent
                if self._budgets[way] <= 0:
                    self._reset(way.source)
                    return
            when, _ = way.waiting.popleft()
            if sent < len(data):
                way.waiting.appendleft((when, data[sent:]))
        if way.ended and not way.waiting and not way.shut:
            way.shut = True
            try:
                way.sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # gone already
            other = self._ways[way.source][1]
            if other.shut:
                self._forget(way.source)

    def _reset(self, sock: socket.socket) -> None:
        """Ends a connection the hard way, as a lost link does."""
        if sock not in self._ways:
            return
        self.cuts += 1
        for end in (sock, self._ways[sock][0].sink):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        reads, writes = self._ways.pop(sock)
        other = reads.sink
        del self._ways[other]
        for end in (sock, other):
            if end in self._selector.get_map():
                self._selector.unregister(end)
            end.close()
        self._budgets.pop(reads, None)
        self._budgets.pop(writes, None)
