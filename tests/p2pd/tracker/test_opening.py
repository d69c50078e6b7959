"""p2pd/tracker/opening.py: a file or a shared database, by what the setting says."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2pd.tracker.fetching import Fetchers
from p2pd.tracker.opening import open_store
from p2pd.tracker.registry import DeviceFull
from p2pd.tracker.shared_postgres import SharedFetchers
from protocol.errors import Fault
from tests.fakes.postgres import Server
from tests.fakes.registry_contract import announce, entry, join, publish


def test_without_a_setting_it_is_a_file_in_the_home(tmp_path: Path) -> None:
    store = open_store("", tmp_path)
    assert (tmp_path / "tracker.db").exists()
    assert (store.shared, store.where, store.trouble()) == (False, str(tmp_path / "tracker.db"), "")
    assert isinstance(store.fetchers, Fetchers)
    assert abs(store.now() - time.time()) < 5.0
    store.registry.close()


def test_a_path_is_a_file(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "other.db"), tmp_path, max_files_per_device=1)
    announce(store.registry, 1)
    with pytest.raises(DeviceFull):
        publish(store.registry, 1, 0, 2, [entry(1, "a"), entry(2, "b")], reset=True)
    store.registry.close()
    assert (tmp_path / "other.db").exists()


def test_an_address_is_a_database_that_others_use_too(tmp_path: Path, postgres: Server) -> None:
    address = postgres.make_database()
    first, second = open_store(address, tmp_path), open_store(address, tmp_path)
    assert first.shared
    assert first.where.startswith("postgresql://")
    assert isinstance(first.fetchers, SharedFetchers)
    join(first.registry, 1, entry(1, "a"))
    assert second.registry.totals(0.0).files == 1
    assert abs(first.now() - second.now()) < 0.5
    assert first.trouble() == ""
    for store in (first, second):
        store.registry.close()
    assert not (tmp_path / "tracker.db").exists()


def test_an_address_of_nobody_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        open_store(f"postgresql://u:secret@/x?host={tmp_path}", tmp_path)
    assert caught.value.code == "storage"
    assert "secret" not in caught.value.message + caught.value.hint


def test_the_library_is_loaded_only_for_an_address(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from p2pd.tracker.opening import open_store;"
        f"open_store('', Path({str(tmp_path)!r})).registry.close(); print('psycopg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
