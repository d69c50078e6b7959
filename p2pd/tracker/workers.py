"""Threads that wait for a registry on another machine, so that the tracker's reactor never does.

The rule: requests of one connection are handled one after the other, in the order in which they came, as its sender expects; those of
different connections beside each other, as many as there are threads. What waits is bounded for each connection, and
for all together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from p2pd.net.reactor import Reactor, Then

THREADS = 8  # each waits for the database most of its time
WAITING = 32  # requests of one connection: a peer has some twenty questions at a time
WAITING_ALL = 1024  # of all, some 64 MB if they are large; beyond that one of a connection


class Workers:
    """Work for a reactor. All methods are called on its thread."""

    def __init__(self, reactor: Reactor, threads: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = ThreadPoolExecutor(threads, "registry")
        self._waiting: dict[Hashable, deque[tuple[Callable[[], Any], Then]]] = {}
        self._held = 0  # in all of them

    def submit(self, key: Hashable, work: Callable[[], Any], then: Then) -> bool:
        """Runs `work()` in a thread after all that was submitted with this key, then `then(result, error)` on the reactor's thread.
        False, and nothing happens, when too much waits."""
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = deque()
            self._start(key, work, then)
            return True
        if len(queue) >= (WAITING if self._held < WAITING_ALL else 1):
            return False
        queue.append((work, then))
        self._held += 1
        return True

    def forget(self, key: Hashable) -> None:
        """What waits for this key is not done any more."""
        if key in self._waiting:
            self._held -= len(self._waiting[key])
            self._waiting[key].clear()

    def close(self, timeout: float) -> bool:
        """Takes no more work, and waits so many seconds for what is under way. True when it ended. From any thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        ended = threading.Thread(target=self._pool.shutdown, daemon=True)
        ended.start()
        ended.join(timeout)
        return not ended.is_alive()

    def _start(self, key: Hashable, work: Callable[[], Any], then: Then) -> None:
        def run() -> None:
            result, error = None, None
            try:
                result = work()
            except (
                Exception
            ) as caught:  # whatever went wrong is the caller's to judge, on the reactor's thread
                error = caught
            self._reactor.call(self._done, key, then, result, error)

        with suppress(RuntimeError):  # closed
            self._pool.submit(run)

    def _done(self, key: Hashable, then: Then, result: Any, error: BaseException | None) -> None:
        queue = self._waiting[key]
        if queue:
            self._held -= 1
            self._start(key, *queue.popleft())
        else:
            del self._waiting[key]
        then(result, error)
