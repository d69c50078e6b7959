"""A thread that owns ZeroMQ sockets: polls them, runs timers, and takes calls from other threads.

Sockets belong to one thread (libzmq's rule); everything registered here is touched by this thread alone. Other threads use
`call`. Plain sockets and a poll loop instead of an event-loop library: measured, the latter costs the bulk path a quarter
of its speed (docs/decisions/0003-reactors.md). Work that takes longer than a block (key exchange) goes to `offload`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import zmq

log = logging.getLogger("p2pd.net")

Callback = Callable[..., object]
Then = Callable[[Any, BaseException | None], object]
"""Called with (result, None) or (None, error), on the reactor's thread."""

LANES = 2  # threads for work that waits for a disk
LANE_FULL = 8  # works in one lane before the next is used: a quick disk needs one, and each thread more has to be woken


class Timer:
    """A call at a time. `cancel` may be called more than once, on the reactor's thread."""

    __slots__ = ("_args", "_callback", "when")

    def __init__(self, when: float, callback: Callback, args: tuple[Any, ...]) -> None:
        self.when = when
        self._callback: Callback | None = callback
        self._args = args

    def cancel(self) -> None:
        """The call will not happen."""
        self._callback = None
        self._args = ()

    def fire(self) -> None:
        """Calls, unless cancelled."""
        callback, args = self._callback, self._args
        self.cancel()
        if callback is not None:
            callback(*args)


class Reactor:
    """See the module. `executor` runs offloaded work; `clock` gives monotonic seconds."""

    def __init__(
        self,
        name: str,
        context: zmq.Context[zmq.Socket[bytes]],
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.context = context
        self.clock = clock
        self._executor = executor
        self._poller = zmq.Poller()
        self._handlers: dict[Any, Callable[[], object]] = {}
        self._calls: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._counter = itertools.count()
        self._works: list[Callable[[], bool]] = []
        self._lanes: list[ThreadPoolExecutor] = []
        self._in_lane = [0] * LANES  # works that have not run, as far as this thread knows
        self._lane_of: dict[int, tuple[int, int]] = {}  # key -> its lane, and how many of those are its own
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def running(self) -> bool:
        """True from start() until the thread has ended."""
        return self._thread.is_alive()

    # -- from any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def call(self, callback: Callback, *args: Any) -> None:
        """Runs `callback(*args)` on the reactor's thread soon. Calls keep their order."""
        self._calls.append((callback, args))
        try:
            self._wake_out.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # the pipe is full (a wake-up is already pending) or the reactor has stopped

    def stop(self, timeout: float) -> bool:
        """Ends the loop after the calls made so far; True if the thread ended within `timeout` seconds."""
        self.call(self._stop)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        for lane in self._lanes:
            lane.shutdown(wait=False, cancel_futures=True)
        self._wake_in.close()
        self._wake_out.close()
        return True

    # -- on the reactor's thread --------------------------------------------------------------------------

    def add_socket(self, sock: Any, on_readable: Callable[[], object]) -> None:
        """Calls `on_readable()` whenever the socket (ZeroMQ or descriptor) can be read."""
        self._handlers[sock] = on_readable
        self._poller.register(sock, zmq.POLLIN)

    def remove_socket(self, sock: Any) -> None:
        """Undoes add_socket."""
        if self._handlers.pop(sock, None) is not None:
            self._poller.unregister(sock)

    def later(self, delay: float, callback: Callback, *args: Any) -> Timer:
        """Calls `callback(*args)` after `delay` seconds."""
        timer = Timer(self.clock() + delay, callback, args)
        heapq.heappush(self._timers, (timer.when, next(self._counter), timer))
        return timer

    def add_work(self, work: Callable[[], bool]) -> None:
        """`work()` does one piece of work and says whether more is left; called between polls until it says no."""
        if work not in self._works:
            self._works.append(work)

    def offload(self, work: Callable[[], Any], then: Then) -> None:
        """Runs `work()` in the executor, then `then(result, error)` on this thread."""
        self._submit(self._executor, work, then)

    def in_order(self, key: int, work: Callable[[], Any], then: Then) -> Future[None]:
        """As `offload`, in threads of this reactor's own: works of the same key run one after the other, in the order of these calls.

        The future is done when `work` has run; it carries no result.
        """
        if not self._lanes:
            self._lanes = [ThreadPoolExecutor(1, f"{self.name}-disk") for _ in range(LANES)]
        lane, own = self._lane_of.get(key) or (self._choose_lane(), 0)
        self._lane_of[key] = (lane, own + 1)
        self._in_lane[lane] += 1

        def ran(result: Any, error: BaseException | None) -> None:
            self._leave_lane(key)
            then(result, error)

        return self._submit(self._lanes[lane], work, ran)

    def _choose_lane(self) -> int:
        if self._in_lane[0] < LANE_FULL:
            return 0
        return min(range(LANES), key=self._in_lane.__getitem__)

    def _leave_lane(self, key: int) -> None:
        lane, own = self._lane_of[key]
        self._in_lane[lane] -= 1
        if own > 1:
            self._lane_of[key] = (lane, own - 1)
        else:
            del self._lane_of[key]

    def _submit(self, executor: Executor, work: Callable[[], Any], then: Then) -> Future[None]:
        def run() -> None:
            try:
                result = work()
            except (
                Exception
            ) as error:  # whatever went wrong is the caller's to judge, on the reactor's thread
                self.call(then, None, error)
            else:
                self.call(then, result, None)

        return executor.submit(run)

    def _stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        self._poller.register(self._wake_in, zmq.POLLIN)
        wake = self._wake_in.fileno()
        while not self._stopping:
            try:
                ready = self._poller.poll(self._timeout_ms())
            except zmq.ZMQError as error:
                if error.errno == zmq.ETERM:
                    return
                raise
            for sock, _ in ready:
                if sock == wake:
                    self._drain_wake()
                    continue
                handler = self._handlers.get(sock)
                if handler is not None:
                    self._guard(handler)
            self._run_calls()
            self._run_timers()
            self._run_works()

    def _timeout_ms(self) -> int:
        if self._works or self._calls:
            return 0
        if not self._timers:
            return 1000
        delay = self._timers[0][0] - self.clock()
        return max(0, min(1000, int(delay * 1000) + 1))

    def _drain_wake(self) -> None:
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            pass

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            callback, args = self._calls.popleft()
            self._guard(callback, *args)

    def _run_timers(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            self._guard(timer.fire)

    def _run_works(self) -> None:
        for work in list(self._works):
            if not self._guard(work):
                self._works.remove(work)

    def _guard(self, callback: Callback, *args: Any) -> object:
        try:
            return callback(*args)
        except Exception:  # one faulty callback must not take the other connections of this thread with it
            log.exception("! %s: a callback failed", self.name)
            return None
