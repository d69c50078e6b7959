"""p2pd/storage/rate_limits.py: limits in the database."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import IntegrityError

import pytest

from p2pd.storage.rate_limits import rate_limits, set_rate_limit
from p2pd.storage.state import State


def test_limits_are_kept_changed_and_forgotten(tmp_path: Path) -> None:
    store = State(tmp_path / "a.db")
    assert rate_limits(store) == {}
    set_rate_limit(store, "up", 5)
    set_rate_limit(store, "up", 0)
    set_rate_limit(store, "down", 2**40)
    assert rate_limits(store) == {"up": 0, "down": 2**40}
    set_rate_limit(store, "up", None)
    set_rate_limit(store, "up", None)
    store.close()
    store = State(tmp_path / "a.db")
    assert rate_limits(store) == {"down": 2**40}
    store.close()


def test_nonsense_is_not_kept(tmp_path: Path) -> None:
    store = State(tmp_path / "a.db")
    with pytest.raises(IntegrityError):
        set_rate_limit(store, "sideways", 5)
    with pytest.raises(IntegrityError):
        set_rate_limit(store, "up", -1)
    assert rate_limits(store) == {}
    store.close()
