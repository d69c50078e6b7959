"""p2pd/peer/attempt.py: sources that lie, differ, are not there or come back; never other octets than asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pd.peer import attempt as attempt_module
from p2pd.peer import driver as driver_module
from p2pd.peer import retries
from p2pd.peer import trackers as trackers_module
from p2pd.peer import transfer as transfer_module
from p2pd.storage.hashing import stamp_from
from protocol.limits import MIB
from tests.fakes.swarm import Swarm, eventually, in_swarm, lie, look_often, manifest_of, octets, spoil

DATA = octets(6 * MIB + 17)
MANIFEST = manifest_of(DATA)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 0.02)
    monkeypatch.setattr(driver_module, "TICK_SECONDS", 0.05)


# -- sources that misbehave -------------------------------------------------------------------------------


def test_a_liar_is_left_and_the_file_comes_from_an_honest_one(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        liar, honest, bob = [await swarm.peer(name) for name in ("liar", "honest", "bob")]
        spoil(liar, lie)
        await liar.share("a.bin", DATA)
        look_often(bob)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.driver is not None and transfer.driver._state.suspended)
        assert transfer.verified == 0
        assert transfer.sources == 0
        await honest.share("b.bin", DATA)
        row = await bob.ended(transfer)
        assert (row.state, bob.read("downloaded_a.bin") == DATA) == ("done", True)
        assert list(transfer.givers.values()) == [f"127.0.0.1:{honest.service.router.port}"]
        assert transfer.received == len(DATA)

    in_swarm(tmp_path, work)


def test_a_manifest_that_does_not_prove_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.3)
    monkeypatch.setattr(retries, "RETRIES", 0)

    async def work(swarm: Swarm) -> None:
        liar, bob = await swarm.peer("liar"), await swarm.peer("bob")
        await liar.share("a.bin", DATA)
        wrong = manifest_of(octets(len(DATA), 2)).encode()
        liar.service.catalogue._load_manifest = lambda content_id: wrong
        look_often(bob)
        row = await bob.fetch(MANIFEST)
        assert (row.state, row.error_code) == ("failed", "network")
        assert bob.service.store.manifest(MANIFEST.content_id) is None
        assert os.listdir(bob.files) == []

    in_swarm(tmp_path, work)


def test_a_changed_file_is_refused_withdrawn_and_hashed_again(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        other = octets(len(DATA), 2)
        (alice.files / "a.bin").write_bytes(other)
        look_often(bob)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: alice.service.catalogue.find(manifest_of(other).content_id))
        assert alice.service.catalogue.find(MANIFEST.content_id) is None
        assert transfer.verified == 0
        await alice.published()
        assert (await bob.fetch(manifest_of(other), file="new.bin")).state == "done"
        assert bob.read("new.bin") == other
        # the old content comes back
        await alice.share("b.bin", DATA)
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_sha256_that_was_claimed_wrongly_is_found_out_when_it_was_asked_by(tmp_path: Path) -> None:
    lying = manifest_of(DATA, bytes(range(32)))

    async def work(swarm: Swarm) -> None:
        liar, bob = await swarm.peer("liar"), await swarm.peer("bob")
        path = liar.files / "a.bin"
        path.write_bytes(DATA)
        store, shares = liar.service.store, liar.service.shares
        share = store.add_share(str(path), "a.bin", 1.0)
        shares._serve_known(store.set_shared(share.share_id, lying, stamp_from(path.stat()), 1.0))
        liar.service._changed()
        await liar.published()
        row = await bob.fetch(lying, check_sha256=lying.sha256.hex())
        assert (row.state, row.error_code) == ("failed", "integrity")
        assert os.listdir(bob.files) == []
        # Whoever asked by content id gets what the content id names.
        assert (await bob.fetch(lying)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_tracker_that_lies_about_the_size_is_not_believed(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, size=5)
        assert (row.state, row.size) == ("done", len(DATA))
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_sha256_that_was_asked_for_and_is_not_that_of_the_manifest(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, check_sha256="00" * 8)
        assert (row.state, row.error_code) == ("failed", "integrity")
        assert os.listdir(bob.files) == []
        assert (await bob.fetch(MANIFEST, check_sha256=MANIFEST.sha256.hex()[:8])).state == "done"

    in_swarm(tmp_path, work)


# -- waiting ----------------------------------------------------------------------------------------------


def test_a_download_nobody_can_serve_fails_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.1)
    monkeypatch.setattr(retries, "RETRIES", 0)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        look_often(bob, 0.02)
        transfer = await bob.begin(MANIFEST)
        assert transfer.problem is None
        row = await bob.ended(transfer)
        assert (row.state, row.error_code) == ("failed", "network")
        assert "nobody" in (row.error or "")

    in_swarm(tmp_path, work)


def test_a_tracker_that_comes_back_wakes_what_waits(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        await swarm.tracker_down()
        await eventually(lambda: not bob.service.trackers[0].connected)
        look_often(bob, 1000.0)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.problem is not None)
        assert transfer.phase == "locating"
        await swarm.tracker_up()
        await eventually(lambda: alice.service.trackers[0].connected)
        assert (await bob.ended(transfer)).state == "done"

    in_swarm(tmp_path, work)


def test_sources_that_were_good_are_used_when_no_tracker_answers(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        await bob.fetch(MANIFEST, share=False)
        await swarm.tracker_down()
        await eventually(lambda: not bob.service.trackers[0].connected)
        assert (await bob.fetch(MANIFEST, file="again.bin", share=False)).state == "done"
        assert alice.service.uploads.uploaded == 2 * len(DATA)

    in_swarm(tmp_path, work)
