"""p2pd/storage/state_refused.py: which key which tracker refused survives a restart, the last one of each."""

from __future__ import annotations

from pathlib import Path

from p2pd.storage.state import State


def test_refused_keys_survive_a_restart(tmp_path: Path) -> None:
    with State(tmp_path / "peer.db") as store:
        assert not store.key_refused("t:9000", "k-1", 0.0)
        store.put_refused_key("t:9000", "k-1", 50.0)
        store.put_refused_key("u:9000", "k-1", 60.0)
    with State(tmp_path / "peer.db") as store:
        assert store.key_refused("t:9000", "k-1", 50.0)
        assert not store.key_refused("t:9000", "k-1", 50.1)
        assert not store.key_refused("t:9000", "k-2", 0.0)
        store.put_refused_key("t:9000", "k-2", 70.0)
        assert store.key_refused("t:9000", "k-2", 0.0)
        assert not store.key_refused("t:9000", "k-1", 0.0)
        store.drop_refused_key("t:9000")
        store.drop_refused_key("t:9000")
        assert not store.key_refused("t:9000", "k-2", 0.0)
        assert store.forget_refused_keys(60.0) == 0
        assert store.forget_refused_keys(60.1) == 1
        assert not store.key_refused("u:9000", "k-1", 0.0)
