"""PostgreSQL for the tracker: connections, transactions, migrations. The only module that knows psycopg.

The rule: nobody waits for ever. Each connection has a deadline for connecting and for every answer, in the server and here;
while the database is away calls fail at once, and one of them tries it again from time to time. psycopg is imported when a
registry in PostgreSQL is opened. Any thread may call; there is a connection for each that calls at the same time. Passwords
of an address are in no message and in no log.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from p2pd.tracker.dsn import shown
from p2pd.tracker.registry import RegistryError
from protocol.display import safe
from protocol.errors import Fault

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("p2pd.tracker")

T = TypeVar("T")
Cursor: TypeAlias = "psycopg.Cursor[Any]"
Params = Sequence[Any] | Mapping[str, Any]

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 5  # a peer gives a request up after ten
ANSWER_SECONDS = 8.0  # when the server does not keep its own deadline: it hangs, or the network is gone
MIGRATION_SECONDS = 600  # one tracker changes the tables, the others wait for it
BACKOFF_FIRST = 0.5
BACKOFF_MAX = 20.0
ATTEMPTS = 5  # of a transaction that others came in the way of
OLDEST_SERVER = 13_00_00  # pg_trgm can be made by the owner of the database from there on

LOCK_MIGRATION, LOCK_PRESENCE, LOCK_CONTENTS, LOCK_SWEEP, LOCK_BANS = range(5)
_LOCKS = 0x70327472  # "p2tr": our advisory locks

_INSTALL = "pip install 'p2pd[postgres]' (psycopg 3)"
_AWAY = frozenset(
    {"57P01", "57P02", "57P03", "25006", "53300"}
)  # shut down, starting, a standby, too many connections
_AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, a lock that was not given in time


class Postgres:
    """A database. `migrations[n]` is the script from version n to n + 1, each run once however many trackers start together;
    without `change` a database that is not of the newest version is refused.

    Raises Fault: usage (address, missing library), version (a newer database), storage (not reached, or refused).
    """

    def __init__(
        self,
        address: str,
        migrations: Sequence[str],
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        change: bool = True,
    ) -> None:
        self._psycopg = _library()
        given = self._parse(address)
        self.where = shown(address)
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._lock = threading.Lock()
        self._idle: list[psycopg.Connection[Any]] = []
        self._busy: set[psycopg.Connection[Any]] = set()
        self._closed = threading.Event()
        self._failures = 0
        self._next_try = 0.0
        self._offset: float | None = None  # of the database's clock against time.monotonic
        self.trouble = ""  # why it cannot be used now
        defaults = {
            "connect_timeout": str(CONNECT_SECONDS),
            "application_name": "p2pd",
            "target_session_attrs": "read-write",
            "keepalives_idle": "10",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": "15000",
        }
        self._parameters = self._psycopg.conninfo.make_conninfo(**{**defaults, **given})
        try:
            self._migrate(migrations, change)
        except RegistryError as error:
            raise Fault("storage", f"cannot use the registry {self.where}: {error}") from error

    def _parse(self, address: str) -> dict[str, Any]:
        """Its parts. What the library says of a bad one would quote it, perhaps with half of a password."""
        given: dict[str, Any] = {}
        with suppress(self._psycopg.Error):
            given = self._psycopg.conninfo.conninfo_to_dict(address)
        ports = str(given.get("port", "")).replace(",", "")
        wrong = "@" in f"{given.get('host', '')}{given.get('dbname', '')}" or not f"0{ports}".isdigit()
        if not given or wrong:
            raise Fault(
                "usage",
                "the address of the registry is no PostgreSQL URL",
                "postgresql://USER@HOST/DATABASE; keep the password in ~/.pgpass; in a URL, write signs as %XX",
            )
        return given

    # -- use ----------------------------------------------------------------------------------------------

    def query(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement, in a transaction of its own. Raises RegistryError."""
        return self.run(lambda cursor: cursor.execute(sql, params).fetchall(), single=True)

    def run(self, work: Callable[[Cursor], T], single: bool = False) -> T:
        """What `work(cursor)` returns: everything it does is stored, or nothing. It may be called several times, since others can
        come in its way; `single` says that it is one statement. Raises RegistryError, and what `work` raises."""
        error: Exception
        for attempt in range(ATTEMPTS):
            connection, fresh = self._take()
            try:
                if single:
                    with connection.cursor() as cursor:
                        result = work(cursor)
                else:
                    with connection.transaction(), connection.cursor() as cursor:
                        result = work(cursor)
            except self._psycopg.Error as caught:
                error = caught
                self._give_back(connection, caught)
                if self._is_away(connection, caught):
                    if fresh:
                        break
                elif caught.sqlstate not in _AGAIN or attempt == ATTEMPTS - 1:
                    break
            except BaseException:
                self._give_back(connection, None)
                raise
            else:
                self._give_back(connection, None)
                return result
        raise RegistryError(_text(error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that sees the database as it is now for as long as it takes, without deadlines."""
        connection = self._connect()
        try:
            connection.patience = None  # type: ignore[attr-defined]
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.isolation_level = self._psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                yield connection
        except self._psycopg.Error as error:
            raise RegistryError(_text(error)) from error
        finally:
            connection.close()

    def now(self) -> float:
        """Unix seconds by the database's clock, which all who use it share; this machine's while it was never asked."""
        return time.time() if self._offset is None else time.monotonic() + self._offset

    def close(self) -> None:
        """Lets go of all connections; what is under way fails. May be called twice."""
        with self._lock:
            self._closed.set()
            idle, self._idle = self._idle, []
            for connection in self._busy:
                _hang_up(connection)
        for connection in idle:
            connection.close()

    # -- connections --------------------------------------------------------------------------------------

    def _take(self) -> tuple[psycopg.Connection[Any], bool]:
        """A connection, and whether it was made just now."""
        with self._lock:
            if self._closed.is_set():
                raise RegistryError("the registry is closed")
            if self._idle:
                connection = self._idle.pop()
                self._busy.add(connection)
                return connection, False
            now = self._clock()
            if self._failures:
                if now < self._next_try:
                    raise RegistryError(self.trouble)
                self._next_try = now + 2 * CONNECT_SECONDS  # this call tries, the others need not wait for it
        try:
            connection = self._connect()
        except self._psycopg.Error as error:
            self._failed(_text(error))
            raise RegistryError(_text(error)) from error
        with self._lock:
            was_away, self._failures, self.trouble = self._failures > 0, 0, ""
            self._busy.add(connection)
            if self._closed.is_set():
                _hang_up(connection)
        if was_away:
            log.info("= the registry %s answers again", self.where)
        return connection, True

    def _give_back(self, connection: psycopg.Connection[Any], error: psycopg.Error | None) -> None:
        with self._lock:
            self._busy.discard(connection)
        if error is not None and self._is_away(connection, error):
            with self._lock:  # what was opened before is no better
                idle, self._idle = self._idle, []
            for other in (connection, *idle):
                with suppress(self._psycopg.Error):
                    other.close()
            return
        with self._lock:
            if not self._closed.is_set() and not connection.broken and not connection.closed:
                self._idle.append(connection)
                return
        connection.close()

    def _is_away(self, connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
        return bool(connection.closed or connection.broken or error.sqlstate in _AWAY)

    def _failed(self, text: str) -> None:
        with self._lock:
            self._failures += 1
            delay = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(self._failures - 1, 10))
            self._next_try = self._clock() + delay * self._rng.uniform(0.5, 1.0)
            news, self.trouble = self.trouble != text, text
        if news:
            log.warning("! the registry %s does not answer: %s", self.where, safe(text))

    def _connect(self) -> psycopg.Connection[Any]:
        """Raises psycopg.Error."""
        connection = _bounded(self._psycopg).connect(
            self._parameters, autocommit=True, prepare_threshold=None
        )
        try:
            began = time.monotonic()
            row = connection.execute(
                "SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8, current_setting('server_encoding'),"
                f" set_config('statement_timeout', '{STATEMENT_SECONDS}s', false),"
                f" set_config('lock_timeout', '{STATEMENT_SECONDS}s', false),"
                " set_config('idle_in_transaction_session_timeout', '30s', false),"
                # as in SQLite: what a crash of the server takes away is published again
                " set_config('synchronous_commit', 'off', false), set_config('jit', 'off', false),"
                # many short searches at a time: one that takes several cores makes the others wait
                " set_config('max_parallel_workers_per_gather', '0', false)"
            ).fetchone()
            ended = time.monotonic()
            assert row is not None
            if row[1] != "UTF8":
                raise Fault(
                    "storage",
                    f"the database {self.where} has the encoding {row[1]}",
                    "make one with: createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 NAME",
                )
        except BaseException:
            connection.close()
            raise
        self._offset = row[0] - (began + ended) / 2
        return cast("psycopg.Connection[Any]", connection)

    # -- tables -------------------------------------------------------------------------------------------

    def _migrate(self, migrations: Sequence[str], change: bool) -> None:
        try:
            connection = self._connect()
        except self._psycopg.Error as error:
            raise Fault(
                "storage",
                f"cannot reach the registry {self.where}: {_text(error)}",
                "is PostgreSQL running there; does ~/.pgpass (or PGPASSFILE) have the password, with mode 0600?",
            ) from error
        try:
            if connection.info.server_version < OLDEST_SERVER:
                raise Fault("version", f"{self.where} runs an older PostgreSQL than 13")
            connection.patience = None  # type: ignore[attr-defined]
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = '{MIGRATION_SECONDS}s'")
                connection.execute(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'")
                connection.execute("SET LOCAL synchronous_commit = on")
                connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCKS, LOCK_MIGRATION))
                if not change:
                    self._check_current(connection, len(migrations))
                    return
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS p2pd_schema"
                    " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
                )
                row = connection.execute("SELECT COALESCE(MAX(version), 0) FROM p2pd_schema").fetchone()
                assert row is not None
                if row[0] > len(migrations):
                    raise Fault(
                        "version",
                        f"{self.where} has version {row[0]}, this program knows up to {len(migrations)}",
                        "run the newer program that wrote it",
                    )
                for number in range(row[0], len(migrations)):
                    connection.execute(migrations[number])
                    connection.execute("INSERT INTO p2pd_schema (version) VALUES (%s)", (number + 1,))
        except self._psycopg.errors.InsufficientPrivilege as error:
            raise Fault(
                "storage",
                f"cannot make the tables of the registry {self.where}: {_text(error)}",
                "let this user own the database; an administrator can run CREATE EXTENSION pg_trgm in it",
            ) from error
        except self._psycopg.Error as error:
            raise RegistryError(_text(error)) from error
        finally:
            connection.close()

    def _check_current(self, connection: psycopg.Connection[Any], newest: int) -> None:
        version = 0
        if connection.execute("SELECT to_regclass('p2pd_schema')").fetchone() != (None,):
            row = connection.execute("SELECT COALESCE(MAX(version), 0) FROM p2pd_schema").fetchone()
            assert row is not None
            version = row[0]
        if not version:
            raise Fault("storage", f"{self.where} has no registry of a tracker")
        if version != newest:
            hint = (
                "run the newer program" if version > newest else "start a tracker of this version on it once"
            )
            raise Fault("version", f"{self.where} has version {version}, this program reads {newest}", hint)


def lock(cursor: Cursor, which: int, shared: bool = False) -> None:
    """Waits for one of our locks, held to the end of the transaction."""
    cursor.execute(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}(%s, %s)", (_LOCKS, which))


def try_lock(cursor: Cursor, which: int) -> bool:
    """The same without waiting: False when another has it."""
    row = cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_LOCKS, which)).fetchone()
    return bool(row and row[0])


def _library() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
        import psycopg.errors
    except ImportError as error:
        raise Fault("usage", "a registry in PostgreSQL needs the library psycopg 3", _INSTALL) from error
    return psycopg


def _bounded(library: Any) -> Any:
    """psycopg's Connection with a deadline for every answer: TCP finds a dead network, but no server that hangs."""

    class Connection(library.Connection):  # type: ignore[misc]
        patience: float | None = ANSWER_SECONDS

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            limit = timeout if timeout is not None else self.patience
            try:
                return super().wait(gen, interval, limit)
            except library.errors._WaitTimeout as error:
                self.pgconn.finish()
                raise library.OperationalError(f"no answer within {limit:g} s") from error

    return Connection


def _hang_up(connection: psycopg.Connection[Any]) -> None:
    """Whoever waits for an answer learns that there will be none. From any thread."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _text(error: Exception) -> str:
    """One line of what the library says. The server's DETAIL quotes rows and is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
