"""p2pd/storage/sqlite.py: what was committed stays, what failed left nothing, and newer files are refused."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from p2pd.storage.root import DiskFull, StorageError, StorageFailed
from p2pd.storage.sqlite import MEMORY, Database, load_migrations
from protocol.errors import Fault

REPOSITORY = Path(__file__).parents[3]
APPLICATION = 0x70327431
ONE = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO item VALUES (1, 'a;b');
"""
TWO = "ALTER TABLE item ADD COLUMN size INTEGER NOT NULL DEFAULT 0"  # without the last semicolon
BAD = "CREATE TABLE other (id INTEGER); INSERT INTO missing VALUES (1);"


def names(database: Database) -> list[str]:
    return [row["name"] for row in database.query("SELECT name FROM item ORDER BY id")]


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return version


def test_a_new_database_is_private_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database(path, [ONE, TWO], APPLICATION) as database:
        assert database.query("SELECT * FROM item")[0]["size"] == 0
        assert database.query("PRAGMA journal_mode")[0][0] == "wal"
        assert database.query("PRAGMA synchronous")[0][0] == 2
        assert database.query("PRAGMA foreign_keys")[0][0] == 1
        assert database.query("PRAGMA application_id")[0][0] == APPLICATION
        database.execute("INSERT INTO item (name) VALUES ('x')")
        for name in os.listdir(tmp_path):
            assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600, name
    assert os.listdir(tmp_path) == ["a.db"]  # closed in order: no log and no copy is left
    assert version_of(path) == 2


def test_rights_of_others_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch(mode=0o644)
    Database(path, [ONE], APPLICATION).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_upgrade_keeps_the_rows_and_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database(path, [ONE], APPLICATION) as database:
        database.execute("INSERT INTO item (name) VALUES ('kept')")
    for _ in range(2):  # the second opening has nothing to do
        with Database(path, [ONE, TWO], APPLICATION) as database:
            assert names(database) == ["a;b", "kept"]
    copy = tmp_path / "a.db.v1.bak"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert version_of(copy) == 1
    with Database(copy, [ONE], APPLICATION) as database:
        assert names(database) == ["a;b", "kept"]


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database(path, [ONE], APPLICATION).close()
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        Database(path, [ONE, BAD], APPLICATION)
    assert version_of(path) == 1
    with Database(path, [ONE], APPLICATION) as database:
        assert [row[0] for row in database.query("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "item"
        ]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database(path, [ONE, TWO], APPLICATION).close()
    before = path.read_bytes()
    with pytest.raises(Fault) as caught:
        Database(path, [ONE], APPLICATION)
    assert caught.value.code == "version"
    assert caught.value.hint
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()
    for _ in range(2):
        with pytest.raises(Fault, match="not a database of this program"):
            Database(path, [ONE], APPLICATION)
    Database(tmp_path / "b.db", [ONE], APPLICATION).close()
    with pytest.raises(Fault, match="not a database of this program"):
        Database(tmp_path / "b.db", [ONE], APPLICATION + 1)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this is a text, not a database at all" * 100)
    with pytest.raises(StorageFailed, match="damaged"):
        Database(path, [ONE], APPLICATION)
    with pytest.raises(StorageError):
        Database(tmp_path / "missing" / "a.db", [ONE], APPLICATION)
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    with pytest.raises(StorageError):
        Database(tmp_path / "link.db", [ONE], APPLICATION)
    assert not (tmp_path / "target.db").exists()


def insert(database: Database, *names: str, fail: bool = False) -> None:
    """Rows in one transaction, which fails at its end when asked."""
    with database.transaction() as cursor:
        cursor.executemany("INSERT INTO item (name) VALUES (?)", [(name,) for name in names])
        if fail:
            raise ZeroDivisionError


def test_a_transaction_is_all_or_nothing() -> None:
    with Database(MEMORY, [ONE], APPLICATION) as database:
        insert(database, "b")
        with pytest.raises(ZeroDivisionError):
            insert(database, "c", fail=True)
        with pytest.raises(sqlite3.IntegrityError):
            insert(database, "d", "b")
        assert names(database) == ["a;b", "b"]
        assert database.execute("UPDATE item SET name = name || :mark", {"mark": "!"}) == 2


def test_a_transaction_in_a_transaction_fails_alone() -> None:
    with Database(MEMORY, [ONE], APPLICATION) as database:
        with database.transaction():
            insert(database, "b")
            with pytest.raises(ZeroDivisionError):
                insert(database, "c", fail=True)
            insert(database, "d")
            assert names(database) == ["a;b", "b", "d"]
        assert names(database) == ["a;b", "b", "d"]


def test_a_transaction_takes_those_in_it_along_when_it_fails() -> None:
    with Database(MEMORY, [ONE], APPLICATION) as database:

        def outer() -> None:
            with database.transaction():
                insert(database, "b")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            outer()
        assert names(database) == ["a;b"]


def test_threads_take_turns(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db", [ONE, TWO], APPLICATION, synchronous="OFF") as database:
        start = threading.Barrier(4)

        def count() -> None:
            start.wait(10)
            for _ in range(50):
                with database.transaction() as cursor:
                    size = cursor.execute("SELECT size FROM item WHERE id = 1").fetchone()[0]
                    cursor.execute("UPDATE item SET size = ? WHERE id = 1", (size + 1,))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert database.query("SELECT size FROM item WHERE id = 1")[0][0] == 200


def test_a_full_disk_is_ours_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db", [ONE], APPLICATION) as database:
        database.query("PRAGMA max_page_count = 8")
        with pytest.raises(DiskFull):
            insert(database, *(f"{number}" * 100 for number in range(1000)))
        assert names(database) == ["a;b"]
        database.query("PRAGMA max_page_count = 10000")
        database.execute("INSERT INTO item (name) VALUES ('fits')")
        assert names(database) == ["a;b", "fits"]


def test_our_own_mistakes_stay_visible() -> None:
    with Database(MEMORY, [ONE], APPLICATION) as database:
        with pytest.raises(sqlite3.OperationalError):
            database.query("SELECT * FROM missing")
        with pytest.raises(sqlite3.OperationalError):
            database.execute("NONSENSE")


def test_closed(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", [ONE], APPLICATION)
    database.close()
    database.close()
    with pytest.raises(StorageFailed, match="closed"):
        database.query("SELECT 1")
    with pytest.raises(StorageFailed, match="closed"):
        database.execute("SELECT 1")


def test_a_commit_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, sys; from p2pd.storage.sqlite import Database\n"
        f"database = Database(sys.argv[1], [{ONE!r}], {APPLICATION})\n"
        "database.execute(\"INSERT INTO item (name) VALUES ('committed')\")\n"
        "with database.transaction() as cursor:\n"
        "    cursor.execute(\"INSERT INTO item (name) VALUES ('not committed')\")\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "a.db"
    run = subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=REPOSITORY)
    assert run.returncode == -9
    with Database(path, [ONE], APPLICATION) as database:
        assert names(database) == ["a;b", "committed"]


def test_migrations_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_migrations"
    (package / "sql").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sql" / "0002_more.sql").write_text(TWO)
    (package / "sql" / "0001_first.sql").write_text(ONE)
    (package / "sql" / "README").write_text("not one")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_migrations("some_migrations") == [ONE, TWO]
    (package / "sql" / "0004_gap.sql").write_text(TWO)
    with pytest.raises(ValueError, match=r"\[1, 2, 4\]"):
        load_migrations("some_migrations")


def test_the_peer_has_migrations() -> None:
    assert load_migrations("p2pd.storage")[0].lstrip().startswith("--")


def seen_by_others(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        count: int = connection.execute("SELECT count(*) FROM item").fetchone()[0]
    connection.close()
    return count


def test_what_is_gathered_is_seen_here_at_once_and_committed_together(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database(path, [ONE], APPLICATION) as database:
        for name in "xyz":
            with database.gathered() as cursor:
                cursor.execute("INSERT INTO item (name) VALUES (?)", (name,))
        assert names(database) == ["a;b", "x", "y", "z"]
        assert seen_by_others(path) == 1
        database.settle()
        database.settle()
        assert seen_by_others(path) == 4
        with database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES ('later')")
        database.execute("INSERT INTO item (name) VALUES ('alone')")  # commits what was gathered first
        assert seen_by_others(path) == 6
        with database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES ('at the end')")
    assert seen_by_others(path) == 7


def test_what_fails_takes_what_was_gathered_with_it() -> None:
    with Database(MEMORY, [ONE], APPLICATION) as database:
        with database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES ('x')")
        with pytest.raises(sqlite3.IntegrityError), database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES ('x')")
        assert names(database) == ["a;b"]
        with database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES ('x')")
        database.settle()
        assert names(database) == ["a;b", "x"]


def test_a_full_disk_takes_what_was_gathered(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db", [ONE], APPLICATION) as database:
        database.query(f"PRAGMA max_page_count = {database.query('PRAGMA page_count')[0][0]}")
        with pytest.raises(DiskFull), database.gathered() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES (?)", ("x" * 100_000,))
        assert names(database) == ["a;b"]
        database.settle()
