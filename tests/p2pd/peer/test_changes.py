"""p2pd/peer/changes.py: page by page, by revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.peer import changes as changes_module
from p2pd.peer.changes import changes
from p2pd.storage.hashing import Stamp
from p2pd.storage.state import State
from protocol.tracker import Entry, Gone
from tests.fakes.swarm import manifest_of


def test_changes_are_read_page_by_page_by_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 3)
    with State(tmp_path / "peer.db") as store:
        for number in range(10):
            share = store.add_share(f"/{number}", f"n{number}", float(number))
            manifest = manifest_of(b"%d" % number)
            store.set_shared(share.share_id, manifest, Stamp(1, 1, 1, 1), float(number))
            if number % 3 == 0:
                store.remove_share(share.share_id)
        found = list(changes(store, 0))
        assert [revision for revision, _ in found] == sorted({revision for revision, _ in found})
        assert found[-1][0] == store.revision
        assert [item.name for _, item in found if isinstance(item, Entry)] == [
            "n1",
            "n2",
            "n4",
            "n5",
            "n7",
            "n8",
        ]
        assert [item.name for _, item in found if isinstance(item, Gone)] == ["n0", "n3", "n6", "n9"]
        assert list(changes(store, found[4][0])) == found[5:]
        assert list(changes(store, store.revision)) == []
