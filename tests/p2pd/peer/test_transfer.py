"""p2pd/peer/transfer.py: a download goes on, recovers or says why not, and never ends with other octets than asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer import driver as driver_module
from p2pd.peer import trackers as trackers_module
from p2pd.peer import transfer as transfer_module
from p2pd.peer.transfer import Transfer
from protocol.errors import Fault, Refusal
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.swarm import Swarm, eventually, in_swarm, look_often, manifest_of, octets, spoil

DATA = octets(6 * MIB + 17)
MANIFEST = manifest_of(DATA)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 0.02)
    monkeypatch.setattr(driver_module, "TICK_SECONDS", 0.05)


# -- ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "state", "names"), [
    ("fail", "done", ["downloaded_a (1).bin", "downloaded_a.bin"]),
    ("rename", "done", ["downloaded_a (1).bin", "downloaded_a.bin"]),
    ("overwrite", "done", ["downloaded_a.bin"]),
])  # fmt: skip
def test_a_file_that_appears_meanwhile(tmp_path: Path, policy: str, state: str, names: list[str]) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        look_often(bob)
        transfer = await bob.begin(MANIFEST, exists=policy, share=False)
        (bob.files / "downloaded_a.bin").write_bytes(b"mine")
        await alice.share("a.bin", DATA)
        row = await bob.ended(transfer)
        assert row.state == state
        assert sorted(os.listdir(bob.files)) == names
        assert (bob.read("downloaded_a.bin") == b"mine") == (policy != "overwrite")
        assert Path(row.path or "").read_bytes() == DATA

    in_swarm(tmp_path, work)


def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        spoil(alice, lambda view: Refusal.BUSY)
        transfer = await bob.begin(MANIFEST)
        await eventually(bob.parts)
        await transfer.cancel()
        await transfer.cancel()
        assert (transfer.row.state, transfer.phase, transfer.done.is_set()) == (
            "cancelled",
            "cancelled",
            True,
        )
        assert os.listdir(bob.files) == []

    in_swarm(tmp_path, work)


def test_a_name_of_the_users_own_is_shared_under_one_that_others_accept(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, file="11:30 \\ what?.bin ")
        assert row.state == "done"
        await eventually(lambda: len(bob.service.store.list_shares()) == 1)
        (share,) = bob.service.store.list_shares()
        assert share.name == "a.bin"
        assert share.path.endswith("/11:30 \\ what?.bin ")
        await bob.published()
        await bob.share("more.bin", octets(10))

    in_swarm(tmp_path, work)


def test_a_finished_file_that_changes_before_it_is_shared_is_finished_all_the_same(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        shares = bob.service.shares
        add = shares.add_download

        def cut_first(path: str, name: str, manifest: Manifest) -> Any:
            os.truncate(path, 5)
            return add(path, name, manifest)

        shares.add_download = cut_first  # type: ignore[method-assign]
        assert (await bob.fetch(MANIFEST)).state == "done"
        assert not bob.service.store.list_shares()

    in_swarm(tmp_path, work)


def test_a_bug_ends_a_download_with_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")

        async def fail(*_: object) -> Fault | None:
            raise RuntimeError("a bug")

        bob.service.downloads._services.finder.offer = fail  # type: ignore[method-assign]
        row = await bob.fetch(MANIFEST)
        assert (row.state, row.error_code) == ("failed", "failure")
        assert "a bug" in (row.error or "")

    in_swarm(tmp_path, work)


def test_the_rate_follows_what_comes(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        transfer = await bob.begin(MANIFEST)
        assert isinstance(transfer, Transfer)

        for second in range(1, 20):
            transfer._arrived_before = second * MIB
            transfer.measure(100.0 + second)
            transfer.measure(100.0 + second + 0.1)
        assert transfer.rate == pytest.approx(MIB)

    in_swarm(tmp_path, work)
