"""p2pd/storage/state_hooks.py: what is due is known after a restart, and whether it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.storage.state import State
from p2pd.storage.state_hooks import Due


def test_it_survives_a_restart(tmp_path: Path) -> None:
    with State(tmp_path / "db") as state:
        state.add_hook("download_done", "t-7")
        state.add_hook("download_failed", "t-8")
    with State(tmp_path / "db") as state:
        first, second = state.hooks()
        assert first == Due(1, "download_done", "t-7", False)
        state.start_hook(second.number, 5.0)
    with State(tmp_path / "db") as state:
        assert [(due.transfer_id, due.started) for due in state.hooks()] == [("t-7", False), ("t-8", True)]
        state.end_hook(1)
        state.end_hook(1)
        state.end_hook(2)
        assert state.hooks() == []
        state.add_hook("download_done", "t-9")
        assert state.hooks()[0].number == 3  # never that of another run


def test_it_is_written_with_its_reason_or_not_at_all(tmp_path: Path) -> None:
    with State(tmp_path / "db") as state:
        with pytest.raises(RuntimeError):
            _fail_after_adding(state)
        assert state.hooks() == []


def _fail_after_adding(state: State) -> None:
    with state.transaction():
        state.add_hook("download_done", "t-7")
        raise RuntimeError
