"""Downloads and their sources, as they survive a restart.

The rule: a download is recorded before its first octet, and its bitfield never claims what was not durable
when it was committed (the caller syncs first). Every method is one transaction, any thread may call, and
times are arguments. Knows no files and no network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Cursor, Row
from typing import NamedTuple

from p2pd.storage.hashing import FileIdentity
from p2pd.storage.sqlite import Database
from protocol.errors import Fault, LocalProtocolError

DOWNLOAD_STATES = frozenset(
    {
        "queued",
        "running",
        "paused",
        "verifying",
        "done",
        "failed",
        "cancelled",
        "disk_full",
        "missing_storage",
    }
)
FINAL_STATES = frozenset({"done", "failed", "cancelled"})
"""The others are taken up again when the daemon starts."""


@dataclass(frozen=True, slots=True)
class Download:
    """One row. Sizes in octets, times in seconds since 1970."""

    transfer_id: str
    content_id: bytes
    name: str
    size: int
    directory: str
    target_name: str
    part_name: str
    exists_policy: str
    state: str
    error_code: str | None
    error: str | None
    created_at: float
    finished_at: float | None
    path: str | None
    resumed_bytes: int
    received_bytes: int
    check_sha256: str
    """Hex digits that the SHA-256 must begin with; empty when it was not asked for."""
    share: bool
    from_user: bool
    """The target name was typed by the user; it did not come from the network."""
    part_stamp: FileIdentity | None
    committed: bytes
    """Octets of the bitfield of durable pieces; empty before the first commit."""
    part_mtime_ns: int = 0
    """Of the part file at the last orderly stop; 0 when it may have been written to since."""
    givers: tuple[str, ...] = ()
    """HOST:PORT of each device that gave octets."""
    files: int = 0
    """Of a folder; 0: a file. The bits of `committed` are then files of the collection."""
    parent: str | None = None
    """Transfer id of the folder's download that this is a part of."""
    limit: int = 0
    """Octets a second; 0: no limit of its own."""
    retries: int = 0
    """How often in a row it was tried again by itself."""
    retry_at: float | None = None
    """When the next try is due, of one that failed for now (state "queued")."""

    @property
    def final(self) -> bool:
        """Nothing more happens to it."""
        return self.state in FINAL_STATES


class Source(NamedTuple):
    """Where a content was found before. `host` is an IP literal."""

    device_id: bytes
    host: str
    port: int
    seen_at: float


class Downloads(Database):
    """The part of State that is about downloads. Methods raise Fault "not_found" for an unknown transfer
    id."""

    def add_download(
        self,
        content_id: bytes,
        name: str,
        size: int,
        directory: str,
        target_name: str,
        now: float,
        *,
        exists_policy: str = "fail",
        check_sha256: str = "",
        share: bool = True,
        from_user: bool = False,
        state: str = "queued",
        files: int = 0,
        parent: str | None = None,
        limit: int = 0,
    ) -> Download:
        """Records a download to come; call before anything is written or fetched. `files`: of a folder. `parent`:
        the folder's transfer that this one is a part of; it is in no list."""
        with self.transaction() as cursor:
            cursor.execute(
                "INSERT INTO download (content_id, name, size, directory, target_name, exists_policy, state,"
                " created_at, check_sha256, share, from_user, files, parent, limit_bytes_per_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    content_id,
                    name,
                    size,
                    os.fsencode(directory),
                    os.fsencode(target_name),
                    exists_policy,
                    _known(state),
                    now,
                    check_sha256,
                    share,
                    from_user,
                    files,
                    None if parent is None else number_of(parent),
                    limit,
                ),
            )
            return _download(
                cursor.execute("SELECT * FROM download WHERE number = ?", (cursor.lastrowid,)).fetchone()
            )

    def set_part(
        self,
        transfer_id: str,
        part_name: str,
        part_stamp: FileIdentity,
        committed: bytes = b"",
        resumed_bytes: int = 0,
    ) -> None:
        """Records the unfinished file, so that a restart finds it, with what it held when it was
        (re)opened."""
        self._change(
            transfer_id,
            "part_name = ?, part_inode = ?, part_device = ?, part_mtime_ns = 0, committed = ?, resumed_bytes = ?",
            (part_name, part_stamp.inode, part_stamp.device, committed, resumed_bytes),
        )

    def commit_pieces(self, transfer_id: str, committed: bytes, received_bytes: int) -> None:
        """Replaces the bitfield of durable pieces, and the octets received over the network so far. Sync the
        file first."""
        self._change(transfer_id, "committed = ?, received_bytes = ?", (committed, received_bytes))

    def set_state(
        self,
        transfer_id: str,
        state: str,
        *,
        error_code: str | None = None,
        error: str | None = None,
        finished_at: float | None = None,
        path: str | None = None,
        retry_at: float | None = None,
        retries: int | None = None,
    ) -> None:
        """Moves a download to a state. What is not given is cleared: an error does not outlive the state that
        it explains. `retries` alone stays as it was when it is not given."""
        self._change(
            transfer_id,
            "state = ?, error_code = ?, error = ?, finished_at = ?, path = ?, retry_at = ?,"
            " retries = coalesce(?, retries)",
            (
                _known(state),
                error_code,
                error,
                finished_at,
                None if path is None else os.fsencode(path),
                retry_at,
                retries,
            ),
        )

    def set_part_mtime(self, transfer_id: str, mtime_ns: int) -> None:
        """Records when the part file was last written, as the last thing of a run that ends in order."""
        self._change(transfer_id, "part_mtime_ns = ?", (mtime_ns,))

    def set_size(self, transfer_id: str, size: int) -> None:
        """Replaces what a tracker said by what the manifest says."""
        self._change(transfer_id, "size = ?", (size,))

    def set_limit(self, transfer_id: str, rate: int) -> None:
        """Changes how fast it may be, in octets a second; 0: no limit of its own."""
        self._change(transfer_id, "limit_bytes_per_s = ?", (rate,))

    def set_givers(self, transfer_id: str, givers: Sequence[str]) -> None:
        """Records who gave octets."""
        self._change(transfer_id, "givers = ?", ("\n".join(givers),))

    def set_target(self, transfer_id: str, directory: str, target_name: str, exists_policy: str) -> None:
        """Changes where a download that has no file yet will go."""
        self._change(
            transfer_id,
            "directory = ?, target_name = ?, exists_policy = ?",
            (os.fsencode(directory), os.fsencode(target_name), exists_policy),
        )

    def get_download(self, transfer_id: str) -> Download:
        """The row. Raises Fault "not_found"."""
        rows = self.query("SELECT * FROM download WHERE number = ?", (number_of(transfer_id),))
        if not rows:
            raise _unknown(transfer_id)
        return _download(rows[0])

    def active_downloads(self) -> list[Download]:
        """Those that are not done, failed or cancelled, without parts of folders: first what was running, then the others, each
        oldest first."""
        marks = ", ".join("?" * len(FINAL_STATES))
        rows = self.query(
            f"SELECT * FROM download WHERE state NOT IN ({marks}) AND parent IS NULL"
            " ORDER BY state <> 'running', number",
            sorted(FINAL_STATES),
        )
        return [_download(row) for row in rows]

    def finished_paths(self, content_id: bytes) -> list[str]:
        """Where finished downloads of this content were put, newest first. Whether they still are there is not known."""
        rows = self.query(
            "SELECT path FROM download WHERE content_id = ? AND state = 'done' AND path IS NOT NULL"
            " ORDER BY number DESC LIMIT 4",
            (content_id,),
        )
        return [os.fsdecode(row[0]) for row in rows]

    def download_counts(self) -> dict[str, int]:
        """State -> how many downloads are in it."""
        return dict(self.query("SELECT state, count(*) FROM download WHERE parent IS NULL GROUP BY state"))  # type: ignore[arg-type]

    def list_downloads(self, limit: int = -1, before: str | None = None) -> list[Download]:
        """Newest first, at most `limit`, those older than `before` (a transfer id) when that is given."""
        number = 2**62 if before is None else number_of(before)
        rows = self.query(
            "SELECT * FROM download WHERE number < ? AND parent IS NULL ORDER BY number DESC LIMIT ?",
            (number, limit),
        )
        return [_download(row) for row in rows]

    def parts_of(self, transfer_id: str) -> list[Download]:
        """The downloads of single files that are a part of a folder's."""
        rows = self.query(
            "SELECT * FROM download WHERE parent = ? ORDER BY number", (number_of(transfer_id),)
        )
        return [_download(row) for row in rows]

    def forget_parts(self, transfer_id: str) -> None:
        """Removes those, whatever their state."""
        with self.transaction() as cursor:
            rows = cursor.execute(
                "DELETE FROM download WHERE parent = ? RETURNING content_id", (number_of(transfer_id),)
            ).fetchall()
            for row in rows:
                drop_unused_manifest(cursor, row[0])

    def forget(self, transfer_id: str) -> None:
        """Removes a download from the list; its files stay. Raises LocalProtocolError while it is active."""
        with self.transaction() as cursor:
            row = cursor.execute(
                "SELECT * FROM download WHERE number = ?", (number_of(transfer_id),)
            ).fetchone()
            if row is None:
                raise _unknown(transfer_id)
            if row["state"] not in FINAL_STATES:
                raise LocalProtocolError(f"{transfer_id} is {row['state']}")
            cursor.execute("DELETE FROM download WHERE number = ?", (row["number"],))
            drop_unused_manifest(cursor, row["content_id"])

    def forget_older(self, finished_before: float) -> int:
        """Removes all that ended before a time; how many."""
        with self.transaction() as cursor:
            marks = ", ".join("?" * len(FINAL_STATES))
            rows = cursor.execute(
                f"DELETE FROM download WHERE state IN ({marks}) AND finished_at < ? RETURNING content_id",
                (*sorted(FINAL_STATES), finished_before),
            ).fetchall()
            for row in rows:
                drop_unused_manifest(cursor, row[0])
            return len(rows)

    def _change(self, transfer_id: str, assignments: str, values: tuple[object, ...]) -> None:
        changed = self.execute(
            f"UPDATE download SET {assignments} WHERE number = ?", (*values, number_of(transfer_id))
        )
        if not changed:
            raise _unknown(transfer_id)

    # -- sources ------------------------------------------------------------------------------------------

    def remember_source(self, content_id: bytes, device_id: bytes, host: str, port: int, now: float) -> None:
        """Keeps an address that had this content, for when no tracker answers; a newer one of the same device
        replaces it."""
        self.execute(
            "INSERT INTO source VALUES (?, ?, ?, ?, ?) ON CONFLICT (content_id, device_id)"
            " DO UPDATE SET host = excluded.host, port = excluded.port, seen_at = excluded.seen_at",
            (content_id, device_id, host, port, now),
        )

    def sources(self, content_id: bytes, newer_than: float) -> list[Source]:
        """Those seen after a time, the latest first."""
        rows = self.query(
            "SELECT device_id, host, port, seen_at FROM source WHERE content_id = ? AND seen_at > ?"
            " ORDER BY seen_at DESC",
            (content_id, newer_than),
        )
        return [Source(*row) for row in rows]

    def forget_sources(self, older_than: float) -> int:
        """Removes what was last seen before a time; how many."""
        return self.execute("DELETE FROM source WHERE seen_at < ?", (older_than,))


def number_of(transfer_id: str) -> int:
    """ "t-12" -> 12. Raises Fault "not_found" for what is not a transfer id."""
    digits = transfer_id[2:]
    if not (transfer_id.startswith("t-") and digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise _unknown(transfer_id)
    return int(digits)


def drop_unused_manifest(cursor: Cursor, content_id: bytes | None) -> None:
    """Removes a manifest that no share and no download needs any more."""
    cursor.execute(
        "DELETE FROM manifest WHERE content_id = ?"
        " AND NOT EXISTS (SELECT 1 FROM share WHERE share.content_id = manifest.content_id)"
        " AND NOT EXISTS (SELECT 1 FROM folder WHERE folder.content_id = manifest.content_id)"
        " AND NOT EXISTS (SELECT 1 FROM member WHERE member.content_id = manifest.content_id)"
        " AND NOT EXISTS (SELECT 1 FROM download WHERE download.content_id = manifest.content_id)",
        (content_id,),
    )


def _unknown(transfer_id: str) -> Fault:
    return Fault("not_found", f"no transfer {transfer_id!r}", hint="p2pctl transfers lists them")


def _known(state: str) -> str:
    if state not in DOWNLOAD_STATES:
        raise LocalProtocolError(f"unknown state {state!r}")
    return state


def _download(row: Row) -> Download:
    return Download(
        transfer_id=f"t-{row['number']}",
        content_id=row["content_id"],
        name=row["name"],
        size=row["size"],
        directory=os.fsdecode(row["directory"]),
        target_name=os.fsdecode(row["target_name"]),
        part_name=row["part_name"],
        exists_policy=row["exists_policy"],
        state=row["state"],
        error_code=row["error_code"],
        error=row["error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        path=None if row["path"] is None else os.fsdecode(row["path"]),
        resumed_bytes=row["resumed_bytes"],
        received_bytes=row["received_bytes"],
        check_sha256=row["check_sha256"],
        share=bool(row["share"]),
        from_user=bool(row["from_user"]),
        part_stamp=None if row["part_inode"] is None else FileIdentity(row["part_inode"], row["part_device"]),
        committed=row["committed"],
        part_mtime_ns=row["part_mtime_ns"],
        givers=tuple(row["givers"].splitlines()),
        files=row["files"],
        parent=None if row["parent"] is None else f"t-{row['parent']}",
        limit=row["limit_bytes_per_s"],
        retries=row["retries"],
        retry_at=row["retry_at"],
    )
