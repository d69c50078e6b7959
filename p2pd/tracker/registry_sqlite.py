"""The registry in one SQLite file: devices, shares and leases. Finding is search_sqlite.py and sources_sqlite.py.

The rule: a call is kept whole or not at all, and none costs more than its own message or `limit`, however many entries
there are. A listing that replaces another becomes visible entry by entry and hides the old one with a single
number (the generation); what is hidden is removed later by `sweep`. A call is seen by the next at once, and committed when
gathering_sqlite.py says. Commits are not synced (synchronous=NORMAL): power loss may take the newest
away, never tear them, and devices publish again what a tracker no longer knows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from p2pd.net.bans import Ban
from p2pd.storage.sqlite import Database, load_migrations
from p2pd.tracker import entries_sqlite, eras_sqlite, search_sqlite, sources_sqlite
from p2pd.tracker.gathering_sqlite import Gathering
from p2pd.tracker.mapping_sqlite import Mapping
from p2pd.tracker.memory_sqlite import Memory
from p2pd.tracker.registry import (
    Card,
    DeviceFull,
    Listing,
    OutOfStep,
    RegistryError,
    RegistryFull,
    Share,
    Step,
    Totals,
    next_step,
)
from p2pd.tracker.search import Page, Query
from protocol.errors import Fault
from protocol.limits import MAX_BANS, MAX_DEVICES, MAX_FILES, MAX_FILES_PER_DEVICE
from protocol.tracker import NO_EPOCH, Publish

APPLICATION_ID = 0x70327472  # "p2tr"
OLD_LISTINGS = 2  # a device's replaced entries, in shares of full size, that may wait for the sweep


class SqliteRegistry:
    """A registry at `path` (or ":memory:"). Raises RegistryError, and Fault for a file of a newer version.

    The bounds are arguments so that tests can reach them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_devices: int = MAX_DEVICES,
        max_files: int = MAX_FILES,
        max_files_per_device: int = MAX_FILES_PER_DEVICE,
        max_bans: int = MAX_BANS,
    ) -> None:
        self._max_devices = max_devices
        self._max_files = max_files
        self._max_share = max_files_per_device
        self._max_bans = max_bans
        self._database = Database(path, load_migrations("p2pd.tracker"), APPLICATION_ID, "NORMAL")
        with _ours():
            self._mapping = Mapping(self._database)
            self._database.query("PRAGMA wal_autocheckpoint = 0")
            # Debian's SQLite overwrites what is deleted, also when the full-text indexes merge; what was shared is no secret here.
            self._database.query("PRAGMA secure_delete = OFF")
            self._memory = Memory(self._database)
        self._crowds = self._memory.crowds
        self._gathering = Gathering(self._database, self._memory.rises.apply, self._mapping.follow)
        self._devices = self._entries = 0
        self._count()

    def _count(self) -> None:
        with _ours():
            row = self._database.query("SELECT COUNT(*), COALESCE(SUM(entries), 0) FROM device")[0]
        self._devices, self._entries = int(row[0]), int(row[1])

    # -- devices ------------------------------------------------------------------------------------------

    def resume(self, now: float, lease_until: float) -> None:
        """See Registry. The clock of the last run means nothing now, so absent devices are absent from now
        on.
        """
        with self._change() as cursor:
            cursor.execute("UPDATE device SET lease = CASE here WHEN 1 THEN ? ELSE ? END", (lease_until, now))
        self._crowds.devices_changed()

    def announce(self, card: Card, epoch: bytes, revision: int, now: float, lease_until: float) -> Share:
        """See Registry."""
        row = self._device(card.device_id)
        if row is None and self._devices >= self._max_devices:
            raise RegistryFull("too many devices")
        with self._gather(now) as cursor:
            if row is None:
                share = Share()
                cursor.execute(
                    "INSERT INTO device VALUES (NULL, ?, ?, ?, ?, 1, ?, ?, 0, ?, 0, 0, 0, 0, 0, 0, 0)",
                    (
                        card.device_id,
                        card.observed,
                        card.declared,
                        card.port,
                        lease_until,
                        share.epoch,
                        share.stage_epoch,
                    ),
                )
            else:
                share = _share(row).announced(epoch, revision)
                cursor.execute(
                    "UPDATE device SET observed = ?, declared = ?, port = ?, here = 1, lease = ?,"
                    " epoch = ?, revision = ?, stage_epoch = ?, stage_revision = ? WHERE id = ?",
                    (
                        card.observed,
                        card.declared,
                        card.port,
                        lease_until,
                        share.epoch,
                        share.revision,
                        share.stage_epoch,
                        share.stage_revision,
                        row["id"],
                    ),
                )
        if row is None or row["lease"] <= now or row["port"] != card.port:
            self._crowds.devices_changed()
        self._devices += row is None
        return share

    def depart(self, device_id: bytes, now: float) -> None:
        """See Registry."""
        with self._gather(now) as cursor:
            cursor.execute(
                "UPDATE device SET here = 0, lease = ? WHERE device_id = ? AND lease > ?",
                (now, device_id, now),
            )
        self._crowds.devices_changed()

    def totals(self, now: float) -> Totals:
        """See Registry."""
        with _ours():
            row = self._database.query(
                "SELECT COUNT(*), COALESCE(SUM(files), 0) FROM device WHERE lease > ?", (now,)
            )[0]
        return Totals(row[0], row[1])

    # -- shares -------------------------------------------------------------------------------------------

    def publish(self, device_id: bytes, batch: Publish, now: float, lease_until: float) -> None:
        """See Registry."""
        row = self._device(device_id)
        if row is None or row["lease"] <= now:
            raise OutOfStep("announce first")
        step, share = next_step(_share(row), batch)
        # What may be refused half-way must be alone in its transaction.
        with (
            self._change()
            if self._near_a_bound(row, batch)
            else self._gather(now, len(batch.added)) as cursor
        ):
            entries, files, staged = row["entries"], row["files"], row["stage_files"]
            generation, stage, swept = row["generation"], row["stage_generation"], row["swept"]
            if step is Step.BEGIN:
                stage, staged = stage + 1, 0
                if entries > OLD_LISTINGS * self._max_share:
                    generation = stage  # listings begun again and again: the old one cannot be kept as well
            if step is not Step.REPEAT:
                delta = step is Step.DELTA
                gone = entries_sqlite.remove(cursor, row["id"], batch.removed, self._memory)
                shown = sum(found >= generation for found in gone)
                entries -= len(gone)
                if delta:
                    files -= shown
                else:
                    staged -= gone.count(stage)
                new, raised = entries_sqlite.add(
                    cursor,
                    row["id"],
                    generation if delta else stage,
                    batch.added,
                    entries != (files if delta else staged),
                    self._memory,
                )
                entries += new
                if delta:
                    files += new + raised
                else:
                    staged += new + raised
                    if not batch.more:
                        generation, files = stage, staged
                        swept = generation if entries == files else swept
                if new + raised > shown:  # what shrinks is always allowed
                    self._check_room(files if delta else staged, entries, new - len(gone))
            cursor.execute(
                "UPDATE device SET here = 1, lease = ?, epoch = ?, revision = ?, stage_epoch = ?,"
                " stage_revision = ?,"
                " generation = ?, stage_generation = ?, swept = ?, files = ?, stage_files = ?, entries = ?"
                " WHERE id = ?",
                (
                    lease_until,
                    share.epoch,
                    share.revision,
                    share.stage_epoch,
                    share.stage_revision,
                    generation,
                    stage,
                    swept,
                    files,
                    staged,
                    entries,
                    row["id"],
                ),
            )
        if generation != row["generation"] and swept != generation:
            self._crowds.clear()  # many entries are hidden from now on
        self._entries += entries - row["entries"]

    def _near_a_bound(self, row: sqlite3.Row, batch: Publish) -> bool:
        files, more = max(row["files"], row["stage_files"]), len(batch.added)
        return (
            files + more > self._max_share
            or row["entries"] + more > OLD_LISTINGS * self._max_share
            or self._entries + more > self._max_files
        )

    def _check_room(self, files: int, entries: int, more: int) -> None:
        if files > self._max_share:
            raise DeviceFull(f"more than {self._max_share} files")
        if entries > 2 * OLD_LISTINGS * self._max_share:
            raise RegistryFull("replaced entries are not swept yet")
        if self._entries + more > self._max_files:
            raise RegistryFull("too many files")

    # -- finding ------------------------------------------------------------------------------------------

    def search(self, query: Query, limit: int, now: float) -> Page:
        """See Registry."""
        with _ours():
            return search_sqlite.search(self._database, self._crowds, self._memory.shares, query, limit, now)

    def holders(self, content_id: bytes, besides: bytes, limit: int, now: float) -> Sequence[Card]:
        """See Registry."""
        with _ours():
            return sources_sqlite.holders(self._database, content_id, besides, limit, now)

    def members(self, content_id: bytes, after: bytes, limit: int, now: float) -> Sequence[Listing]:
        """See Registry."""
        with _ours():
            return sources_sqlite.members(self._database, content_id, after, limit, now)

    # -- forgetting ---------------------------------------------------------------------------------------

    def sweep(self, now: float, ended_before: float, limit: int) -> int:
        """See Registry."""
        removed = devices = finished = 0
        with self._gather(now) as cursor:
            if cursor.execute(
                "SELECT 1 FROM device WHERE here = 1 AND lease <= ? LIMIT 1", (now,)
            ).fetchone():
                # only then: a change of several rows makes the indexes of words write out what they hold
                cursor.execute("UPDATE device SET here = 0 WHERE here = 1 AND lease <= ?", (now,))
            ended = cursor.execute(
                "SELECT id FROM device WHERE lease < ? ORDER BY lease LIMIT 1", (min(now, ended_before),)
            ).fetchone()
            hiding = cursor.execute(
                "SELECT id, generation FROM device WHERE swept < generation LIMIT 1"
            ).fetchone()
            if ended is not None:
                removed = entries_sqlite.drop(cursor, ended["id"], entries_sqlite.EVERY, limit, self._memory)
                if removed < limit:
                    cursor.execute("DELETE FROM device WHERE id = ?", (ended["id"],))
                    devices = 1
                else:  # it may come back before the rest is gone: then nothing is known of its share
                    cursor.execute(
                        "UPDATE device SET epoch = ?1, revision = 0, stage_epoch = ?1, stage_revision = 0,"
                        " files = 0, entries = entries - ?2 WHERE id = ?3",
                        (NO_EPOCH, removed, ended["id"]),
                    )
            elif hiding is not None:
                removed = entries_sqlite.drop(cursor, hiding["id"], hiding["generation"], limit, self._memory)
                finished = 1
                cursor.execute(
                    "UPDATE device SET entries = entries - ?,"
                    " swept = CASE WHEN ? THEN generation ELSE swept END WHERE id = ?",
                    (removed, removed < limit, hiding["id"]),
                )
            else:
                finished = eras_sqlite.merge(cursor, limit)
        if devices:
            self._crowds.devices_changed()
        self._entries -= removed
        self._devices -= devices
        if not removed + devices + finished and self._memory.worn:
            with self._change() as cursor:  # alone: what is not committed may come back
                finished = self._memory.renew(cursor, 20 * limit)
        return removed + devices + finished

    def forget(self, device_id: bytes, now: float, limit: int) -> int:
        """See Registry."""
        row = self._device(device_id)
        if row is None:
            return 0
        with self._change() as cursor:
            removed = entries_sqlite.drop(cursor, row["id"], entries_sqlite.EVERY, limit, self._memory)
            finished = removed < limit
            if finished:
                cursor.execute("DELETE FROM device WHERE id = ?", (row["id"],))
            else:
                cursor.execute(
                    "UPDATE device SET here = 0, lease = min(lease, ?2), epoch = ?1, revision = 0, stage_epoch = ?1,"
                    " stage_revision = 0, files = 0, entries = entries - ?3 WHERE id = ?4",
                    (NO_EPOCH, now, removed, row["id"]),
                )
        self._crowds.devices_changed()
        self._entries -= removed
        self._devices -= finished
        return removed + finished

    # -- bans ---------------------------------------------------------------------------------------------

    def ban(self, ban: Ban, now: float) -> None:
        """See Registry."""
        with self._change() as cursor:
            cursor.execute("DELETE FROM ban WHERE until <= ? OR subject = ?", (now, ban.subject))
            if cursor.execute("SELECT COUNT(*) FROM ban").fetchone()[0] >= self._max_bans:
                raise RegistryFull("too many bans")
            cursor.execute(
                "INSERT INTO ban VALUES (?, ?, ?, ?)", (ban.subject, ban.until, ban.reason, ban.since)
            )

    def unban(self, subject: str) -> bool:
        """See Registry."""
        with self._change() as cursor:
            return cursor.execute("DELETE FROM ban WHERE subject = ?", (subject,)).rowcount > 0

    def bans(self, now: float) -> Sequence[Ban]:
        """See Registry."""
        with _ours():
            rows = self._database.query(
                "SELECT subject, until, reason, since FROM ban WHERE until > ? ORDER BY subject", (now,)
            )
        return [Ban(*row) for row in rows]

    def settle(self) -> None:
        """Commits what was gathered, so that others who read the file see it."""
        with self._kept():
            self._gathering.settle()

    def close(self) -> None:
        """See Registry."""
        self._gathering.close()
        self._database.close()

    # -- inside -------------------------------------------------------------------------------------------

    def _device(self, device_id: bytes) -> sqlite3.Row | None:
        with _ours():
            rows = self._database.query("SELECT * FROM device WHERE device_id = ?", (device_id,))
        return rows[0] if rows else None

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Cursor]:
        """A change that may be refused in the middle."""
        with self._kept(), self._gathering.alone() as cursor:
            yield cursor

    @contextmanager
    def _gather(self, now: float, entries: int = 0) -> Iterator[sqlite3.Cursor]:
        """A change that nothing but the disk can refuse."""
        with self._kept(), self._gathering.gather(now, entries) as cursor:
            yield cursor

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            with _ours():
                yield
        except BaseException as error:
            self._memory.rolled_back()
            if isinstance(error, RegistryError):
                with suppress(RegistryError):
                    self._count()  # what was gathered before is gone as well
            raise


@contextmanager
def _ours() -> Iterator[None]:
    """Trouble of the store as RegistryError, whatever it was: the tracker lives on and says so."""
    try:
        yield
    except (Fault, sqlite3.Error) as error:
        raise RegistryError(str(error)) from error


def _share(row: sqlite3.Row) -> Share:
    return Share(row["epoch"], row["revision"], row["stage_epoch"], row["stage_revision"])
