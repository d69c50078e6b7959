"""p2pd.overlay: what is stored is read back by the settings, and nothing is left when nothing is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd import overlay, tomlfile
from protocol.errors import Fault


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    overlay.store(tmp_path, {"peer.trackers": ["a", "b"], "limit.up": 5, "log.level": "debug"})
    path = overlay.path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "p2pctl config unset" in path.read_text()
    assert tomlfile.read(path).values == {
        "peer": {"trackers": ["a", "b"]},
        "limit": {"up": 5},
        "log": {"level": "debug"},
    }
    overlay.store(tmp_path, {"limit.up": 6})
    assert tomlfile.read(path).values == {"limit": {"up": 6}}


def test_nothing_set_is_no_file(tmp_path: Path) -> None:
    overlay.store(tmp_path, {})
    overlay.store(tmp_path, {"limit.up": 5})
    overlay.store(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        overlay.store(tmp_path / "missing", {"limit.up": 5})
    assert caught.value.code == "storage"
    overlay.path(tmp_path).mkdir()
    for values in ({}, {"limit.up": 5}):
        with pytest.raises(Fault) as caught:
            overlay.store(tmp_path, values)
        assert caught.value.code == "storage"
    assert list(tmp_path.iterdir()) == [overlay.path(tmp_path)]
