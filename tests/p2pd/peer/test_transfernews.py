"""p2pd/peer/transfernews.py: what is told of downloads, in order, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pd.events import Events
from p2pd.peer import attempt as attempt_module
from protocol.limits import MIB
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm, look_often, manifest_of, octets

DATA = octets(3 * MIB)
MANIFEST = manifest_of(DATA)


def told(events: Events) -> list[dict[str, Any]]:
    return [item for item in events.read(0, True, None, 1000).items if "transfer" in item["kind"]]


def states(member: Member) -> list[str]:
    """Kinds so far; of a change of state where it went."""
    return [item.get("state") or item["kind"] for item in told(member.service.events)]


def test_a_download_from_asking_to_its_end(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST)
        items = told(bob.service.events)
        assert states(bob)[0] == "transfer.created"
        assert states(bob)[-1] == "transfer.done"
        assert set(states(bob)[1:-1]) <= {"locating", "downloading", "verifying", "stalled"}
        assert states(bob)[1] == "locating"
        moves = [item for item in items if item["kind"] == "transfer.state"]
        assert [item["previous"] for item in moves] == ["queued", *(item["state"] for item in moves[:-1])]
        done = items[-1]
        assert (done["transfer"], done["path"], done["sources"]) == (row.transfer_id, row.path, 1)
        assert done["id"] == MANIFEST.content_id.hex()
        shared = bob.service.events.read(0, True, frozenset({"share.added"}), 9).items
        assert [item["origin"] for item in shared] == ["download"]

    in_swarm(tmp_path, work)


def test_pausing_cancelling_and_trying_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        look_often(bob)
        downloads = bob.service.downloads
        downloads.set_max_active(1)
        first = await bob.begin(MANIFEST)
        await downloads.pause(first.row.transfer_id)
        await downloads.pause(first.row.transfer_id)
        downloads.resume(first.row.transfer_id)
        await downloads.cancel(first.row.transfer_id)
        assert [state for state in states(bob) if state not in ("locating", "retrying")] == [
            "transfer.created",
            "paused",
            "queued",
            "transfer.cancelled",
        ]
        downloads.retry(first.row.transfer_id)
        await eventually(lambda: states(bob)[-1] == "retrying")
        again = told(bob.service.events)
        assert next(item for item in again if item.get("previous") == "cancelled")["state"] == "queued"
        assert again[-1]["error"]["code"] == "network"
        queue = bob.service.events.read(0, True, frozenset({"queue.changed"}), 9).items
        assert [item["max_active"] for item in queue] == [1]

    in_swarm(tmp_path, work)


def test_a_restart_tells_nothing_that_did_not_happen(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        transfer = await bob.begin(MANIFEST)
        await bob.service.downloads.pause(transfer.row.transfer_id)
        before = len(told(bob.service.events))
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        assert told(bob.service.events) == []
        assert before > 1
        bob.service.downloads.resume(transfer.row.transfer_id)
        assert states(bob)[0] == "queued"

    in_swarm(tmp_path, work)
