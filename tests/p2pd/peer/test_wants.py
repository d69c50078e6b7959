"""p2pd/peer/wants.py: what is wanted begins when it is there, once, whatever tracker tells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer import trackers as trackers_module
from p2pd.peer import wants as wants_module
from p2pd.peer.finding import Query
from p2pd.peer.wants import Spec
from p2pd.storage.state_wants import FAILED, STARTED, WANTED
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.limits import MAX_WANTS
from protocol.tracker import By
from protocol.wanting import Want, Wanted
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm, manifest_of, octets

SMALL = octets(1000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(wants_module, "TROUBLE_SECONDS", 0.02)


def spec(member: Member, *queries: Query, **more: Any) -> Spec:
    found = queries or (Query(By.TEXT, "alpha"),)
    fields: dict[str, Any] = {"file": None, "prefix": "", "exists": "fail", "share": True, "limit": 0}
    return Spec(found[0].text, found, str(member.files), **{**fields, **more})


def state(member: Member, want: str = "w-1") -> str:
    return member.service.wants.get(want).state


async def parked(member: Member) -> None:
    """Its question waits at the tracker."""
    await eventually(lambda: any(not task.done() for task in member.service.wants._questions.values()))


def test_a_spec_is_read_as_it_was_written() -> None:
    queries = (
        Query(By.TEXT, "a", "ogg", 1, 2, phrases=("b c",), without=("d",)),
        Query(By.SHA256, "ab" * 32),
    )
    one = Spec("a", queries, "/d\udcff", "f", "p", "rename", False, 5)
    assert Spec.read(one.text()) == one


@pytest.mark.parametrize("features", ["all", "none"])
def test_what_comes_later_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str) -> None:
    monkeypatch.setattr(wants_module, "OLD_SECONDS", 0.05)

    async def main() -> None:
        swarm = Swarm(tmp_path)
        if features == "none":
            swarm.features = Feature.CONTENTS
        async with swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            bob.service.wants.add(spec(bob))
            if features == "all":
                await parked(bob)
            assert state(bob) == WANTED
            await alice.share("other.bin", octets(10, 3))
            await alice.share("alpha.bin", SMALL)
            await eventually(lambda: state(bob) == STARTED)
            transfer = bob.service.wants.get("w-1").transfer
            assert transfer is not None
            await eventually(lambda: (bob.files / "alpha.bin").exists())
            assert bob.read("alpha.bin") == SMALL

    asyncio.run(main())


def test_what_is_there_already_begins_at_once_and_own_files_do_not_count(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await bob.share("alpha own.bin", octets(10, 4))
        await alice.share("beta.bin", SMALL)
        bob.service.wants.add(spec(bob))
        bob.service.wants.add(spec(bob, Query(By.TEXT, "beta")))
        await eventually(lambda: state(bob, "w-2") == STARTED)
        assert state(bob, "w-1") == WANTED

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("by", [By.ID, By.SHA256, By.NAME])
def test_by_id_hash_and_name(tmp_path: Path, by: By) -> None:
    manifest = manifest_of(SMALL)
    text = {By.ID: manifest.content_id.hex(), By.SHA256: manifest.sha256.hex()[:16], By.NAME: "a.bin"}[by]

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        bob.service.wants.add(spec(bob, Query(by, text)))
        await parked(bob)
        await alice.share("a.bin", SMALL)
        await eventually(lambda: (bob.files / "a.bin").exists())
        assert bob.read("a.bin") == SMALL

    in_swarm(tmp_path, work)


def test_any_of_several_trackers_tells_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        (tmp_path / "two").mkdir()
        async with Swarm(tmp_path / "two") as second:
            alice = await second.peer("alice")
            bob = await swarm.peer("bob", [swarm.endpoint, second.endpoint])
            bob.service.wants.add(spec(bob))
            await parked(bob)
            await swarm.leave(bob)
            await second.tracker_down()
            bob = await swarm.peer("bob", [swarm.endpoint, second.endpoint], connected=False)
            await second.tracker_up()
            await eventually(lambda: all(tracker.connected for tracker in bob.service.trackers))
            await alice.share("alpha.bin", SMALL)
            await eventually(lambda: (bob.files / "alpha.bin").exists())
            await swarm.leave(bob)

    in_swarm(tmp_path, work)


def test_a_tracker_that_is_added_later_is_asked_too(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob", [])
        bob.service.wants.add(spec(bob))
        await alice.share("alpha.bin", SMALL)
        assert state(bob) == WANTED
        await bob.service.set_trackers([swarm.endpoint])
        await eventually(lambda: (bob.files / "alpha.bin").exists())

    in_swarm(tmp_path, work)


def test_a_tracker_that_always_answers_at_once_is_asked_in_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wants_module, "FLOOR_SECONDS", 0.05)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        tracker, times = bob.service.trackers[0], []
        ask = tracker.request

        async def hasty(message: Any, *rest: Any) -> Any:
            if not isinstance(message, Want):
                return await ask(message, *rest)
            times.append(asyncio.get_running_loop().time())
            return Wanted(0, [7] if len(times) % 2 else [])

        monkeypatch.setattr(tracker, "request", hasty)
        bob.service.wants.add(spec(bob))
        await eventually(lambda: len(times) >= 4)
        assert times[3] - times[1] >= 0.09
        assert state(bob) == WANTED

    in_swarm(tmp_path, work)


def test_a_target_that_is_taken_fails_for_good_and_trouble_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wants_module, "AGAIN_FIRST", 0.1)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        (bob.files / "alpha.bin").write_bytes(b"here")
        begin, tries = bob.service.downloads.add, []

        async def full(wanted: Any) -> Any:
            tries.append(wanted)
            if wanted.prefix == "p-" and len(tries) < 4:
                raise Fault("storage", "no room")
            return await begin(wanted)

        monkeypatch.setattr(bob.service.downloads, "add", full)
        bob.service.wants.add(spec(bob))
        await parked(bob)
        await alice.share("alpha.bin", SMALL)
        await eventually(lambda: state(bob) == FAILED)
        assert bob.service.wants.get("w-1").error_code == "exists"
        bob.service.wants.add(spec(bob, prefix="p-"))
        await eventually(lambda: bob.service.wants.get("w-2").error_code == "storage")
        await eventually(lambda: state(bob, "w-2") == STARTED)
        assert bob.service.wants.get("w-2").error is None

    in_swarm(tmp_path, work)


def test_given_up_and_bounded(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        wants = bob.service.wants
        for number in range(MAX_WANTS):
            wants.add(spec(bob, Query(By.TEXT, f"w{number}")))
        with pytest.raises(Fault) as caught:
            wants.add(spec(bob, Query(By.TEXT, "more")))
        assert caught.value.code == "refused"
        assert wants.add(spec(bob, Query(By.TEXT, "w3"))).want == "w-4"
        assert wants.drop("w-1")
        assert len(wants.all(waiting=True)) == MAX_WANTS - 1
        wants.add(spec(bob, Query(By.TEXT, "more")))

    in_swarm(tmp_path, work)
