"""p2pd/peer/record.py: what is in memory is what the database says."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.peer.record import Record
from p2pd.storage.hashing import FileIdentity
from p2pd.storage.root import DiskFull
from p2pd.storage.sqlite import MEMORY
from p2pd.storage.state import State
from protocol.errors import Fault


def test_what_is_written_with_a_state_is_written_with_it_or_not_at_all(tmp_path: Path) -> None:
    with State(tmp_path / "db") as store:
        moves: list[str] = []
        row = store.add_download(bytes(32), "a", 5, "/d", "a", 1.0)
        record = Record(store, row, lambda: moves.append(record.row.state))

        def failing() -> None:
            store.add_hook("download_done", row.transfer_id)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            record.set_with(failing, "done", path="/d/a")
        assert (store.hooks(), store.get_download(row.transfer_id).state, moves) == ([], "queued", [])
        record.set_with(lambda: store.add_hook("download_done", row.transfer_id), "done", path="/d/a")
        assert (len(store.hooks()), record.row.state, moves) == (1, "done", ["done"])


def test_a_state_is_in_the_database_when_it_is_in_memory() -> None:
    with State(MEMORY) as store:
        record = Record(store, store.add_download(bytes(32), "a", 5, "/d", "a", 1.0))
        record.set("failed", Fault("network", "nobody"), finished_at=2.0)
        assert (record.row.state, record.row.error_code, record.row.error) == ("failed", "network", "nobody")
        assert record.row == store.get_download("t-1")
        store.set_part("t-1", "part", FileIdentity(1, 2))
        assert record.row.part_name == ""
        record.reload()
        assert record.row.part_name == "part"


def test_a_state_that_cannot_be_recorded_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with State(MEMORY) as store:
        record = Record(store, store.add_download(bytes(32), "a", 5, "/d", "a", 1.0))

        def full(*_: object, **__: object) -> None:
            raise DiskFull("no space")

        monkeypatch.setattr(store, "set_state", full)
        with pytest.raises(DiskFull):
            record.set("paused")
        assert record.row.state == "queued"
