"""p2pd/storage/state_wants.py: wants survive a restart, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.storage.state import State
from p2pd.storage.state_wants import FAILED, STARTED, WANTED
from protocol.errors import Fault


def test_a_want_from_its_begin_to_its_end(tmp_path: Path) -> None:
    with State(tmp_path / "peer.db") as store:
        first, second = store.add_want("{1}", 1.0), store.add_want("{2}", 2.0)
        assert (first.want, first.state, second.want) == ("w-1", WANTED, "w-2")
        assert store.add_want("{1}", 9.0) == first
    with State(tmp_path / "peer.db") as store:
        assert store.wants() == [first, second]
        store.set_want("w-1", STARTED, 3.0, "t-5")
        store.set_want("w-2", WANTED, 3.0, fault=Fault("storage", "full"))
        assert store.get_want("w-2").error == "full"
        assert [one.want for one in store.wants()] == ["w-2"]
        started = store.get_want("w-1")
        assert (started.state, started.transfer, started.changed_at) == (STARTED, "t-5", 3.0)
        store.set_want("w-1", FAILED, 4.0)
        assert store.get_want("w-1") == started
        assert [one.want for one in store.wants(waiting=False)] == ["w-1", "w-2"]
        again = store.add_want("{1}", 5.0)
        assert (again.want, again.state, again.transfer, again.created_at) == ("w-1", WANTED, None, 5.0)


def test_given_up_and_forgotten(tmp_path: Path) -> None:
    with State(tmp_path / "peer.db") as store:
        store.add_want("{1}", 1.0)
        store.add_want("{2}", 1.0)
        store.set_want("w-2", STARTED, 3.0, "t-1")
        assert store.drop_want("w-1")
        assert not store.drop_want("w-2")
        assert store.forget_wants(3.0) == 0
        assert store.forget_wants(3.1) == 1
        for want in ("w-1", "w-2", "x", "w-", "w-1x"):
            with pytest.raises(Fault) as caught:
                store.drop_want(want)
            assert caught.value.code == "not_found"
