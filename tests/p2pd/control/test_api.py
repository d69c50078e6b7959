"""p2pd/control/api.py: each method against a real swarm in this process."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from p2pd.control import pages
from protocol import control
from protocol.ids import device_text
from tests.fakes.asker import DATA, ID, SHA, Asker, put, run
from tests.fakes.swarm import Member, Swarm

# -- daemon -----------------------------------------------------------------------------------------------


def test_every_method_of_the_dialect_is_there_and_refuses_strange_parameters() -> None:
    async def main() -> None:
        ask = Asker(None)
        assert ask.api.methods.keys() == control.METHODS.keys()
        for method in ask.api.methods:
            assert (await ask.fault(method, nonsense=1)).code == "version"

    asyncio.run(main())


def test_a_tracker_answers_about_itself_only() -> None:
    async def main() -> None:
        ask = Asker(None)
        assert (await ask("ping"))["pid"] == os.getpid()
        assert (await ask("version")).keys() == {"version", "wire_version", "control_version"}
        assert (await ask("status"))["peer"] is None
        assert (await ask.fault("list")).code == "refused"
        assert (await ask.fault("add", path="/a")).code == "refused"
        assert (await ask.fault("download", ref="a", directory="/")).code == "refused"

    asyncio.run(main())


def test_shutdown_answers_first() -> None:
    async def main() -> None:
        ask = Asker(None)
        assert (await ask("shutdown"))["stopping"]
        assert not ask.stopped.is_set()
        await asyncio.wait_for(ask.stopped.wait(), 10)

    asyncio.run(main())


# -- share ------------------------------------------------------------------------------------------------


def test_add_list_and_remove(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        added = await alice("add", path=put(a))
        assert (added["id"], added["sha256"], added["state"]) == (ID, SHA, "shared")
        assert (added["added"], added["published"], added["warnings"]) == (True, True, [])
        assert alice.events[-1] == {"stage": "publishing", "done_bytes": len(DATA), "total_bytes": len(DATA)}
        again = await alice("add", path=put(a))
        assert again["id"] == ID
        assert (await alice("add", path=str(a.files / "a.bin")))["added"] is False
        listed = await alice("list")
        assert [item["name"] for item in listed["items"]] == ["a.bin"]
        assert (listed["next"], listed["partial"], listed["warnings"]) == (None, False, [])
        for ref in (SHA[:10], "nothing"):
            assert (await alice.fault("remove", ref=ref)).code == "not_found"
        removed = await alice("remove", ref=ID[:8])
        assert (removed["id"], removed["removed"]) == (ID, True)
        assert (await alice("list"))["items"] == []

    run(tmp_path, work)


@pytest.mark.parametrize("ref", ["a.bin", "name:a.bin", f"sha256:{SHA}", ID, "path"])
def test_a_share_is_removed_by_any_reference(tmp_path: Path, ref: str) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        path = put(a)
        await alice("add", path=path)
        assert (await alice("remove", ref=path if ref == "path" else ref))["id"] == ID

    run(tmp_path, work)


def test_an_ambiguous_share_is_not_removed(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await alice("add", path=put(a, "a.bin"), name="same")
        await alice("add", path=put(a, "b.bin", b"other"), name="same")
        fault = await alice.fault("remove", ref="same")
        assert fault.code == "ambiguous"
        assert len(fault.details["matches"]) == 2  # type: ignore[arg-type]

    run(tmp_path, work)


def test_add_without_waiting_and_add_of_what_cannot_be(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        added = await alice("add", path=put(a), wait=False)
        assert (added["state"], added["published"]) == ("hashing", False)
        assert (await alice.fault("add", path=str(a.files))).code == "usage"
        assert (await alice.fault("add", path="/missing")).code == "not_found"

    run(tmp_path, work)


def test_add_without_a_tracker_says_what_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            a = await swarm.peer("alice", connected=False)
            added = await Asker(a)("add", path=put(a))
            assert (added["state"], added["published"]) == ("shared", False)
            assert "not published yet" in added["warnings"][0]

    asyncio.run(main())


def test_lists_are_cut_into_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        for number in range(5):
            await a.share(f"{number}.bin", b"%d" % number, publish=False)
        names: list[str] = []
        cursor, count = None, 0
        while count == 0 or cursor:
            page = await alice("list", limit=2, cursor=cursor)
            names += [item["name"] for item in page["items"]]
            cursor, count = page["next"], count + 1
        assert (names, count) == ([f"{number}.bin" for number in range(5)], 3)
        assert (await alice.fault("list", cursor="x")).code == "usage"
        monkeypatch.setattr(pages, "PAGE_OCTETS", 10)
        page = await alice("list")
        assert (len(page["items"]), page["next"] is None) == (1, False)

    run(tmp_path, work)


# -- find -------------------------------------------------------------------------------------------------


def test_search_all_files_info_and_peers(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("Annual Report.pdf", DATA)
        await a.share("other.txt", b"other")
        for params in (
            {"text": "report"},
            {"text": "annual rep", "ext": ".pdf"},
            {"text": "report", "min_size_bytes": len(DATA)},
        ):
            found = await bob("search", **params)
            assert [item["id"] for item in found["items"]] == [ID]
        assert (found["items"][0]["sources"], found["items"][0]["local"], found["partial"]) == (
            1,
            False,
            False,
        )
        assert (await alice("search", text="report"))["items"][0]["local"]
        assert (await bob("search", text="report", max_size_bytes=5))["items"] == []
        assert (await bob.fault("search", text=" ")).code == "usage"
        assert "relevance" in (await bob.fault("search", text="a", sort="colour")).hint
        assert [item["name"] for item in (await bob("all_files"))["items"]] == [
            "Annual Report.pdf",
            "other.txt",
        ]
        first = await bob("all_files", limit=1)
        assert len((await bob("all_files", limit=1, cursor=first["next"]))["items"]) == 1
        info = await bob("info", ref=ID)
        assert (info["name"], info["pieces"], info["path"]) == ("Annual Report.pdf", None, None)
        assert [peer["device_id"] for peer in info["peers"]] == [device_text(a.service.own_id)]
        info = await alice("info", ref=f"sha256:{SHA}")
        assert (info["pieces"], info["state"], info["path"]) == (
            1,
            "shared",
            str(a.files / "Annual Report.pdf"),
        )
        members = (await bob("peers"))["items"]
        assert sorted((m["self"], m["files"]) for m in members) == [(False, 2), (True, 0)]
        assert [m["self"] for m in (await bob("peers", ref=ID))["items"]] == [False]
        assert (await bob.fault("info", ref="nothing")).code == "not_found"

    run(tmp_path, work)


def test_without_a_tracker_only_what_is_our_own_is_known(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            await swarm.tracker_down()
            a = await swarm.peer("alice", connected=False)
            await a.share("a.bin", DATA, publish=False)
            ask = Asker(a)
            assert (await ask.fault("search", text="a")).code == "network"
            info = await ask("info", ref="a.bin")
            assert (info["id"], info["sources"], info["peers"]) == (ID, 0, [])

    asyncio.run(main())
