"""p2pd/peer/downloads.py: turns, pauses and tries, and all of it over a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd.peer import attempt as attempt_module
from p2pd.peer import retries
from p2pd.peer import transfer as transfer_module
from p2pd.peer.transfer import Transfer
from p2pd.storage.root import Root
from p2pd.storage.state import State
from protocol.errors import Fault, Refusal
from protocol.limits import MIB
from tests.fakes.swarm import Member, Swarm, eventually, look_often, manifest_of, octets, spoil

DATA = octets(4 * MIB)
MANIFEST = manifest_of(DATA)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 0.05)


def in_swarm(directory: Path, work: Callable[[Swarm], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Swarm(directory) as swarm:
            await work(swarm)

    asyncio.run(main())


def states(member: Member) -> list[str]:
    """Of all that are not over, in order of their turn."""
    return [transfer.phase for transfer in member.service.downloads.active]


# -- pause and resume -------------------------------------------------------------------------------------


def test_a_paused_one_stays_so_over_a_restart_and_keeps_what_it_has(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = [2 * MIB]

        def stop_after_two(view: memoryview) -> int:
            left[0] -= len(view)
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, stop_after_two)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.verified >= MIB)
        name = transfer.row.transfer_id
        downloads = bob.service.downloads
        assert await downloads.pause(name) == (transfer, True)
        assert await downloads.pause(name) == (transfer, False)
        assert (transfer.phase, transfer.running) == ("paused", False)
        kept = transfer.verified
        assert kept >= MIB
        assert downloads.counts()["paused"] == 1
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        downloads = bob.service.downloads
        again = downloads.get(name)
        assert isinstance(again, Transfer)
        downloads.changed()
        assert (again.phase, again.running) == ("paused", False)
        assert bob.parts()
        left[0] = 1000 * MIB
        assert downloads.resume(name) == (again, True)
        assert downloads.resume(name) == (again, False)
        assert (await bob.ended(again)).state == "done"
        assert again.resumed >= kept
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_what_waits_its_turn_can_be_paused_and_comes_back_to_its_place(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        downloads = bob.service.downloads
        downloads.set_max_active(1)
        first, second, third = [await bob.begin(MANIFEST, file=name) for name in "abc"]
        assert [one.running for one in (first, second, third)] == [True, False, False]
        await downloads.pause(second.row.transfer_id)
        await downloads.pause(first.row.transfer_id)
        await eventually(lambda: third.running)
        downloads.resume(second.row.transfer_id)
        downloads.resume(first.row.transfer_id)
        assert [one.running for one in (first, second, third)] == [False, False, True]
        await downloads.cancel(third.row.transfer_id)
        await eventually(lambda: first.running)
        assert not second.running

    in_swarm(tmp_path, work)


def test_what_was_running_goes_first_after_a_restart(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        spoil(alice, lambda view: Refusal.BUSY)
        downloads = bob.service.downloads
        downloads.set_max_active(1)
        first, second, _ = [await bob.begin(MANIFEST, file=name) for name in "abc"]
        await downloads.pause(first.row.transfer_id)
        await eventually(lambda: second.row.state == "running")
        downloads.resume(first.row.transfer_id)
        await swarm.leave(bob)
        bob = await swarm.peer("bob")
        order = [transfer.row.target_name for transfer in bob.service.downloads.active]
        assert order == ["b", "a", "c"]

    in_swarm(tmp_path, work)


def test_a_place_is_given_at_once_when_there_are_more(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        downloads = bob.service.downloads
        downloads.set_max_active(1)
        transfers = [await bob.begin(MANIFEST, file=f"{number}") for number in range(4)]
        assert downloads.counts()["queued"] == 3
        assert downloads.crowded()
        downloads.set_max_active(3)
        assert [one.running for one in transfers] == [True, True, True, False]
        downloads.set_max_active(1)  # what runs goes on
        assert sum(one.running for one in transfers) == 3

    in_swarm(tmp_path, work)


# -- tries ------------------------------------------------------------------------------------------------


def test_nobody_there_is_tried_again_by_itself_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.05)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        look_often(bob, 0.02)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.phase == "retrying")
        row = transfer.row
        assert (row.state, row.retries, row.error_code, row.final) == ("queued", 1, "network", False)
        assert row.retry_at is not None
        assert 20 < row.retry_at - time.time() < 40
        assert not transfer.due(time.time())
        await eventually(lambda: transfer.due(row.retry_at or 0.0))
        await swarm.leave(bob)
        await alice.share("a.bin", DATA)
        monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 20.0)
        bob = await swarm.peer("bob")
        again = bob.service.downloads.get(row.transfer_id)
        assert isinstance(again, Transfer)
        # The tracker that came back with the start of the daemon brings it forward.
        assert (await bob.ended(again)).state == "done"
        assert bob.service.downloads.counts()["done"] == 1

    in_swarm(tmp_path, work)


def test_its_time_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.05)
    monkeypatch.setattr(retries, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(retries, "RETRIES", 2)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        look_often(bob, 0.02)
        row = await bob.fetch(MANIFEST)
        assert (row.state, row.retries, row.error_code) == ("failed", 2, "network")
        # By hand it begins anew, and the count too.
        found, changed = bob.service.downloads.retry(row.transfer_id)
        assert changed
        assert isinstance(found, Transfer)
        assert (found.row.retries, found.row.finished_at) == (0, None)
        assert (await bob.ended(found)).retries == 2

    in_swarm(tmp_path, work)


def test_retry_does_not_wait_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.05)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        look_often(bob, 0.02)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.phase == "retrying")
        await alice.share("a.bin", DATA)
        monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 20.0)
        assert bob.service.downloads.retry(transfer.row.transfer_id) == (transfer, True)
        assert (await bob.ended(transfer)).state == "done"
        done = bob.service.downloads.retry(transfer.row.transfer_id)
        assert done[1] is False
        # asked for again while it waits for its time: the same, at once
        monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.05)
        missing = manifest_of(b"nobody")
        waiting = await bob.begin(missing, file="x")
        await eventually(lambda: waiting.phase == "retrying" and waiting._task is None)
        assert await bob.begin(missing, file="x") is waiting
        assert waiting.running

    in_swarm(tmp_path, work)


def test_wrong_data_is_not_asked_for_again(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        row = await bob.fetch(MANIFEST, check_sha256="00" * 8)
        assert (row.state, row.error_code, row.retries) == ("failed", "integrity", 0)

    in_swarm(tmp_path, work)


def test_a_cancelled_one_can_be_tried_again_but_not_beside_its_double(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        downloads = bob.service.downloads
        first = await bob.begin(MANIFEST)
        await downloads.cancel(first.row.transfer_id)
        second = await bob.begin(MANIFEST)
        with pytest.raises(Fault) as caught:
            downloads.retry(first.row.transfer_id)
        assert caught.value.code == "exists"
        await downloads.cancel(second.row.transfer_id)
        await alice.share("a.bin", DATA)
        found, changed = downloads.retry(first.row.transfer_id)
        assert changed
        assert isinstance(found, Transfer)
        assert (await bob.ended(found)).state == "done"

    in_swarm(tmp_path, work)


def test_one_that_lost_its_sources_lets_others_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "YIELD_SECONDS", 0.2)
    other = octets(MIB, 7)

    async def work(swarm: Swarm) -> None:
        alice, carol, bob = [await swarm.peer(name) for name in ("alice", "carol", "bob")]
        await alice.share("a.bin", DATA)
        await carol.share("c.bin", other)
        look_often(bob, 0.05)
        left = [2 * MIB]

        def stop_after_two(view: memoryview) -> int:
            left[0] -= len(view)
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, stop_after_two)
        downloads = bob.service.downloads
        downloads.set_max_active(1)
        begun = await bob.begin(MANIFEST)
        await eventually(lambda: begun.verified >= MIB)
        await swarm.leave(alice)
        await eventually(lambda: begun.phase == "stalled")
        assert (await bob.fetch(manifest_of(other))).state == "done"
        assert begun.row.error_code == "network"
        assert begun.verified >= MIB

    in_swarm(tmp_path, work)


# -- room -------------------------------------------------------------------------------------------------


def test_several_wait_for_room_and_go_on_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**9]
    monkeypatch.setattr(Root, "free_bytes", lambda self: free[0])

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        downloads = bob.service.downloads
        space = downloads._services.space
        downloads.set_max_active(1)
        transfers = [await bob.begin(MANIFEST, file=f"{number}", share=False) for number in range(3)]
        free[0] = space.floor + len(DATA) - 1
        await eventually(lambda: states(bob) == ["disk_full"] * 3)
        assert downloads.counts()["active"] == 0
        assert transfers[0].row.error_code == "storage"
        free[0] = space.floor + len(DATA)
        for transfer in transfers:
            assert (await bob.ended(transfer)).state == "done"

    in_swarm(tmp_path, work)


def test_retry_looks_at_the_disk_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "RETRY_SPACE_SECONDS", 1000.0)
    free = [10**9]
    monkeypatch.setattr(Root, "free_bytes", lambda self: free[0])

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        transfer = await bob.begin(MANIFEST)
        free[0] = 0
        await eventually(lambda: transfer.phase == "disk_full")
        assert transfer.rate == 0
        free[0] = 10**9
        assert bob.service.downloads.retry(transfer.row.transfer_id) == (transfer, True)
        assert (await bob.ended(transfer)).state == "done"
        # one that waits for its disk can be paused, and given up
        free[0] = 10**9
        other = await bob.begin(MANIFEST, file="other", share=False)
        free[0] = 0
        await eventually(lambda: other.phase == "disk_full")
        assert (await bob.service.downloads.pause(other.row.transfer_id))[1]
        assert other.phase == "paused"
        assert (await bob.service.downloads.cancel(other.row.transfer_id))[1]
        assert bob.parts() == []

    in_swarm(tmp_path, work)


def test_the_floor_is_reached_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pd.peer import commits

    monkeypatch.setattr(commits, "SYNC_OCTETS", MIB)
    free = [10**9]
    monkeypatch.setattr(Root, "free_bytes", lambda self: free[0])

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        left = [2 * MIB]

        def lose_room(view: memoryview) -> int:
            left[0] -= len(view)
            if left[0] == 0:
                free[0] = bob.service.downloads._services.space.floor - 1
            return 0 if left[0] >= 0 else Refusal.BUSY

        spoil(alice, lose_room)
        transfer = await bob.begin(MANIFEST)
        await eventually(lambda: transfer.row.state == "disk_full")
        assert int.from_bytes(transfer.row.committed).bit_count() >= 1  # what came before is kept
        left[0] = 1000 * MIB
        free[0] = 10**9
        assert (await bob.ended(transfer)).state == "done"
        assert bob.read("downloaded_a.bin") == DATA

    in_swarm(tmp_path, work)


def test_a_state_that_cannot_be_recorded_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        transfer = await bob.begin(MANIFEST)
        set_state = State.set_state

        def full(self: State, transfer_id: str, state: str, **more: object) -> None:
            if state == "paused":
                raise Fault("storage", "no space left")
            set_state(self, transfer_id, state, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(State, "set_state", full)
        with pytest.raises(Fault):
            await bob.service.downloads.pause(transfer.row.transfer_id)
        await eventually(lambda: transfer.running)

    in_swarm(tmp_path, work)
