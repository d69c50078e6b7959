"""What a peer remembers: its shares, what it told trackers, its folders (state_folders.py) and downloads (state_downloads.py),
bans (state_bans.py), wants (state_wants.py), refused keys (state_refused.py).

The rule: what is published is derived, never written beside the shares: a (content, name) is public exactly
while some path with it is shared, and each change of that has a number, the revision, so that a tracker can
be told only what it missed. Every method is one transaction, any thread may call, and times are arguments
(seconds since 1970).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from sqlite3 import Cursor, Row
from typing import NamedTuple

from p2pd.storage.hashing import Stamp
from p2pd.storage.published import Public, publish, unpublish
from p2pd.storage.sqlite import load_migrations
from p2pd.storage.state_bans import Bans
from p2pd.storage.state_downloads import Download, Downloads, Source, drop_unused_manifest
from p2pd.storage.state_folders import Folders
from p2pd.storage.state_hooks import HookRuns
from p2pd.storage.state_mending import Mendings
from p2pd.storage.state_refused import RefusedKeys
from p2pd.storage.state_wants import Wants
from protocol.collection import Collection
from protocol.errors import Fault, LocalProtocolError
from protocol.manifest import Manifest

__all__ = ["Changes", "Download", "Published", "Share", "Source", "State", "Withdrawn"]

APPLICATION_ID = 0x70327031  # "p2p1"
KEPT_TOMBSTONES = 50_000  # a few large folders withdrawn: a tracker that missed more is told everything


@dataclass(frozen=True, slots=True)
class Share:
    """One path that is shared, or was to be. `content_id`, `sha256` and `stamp` are of the last successful
    hashing."""

    share_id: int
    path: str
    name: str
    content_id: bytes | None
    sha256: bytes | None
    size: int
    stamp: Stamp | None
    state: str
    """hashing, shared, changed, missing or error."""
    error: str | None
    origin: str
    """add or download."""
    added_at: float
    revision: int
    """Of the last change of this row."""


class Published(NamedTuple):
    """A (content, name) that trackers should list."""

    revision: int
    content_id: bytes
    sha256: bytes
    size: int
    name: str
    added_at: float
    files: int = 0
    """Of a folder; 0: a file."""


class Withdrawn(NamedTuple):
    """A (content, name) that trackers should list no more."""

    revision: int
    content_id: bytes
    name: str


class Changes(NamedTuple):
    """A page of changes, each list by revision. Ask next from the highest revision in either; empty lists:
    nothing more."""

    added: list[Published]
    removed: list[Withdrawn]


class State(Downloads, Folders, Mendings, HookRuns, Bans, Wants, RefusedKeys):
    """The peer's database at `path`. Raises as Database does."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, load_migrations("p2pd.storage"), APPLICATION_ID)

    # -- this start ---------------------------------------------------------------------------------------

    def opened(self) -> bool:
        """True when the last run ended in order (or there was none). Call once, at start: from now on this
        run has not."""
        with self.transaction() as cursor:
            clean = bool(cursor.execute("SELECT clean FROM peer").fetchone()[0])
            cursor.execute("UPDATE peer SET clean = 0")
            return clean

    def mark_clean(self) -> None:
        """The last thing of a run that ends in order."""
        self.execute("UPDATE peer SET clean = 1")

    # -- what trackers are told ---------------------------------------------------------------------------

    @property
    def share_epoch(self) -> bytes:
        """8 random octets of this history: with others, a tracker's revision of us means nothing."""
        return bytes(self.query("SELECT share_epoch FROM peer")[0][0])

    @property
    def revision(self) -> int:
        """The number of the last change of what is published; 0 in the beginning."""
        return int(self.query("SELECT revision FROM peer")[0][0])

    @property
    def pruned_revision(self) -> int:
        """A tracker that has a revision from 1 to below this one missed withdrawals that are forgotten: tell
        it everything, from 0."""
        return int(self.query("SELECT pruned_revision FROM peer")[0][0])

    def changes_since(self, revision: int, limit: int = 200) -> Changes:
        """The first `limit` changes after `revision`; from 0 also withdrawals, which say nothing to a tracker
        that has nothing."""
        rows = self.query(
            "SELECT * FROM published WHERE revision > ? ORDER BY revision LIMIT ?", (revision, limit)
        )
        added = [
            Published(
                row["revision"],
                row["content_id"],
                row["sha256"],
                row["size"],
                row["name"],
                row["added_at"],
                row["files"],
            )
            for row in rows
            if row["live"]
        ]
        removed = [
            Withdrawn(row["revision"], row["content_id"], row["name"]) for row in rows if not row["live"]
        ]
        return Changes(added, removed)

    def fetched_like(self, kind: str, value: str) -> list[Published]:
        """What was downloaded, or begun, by `id`, `prefix`, `sha256` (whole or its beginning) or `name`: enough to fetch it again from
        known sources. The newest 20."""
        conditions = {
            "id": "lower(hex(d.content_id)) = ?",
            "prefix": "lower(hex(d.content_id)) LIKE ? || '%'",
            "sha256": "d.check_sha256 <> '' AND d.check_sha256 LIKE ? || '%'",
            "name": "d.name = ?",
        }
        rows = self.query(
            "SELECT d.content_id, d.name, d.size, d.files, MAX(d.created_at) FROM download d"
            " JOIN manifest m ON m.content_id = d.content_id"
            f" WHERE {conditions[kind]} GROUP BY d.content_id ORDER BY 5 DESC LIMIT 20",
            (value,),
        )
        return [Published(0, bytes(row[0]), bytes(32), row[2], row[1], row[4], row[3]) for row in rows]

    def public_like(self, kind: str, value: str) -> list[Published]:
        """What is public under a reference: `kind` is "id" or "prefix" (hex digits of the content id, at least their
        beginning), "sha256" (the same), or "name"; at most 50."""
        condition = "name = ?"
        values: tuple[object, ...] = (value,)
        if kind == "sha256":
            condition, values = "substr(hex(sha256), 1, ?) = ?", (len(value), value.upper())
        elif kind != "name":
            ends = (bytes.fromhex(value.ljust(64, end)) for end in "0f")
            condition, values = "content_id BETWEEN ? AND ?", tuple(ends)
        rows = self.query(
            "SELECT revision, content_id, sha256, size, name, added_at, files FROM published"
            f" WHERE live AND {condition} LIMIT 50",
            values,
        )
        return [Published(*row) for row in rows]

    def public_names(self, begin: str, limit: int) -> list[Published]:
        """What is public under names that begin with a text (ASCII letters in any case), by name; at most `limit`."""
        pattern = "".join("\\" + c if c in "\\%_" else c for c in begin) + "%"
        rows = self.query(
            "SELECT revision, content_id, sha256, size, name, added_at, files FROM published"
            " WHERE live AND name LIKE ? ESCAPE '\\' ORDER BY name LIMIT ?",
            (pattern, limit),
        )
        return [Published(*row) for row in rows]

    def published_count(self) -> int:
        """How many (content, name) are public."""
        return int(self.query("SELECT count(*) FROM published WHERE live")[0][0])

    def prune_tombstones(self, keep: int = KEPT_TOMBSTONES) -> int:
        """Forgets all but the latest `keep` withdrawals; how many went."""
        with self.transaction() as cursor:
            row = cursor.execute(
                "SELECT revision FROM published WHERE live = 0 ORDER BY revision DESC LIMIT 1 OFFSET ?",
                (keep,),
            ).fetchone()
            if row is None:
                return 0
            cursor.execute("UPDATE peer SET pruned_revision = ?", (row[0],))
            return cursor.execute(
                "DELETE FROM published WHERE live = 0 AND revision <= ?", (row[0],)
            ).rowcount

    # -- shares -------------------------------------------------------------------------------------------

    def add_share(self, path: str, name: str, now: float, origin: str = "add") -> Share:
        """The share of `path`, new (state "hashing") or as it was; a new name for a path that was there takes
        effect at once."""
        with self.transaction() as cursor:
            row = cursor.execute("SELECT * FROM share WHERE path = ?", (os.fsencode(path),)).fetchone()
            if row is None:
                cursor.execute(
                    "INSERT INTO share (path, name, state, origin, added_at) VALUES (?, ?, 'hashing', ?, ?)",
                    (os.fsencode(path), name, origin, now),
                )
                return self._row(cursor, cursor.lastrowid or 0)
            share = _share(row)
            if share.name != name:
                cursor.execute("UPDATE share SET name = ? WHERE share_id = ?", (name, share.share_id))
                _unpublish(cursor, share.content_id, share.name)
                if share.state == "shared" and share.content_id is not None and share.sha256 is not None:
                    publish(cursor, [Public(share.content_id, name, share.sha256, share.size)], now)
                _touch(cursor, share.share_id)
            return self._row(cursor, share.share_id)

    def set_shared(self, share_id: int, manifest: Manifest, stamp: Stamp, now: float) -> Share:
        """The path holds this content: it is public from now on. What it held before is withdrawn, unless
        another path has it."""
        with self.transaction() as cursor:
            before = self._row(cursor, share_id)
            content_id = manifest.content_id
            _put_manifest(cursor, content_id, manifest.encode())
            cursor.execute(
                "UPDATE share SET state = 'shared', error = NULL, content_id = ?, sha256 = ?, size = ?,"
                " stamp_size = ?, stamp_mtime_ns = ?, stamp_inode = ?, stamp_device = ? WHERE share_id = ?",
                (
                    content_id,
                    manifest.sha256,
                    manifest.size,
                    stamp.size,
                    stamp.mtime_ns,
                    stamp.inode,
                    stamp.device,
                    share_id,
                ),
            )
            if before.content_id is not None and before.content_id != content_id:
                _unpublish(cursor, before.content_id, before.name)
                drop_unused_manifest(cursor, before.content_id)
            publish(cursor, [Public(content_id, before.name, manifest.sha256, manifest.size)], now)
            _touch(cursor, share_id)
            return self._row(cursor, share_id)

    def withdraw(self, share_id: int, state: str, error: str | None = None) -> Share:
        """The path cannot be served now; `state` says why (hashing, changed, missing, error). Its content and
        stamp are remembered."""
        if state == "shared":
            raise LocalProtocolError("set_shared publishes, withdraw does not")
        with self.transaction() as cursor:
            share = self._row(cursor, share_id)
            cursor.execute(
                "UPDATE share SET state = ?, error = ? WHERE share_id = ?", (state, error, share_id)
            )
            _unpublish(cursor, share.content_id, share.name)
            _touch(cursor, share_id)
            return self._row(cursor, share_id)

    def remove_share(self, share_id: int) -> Share:
        """Forgets a path; the row as it was. The file stays. Raises Fault "not_found"."""
        with self.transaction() as cursor:
            share = self._row(cursor, share_id)
            cursor.execute("DELETE FROM share WHERE share_id = ?", (share_id,))
            _unpublish(cursor, share.content_id, share.name)
            drop_unused_manifest(cursor, share.content_id)
            return share

    def get_share(self, share_id: int) -> Share:
        """The row. Raises Fault "not_found"."""
        with self.transaction() as cursor:
            return self._row(cursor, share_id)

    def list_shares(self, limit: int = -1, after: int = 0) -> list[Share]:
        """Oldest first, at most `limit`, those with a share_id above `after`."""
        rows = self.query("SELECT * FROM share WHERE share_id > ? ORDER BY share_id LIMIT ?", (after, limit))
        return [_share(row) for row in rows]

    def share_by_path(self, path: str) -> Share | None:
        """The share of exactly this path."""
        rows = self.query("SELECT * FROM share WHERE path = ?", (os.fsencode(path),))
        return _share(rows[0]) if rows else None

    def shares_by_content(self, content_id: bytes) -> list[Share]:
        """Every path that holds, or held, this content; those that can be served first."""
        rows = self.query(
            "SELECT * FROM share WHERE content_id = ? ORDER BY state <> 'shared', share_id", (content_id,)
        )
        return [_share(row) for row in rows]

    def _row(self, cursor: Cursor, share_id: int) -> Share:
        row = cursor.execute("SELECT * FROM share WHERE share_id = ?", (share_id,)).fetchone()
        if row is None:
            raise Fault("not_found", f"no share {share_id}", hint="p2pctl list shows them")
        return _share(row)

    # -- manifests ----------------------------------------------------------------------------------------

    def manifest(self, content_id: bytes) -> bytes | None:
        """The canonical octets of a manifest or a collection, when a share, a folder or a download has them."""
        rows = self.query("SELECT octets FROM manifest WHERE content_id = ?", (content_id,))
        return bytes(rows[0][0]) if rows else None

    def put_manifest(self, manifest: Manifest | Collection) -> None:
        """Keeps the manifest, or the collection, of a download; it goes with the last share or download of that content."""
        with self.transaction() as cursor:
            _put_manifest(cursor, manifest.content_id, manifest.encode())


def _put_manifest(cursor: Cursor, content_id: bytes, octets: bytes) -> None:
    cursor.execute("INSERT INTO manifest VALUES (?, ?) ON CONFLICT DO NOTHING", (content_id, octets))


def _unpublish(cursor: Cursor, content_id: bytes | None, name: str) -> None:
    if content_id is not None:
        unpublish(cursor, [(content_id, name)])


def _touch(cursor: Cursor, share_id: int) -> None:
    """Notes the revision that a changed row belongs to."""
    cursor.execute("UPDATE share SET revision = (SELECT revision FROM peer) WHERE share_id = ?", (share_id,))


def _share(row: Row) -> Share:
    stamp = None
    if row["stamp_size"] is not None:
        stamp = Stamp(row["stamp_size"], row["stamp_mtime_ns"], row["stamp_inode"], row["stamp_device"])
    return Share(
        share_id=row["share_id"],
        path=os.fsdecode(row["path"]),
        name=row["name"],
        content_id=row["content_id"],
        sha256=row["sha256"],
        size=row["size"],
        stamp=stamp,
        state=row["state"],
        error=row["error"],
        origin=row["origin"],
        added_at=row["added_at"],
        revision=row["revision"],
    )
