"""All downloads of this device: begins, restores, waits for, cancels and lists them. On the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass

from p2pd.peer.attempt import Services
from p2pd.peer.partwork import FREE_RESERVE
from p2pd.peer.transfer import Transfer
from p2pd.storage.root import Root, check_local_name
from p2pd.storage.state import Download
from protocol.display import safe
from protocol.errors import Fault, RemoteProtocolError
from protocol.names import check_name

log = logging.getLogger("p2pd.peer.downloads")

MEASURE_SECONDS = 0.5
MAX_ACTIVE = 8  # the others wait their turn


@dataclass(frozen=True, slots=True)
class Wanted:
    """A download as it was asked for. `file` is the user's own name for it; `name` is what the swarm calls it."""

    content_id: bytes
    name: str
    size: int
    directory: str
    file: str | None
    prefix: str
    exists: str
    share: bool
    check_sha256: str  # hex digits that the SHA-256 must begin with; empty when it was not asked for
    limit: int | None = None  # octets a second, 0 for none; None: as it is, or none


class Downloads:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._active: dict[str, Transfer] = {}
        self._closing = False
        self._received = 0
        self._arrived = 0

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what was not finished."""
        for row in self._services.store.active_downloads():
            self._begin(row)

    async def run(self) -> None:
        """Keeps the rates; until cancelled."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            now = time.monotonic()
            for transfer in self._active.values():
                transfer.measure(now)

    async def close(self) -> None:
        """Stops the work; rows stay as they are."""
        self._closing = True
        await asyncio.gather(*(transfer.close() for transfer in self._active.values()))

    def wake(self) -> None:
        """A tracker is back, or the like: every download looks for sources now."""
        for transfer in self._active.values():
            transfer.wake()

    # -- asking -------------------------------------------------------------------------------------------

    async def add(self, wanted: Wanted) -> Transfer | Download:
        """Begins a download, or answers the one that does the same already.

        Raises Fault exists (with the path), storage (directory), usage (name).
        """
        target = self._target_name(wanted)
        running = self._running(wanted, target)
        if running is not None:
            if wanted.limit is not None and wanted.limit != running.row.limit:
                running.set_limit(wanted.limit)
            return running
        taken = await asyncio.to_thread(_check_target, wanted, target)
        running = self._running(wanted, target)  # the same may have been asked for meanwhile
        if running is not None:
            return running
        if taken:
            raise Fault(
                "exists",
                f"{safe(os.path.join(wanted.directory, target))} exists already",
                "choose another place with -o, or --exists rename, overwrite or skip",
                {"path": os.path.join(wanted.directory, target)},
            )
        row = self._services.store.add_download(
            wanted.content_id,
            wanted.name,
            wanted.size,
            wanted.directory,
            target,
            time.time(),
            exists_policy=wanted.exists,
            check_sha256=wanted.check_sha256,
            share=wanted.share,
            from_user=wanted.file is not None,
            limit=wanted.limit or 0,
        )
        return self._begin(row)

    def _running(self, wanted: Wanted, target: str) -> Transfer | None:
        """The download under way of this content to this place."""
        place = (wanted.content_id, wanted.directory, target)
        for transfer in self._active.values():
            row = transfer.row
            if (row.content_id, row.directory, row.target_name) == place:
                return transfer
        return None

    def _target_name(self, wanted: Wanted) -> str:
        if wanted.file is not None:
            return check_local_name(wanted.file)
        leaf = wanted.name.rsplit("/", 1)[-1]
        # Downloaders share under the name on their disk: fetched again from them it must not grow another prefix.
        name = leaf if wanted.prefix and leaf.startswith(wanted.prefix) else wanted.prefix + leaf
        if name.startswith("."):
            raise Fault("usage", f"{safe(name)!r} would be a hidden file here", "choose a name with -o FILE")
        try:
            return check_name(name)
        except RemoteProtocolError as error:
            raise Fault(
                "usage", f"{safe(name)!r} cannot be a file name here: {error}", "choose one with -o FILE"
            ) from error

    def _begin(self, row: Download) -> Transfer:
        transfer = self._active[row.transfer_id] = Transfer(self._services, row)
        watcher = asyncio.create_task(self._watch(transfer))
        watcher.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._start_next()
        return transfer

    async def _watch(self, transfer: Transfer) -> None:
        await transfer.done.wait()
        self._received += transfer.received
        self._arrived += transfer.arrived
        self._active.pop(transfer.row.transfer_id, None)
        self._start_next()

    def _start_next(self) -> None:
        if self._closing:
            return
        running = sum(transfer.started for transfer in self._active.values())
        for transfer in self._active.values():
            if running >= MAX_ACTIVE:
                return
            if not transfer.started:
                transfer.start()
                running += 1

    # -- looking ------------------------------------------------------------------------------------------

    @property
    def active(self) -> list[Transfer]:
        """Those that are not over."""
        return list(self._active.values())

    @property
    def received(self) -> int:
        """Octets of verified pieces that came over the network since the start."""
        return self._received + sum(transfer.received for transfer in self._active.values())

    @property
    def arrived(self) -> int:
        """Octets of blocks that came since the start, whatever became of them."""
        return self._arrived + sum(transfer.arrived for transfer in self._active.values())

    def counts(self) -> dict[str, int]:
        """How many downloads are in each state."""
        by_state = self._services.store.download_counts()
        return {
            "queued": 0,
            "active": 0,
            "paused": by_state.get("paused", 0),
            "done": by_state.get("done", 0),
            "failed": by_state.get("failed", 0),
        }

    def get(self, transfer_id: str) -> Transfer | Download:
        """A running transfer, or the row of one that is over. Raises Fault not_found."""
        transfer = self._active.get(transfer_id)
        return transfer if transfer is not None else self._services.store.get_download(transfer_id)

    def page(self, limit: int, before: str | None) -> list[Transfer | Download]:
        """Newest first."""
        rows = self._services.store.list_downloads(limit, before)
        return [self._active.get(row.transfer_id, row) for row in rows]

    async def cancel(self, transfer_id: str) -> Transfer | Download:
        """Ends a download and removes its part file; one that is over is left as it is."""
        found = self.get(transfer_id)
        if isinstance(found, Transfer):
            await found.cancel()
        return found


def _check_target(wanted: Wanted, target: str) -> bool:
    """True when the target is taken and the policy does not allow for it. Raises StorageError for a directory that cannot be used."""
    shown = safe(wanted.directory)
    with Root(wanted.directory) as root:
        if not os.access(wanted.directory, os.W_OK | os.X_OK):
            raise Fault("storage", f"cannot write in {shown}", "choose another directory with -o DIR")
        if wanted.exists in ("fail", "skip") and root.exists(target):
            return True
        free = root.free_bytes()
        if free < wanted.size + FREE_RESERVE:
            raise Fault(
                "storage",
                f"not enough room in {shown}: {wanted.size} octets are needed, {free} are free",
                "make room, or choose another directory with -o DIR",
            )
    return False
