"""p2pd/storage/state_bans.py: bans survive a restart, by subject and cause."""

from __future__ import annotations

from pathlib import Path

from p2pd.storage.state import State
from p2pd.storage.state_bans import HAND, WRONG_DATA, StoredBan

FOR_EVER = float("inf")


def test_bans_survive_a_restart(tmp_path: Path) -> None:
    bans = [
        StoredBan("10.0.0.0/8", HAND, FOR_EVER, "noise ∅", 1.5),
        StoredBan("a" * 32, HAND, 50.0, "", 2.0),
        StoredBan("a" * 32, WRONG_DATA, 60.0, "2 wrong pieces", 3.0, 2),
    ]
    with State(tmp_path / "peer.db") as store:
        for ban in reversed(bans):
            store.put_ban(ban)
    with State(tmp_path / "peer.db") as store:
        assert store.bans(0.0) == bans
        assert store.bans(50.0) == [bans[0], bans[2]]
        store.put_ban(bans[1]._replace(until=99.0))
        assert store.bans(60.0) == [bans[0], bans[1]._replace(until=99.0)]
        assert store.forget_bans(60.0) == 1
        assert store.drop_ban("a" * 32)
        assert not store.drop_ban("a" * 32)
        assert store.bans(0.0) == [bans[0]]
