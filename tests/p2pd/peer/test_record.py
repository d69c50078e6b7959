"""p2pd/peer/record.py: what is in memory is what the database says."""

from __future__ import annotations

import pytest

from p2pd.peer.record import Record
from p2pd.storage.hashing import FileIdentity
from p2pd.storage.root import DiskFull
from p2pd.storage.sqlite import MEMORY
from p2pd.storage.state import State
from protocol.errors import Fault


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
