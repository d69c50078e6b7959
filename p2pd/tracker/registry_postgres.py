"""The registry in PostgreSQL: devices, shares and leases, shared by any number of trackers. Finding is search_postgres.py.

The rule: everything that trackers must agree on is in the database; whoever changes a share holds the row of its device, so that
a device that speaks with two trackers is served by one after the other. The clock of leases is the database's (`now`). A call is
one transaction, tried again when another came in its way. Any thread may call. Bounds of the whole may be passed by what other
trackers store within COUNT_SECONDS.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from p2pd.net.bans import Ban
from p2pd.storage.sqlite import load_migrations
from p2pd.tracker import entries_postgres, search_postgres, shared_postgres
from p2pd.tracker.postgres import (
    LOCK_CONTENTS,
    LOCK_SWEEP,
    Cursor,
    Postgres,
    lock,
    try_lock,
)
from p2pd.tracker.registry import (
    Card,
    DeviceFull,
    Listing,
    OutOfStep,
    RegistryFull,
    Share,
    Step,
    Totals,
    next_step,
)
from p2pd.tracker.search import Page, Query
from protocol.limits import MAX_BANS, MAX_DEVICES, MAX_FILES, MAX_FILES_PER_DEVICE
from protocol.tracker import NO_EPOCH, Publish

COUNT_SECONDS = 10.0  # how old the sum of all entries may be
BEAT_SECONDS = 10.0  # how often a tracker says that it reaches the database
LISTING_SECONDS = 10.0  # after a part of a listing the next one is waited for so long
OLD_LISTINGS = 2  # as in registry_sqlite
_EVERY = 2**62  # above any generation
_COLUMNS = (
    "id, lease, epoch, revision, stage_epoch, stage_revision, lister, listed, generation, stage_generation,"
    " swept, files, stage_files, entries"
)


class PostgresRegistry:
    """A registry at a PostgreSQL URL. Raises RegistryError, and Fault as Postgres does.

    The bounds are arguments so that tests can reach them.
    """

    def __init__(
        self,
        address: str,
        max_devices: int = MAX_DEVICES,
        max_files: int = MAX_FILES,
        max_files_per_device: int = MAX_FILES_PER_DEVICE,
        max_bans: int = MAX_BANS,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_devices = max_devices
        self._max_files = max_files
        self._max_share = max_files_per_device
        self._max_bans = max_bans
        self._clock = clock
        self.database = Postgres(address, load_migrations("p2pd.tracker", "sql_postgres"), rng, clock)
        self._lock = threading.Lock()
        self._entries = 0  # of all devices, as counted at
        self._counted = -COUNT_SECONDS
        self._lifetime = 0.0
        self._tracker = 0  # our row in that table
        self._beaten = 0.0

    def now(self) -> float:
        """Unix seconds by the database's clock."""
        return self.database.now()

    # -- devices ------------------------------------------------------------------------------------------

    def resume(self, now: float, lease_until: float) -> None:
        """See Registry. Nothing is done while another tracker runs: devices renewed their leases there."""
        self._lifetime = lease_until - now
        self._beat(now)

    def _beat(self, now: float) -> None:
        self._tracker = self.database.run(
            lambda cursor: shared_postgres.beat(cursor, self._tracker, now, self._lifetime)
        )
        self._beaten = self._clock()

    def announce(self, card: Card, epoch: bytes, revision: int, now: float, lease_until: float) -> Share:
        """See Registry."""

        def work(cursor: Cursor) -> Share:
            row = _device(cursor, card.device_id)
            if row is None:
                count = cursor.execute("SELECT COUNT(*) FROM device").fetchone()
                if count is not None and count[0] >= self._max_devices:
                    raise RegistryFull("too many devices")
                made = cursor.execute(
                    "INSERT INTO device (device_id, observed, declared, port, here, lease, tracker, epoch, revision,"
                    " stage_epoch, stage_revision, generation, stage_generation, swept, files, stage_files, entries)"
                    " VALUES (%s, %s, %s, %s, true, %s, %s, %s, 0, %s, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
                    (
                        card.device_id,
                        card.observed,
                        card.declared,
                        card.port,
                        lease_until,
                        self._tracker,
                        NO_EPOCH,
                        NO_EPOCH,
                    ),
                )
                if made.rowcount:
                    return Share()
                row = _device(cursor, card.device_id)  # made by another tracker in this moment
                assert row is not None
            share = row.share.announced(epoch, revision)
            cursor.execute(
                "UPDATE device SET observed = %s, declared = %s, port = %s, here = true, lease = %s, tracker = %s,"
                " epoch = %s, revision = %s, stage_epoch = %s, stage_revision = %s WHERE id = %s",
                (
                    card.observed,
                    card.declared,
                    card.port,
                    lease_until,
                    self._tracker,
                    share.epoch,
                    share.revision,
                    share.stage_epoch,
                    share.stage_revision,
                    row.id,
                ),
            )
            return share

        return self.database.run(work)

    def depart(self, device_id: bytes, now: float) -> None:
        """See Registry. A device that went to another tracker that is there stays: its Bye is late."""
        self.database.run(
            lambda cursor: cursor.execute(
                "UPDATE device d SET here = false, lease = %s WHERE d.device_id = %s AND d.lease > %s AND (d.tracker = %s"
                f" OR NOT EXISTS (SELECT 1 FROM tracker t WHERE t.id = d.tracker AND {shared_postgres.ALIVE}))",
                (now, device_id, now, self._tracker),
            )
        )

    def totals(self, now: float) -> Totals:
        """See Registry."""
        row = self.database.query(
            "SELECT COUNT(*), COALESCE(SUM(files), 0)::bigint FROM device WHERE lease > %s", (now,)
        )[0]
        return Totals(row[0], row[1])

    # -- shares -------------------------------------------------------------------------------------------

    def publish(self, device_id: bytes, batch: Publish, now: float, lease_until: float) -> None:
        """See Registry."""

        def work(cursor: Cursor) -> int:
            row = _device(cursor, device_id)
            if row is None or row.lease <= now:
                raise OutOfStep("announce first")
            step, share = next_step(row.share, batch)
            if step is Step.BEGIN and self._lists_elsewhere(row, batch, now):
                raise OutOfStep("another tracker takes this list")
            entries, files, staged = row.entries, row.files, row.stage_files
            generation, stage, swept = row.generation, row.stage_generation, row.swept
            if step is Step.BEGIN:
                stage, staged = stage + 1, 0
                if entries > OLD_LISTINGS * self._max_share:
                    generation = stage  # listings begun again and again: the old one cannot be kept as well
            if step is not Step.REPEAT:
                lock(cursor, LOCK_CONTENTS, shared=True)
                delta = step is Step.DELTA
                gone, shown = entries_postgres.remove(cursor, row.id, generation, batch.removed)
                new, raised = entries_postgres.add(
                    cursor, row.id, generation if delta else stage, batch.added, bool(entries)
                )
                entries += new - gone
                if delta:
                    files += new + raised - shown
                else:
                    staged += new + raised
                    if not batch.more:
                        generation, files = stage, staged
                        swept = generation if entries == files else swept
                if new + raised > shown:  # what shrinks is always allowed
                    self._check_room(cursor, files if delta else staged, entries, new - gone)
            cursor.execute(
                "UPDATE device SET here = true, lease = %s, tracker = %s, epoch = %s, revision = %s,"
                " stage_epoch = %s, stage_revision = %s, lister = %s, listed = %s, generation = %s, stage_generation = %s,"
                " swept = %s, files = %s, stage_files = %s, entries = %s WHERE id = %s",
                (
                    lease_until,
                    self._tracker,
                    share.epoch,
                    share.revision,
                    share.stage_epoch,
                    share.stage_revision,
                    self._tracker,
                    now,
                    generation,
                    stage,
                    swept,
                    files,
                    staged,
                    entries,
                    row.id,
                ),
            )
            return int(entries - row.entries)

        more = self.database.run(work)
        with self._lock:
            self._entries += more

    def _lists_elsewhere(self, row: _Device, batch: Publish, now: float) -> bool:
        """A device that speaks with two trackers would begin its list at one, and so end it at the other, for ever."""
        return (
            row.share.stage_epoch == batch.share_epoch
            and row.lister != self._tracker
            and 0 <= now - row.listed < LISTING_SECONDS
        )

    def _check_room(self, cursor: Cursor, files: int, entries: int, more: int) -> None:
        if files > self._max_share:
            raise DeviceFull(f"more than {self._max_share} files")
        if entries > 2 * OLD_LISTINGS * self._max_share:
            raise RegistryFull("replaced entries are not swept yet")
        now = self._clock()
        if now - self._counted >= COUNT_SECONDS or self._entries + more > self._max_files:
            row = cursor.execute("SELECT COALESCE(SUM(entries), 0)::bigint FROM device").fetchone()
            assert row is not None
            with self._lock:
                self._entries, self._counted = row[0], now
        if self._entries + more > self._max_files:
            raise RegistryFull("too many files")

    # -- finding ------------------------------------------------------------------------------------------

    def search(self, query: Query, limit: int, now: float) -> Page:
        """See Registry."""
        return search_postgres.search(self.database, query, limit, now)

    def holders(self, content_id: bytes, besides: bytes, limit: int, now: float) -> Sequence[Card]:
        """See Registry."""
        return search_postgres.holders(self.database, content_id, besides, limit, now)

    def members(self, content_id: bytes, after: bytes, limit: int, now: float) -> Sequence[Listing]:
        """See Registry."""
        return search_postgres.members(self.database, content_id, after, limit, now)

    # -- forgetting ---------------------------------------------------------------------------------------

    def sweep(self, now: float, ended_before: float, limit: int) -> int:
        """See Registry. One tracker sweeps at a time."""
        if self._tracker and self._clock() - self._beaten >= BEAT_SECONDS:
            self._beat(now)

        def work(cursor: Cursor) -> int:
            if not try_lock(cursor, LOCK_SWEEP):
                return 0
            cursor.execute(
                "UPDATE device SET here = false WHERE id = ANY (ARRAY("
                "SELECT id FROM device WHERE here AND lease <= %s FOR UPDATE SKIP LOCKED))",
                (now,),
            )
            ended = cursor.execute(
                "SELECT id FROM device WHERE lease < %s ORDER BY lease LIMIT 1 FOR UPDATE SKIP LOCKED",
                (min(now, ended_before),),
            ).fetchone()
            if ended is not None:
                return _forget(cursor, ended[0], limit)
            hiding = cursor.execute(
                "SELECT id, generation FROM device WHERE swept < generation LIMIT 1 FOR UPDATE SKIP LOCKED"
            ).fetchone()
            if hiding is not None:
                lock(cursor, LOCK_CONTENTS)
                removed = entries_postgres.drop(cursor, hiding[0], hiding[1], limit)
                cursor.execute(
                    "UPDATE device SET entries = entries - %s,"
                    " swept = CASE WHEN %s THEN generation ELSE swept END WHERE id = %s",
                    (removed, removed < limit, hiding[0]),
                )
                return removed + 1
            if cursor.execute("SELECT 1 FROM loose LIMIT 1").fetchone():
                lock(cursor, LOCK_CONTENTS)
                return entries_postgres.clean_loose(cursor, limit)
            return 0

        return self.database.run(work)

    def forget(self, device_id: bytes, now: float, limit: int) -> int:
        """See Registry."""

        def work(cursor: Cursor) -> int:
            row = _device(cursor, device_id)
            if row is None:
                return 0
            cursor.execute(
                "UPDATE device SET here = false, lease = LEAST(lease, %s) WHERE id = %s", (now, row.id)
            )
            return _forget(cursor, row.id, limit)

        return self.database.run(work)

    # -- bans ---------------------------------------------------------------------------------------------

    def ban(self, ban: Ban, now: float) -> None:
        """See Registry."""
        self.database.run(lambda cursor: shared_postgres.ban(cursor, ban, now, self._max_bans))

    def unban(self, subject: str) -> bool:
        """See Registry."""
        return self.database.run(lambda cursor: shared_postgres.unban(cursor, subject))

    def bans(self, now: float) -> Sequence[Ban]:
        """See Registry."""
        return shared_postgres.bans(self.database, now)

    def close(self) -> None:
        """See Registry."""
        if self._tracker and not self.database.trouble:
            tracker, self._tracker = self._tracker, 0
            try:
                self.database.run(
                    lambda cursor: cursor.execute("DELETE FROM tracker WHERE id = %s", (tracker,))
                )
            finally:
                self.database.close()
        self.database.close()


class _Device:
    """A row of `device`, held to the end of the transaction."""

    __slots__ = (
        "entries",
        "files",
        "generation",
        "id",
        "lease",
        "listed",
        "lister",
        "share",
        "stage_files",
        "stage_generation",
        "swept",
    )

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id, self.lease = row[:2]
        self.share = Share(*row[2:6])
        self.lister, self.listed, self.generation, self.stage_generation, self.swept = row[6:11]
        self.files, self.stage_files, self.entries = row[11:]


def _device(cursor: Cursor, device_id: bytes) -> _Device | None:
    row = cursor.execute(
        f"SELECT {_COLUMNS} FROM device WHERE device_id = %s FOR UPDATE", (device_id,)
    ).fetchone()
    return None if row is None else _Device(row)


def _forget(cursor: Cursor, device: int, limit: int) -> int:
    """Removes a device whose row is held, at most `limit` of its entries. Returns how much was done."""
    lock(cursor, LOCK_CONTENTS)
    removed = entries_postgres.drop(cursor, device, _EVERY, limit)
    if removed < limit:
        cursor.execute("DELETE FROM device WHERE id = %s", (device,))
        return removed + 1
    # it may come back before the rest is gone: then nothing is known of its share
    cursor.execute(
        "UPDATE device SET epoch = %s, revision = 0, stage_epoch = %s, stage_revision = 0, files = 0,"
        " entries = entries - %s WHERE id = %s",
        (NO_EPOCH, NO_EPOCH, removed, device),
    )
    return removed
