"""p2pd/tracker/postgres.py: addresses without secrets, transactions, migrations, and a database that goes away and comes back."""

from __future__ import annotations

import builtins
import logging
import signal
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest

from p2pd.storage.sqlite import load_migrations
from p2pd.tracker import postgres as module
from p2pd.tracker.postgres import Postgres
from p2pd.tracker.registry import RegistryError
from protocol.errors import Fault
from tests.fakes.postgres import Server
from tests.fakes.processes import until
from tests.p2pd.tracker.test_registry_postgres import at_once

TABLES = ["CREATE TABLE thing (number integer PRIMARY KEY)"]


@pytest.fixture
def address(postgres: Server) -> str:
    return postgres.make_database()


@pytest.fixture
def database(address: str) -> Iterator[Postgres]:
    database = Postgres(address, TABLES, Random(1))
    yield database
    database.close()


def put(database: Postgres, *numbers: int) -> None:
    def work(cursor: psycopg.Cursor[Any]) -> None:
        for number in numbers:
            cursor.execute("INSERT INTO thing VALUES (%s)", (number,))

    database.run(work)


def count(database: Postgres) -> int:
    return int(database.query("SELECT COUNT(*) FROM thing")[0][0])


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:sec@ret:word@host/x",
        "postgresql://u:se/cret@host/x",
        "postgresql://u:1/cret@host/x",
        "postgresql://u:secret@host:cret/x",
        "postgresql://u:secret@host/x?cret=1",
        "postgresql://u:%secret@host/x",
        "postgresql://",
    ],
)
def test_a_bad_address_is_refused_without_being_quoted(address: str) -> None:
    with pytest.raises(Fault) as caught:
        Postgres(address, [])
    assert caught.value.code == "usage"
    assert "cret" not in caught.value.message + caught.value.hint


def test_without_the_library_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *more: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(Fault) as caught:
        Postgres("postgresql://u@host/x", [])
    assert caught.value.hint.startswith("pip install 'p2pd[postgres]'")


def test_a_transaction_is_stored_whole_or_not_at_all(database: Postgres) -> None:
    put(database, 1, 2)
    with pytest.raises(RegistryError, match="duplicate key"):
        put(database, 3, 1)
    with pytest.raises(KeyError):
        database.run(lambda cursor: [cursor.execute("INSERT INTO thing VALUES (4)"), {}["x"]])
    assert count(database) == 2


def test_errors_do_not_quote_what_is_stored(database: Postgres) -> None:
    put(database, 987654)
    with pytest.raises(RegistryError) as caught:
        put(database, 987654)
    assert "987654" not in str(caught.value)


def test_the_clock_is_the_database_s(database: Postgres) -> None:
    stated = database.query("SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8")[0][0]
    assert abs(database.now() - stated) < 1.0


def test_trackers_that_start_together_make_the_tables_once(address: str) -> None:
    made: list[Postgres] = []
    migrations = load_migrations("p2pd.tracker", "sql_postgres")
    assert not at_once(*[lambda: made.append(Postgres(address, migrations))] * 6)
    assert [database.query("SELECT version FROM p2pd_schema ORDER BY 1") for database in made] == [
        [(number + 1,) for number in range(len(migrations))]
    ] * 6
    for database in made:
        database.close()


def test_an_older_database_is_brought_forward(address: str) -> None:
    with_one = Postgres(address, TABLES)
    put(with_one, 1)
    with_one.close()
    with_two = Postgres(
        address, [*TABLES, "ALTER TABLE thing ADD COLUMN word text; UPDATE thing SET word = 'x'"]
    )
    assert with_two.query("SELECT * FROM thing") == [(1, "x")]
    with_two.close()


def test_a_migration_that_fails_changes_nothing(address: str) -> None:
    with pytest.raises(Fault) as caught:
        Postgres(address, [*TABLES, "SELECT 1 / 0"])
    assert caught.value.code == "storage"
    database = Postgres(address, TABLES)
    assert count(database) == 0
    database.close()


def test_a_newer_database_is_refused(address: str) -> None:
    Postgres(address, [*TABLES, "CREATE TABLE more ()"]).close()
    with pytest.raises(Fault) as caught:
        Postgres(address, TABLES)
    assert (caught.value.code, caught.value.message.rpartition(" has ")[2]) == (
        "version",
        "version 2, this program knows up to 1",
    )


def test_whoever_may_not_make_tables_is_told_what_to_do(address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE ROLE somebody LOGIN")
    try:
        with pytest.raises(Fault) as caught:
            Postgres(address.replace("p2pd@", "somebody@"), TABLES)
        assert "own the database" in caught.value.hint
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP ROLE somebody")


def test_another_encoding_is_refused(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(Fault) as caught:
        Postgres(postgres.url("old"), TABLES)
    assert "LATIN1" in caught.value.message


def test_a_database_that_is_not_there_is_told_with_its_name(postgres: Server) -> None:
    with pytest.raises(Fault) as caught:
        Postgres(postgres.url("nowhere"), TABLES)
    assert caught.value.code == "storage"
    assert "nowhere" in caught.value.message


def test_calls_at_the_same_time_have_connections_of_their_own(database: Postgres) -> None:
    assert not at_once(*[lambda: database.query("SELECT pg_sleep(0.2)")] * 4)
    assert len(database._idle) == 4
    assert not at_once(*[lambda number=number: put(database, number) for number in range(8)])  # type: ignore[misc]
    assert count(database) == 8


def test_whoever_is_in_the_way_of_another_is_tried_again(database: Postgres) -> None:
    put(database, 1, 2)
    tries: list[int] = []

    def change(first: int, second: int) -> None:
        def work(cursor: psycopg.Cursor[Any]) -> None:
            tries.append(first)
            cursor.execute("SELECT 1 FROM thing WHERE number = %s FOR UPDATE", (first,))
            if tries.count(first) == 1:
                cursor.execute("SELECT pg_sleep(0.1)")
            cursor.execute("SELECT 1 FROM thing WHERE number = %s FOR UPDATE", (second,))

        database.run(work)

    assert not at_once(lambda: change(1, 2), lambda: change(2, 1))
    assert len(tries) >= 3, "one of the two was the victim of a deadlock"


def test_a_session_that_the_server_ended_is_replaced_in_the_same_call(database: Postgres) -> None:
    put(database, 1)
    with psycopg.connect(database._parameters, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert count(database) == 1


def test_a_statement_that_takes_too_long_is_given_up(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 1)
    database.close()
    short = Postgres(database._parameters, TABLES)
    with pytest.raises(RegistryError, match="statement timeout"):
        short.query("SELECT pg_sleep(30)")
    assert count(short) == 0, "the connection is as good as before"
    assert short.trouble == ""
    short.close()


def test_a_database_that_goes_away_is_an_error_at_once_and_comes_back_by_itself(
    postgres: Server, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    database = Postgres(address, TABLES, Random(1), lambda: now[0])
    put(database, 1)
    postgres.stop()
    try:
        with caplog.at_level(logging.INFO, "p2pd.tracker"), pytest.raises(RegistryError):
            count(database)
        assert database.trouble
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(RegistryError):
                count(database)
        assert time.monotonic() - began < 1.0, "nobody tries before its time"
        for _ in range(8):
            now[0] += module.BACKOFF_MAX
            with pytest.raises(RegistryError):
                count(database)
        assert module.BACKOFF_MAX / 2 <= database._next_try - now[0] <= module.BACKOFF_MAX
    finally:
        postgres.start()
    with pytest.raises(RegistryError):
        count(database)
    now[0] += module.BACKOFF_MAX
    with caplog.at_level(logging.INFO, "p2pd.tracker"):
        assert count(database) == 1
    assert database.trouble == ""
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("! the registry ")
    assert lines[-1].endswith("answers again")
    database.close()


def test_a_server_that_crashed_has_what_it_needs(postgres: Server, database: Postgres) -> None:
    put(database, 1)
    postgres.stop(signal.SIGQUIT)
    postgres.start()
    assert count(database) in (0, 1)  # asynchronous commit: the newest may be gone, and is published again


def test_a_server_that_hangs_holds_nobody_up_for_ever(
    postgres: Server, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)
    now = [0.0]
    database = Postgres(address, TABLES, Random(1), lambda: now[0])
    put(database, 1)
    postgres.freeze()
    try:
        monkeypatch.setitem(database.__dict__, "_parameters", database._parameters + " connect_timeout=2")
        began = time.monotonic()
        with pytest.raises(RegistryError):
            count(database)
        assert time.monotonic() - began < 10.0
    finally:
        postgres.thaw()
    now[0] += module.BACKOFF_MAX
    assert count(database) == 1
    database.close()


def test_closing_twice_is_fine_and_nothing_works_afterwards(database: Postgres) -> None:
    database.close()
    database.close()
    with pytest.raises(RegistryError):
        count(database)


def test_closing_ends_what_is_under_way(database: Postgres) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            database.query("SELECT pg_sleep(4)")
        except RegistryError as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with psycopg.connect(database._parameters, autocommit=True) as connection:
        until(
            lambda: connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"
            ).fetchone(),
            10.0,
            "the query runs",
        )
    began = time.monotonic()
    database.close()
    waiting.join(10)
    assert raised
    assert time.monotonic() - began < 2.0


def test_a_snapshot_sees_what_was_there(database: Postgres) -> None:
    put(database, 1)
    with database.snapshot() as connection:
        assert connection.execute("SELECT COUNT(*) FROM thing").fetchone() == (1,)
        put(database, 2)
        assert connection.execute("SELECT COUNT(*) FROM thing").fetchone() == (1,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
            connection.execute("INSERT INTO thing VALUES (3)")
    assert count(database) == 2
