"""p2pd/storage/checkpoint.py: the log goes into the file without the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from p2pd.storage import checkpoint
from p2pd.storage.checkpoint import Checkpointer
from tests.fakes.reactors import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    monkeypatch.setattr(checkpoint, "PAUSE_SECONDS", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE item (data BLOB)")
        yield writer


def test_what_was_committed_is_folded(path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("INSERT INTO item VALUES (randomblob(1000000))")
    assert path.stat().st_size < 100_000
    checkpointer = Checkpointer(str(path))
    checkpointer.nudge()
    until(lambda: path.stat().st_size > 1_000_000)
    assert not checkpointer.behind
    writer.execute("INSERT INTO item VALUES (randomblob(1000000))")
    checkpointer.nudge()
    until(lambda: path.stat().st_size > 2_000_000)
    checkpointer.close()


def test_a_log_that_is_too_long_is_said(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "BEHIND_PAGES", 10)
    writer.execute("INSERT INTO item VALUES (randomblob(1000000))")
    checkpointer = Checkpointer(str(path))
    checkpointer.nudge()
    until(lambda: checkpointer.behind)
    checkpointer.close()


def test_trouble_is_the_writers_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PAUSE_SECONDS", 0.0)
    checkpointer = Checkpointer(str(tmp_path / "no" / "such.db"))
    checkpointer.nudge()
    until(lambda: not checkpointer._written.is_set())
    assert checkpointer._thread.is_alive()
    checkpointer.close()
    assert not checkpointer._thread.is_alive()
