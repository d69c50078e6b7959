"""The folders that a peer shares, and their files, as they survive a restart.

The rule: every method is one transaction however many files it is about, and what is public follows from it there. A file
of a folder is known by its path in it; what is known of one that changed or went (hash and stamp) stays until it is
dropped, so that nothing is hashed twice. Knows no files and no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Cursor, Row
from typing import NamedTuple

from p2pd.storage.hashing import Stamp
from p2pd.storage.published import Public, publish, unpublish
from p2pd.storage.sqlite import Database
from p2pd.storage.state_downloads import drop_unused_manifest
from protocol.collection import Collection
from protocol.errors import Fault
from protocol.manifest import Manifest
from protocol.names import own_name


@dataclass(frozen=True, slots=True)
class Folder:
    """One shared folder. `content_id`, `sha256`, `files` and `size` are of its last complete collection."""

    folder_id: int
    path: str
    name: str
    excludes: tuple[str, ...]
    hidden: bool
    content_id: bytes | None
    sha256: bytes | None
    files: int
    size: int
    state: str
    """hashing, shared or missing."""
    error: str | None
    origin: str
    """add or download."""
    added_at: float


class Member(NamedTuple):
    """A file of a folder. `path` is in the folder, as it is on disk, with "/" between components."""

    path: str
    content_id: bytes
    sha256: bytes
    size: int
    stamp: Stamp
    live: bool
    """Served and public."""

    @property
    def name(self) -> str:
        """Its path as others see it."""
        return own_name(self.path)


class Hashed(NamedTuple):
    """A file of a folder as it was just hashed."""

    path: str
    manifest: Manifest
    stamp: Stamp


class Folders(Database):
    """The part of State that is about folders. Methods raise Fault "not_found" for an unknown folder id."""

    def add_folder(
        self,
        path: str,
        name: str,
        excludes: Sequence[str],
        hidden: bool,
        now: float,
        origin: str = "add",
    ) -> Folder:
        """The folder at `path`, new (state "hashing") or with these settings from now on; a new name takes effect at
        once."""
        with self.transaction() as cursor:
            row = cursor.execute("SELECT * FROM folder WHERE path = ?", (os.fsencode(path),)).fetchone()
            if row is None:
                cursor.execute(
                    "INSERT INTO folder (path, name, excludes, hidden, state, origin, added_at)"
                    " VALUES (?, ?, ?, ?, 'hashing', ?, ?)",
                    (os.fsencode(path), name, "\n".join(excludes), hidden, origin, now),
                )
                return _get(cursor, cursor.lastrowid or 0)
            folder = _folder(row)
            cursor.execute(
                "UPDATE folder SET name = ?, excludes = ?, hidden = ? WHERE folder_id = ?",
                (name, "\n".join(excludes), hidden, folder.folder_id),
            )
            if folder.name != name:
                live = [member for member in _members(cursor, folder.folder_id) if member.live]
                unpublish(cursor, [(member.content_id, f"{folder.name}/{member.name}") for member in live])
                publish(cursor, [_public(name, member) for member in live], now)
                if folder.state == "shared" and folder.content_id is not None:
                    unpublish(cursor, [(folder.content_id, folder.name)])
                    _publish_folder(cursor, _get(cursor, folder.folder_id), now)
            return _get(cursor, folder.folder_id)

    def get_folder(self, folder_id: int) -> Folder:
        """The row. Raises Fault "not_found"."""
        with self.transaction() as cursor:
            return _get(cursor, folder_id)

    def list_folders(self) -> list[Folder]:
        """Oldest first."""
        return [_folder(row) for row in self.query("SELECT * FROM folder ORDER BY folder_id")]

    def folder_by_path(self, path: str) -> Folder | None:
        """The folder at exactly this path."""
        rows = self.query("SELECT * FROM folder WHERE path = ?", (os.fsencode(path),))
        return _folder(rows[0]) if rows else None

    def folders_by_content(self, content_id: bytes) -> list[Folder]:
        """Those that are this collection now."""
        rows = self.query(
            "SELECT * FROM folder WHERE content_id = ? AND state = 'shared' ORDER BY folder_id", (content_id,)
        )
        return [_folder(row) for row in rows]

    def members(self, folder_id: int) -> list[Member]:
        """Its files by path."""
        with self.transaction() as cursor:
            return _members(cursor, folder_id)

    def member_by_content(self, content_id: bytes) -> tuple[int, str, Member] | None:
        """A file of a folder that is served and has this content, with the id and the path of the folder."""
        rows = self.query(
            "SELECT m.*, f.path AS folder FROM member m JOIN folder f USING (folder_id)"
            " WHERE m.content_id = ? AND m.live LIMIT 1",
            (content_id,),
        )
        return (rows[0]["folder_id"], os.fsdecode(rows[0]["folder"]), _member(rows[0])) if rows else None

    def put_members(self, folder_id: int, hashed: Sequence[Hashed], now: float) -> None:
        """These files are as they were just hashed: served and public from now on. What they held before is
        withdrawn."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            cursor.executemany(
                "INSERT INTO manifest VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(item.manifest.content_id, item.manifest.encode()) for item in hashed],
            )
            before = _find(cursor, folder_id, [item.path for item in hashed])
            members = [
                Member(
                    item.path,
                    item.manifest.content_id,
                    item.manifest.sha256,
                    item.manifest.size,
                    item.stamp,
                    True,
                )
                for item in hashed
            ]
            cursor.executemany(
                "INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                [
                    (
                        folder_id,
                        member.path,
                        member.content_id,
                        member.sha256,
                        member.size,
                        member.stamp.mtime_ns,
                        member.stamp.inode,
                        member.stamp.device,
                    )
                    for member in members
                ],
            )
            _withdraw(cursor, folder.name, before)
            publish(cursor, [_public(folder.name, member) for member in members], now)

    def show_members(self, folder_id: int, paths: Iterable[str], now: float) -> None:
        """These files are again as they were hashed: served and public."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            found = _find(cursor, folder_id, paths)
            cursor.executemany(
                "UPDATE member SET live = 1 WHERE folder_id = ? AND path = ?",
                [(folder_id, member.path) for member in found],
            )
            publish(cursor, [_public(folder.name, member) for member in found], now)

    def hide_members(self, folder_id: int, paths: Iterable[str]) -> None:
        """These files changed or are gone: not served and not public until they are hashed or shown again."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            found = _find(cursor, folder_id, paths)
            cursor.executemany(
                "UPDATE member SET live = 0 WHERE folder_id = ? AND path = ?",
                [(folder_id, member.path) for member in found],
            )
            _withdraw(cursor, folder.name, found)

    def drop_members(self, folder_id: int, paths: Iterable[str]) -> None:
        """Forgets these files."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            found = _find(cursor, folder_id, paths)
            cursor.executemany(
                "DELETE FROM member WHERE folder_id = ? AND path = ?",
                [(folder_id, member.path) for member in found],
            )
            _withdraw(cursor, folder.name, found)

    def set_collection(self, folder_id: int, collection: Collection, now: float) -> Folder:
        """The folder is this collection from now on: public in place of what it was."""
        with self.transaction() as cursor:
            before = _get(cursor, folder_id)
            cursor.execute(
                "INSERT INTO manifest VALUES (?, ?) ON CONFLICT DO NOTHING",
                (collection.content_id, collection.encode()),
            )
            cursor.execute(
                "UPDATE folder SET state = 'shared', error = NULL, content_id = ?, sha256 = ?, files = ?, size = ?"
                " WHERE folder_id = ?",
                (collection.content_id, collection.sha256, len(collection.files), collection.size, folder_id),
            )
            if before.content_id is not None and before.content_id != collection.content_id:
                unpublish(cursor, [(before.content_id, before.name)])
                drop_unused_manifest(cursor, before.content_id)
            folder = _get(cursor, folder_id)
            _publish_folder(cursor, folder, now)
            return folder

    def withdraw_folder(self, folder_id: int, error: str) -> Folder:
        """The folder is not there: nothing of it is served or public. What is known of it stays."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            cursor.execute(
                "UPDATE folder SET state = 'missing', error = ? WHERE folder_id = ?", (error, folder_id)
            )
            cursor.execute("UPDATE member SET live = 0 WHERE folder_id = ?", (folder_id,))
            _withdraw(cursor, folder.name, _members(cursor, folder_id))
            if folder.content_id is not None:
                unpublish(cursor, [(folder.content_id, folder.name)])
            return _get(cursor, folder_id)

    def remove_folder(self, folder_id: int) -> Folder:
        """Forgets a folder with its files; the row as it was. The files themselves stay."""
        with self.transaction() as cursor:
            folder = _get(cursor, folder_id)
            members = _members(cursor, folder_id)
            cursor.execute("DELETE FROM folder WHERE folder_id = ?", (folder_id,))
            _withdraw(cursor, folder.name, members)
            if folder.content_id is not None:
                unpublish(cursor, [(folder.content_id, folder.name)])
                drop_unused_manifest(cursor, folder.content_id)
            return folder


def _get(cursor: Cursor, folder_id: int) -> Folder:
    row = cursor.execute("SELECT * FROM folder WHERE folder_id = ?", (folder_id,)).fetchone()
    if row is None:
        raise Fault("not_found", f"no folder {folder_id}", hint="p2pctl list shows them")
    return _folder(row)


def _members(cursor: Cursor, folder_id: int) -> list[Member]:
    rows = cursor.execute("SELECT * FROM member WHERE folder_id = ? ORDER BY path", (folder_id,))
    return [_member(row) for row in rows]


def _find(cursor: Cursor, folder_id: int, paths: Iterable[str]) -> list[Member]:
    found = []
    for path in paths:
        row = cursor.execute(
            "SELECT * FROM member WHERE folder_id = ? AND path = ?", (folder_id, path)
        ).fetchone()
        if row is not None:
            found.append(_member(row))
    return found


def _withdraw(cursor: Cursor, folder: str, members: Sequence[Member]) -> None:
    """What these had is public no more, unless it is still theirs or another's; unused manifests go."""
    unpublish(cursor, [(member.content_id, f"{folder}/{member.name}") for member in members])
    for content_id in {member.content_id for member in members}:
        drop_unused_manifest(cursor, content_id)


def _public(folder: str, member: Member) -> Public:
    return Public(member.content_id, f"{folder}/{member.name}", member.sha256, member.size)


def _publish_folder(cursor: Cursor, folder: Folder, now: float) -> None:
    assert folder.content_id is not None
    assert folder.sha256 is not None
    publish(cursor, [Public(folder.content_id, folder.name, folder.sha256, folder.size, folder.files)], now)


def _folder(row: Row) -> Folder:
    return Folder(
        folder_id=row["folder_id"],
        path=os.fsdecode(row["path"]),
        name=row["name"],
        excludes=tuple(row["excludes"].splitlines()),
        hidden=bool(row["hidden"]),
        content_id=row["content_id"],
        sha256=row["sha256"],
        files=row["files"],
        size=row["size"],
        state=row["state"],
        error=row["error"],
        origin=row["origin"],
        added_at=row["added_at"],
    )


def _member(row: Row) -> Member:
    return Member(
        row["path"],
        row["content_id"],
        row["sha256"],
        row["size"],
        Stamp(row["size"], row["mtime_ns"], row["inode"], row["device"]),
        bool(row["live"]),
    )
