"""All downloads of this device: begins, restores, pauses, retries, cancels and lists them, and gives them their turn. On the event loop.

The rule: at most `max_active` have an attempt under way. Those that wait for a disk, for a later try or for `resume` hold no place; a
free one goes to the first in order that is due. docs/state-machines.md has the table.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass

from p2pd.happenings import QueueChanged
from p2pd.peer.attempt import Services
from p2pd.peer.room import octets_needed
from p2pd.peer.transfer import Transfer
from p2pd.peer.transfernews import TransferNews
from p2pd.storage.root import Root, check_local_name
from p2pd.storage.state import Download
from protocol.display import quoted, safe
from protocol.errors import Fault, RemoteProtocolError
from protocol.names import check_name

log = logging.getLogger("p2pd.peer.downloads")

MEASURE_SECONDS = 0.5
MAX_ACTIVE = 8  # unless the settings say otherwise; the others wait their turn


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
    files: int = 0  # of a folder; 0: a file


class Downloads:
    """See the module."""

    def __init__(self, services: Services, max_active: int = MAX_ACTIVE) -> None:
        self._services = services
        self.max_active = max_active
        self._active: dict[str, Transfer] = {}  # in order of their turn
        self._closing = False
        self._news = TransferNews(services.events)
        self._received = 0
        self._arrived = 0

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what was not finished."""
        for row in self._services.store.active_downloads():
            transfer = self._enter(row)
            transfer.take_up()
            self._news.began(transfer, transfer.phase)
        self.changed()

    async def run(self) -> None:
        """Keeps the rates, and the times of what is tried again; until cancelled."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            now = time.monotonic()
            for transfer in self._active.values():
                transfer.measure(now)
                self.moved(transfer)  # sources that came or went change a state that nobody sets
            self.changed()

    async def close(self) -> None:
        """Stops the work; rows stay as they are."""
        self._closing = True
        await asyncio.gather(*(transfer.close() for transfer in self._active.values()))

    def wake(self) -> None:
        """A tracker is back, or the like: every download looks for sources now."""
        for transfer in self._active.values():
            transfer.wake()
        self.changed()

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
            running.retry()
            return running
        taken, free = await asyncio.to_thread(_check_target, wanted, target)
        if not taken:
            await self._check_room(wanted, free)
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
            files=wanted.files,
        )
        return self._begin(row)

    async def _check_room(self, wanted: Wanted, free: int) -> None:
        floor, needed = self._services.space.floor, wanted.size
        if free < needed + floor and not wanted.files:
            needed = await octets_needed(self._services, wanted.content_id, wanted.size)
        if free < needed + floor:
            raise Fault(
                "storage",
                f"not enough room in {safe(wanted.directory)}: {needed} octets are needed and {floor} stay free,"
                f" {free} are free",
                "make room, or choose another directory with -o DIR",
            )

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
            raise Fault("usage", f"{quoted(name)} would be a hidden file here", "choose a name with -o FILE")
        try:
            return check_name(name)
        except RemoteProtocolError as error:
            raise Fault(
                "usage", f"{quoted(name)} cannot be a file name here: {error}", "choose one with -o FILE"
            ) from error

    def _begin(self, row: Download, previous: str | None = None) -> Transfer:
        transfer = self._enter(row)
        self._news.began(transfer, previous)
        self.changed()
        return transfer

    def _enter(self, row: Download) -> Transfer:
        transfer = self._active[row.transfer_id] = Transfer(self._services, row, self)
        return transfer

    # -- turns --------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Drops what is over and gives free places to those whose turn it is."""
        for transfer in [one for one in self._active.values() if one.done.is_set()]:
            self._received += transfer.received
            self._arrived += transfer.arrived
            del self._active[transfer.row.transfer_id]
        if self._closing:
            return
        places = self.max_active - sum(transfer.running for transfer in self._active.values())
        now = time.time()
        for transfer in self._active.values():
            if places <= 0:
                return
            if transfer.due(now):
                transfer.start()
                places -= 1

    def moved(self, transfer: Transfer) -> None:
        """Tells of its state, if that is news."""
        if not self._closing:
            self._news.look(transfer)

    def crowded(self) -> bool:
        """True while somebody waits for a place."""
        now = time.time()
        return any(transfer.due(now) for transfer in self._active.values())

    def set_max_active(self, count: int) -> None:
        """How many may run at a time from now on. Those that run already go on."""
        self.max_active = count
        self._services.events.tell(QueueChanged(count))
        self.changed()

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
        live = list(self._active.values())
        running = sum(transfer.running for transfer in live)
        paused = sum(transfer.phase == "paused" for transfer in live)
        return {
            "queued": len(live) - running - paused,
            "active": running,
            "paused": paused,
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

    # -- changing -----------------------------------------------------------------------------------------

    async def pause(self, transfer_id: str) -> tuple[Transfer | Download, bool]:
        """Stops a download until `resume`, also over a restart. The download, and whether that changed anything."""
        found = self.get(transfer_id)
        if not isinstance(found, Transfer):
            return found, False
        try:
            return found, await found.pause()
        finally:
            self.changed()

    def resume(self, transfer_id: str) -> tuple[Transfer | Download, bool]:
        """Lets a paused one wait for its turn, at the place that it had."""
        found = self.get(transfer_id)
        return found, isinstance(found, Transfer) and found.resume()

    def retry(self, transfer_id: str) -> tuple[Transfer | Download, bool]:
        """Tries a failed or cancelled one again, as the last in the queue, and one that waits to be tried again at once.

        Raises Fault exists when another download of the same content to the same place is under way.
        """
        found = self.get(transfer_id)
        if isinstance(found, Transfer):
            return found, found.retry()
        if found.state == "done":
            return found, False
        for other in self._active.values():
            row = other.row
            if (row.content_id, row.directory, row.target_name) == (
                found.content_id,
                found.directory,
                found.target_name,
            ):
                raise Fault(
                    "exists",
                    f"{row.transfer_id} fetches the same to the same place already",
                    f"p2pctl wait {row.transfer_id}",
                )
        store = self._services.store
        store.set_state(transfer_id, "queued", retries=0)
        return self._begin(store.get_download(transfer_id), found.state), True

    async def drop_pieces(self, transfer_id: str, bad: int) -> None:
        """These pieces (bits) of an unfinished download are damaged: they are fetched again."""
        found = self.get(transfer_id)
        if isinstance(found, Transfer):
            await found.drop_pieces(bad)
            self.changed()

    async def cancel(self, transfer_id: str) -> tuple[Transfer | Download, bool]:
        """Ends a download and removes its part file; one that is over is left as it is."""
        found = self.get(transfer_id)
        if not isinstance(found, Transfer):
            return found, False
        try:
            return found, await found.cancel()
        finally:
            self.changed()


def _check_target(wanted: Wanted, target: str) -> tuple[bool, int]:
    """Whether the target is taken and the policy does not allow for it, and the octets that are free. Raises StorageError for a
    directory that cannot be used."""
    with Root(wanted.directory) as root:
        root.check_writable()
        # A folder that is there may be filled up: then "skip" is about the files in it.
        policies = ("fail",) if wanted.files else ("fail", "skip")
        return wanted.exists in policies and root.exists(target), root.free_bytes()
