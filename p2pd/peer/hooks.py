"""Programs of the user's that run when a download is done, or failed: when they run, with what, and that each runs once. On the event loop.

The rule: that one is due is written with the end of its download (storage/state_hooks.py), so a kill in between loses none; that it runs is
written before it does, so none runs twice. One that a kill of the daemon cut short is not run again: only its author could know whether
that does harm. Two at a time, in threads of their own: nothing else waits for them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pd.events import Events
from p2pd.happenings import HookDone, HookFailed, HookStarted
from p2pd.peer.program import Outcome, run
from p2pd.storage.state import State
from p2pd.storage.state_hooks import Due
from protocol.errors import Fault

log = logging.getLogger("p2pd.peer.hooks")

AT_A_TIME = 2
LOG_LINES = 40  # of what one prints
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""Of the daemon's environment; nothing else of it is passed on."""


@dataclass(frozen=True, slots=True)
class HookSettings:
    """Programs with their arguments by the name of their hook, and the time that each may take."""

    programs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 60.0


class Hooks:
    """See the module. `describe(transfer_id)` makes the `transfer` of the document; without a store there are none."""

    def __init__(
        self,
        settings: HookSettings | None = None,
        store: State | None = None,
        events: Events | None = None,
        home: Path = Path("/"),
        socket: str = "",
    ) -> None:
        self.settings = settings or HookSettings()
        self.describe: Callable[[str], dict[str, Any]] = lambda transfer_id: {"transfer": transfer_id}
        self._store = store
        self._events = events or Events()
        self._home = home
        self._socket = socket
        self._news = asyncio.Event()
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(AT_A_TIME, "hook") if store is not None else None
        self._running: dict[int, asyncio.Task[None]] = {}

    # -- what is due --------------------------------------------------------------------------------------

    def due(self, name: str, transfer_id: str) -> None:
        """This hook is to run. Call it in the transaction that ends the download, and `wake` after it."""
        if self._store is not None and self.settings.programs.get(name):
            self._store.add_hook(name, transfer_id)

    def wake(self) -> None:
        """Some may be due."""
        self._news.set()

    def start(self) -> None:
        """Tells of those that a kill cut short. Call once, before `run`."""
        assert self._store is not None
        for due in self._store.hooks():
            if due.started:
                self._store.end_hook(due.number)
                self._failed(due, Outcome(None, 0.0, b"", 0, "p2pd was killed while it ran"))

    async def run(self) -> None:
        """Runs what is due, until cancelled."""
        assert self._store is not None
        self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                for due in self._store.hooks():
                    if due.number in self._running:
                        continue
                    if due.started:  # it ran; that could not be recorded then
                        self._store.end_hook(due.number)
                    elif len(self._running) < AT_A_TIME:
                        task = asyncio.create_task(self._one(due), name=f"hook {due.number}")
                        self._running[due.number] = task
            except Fault as fault:  # the next news tries again
                log.warning("! hooks: %s", fault.message)

    async def close(self) -> None:
        """Kills those that run; what is due and did not begin runs at the next start."""
        self._stop.set()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    # -- one of them --------------------------------------------------------------------------------------

    async def _one(self, due: Due) -> None:
        assert self._store is not None
        try:
            argv = self.settings.programs.get(due.name)
            if not argv:
                self._store.end_hook(due.number)
                log.info("= hook %s for %s: not set any more", due.name, due.transfer_id)
                return
            if self._stop.is_set():
                return
            document = self._document(due)
            self._store.start_hook(due.number, time.time())
            outcome = await self._run(due, argv, document)
            self._store.end_hook(due.number)
            self._ended(due, outcome)
        except Fault as fault:
            log.warning("! hook %s for %s: %s", due.name, due.transfer_id, fault.message)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            del self._running[due.number]
            self._news.set()

    async def _run(self, due: Due, argv: Sequence[str], document: bytes) -> Outcome:
        def started(pid: int) -> None:
            log.info("> hook %s for %s (pid %d)", due.name, due.transfer_id, pid)
            self._events.tell(HookStarted(due.name, due.transfer_id, pid))

        return await asyncio.get_running_loop().run_in_executor(
            self._executor,
            lambda: run(
                argv,
                document,
                self._home,
                self._environ(due.name),
                self.settings.seconds,
                self._stop,
                started,
            ),
        )

    def _document(self, due: Due) -> bytes:
        try:
            transfer = self.describe(due.transfer_id)
        except Fault as fault:
            if fault.code != "not_found":
                raise
            transfer = {"transfer": due.transfer_id}  # cleared from the list meanwhile
        document = {"schema": "p2p.hook/1", "hook": due.name, "transfer": transfer}
        return (json.dumps(document) + "\n").encode()

    def _environ(self, name: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
        return {**kept, "P2PD_HOOK": name, "P2PD_HOME": os.fspath(self._home), "P2PCTL_SOCKET": self._socket}

    def _ended(self, due: Due, outcome: Outcome) -> None:
        lines = outcome.output.decode("utf-8", "backslashreplace").splitlines()
        for line in lines[:LOG_LINES]:
            log.info("< hook %s for %s: %s", due.name, due.transfer_id, line[:500])
        if outcome.left_out or len(lines) > LOG_LINES:
            log.info("< hook %s for %s: more is left out", due.name, due.transfer_id)
        if outcome.reason:
            self._failed(due, outcome)
            return
        log.info("= hook %s for %s done in %.1f s", due.name, due.transfer_id, outcome.duration_s)
        self._events.tell(HookDone(due.name, due.transfer_id, 0, outcome.duration_s))

    def _failed(self, due: Due, outcome: Outcome) -> None:
        log.warning("! hook %s for %s: %s", due.name, due.transfer_id, outcome.reason)
        self._events.tell(
            HookFailed(due.name, due.transfer_id, outcome.exit, outcome.duration_s, outcome.reason)
        )


RETRY_SECONDS = 5.0  # when the database could not be written
