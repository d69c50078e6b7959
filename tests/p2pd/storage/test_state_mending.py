"""p2pd/storage/state_mending.py: what is being mended is known after a restart."""

from __future__ import annotations

from pathlib import Path

from p2pd.storage.hashing import Stamp
from p2pd.storage.state import State
from p2pd.storage.state_mending import Mending
from tests.fakes.swarm import manifest_of, octets


def test_it_survives_a_restart_and_ends(tmp_path: Path) -> None:
    manifest = manifest_of(octets(5 << 20))
    stamp = Stamp(5 << 20, 1_700_000_000_000_000_001, 7, 8)
    one = Mending("/d/\udcff", manifest, 0b10110, ".mend", stamp)
    two = Mending("/e", manifest, 1, ".other", stamp)
    with State(tmp_path / "db") as state:
        state.add_mending(two)
        state.add_mending(one)
        state.add_mending(one)
    with State(tmp_path / "db") as state:
        assert sorted(state.mendings(), key=lambda found: found.path) == [one, two]
        assert state.mendings()[0].stamp.device == 8
        state.remove_mending(one.path)
        state.remove_mending(one.path)
        assert state.mendings() == [two]
