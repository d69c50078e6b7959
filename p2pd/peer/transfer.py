"""One download from request to finished file: its states, and what people see of it. On the event loop.

The rule: the row is in the database before the first octet, every state a person can see is a state of that row or a phase of a
running attempt, and whatever stops it (no source, full disk, a kill) it is taken up again from what was committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Protocol

from p2pd.engine.ratelimit import Meter
from p2pd.peer.attempt import Attempt, Counts, Services
from p2pd.peer.folderattempt import FolderAttempt
from p2pd.peer.partwork import PartWork
from p2pd.peer.record import Record
from p2pd.peer.retries import delay, passes
from p2pd.peer.treework import TreeWork
from p2pd.storage.root import DiskFull, StorageError, StorageMissing
from p2pd.storage.state import Download
from protocol.collection import Collection
from protocol.display import safe
from protocol.errors import Fault
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.transfer")

RETRY_SPACE_SECONDS = 5.0
WAITS_FOR_DISK = ("disk_full", "missing_storage")
RETRYING = "retrying"  # it failed for now and is tried again by itself


class Queue(Protocol):
    """Who gives places to transfers."""

    def changed(self) -> None:
        """A place is free, or somebody wants one."""

    def crowded(self) -> bool:
        """True while others wait for a place."""

    def moved(self, transfer: Transfer) -> None:
        """This one may be in another state now."""


class Transfer:
    """See the module. Counters and `phase` may be read at any time on the loop."""

    def __init__(self, services: Services, row: Download, queue: Queue) -> None:
        self.rate = 0
        self.done = asyncio.Event()
        self._services = services
        self._queue = queue
        self._record = Record(services.store, row, lambda: queue.moved(self))
        self._override = ""  # a state that could not be recorded
        self._changing = asyncio.Lock()
        self._hurried = False  # tried again before its time
        self._attempt: Attempt | None = None
        self._problem: Fault | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._meter = Meter()
        self._work = (TreeWork if row.files else PartWork)(services.store, services.space)
        self._work.resumed = row.resumed_bytes
        self._kept = row.resumed_bytes  # octets verified when the last attempt ended
        self._before = 0  # octets received in earlier attempts of this run
        self._arrived_before = 0
        self._givers: dict[str, str] = {}

    # -- what is shown ------------------------------------------------------------------------------------

    @property
    def row(self) -> Download:
        """The row as it is in the database."""
        return self._record.row

    @property
    def phase(self) -> str:
        """queued, locating, downloading, stalled, verifying, retrying; else the row's state."""
        if self.row.final:
            return self.row.state
        if self._attempt is not None:
            phase = self._attempt.phase
            # A source may have come since it looked last.
            return "downloading" if phase == "stalled" and self.sources else phase
        if self._override:
            return self._override
        if self.row.state == "paused" or self.row.state in WAITS_FOR_DISK:
            return self.row.state
        return "queued" if self.row.retry_at is None else RETRYING

    @property
    def manifest(self) -> Manifest | Collection | None:
        """The manifest, once it is here."""
        return self._attempt.manifest if self._attempt is not None else None

    @property
    def driver(self) -> Counts | None:
        """The driver of the attempt under way."""
        return self._attempt.driver if self._attempt is not None else None

    @property
    def givers(self) -> dict[str, str]:
        """Device -> HOST:PORT of each source that gave octets in this run."""
        return {**self._givers, **(self._attempt.givers if self._attempt is not None else {})}

    @property
    def problem(self) -> Fault | None:
        """Why nothing comes at the moment."""
        return self._attempt.problem if self._attempt is not None else self._problem

    @property
    def verified(self) -> int:
        """Octets of verified pieces."""
        if self.row.state == "done":
            return self.row.size
        if self._attempt is None:
            return self._kept
        return self.driver.verified if self.driver is not None else self._work.resumed

    @property
    def resumed(self) -> int:
        """Octets that were there when this run of it began."""
        return self._work.resumed

    @property
    def received(self) -> int:
        """Octets of verified pieces from the network in this run."""
        return self._before + (self.driver.received if self.driver is not None else 0)

    @property
    def arrived(self) -> int:
        """Octets of blocks that came in this run, verified or not."""
        return self._arrived_before + (self.driver.arrived if self.driver is not None else 0)

    def set_limit(self, rate: int) -> None:
        """Another limit of its own, in octets a second; 0: none."""
        self._services.store.set_limit(self.row.transfer_id, rate)
        self._record.reload()
        if self.driver is not None:
            self._services.reactor.call(self.driver.set_limit, rate)

    @property
    def sources(self) -> int:
        """Sources connected now."""
        return self.driver.sources if self.driver is not None and not self.driver.stopped else 0

    def measure(self, now: float) -> None:
        """Updates `rate`; called about once a second. Blocks count, not pieces: at a low limit a piece takes many seconds."""
        self._meter.sample(self.arrived, now)
        self.rate = self._meter.rate()

    @property
    def running(self) -> bool:
        """True while an attempt is under way: it has a place in the queue."""
        return self._attempt is not None

    def due(self, now: float) -> bool:
        """True when it waits for a place; `now` in seconds since 1970."""
        if self._task is not None or self._changing.locked() or self.row.final or self.row.state == "paused":
            return False
        return self._hurried or self.row.retry_at is None or self.row.retry_at <= now

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins an attempt: it has a place."""
        kind = FolderAttempt if self.row.files else Attempt
        self._attempt = kind(self._services, self._record, self._work, self._wake, self._queue.crowded)
        self._override = ""
        self._spawn(self._run())

    def take_up(self) -> None:
        """After a start of the daemon: what waited for its disk waits on, without a place in the queue."""
        if self.row.state in WAITS_FOR_DISK:
            self._spawn(self._wait_for_storage(None))

    def wake(self) -> None:
        """Something changed that may help: look for sources, or at the disk, or try again, now."""
        self._wake.set()
        self._hurried = self.row.retry_at is not None

    async def pause(self) -> bool:
        """Stops until `resume`; what it has is kept. False when it is over or paused. Raises StorageError when that cannot be recorded:
        it goes on then."""
        async with self._changing:
            if self.row.state == "paused" or not await self._stopped():
                return False
            self._record.set("paused")
            return True

    def resume(self) -> bool:
        """Waits for its turn again. False when it is not paused."""
        if self.row.state != "paused":
            return False
        self._record.set("queued", retries=0)
        self._queue.changed()
        return True

    def retry(self) -> bool:
        """Tries at once what waits to be tried again, for sources or for its disk. False when it does not wait."""
        if self.phase not in (RETRYING, "stalled", *WAITS_FOR_DISK):
            return False
        if self.row.retry_at is not None:
            self._record.set("queued", retries=0)
        self.wake()
        self._queue.changed()
        return True

    async def cancel(self) -> bool:
        """Gives it up and removes its part file. False when it was over."""
        async with self._changing:
            if not await self._stopped():
                return False
            self._record.reload()  # its part file may be news
            await asyncio.to_thread(self._work.remove, self.row)
            self._record.set("cancelled", finished_at=time.time())
            self._over()
            return True

    async def drop_pieces(self, bad: int) -> None:
        """These pieces (bits) of the part file are not what they were: fetched again, at once if it runs."""
        async with self._changing:
            if await self._stopped():
                self._record.reload()
                self._work.drop_pieces(self.row, bad)
                self._record.reload()

    async def _stopped(self) -> bool:
        """Stops what is under way; False when it is over, maybe just now."""
        if not self.row.final:
            await self._stop_task()
        over = self.row.final
        if over:
            self._over()
        return not over

    async def close(self) -> None:
        """Ends the work for now; it goes on at the next start."""
        await self._stop_task()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._task = asyncio.create_task(work, name=self.row.transfer_id)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
            self._queue.changed()

    async def _stop_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._override = ""
        self._leave_attempt()

    def _leave_attempt(self) -> None:
        """Keeps what is counted over attempts."""
        if self._attempt is not None:
            self._kept, self._before, self._givers = self.verified, self.received, self.givers
            self._arrived_before = self.arrived
            self._attempt.leave()
            self._attempt = None

    def _over(self) -> None:
        self._override = ""
        self.done.set()
        self._services.hooks.wake()
        self._queue.changed()

    # -- one attempt and what follows ---------------------------------------------------------------------

    async def _run(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        try:
            await self._finish(attempt, await attempt.run())
        except (DiskFull, StorageMissing) as error:
            self._leave_attempt()
            self._queue.changed()
            await self._wait_for_storage(error)
        except Fault as fault:
            await self._fail(fault)
        except Exception as error:  # a bug must not leave a transfer that neither runs nor says why
            log.exception("! %s failed", self.row.transfer_id)
            await self._fail(Fault("failure", f"internal error: {error}"))

    async def _finish(self, attempt: Attempt, path: str) -> None:
        self._record.set_with(self._due("download_done"), "done", finished_at=time.time(), path=path)
        log.info("= %s done: %s", self.row.transfer_id, safe(path))
        if self.row.share:
            await attempt.share(path)
        self._leave_attempt()
        self._over()

    def _due(self, hook: str) -> Callable[[], object]:
        return lambda: self._services.hooks.due(hook, self.row.transfer_id)

    async def _fail(self, fault: Fault) -> None:
        """Tried again later, or the end without a file. The row says so as soon as the database can be written."""
        received = self.received > self._before
        self._leave_attempt()
        self._problem = fault
        hurried, self._hurried = self._hurried, False
        retries = 0 if received else self.row.retries
        pause = delay(retries, self._kept > 0, self._services.rng) if passes(fault) else None
        if pause is None:
            log.warning("! %s failed: %s", self.row.transfer_id, fault.message)
            if not isinstance(fault, StorageError):
                # Trying again starts from nothing; after a disk error what was committed is kept.
                await asyncio.to_thread(self._work.remove, self.row)
            due = self._due("download_failed")
            await self._recorded(lambda: self._record.set_with(due, "failed", fault, finished_at=time.time()))
            self._over()
            return
        log.info("= %s is tried again in %.0f s: %s", self.row.transfer_id, pause, fault.message)
        # A try out of turn, because a tracker came back, is not counted: trackers may come and go.
        counted = retries + (not hurried)
        await self._recorded(
            lambda: self._record.set("queued", fault, retry_at=time.time() + pause, retries=counted)
        )

    async def _recorded(self, write: Callable[[], None]) -> None:
        while True:
            try:
                write()
            except Fault as error:
                log.warning("! %s: cannot record its end: %s", self.row.transfer_id, error.message)
                self._override = "stalled"
                await asyncio.sleep(RETRY_SPACE_SECONDS)
            else:
                self._override = ""
                return

    async def _wait_for_storage(self, error: StorageError | None) -> None:
        """Until the disk can be used again; then it waits for its turn. `error` is None when the row says it already."""
        if error is not None:
            log.warning("! %s waits: %s", self.row.transfer_id, error.message)
            self._show_storage(error)
            await self._pause()
        while True:
            try:
                await asyncio.to_thread(self._work.check_storage, self.row)
                self._record.set("queued")
            except StorageError as still:
                self._show_storage(still)
            else:
                self._override = ""
                return
            await self._pause()

    def _show_storage(self, error: StorageError) -> None:
        state = "disk_full" if isinstance(error, DiskFull) else "missing_storage"
        self._override = state
        self._work.recheck |= bool(error.details.get("verify"))
        self._problem = error
        if (self.row.state, self.row.error) == (state, error.message):
            return
        try:
            self._record.set(state, error)
        except Fault as fault:
            # The disk that is full may be the database's: the state is shown all the same, and tried again.
            log.warning("! %s: cannot record that: %s", self.row.transfer_id, fault.message)

    async def _pause(self) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), RETRY_SPACE_SECONDS)
