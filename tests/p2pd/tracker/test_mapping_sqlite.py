"""The mapping of a registry's file follows the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pd.storage.sqlite import MEMORY, Database
from p2pd.tracker import mapping_sqlite
from p2pd.tracker.mapping_sqlite import Mapping

MAPS = Path("/proc/self/maps")


def mapped(path: Path) -> int:
    """Octets of the file that this process has mapped."""
    lines = [line.split() for line in MAPS.read_text().splitlines() if line.endswith(str(path))]
    ends = [[int(end, 16) for end in line[0].split("-")] for line in lines]
    return sum(end - start for start, end in ends)


@pytest.mark.skipif(not MAPS.exists(), reason="needs /proc")
def test_it_grows_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping_sqlite, "LEAST", 2**16)
    path = tmp_path / "test.db"
    with Database(path, ["CREATE TABLE item (text TEXT NOT NULL)"], 1) as database:
        mapping = Mapping(database)
        sizes = []
        for _ in range(4):
            with database.transaction() as cursor:
                cursor.executemany("INSERT INTO item VALUES (?)", [("x" * 1000,)] * 500)
            database.query("PRAGMA wal_checkpoint(TRUNCATE)")
            mapping.follow()
            assert len(database.query("SELECT text FROM item")) == 500 * (len(sizes) + 1)
            sizes.append(mapped(path))
        assert sizes == sorted(set(sizes)), "more each time"
        assert sizes[-1] >= os.stat(path).st_size * 3 // 4


def test_there_is_none_of_what_is_in_memory_only() -> None:
    with Database(MEMORY, ["CREATE TABLE item (text TEXT NOT NULL)"], 1) as database:
        Mapping(database).follow()
        database.execute("INSERT INTO item VALUES ('a')")
        assert len(database.query("SELECT text FROM item")) == 1
