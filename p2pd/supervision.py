"""Between the daemon and whoever runs it: signals, the service manager, the heartbeat, and reloading. On the event loop.

The rule: READY is told when somebody who was waiting for it would find everything working; SIGHUP reads the settings again, unless it says
that the terminal has gone; whatever comes of a reload, the manager is told that it is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from p2pd.garbage import Garbage
from p2pd.heartbeat import Heartbeat
from p2pd.logs import Log
from p2pd.net.reactor import Reactor
from p2pd.notify import Notifier
from p2pd.tuning import Change, Tuning
from protocol.errors import Fault

log = logging.getLogger("p2pd.service")


def has_terminal() -> bool:
    """Whether this process has a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Supervision:
    """See the module."""

    def __init__(self, tuning: Tuning, logged: Log, notifier: Notifier) -> None:
        self.tuning = tuning
        self.log = logged
        self.notifier = notifier
        self._garbage = Garbage()
        self._had_terminal = has_terminal()
        self._stop: Callable[[], object] = lambda: None
        self._summary: Callable[[], str] = lambda: ""
        self._said = ""
        self._ready = False
        self._hung_up = False
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, stop: Callable[[], object]) -> None:
        """Takes the signals: `stop()` at SIGINT and SIGTERM."""
        self._stop = stop
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup(1) wants it left alone
            loop.add_signal_handler(signal.SIGHUP, self.hangup)

    def ready(self, reactors: Sequence[Reactor], summary: Callable[[], str]) -> None:
        """Everything works. `summary()` is one line about how it goes."""
        self._summary = summary
        self._said = summary()
        self._ready = True
        self._garbage.settle()
        self.notifier.ready(self._said)
        self._spawn(Heartbeat(reactors, self.notifier, self._now_and_then).run())
        if self._hung_up:
            self.hangup()

    def stopping(self) -> None:
        """The end has begun: no more beats."""
        self._ready = False
        self.notifier.stopping()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """No more signals. `stopping` was called."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError):
                loop.remove_signal_handler(number)

    # -- reloading ----------------------------------------------------------------------------------------

    def hangup(self) -> None:
        """SIGHUP."""
        if self._had_terminal and not has_terminal():
            log.info("= the terminal has gone")
            self._stop()
        elif self._ready:
            self._spawn(self._reload())
        else:
            self._hung_up = True

    async def _reload(self) -> None:
        with suppress(Fault):  # it is in the log
            await self.reload()

    async def reload(self) -> list[Change]:
        """Reads the settings again. Raises Fault usage with all that is wrong; then nothing has changed."""
        self.notifier.reloading()
        trouble = ""
        try:
            return await self.tuning.reload()
        except Fault as fault:
            trouble = f" (settings not reloaded: {fault.message})"
            raise
        finally:
            if self._ready:
                self._said = self._summary() + trouble
                self.notifier.ready(self._said)

    # -- beats --------------------------------------------------------------------------------------------

    def _now_and_then(self) -> None:
        self.log.sweep()
        self._garbage.beat()
        if self.notifier.managed and (summary := self._summary()) != self._said:
            self._said = summary
            self.notifier.status(summary)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="supervision")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
