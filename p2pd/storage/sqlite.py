"""One SQLite database: opened safely, migrated forward, one writer.

The rule: what a transaction committed survives power loss, and a database of a newer version is refused,
never guessed at. Any thread may call; a lock makes them take turns. Shared by the peer's state and the
tracker's registry; knows the tables of neither.

    database = Database(path, load_migrations("p2pd.tracker"), application_id=0x70327074)
    with database.transaction() as cursor:  # BEGIN IMMEDIATE .. COMMIT, or ROLLBACK when the body raises
        cursor.execute("INSERT INTO device VALUES (?)", (device_id,))
    rows = database.query("SELECT * FROM device WHERE id = ?", (device_id,))  # list of sqlite3.Row
    database.close()
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NoReturn, Self

from p2pd.storage.root import DiskFull, StorageError, StorageFailed, storage_error
from protocol.display import safe
from protocol.errors import Fault

MEMORY = ":memory:"
"""A path for a database that is gone with its process."""

Params = Sequence[Any] | Mapping[str, Any]
"""What the statement has ? or :name for."""

BUSY_MS = 5_000  # another process (a person with the sqlite3 tool) may hold the lock for so long

_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


def load_migrations(package: str, directory: str = "sql") -> list[str]:
    """The texts of `sql/NNNN_name.sql` of an importable package, in order. Raises ValueError when a number is
    missing or double."""
    found = sorted(
        (match[1], entry.read_text("utf-8"))
        for entry in files(package).joinpath(directory).iterdir()
        if (match := _MIGRATION.fullmatch(entry.name))
    )
    numbers = [int(number) for number, _ in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations of {package} are numbered {numbers}")
    return [text for _, text in found]


class Database:
    """A database file of ours (mode 0600, WAL). All methods may be called from any thread.

    `migrations[n]` is the script from version n to n + 1; each runs in one transaction, after a copy of the
    old file was put beside it as `PATH.v<n>.bak`. `application_id` is a number of 32 bits that tells our
    files from others. `synchronous` is FULL (every commit survives power loss) or, for what can be learnt
    again, NORMAL or OFF. Raises Fault "version" for a newer database, "storage" for what cannot be opened or
    is not ours.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        migrations: Sequence[str],
        application_id: int,
        synchronous: str = "FULL",
    ) -> None:
        self.path = os.fspath(path)
        self._lock = threading.RLock()
        self._depth = 0
        self._open = False  # a transaction of `gathered` is under way
        self._closed = False
        if self.path != MEMORY:
            _make_private(self.path)
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            self._reraise(error)
        try:
            self._connection.row_factory = sqlite3.Row
            self._prepare(migrations, application_id, synchronous)
        except sqlite3.Error as error:
            self._connection.close()
            self._reraise(error)
        except BaseException:
            self._connection.close()
            raise

    # -- use ----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """Everything in the body, or nothing. Inside another of the same thread it is a savepoint: small
        calls can be gathered in one commit.

        Raises DiskFull or StorageFailed when SQLite cannot write; sqlite3.IntegrityError passes through.
        """
        with self._lock:
            self._usable()
            self.settle()
            name = f"level{self._depth}"
            begin, commit, rollback = (
                (f"SAVEPOINT {name}", f"RELEASE {name}", (f"ROLLBACK TO {name}", f"RELEASE {name}"))
                if self._depth
                else ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
            )
            cursor = self._connection.cursor()
            try:
                cursor.execute(begin)
                self._depth += 1
                try:
                    yield cursor
                    cursor.execute(commit)
                except BaseException:
                    if self._connection.in_transaction:  # a full disk may have rolled it back already
                        for statement in rollback:
                            self._connection.execute(statement)
                    raise
                finally:
                    self._depth -= 1
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                self._reraise(error)
            finally:
                cursor.close()

    @contextmanager
    def gathered(self) -> Iterator[sqlite3.Cursor]:
        """The body becomes part of a transaction that stays open until `settle`, so that many small changes cost one commit. Queries
        see it at once. When the body raises, everything since the last `settle` is lost: it must not begin what it may refuse.

        Raises as `transaction`, which settles first.
        """
        with self._lock:
            self._usable()
            assert not self._depth, "inside a transaction nothing can be gathered"
            cursor = self._connection.cursor()
            try:
                if not self._open:
                    cursor.execute("BEGIN IMMEDIATE")
                    self._open = True
                yield cursor
            except BaseException as error:
                self._give_up()
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
                    self._reraise(error)
                raise
            finally:
                cursor.close()

    def settle(self) -> None:
        """Commits what was gathered, if anything was."""
        with self._lock:
            if self._open:
                try:
                    self._connection.execute("COMMIT")
                    self._open = False
                except sqlite3.DatabaseError as error:
                    self._give_up()
                    self._reraise(error)

    def _give_up(self) -> None:
        self._open = False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def execute(self, sql: str, params: Params = ()) -> int:
        """One statement in its own transaction; how many rows it changed."""
        with self.transaction() as cursor:
            return cursor.execute(sql, params).rowcount

    def query(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT; columns by position or name."""
        with self._lock:
            self._usable()
            try:
                return self._connection.execute(sql, params).fetchall()
            except sqlite3.DatabaseError as error:
                self._reraise(error)

    def close(self) -> None:
        """Folds the log into the file and closes. May be called twice."""
        with self._lock:
            if self._closed:
                return
            try:
                self.settle()
            except StorageError:
                pass  # as after a kill: what was gathered is gone
            self._closed = True
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error:
                pass  # the log is replayed at the next opening: nothing is lost
            finally:
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- opening ------------------------------------------------------------------------------------------

    def _prepare(self, migrations: Sequence[str], application_id: int, synchronous: str) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        version = self._pragma("user_version")
        owner = self._pragma("application_id")
        empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != application_id and not (empty and owner == 0):
            raise Fault("storage", f"{safe(self.path)} is not a database of this program")
        if version > len(migrations):
            raise Fault(
                "version",
                f"{safe(self.path)} has version {version}, this program knows up to {len(migrations)}",
                hint="run the newer program that wrote it, or restore the copy (.bak) made at the upgrade",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        if 0 < version < len(migrations) and self.path != MEMORY:
            self._back_up(version)
        for number in range(version, len(migrations)):
            # executescript stops at the first error and leaves the transaction open
            try:
                connection.executescript(
                    f"BEGIN IMMEDIATE;\n{migrations[number]}\n;PRAGMA application_id = {application_id};\n"
                    f"PRAGMA user_version = {number + 1};\nCOMMIT;"
                )
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _back_up(self, version: int) -> None:
        path = f"{self.path}.v{version}.bak"
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        _make_private(path)
        copy = sqlite3.connect(path)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()

    def _usable(self) -> None:
        if self._closed:
            raise StorageFailed("the database is closed")

    def _reraise(self, error: sqlite3.Error) -> NoReturn:
        """SQLite's trouble with the disk as ours; its complaints about our SQL stay what they are (a bug)."""
        fault = self._fault(error)
        if fault is None:
            raise error
        raise fault from error

    def _fault(self, error: sqlite3.Error) -> StorageError | None:
        code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
        shown = safe(self.path)
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(f"no space left to write {shown}")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StorageFailed(
                f"{shown} is damaged: {error}", hint="move it away to start anew, or restore a copy of it"
            )
        if code in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_PERM,
        ):
            return StorageError(f"cannot use {shown}: {error}")
        return None


def _make_private(path: str) -> None:
    """Creates the file, or takes others' rights to it away, before SQLite opens it; its log files inherit the
    mode."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise storage_error(error, f"cannot open {safe(path)}") from error
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)
    except OSError as error:
        raise storage_error(error, f"cannot make {safe(path)} private") from error
    finally:
        os.close(fd)
