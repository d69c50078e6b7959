"""One download from request to finished file: its states, and what people see of it. On the event loop.

The rule: the row is in the database before the first octet, every state a person can see is a state of that row or a phase of a
running attempt, and whatever stops it (no source, full disk, a kill) it is taken up again from what was committed.
"""

from __future__ import annotations

import asyncio
import logging
import time

from p2pd.engine.ratelimit import Meter
from p2pd.peer.attempt import Attempt, Services
from p2pd.peer.driver import Driver
from p2pd.peer.partwork import PartWork
from p2pd.peer.record import Record
from p2pd.storage.root import DiskFull, StorageError, StorageMissing
from p2pd.storage.state import Download
from protocol.display import safe
from protocol.errors import Fault
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.transfer")

RETRY_SPACE_SECONDS = 5.0


class Transfer:
    """See the module. Counters and `phase` may be read at any time on the loop."""

    def __init__(self, services: Services, row: Download) -> None:
        self.rate = 0
        self.done = asyncio.Event()
        self._services = services
        self._record = Record(services.store, row)
        self._phase = "queued"
        self._attempt: Attempt | None = None
        self._problem: Fault | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._meter = Meter()
        self._work = PartWork(services.store)
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
        """queued, locating, downloading, stalled, verifying; else the row's state."""
        return self._attempt.phase if self._attempt is not None else self._phase

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, once it is here."""
        return self._attempt.manifest if self._attempt is not None else None

    @property
    def driver(self) -> Driver | None:
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
    def started(self) -> bool:
        """True from start() on."""
        return self._task is not None

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins, or goes on."""
        self._task = asyncio.create_task(self._run(), name=self.row.transfer_id)

    def wake(self) -> None:
        """Something changed that may help: look for sources now."""
        self._wake.set()

    async def cancel(self) -> None:
        """Gives it up and removes its part file."""
        await self._stop_task()
        if not self.row.final:
            self._record.reload()  # its part file may be news
            await asyncio.to_thread(self._work.remove, self.row)
            self._record.set("cancelled", finished_at=time.time())
        self._over()

    async def close(self) -> None:
        """Ends the work for now; it goes on at the next start."""
        await self._stop_task()

    async def _stop_task(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self._leave_attempt()

    def _leave_attempt(self) -> None:
        """Keeps what is counted over attempts."""
        if self._attempt is not None:
            self._kept, self._before, self._givers = self.verified, self.received, self.givers
            self._arrived_before = self.arrived
            self._attempt = None

    def _over(self) -> None:
        self._phase = self.row.state
        self.done.set()

    async def _run(self) -> None:
        while True:
            self._attempt = Attempt(self._services, self._record, self._work, self._wake)
            try:
                await self._finish(await self._attempt.run())
            except (DiskFull, StorageMissing) as error:
                await self._wait_for_storage(error)
            except Fault as fault:
                await self._fail(fault)
                return
            except Exception as error:  # a bug must not leave a transfer that neither runs nor says why
                log.exception("! %s failed", self.row.transfer_id)
                await self._fail(Fault("failure", f"internal error: {error}"))
                return
            else:
                self._over()
                return

    async def _finish(self, path: str) -> None:
        attempt = self._attempt
        assert attempt is not None
        assert attempt.manifest is not None
        self._record.set("done", finished_at=time.time(), path=path)
        log.info("= %s done: %s", self.row.transfer_id, safe(path))
        if self.row.share:
            await self._services.shares.take_download(path, self.row.name, attempt.manifest)
        self._leave_attempt()

    async def _fail(self, fault: Fault) -> None:
        """The end without a file. The row says so as soon as the database can be written."""
        log.warning("! %s failed: %s", self.row.transfer_id, fault.message)
        self._leave_attempt()
        if not isinstance(fault, StorageError):
            # Trying again later starts from nothing; after a disk error what was committed is kept.
            await asyncio.to_thread(self._work.remove, self.row)
        self._problem = fault
        while True:
            try:
                self._record.set("failed", fault, finished_at=time.time())
            except Fault as error:
                log.warning("! %s: cannot record its end: %s", self.row.transfer_id, error.message)
                self._phase = "stalled"
                await asyncio.sleep(RETRY_SPACE_SECONDS)
            else:
                break
        self._over()

    async def _wait_for_storage(self, error: StorageError) -> None:
        state = "disk_full" if isinstance(error, DiskFull) else "missing_storage"
        self._leave_attempt()
        self._phase = state
        self._work.recheck |= bool(error.details.get("verify"))
        self._problem = error
        if self.row.state != state:
            log.warning("! %s waits: %s", self.row.transfer_id, error.message)
            try:
                self._record.set(state, error)
            except Fault as fault:
                # The disk that is full may be the database's: the state is shown all the same, and tried again.
                log.warning("! %s: cannot record that: %s", self.row.transfer_id, fault.message)
        await asyncio.sleep(RETRY_SPACE_SECONDS)
