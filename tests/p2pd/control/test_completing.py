"""p2pd/control/completing.py: what a name may become, against a real swarm in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pd.control import completing
from tests.fakes.asker import ID, Asker, put, run
from tests.fakes.swarm import Member, Swarm


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker's answer is waited for, however busy the machine."""
    monkeypatch.setattr(completing, "FOUND_SECONDS", 20.0)


async def values(asker: Asker, kind: str, text: str, **more: object) -> list[str]:
    answer = await asker("complete", kind=kind, text=text, **more)
    assert (answer["next"], answer["partial"], answer["warnings"]) == (None, False, [])
    return [item["value"] for item in answer["items"]]


@pytest.mark.usefixtures("patient")
def test_own_and_found_names(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await alice("add", path=put(a, "Report 1.pdf"))
        await alice("add", path=put(a, "rest_%.txt", b"other"))
        await bob("add", path=put(b, "report 2.pdf", b"third"))
        assert await values(alice, "shared", "re") == ["Report 1.pdf", "rest_%.txt"]
        assert await values(bob, "shared", "re") == ["report 2.pdf"]
        assert await values(bob, "found", "re") == ["Report 1.pdf", "report 2.pdf", "rest_%.txt"]
        assert await values(bob, "found", "") == ["Report 1.pdf", "report 2.pdf", "rest_%.txt"]
        assert await values(bob, "found", "re", limit=1) == ["Report 1.pdf"]
        assert await values(alice, "shared", "rest_%") == ["rest_%.txt"]
        assert await values(alice, "shared", "%") == []
        assert await values(bob, "found", "port") == []  # found by search, but not what begins so

    run(tmp_path, work)


@pytest.mark.usefixtures("patient")
def test_ids_when_it_looks_like_one(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await alice("add", path=put(a))
        assert await values(alice, "shared", ID[:8]) == [ID]
        assert await values(bob, "found", ID[:10].upper()) == [ID]
        assert await values(bob, "shared", ID[:8]) == []
        assert await values(bob, "found", ID[:7]) == []

    run(tmp_path, work)


def test_a_tracker_that_is_not_there_is_no_error_and_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            a = await swarm.peer("alice", connected=False)
            asker = Asker(a)
            await asker("add", path=put(a), wait=False)
            began = asyncio.get_running_loop().time()
            assert await values(asker, "found", "nothing") == []
            # The trackers' share of the time, and much for a busy machine; the first connection is given 4 s elsewhere.
            assert asyncio.get_running_loop().time() - began < completing.FOUND_SECONDS + 3

    asyncio.run(main())


def test_a_strange_kind_is_refused(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        assert (await alice.fault("complete", kind="all", text="")).code == "usage"

    run(tmp_path, work)
