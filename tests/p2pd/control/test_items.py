"""p2pd/control/items.py: rows and running downloads as maps that the client knows."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pd.control import items
from p2pd.storage.hashing import Stamp
from p2pd.storage.state import Share, State
from protocol.errors import Fault
from protocol.tracker import Hit, Member
from tests.fakes.swarm import manifest_of

ID, SHA = bytes((1,)) * 32, bytes((2,)) * 32


def share(state: str = "shared", hashed: bool = True) -> Share:
    stamp = Stamp(1, 2, 3, 4) if hashed else None
    return Share(
        1, "/a", "a", ID if hashed else None, SHA if hashed else None, 5, stamp, state, None, "add", 0.0, 1
    )


def test_times_are_rfc_3339() -> None:
    assert items.timestamp(None) is None
    assert items.timestamp(0.0) == "1970-01-01T00:00:00Z"
    assert items.timestamp(1_790_000_000.9) == "2026-09-21T14:13:20Z"


@pytest.mark.parametrize(
    ("state", "shown"), [("shared", "shared"), ("hashing", "hashing"), ("error", "missing")]
)
def test_a_share(state: str, shown: str) -> None:
    item = items.share_item(share(state))
    assert (item["id"], item["sha256"], item["state"]) == ("01" * 32, "02" * 32, shown)
    assert (item["name"], item["path"], item["size_bytes"]) == ("a", "/a", 5)


def test_a_share_that_was_never_hashed_has_no_id() -> None:
    item = items.share_item(share("hashing", hashed=False))
    assert (item["id"], item["sha256"]) == (None, None)


@pytest.mark.parametrize(("sources", "local", "shown"), [(3, False, 3), (3, True, 2), (0, True, 0)])
def test_a_hit_counts_others_as_sources(sources: int, local: bool, shown: int) -> None:
    item = items.hit_item(Hit(ID, SHA, 5, ["a", "b"], sources, 1), local)
    assert (item["sources"], item["local"], item["name"], item["names"]) == (shown, local, "a", ["a", "b"])


def test_an_own_share_looks_like_a_hit() -> None:
    hit = items.hit_item(Hit(ID, SHA, 5, ["a"], 0, 1), True)
    assert items.own_hit_item(share()).keys() == hit.keys()


def test_a_member() -> None:
    item = items.member_item(Member(bytes(20), "10.0.0.1", 8001, 7), bytes(20))
    assert item == {"device_id": "a" * 32, "host": "10.0.0.1", "port": 8001, "self": True, "files": 7}


def test_a_fault() -> None:
    assert items.fault_item(None) is None
    assert items.fault_item(Fault("auth", "no", "try")) == {"code": "auth", "message": "no", "hint": "try"}


class Row:
    """Rows of a real state."""

    def __init__(self, directory: Path) -> None:
        self.store = State(directory / "peer.db")
        self.id = self.store.add_download(
            ID, "a.bin", 1000, "/d", "downloaded_a.bin", time.time() - 10
        ).transfer_id

    def item(self) -> dict[str, Any]:
        return items.transfer_item(self.store.get_download(self.id), None)


def test_a_download_through_its_life(tmp_path: Path) -> None:
    row = Row(tmp_path)
    with row.store as store:
        queued = row.item()
        assert (queued["transfer"], queued["state"], queued["received_bytes"], queued["verified"]) == (
            row.id,
            "queued",
            0,
            False,
        )
        assert queued["path"] == "/d/downloaded_a.bin"
        store.set_state(row.id, "running")
        assert row.item()["state"] == "downloading"
        store.set_state(row.id, "disk_full", error_code="storage", error="full")
        stuck = row.item()
        assert (stuck["state"], stuck["error"]["code"], stuck["error"]["message"]) == (
            "disk_full",
            "storage",
            "full",
        )
        store.set_state(row.id, "done", finished_at=time.time(), path="/d/x")
        done = row.item()
        assert (done["state"], done["received_bytes"], done["path"], done["error"]) == (
            "done",
            1000,
            "/d/x",
            None,
        )
        assert done["verified"]
        assert done["rate_bytes_per_s"] == pytest.approx(100, abs=5)
        assert done["duration_s"] == pytest.approx(10, abs=0.5)


def test_a_failed_download_says_why_and_what_to_do(tmp_path: Path) -> None:
    row = Row(tmp_path)
    with row.store as store:
        store.set_state(row.id, "failed", error_code="network", error="nobody", finished_at=time.time())
        item = row.item()
    assert item["error"]["message"] == "nobody"
    assert item["error"]["hint"]
    assert not item["verified"]
    assert not item["sha256_checked"]


def test_the_details_of_a_running_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(tmp_path)
    with row.store as store:
        store.set_state(row.id, "running")
        running = SimpleNamespace(
            row=store.get_download(row.id),
            phase="stalled",
            verified=400,
            resumed=100,
            rate=60.0,
            running=True,
            sources=2,
            manifest=manifest_of(b"x"),
            givers={"a": "10.0.0.1:8001"},
        )
        monkeypatch.setattr(items, "Transfer", SimpleNamespace)
        item = items.transfer_item(running, "ff")  # type: ignore[arg-type]
        assert (item["state"], item["received_bytes"], item["resumed_bytes"]) == ("stalled", 400, 100)
        assert (item["rate_bytes_per_s"], item["eta_s"], item["sources"], item["sha256"]) == (
            60,
            10.0,
            2,
            "ff",
        )
        assert item["from"] == ["10.0.0.1:8001"]
        progress = items.progress_item(running)  # type: ignore[arg-type]
        assert progress == {key: item[key] for key in progress}
        assert progress["received_bytes"] == 400
