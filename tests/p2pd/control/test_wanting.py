"""p2pd/control/wanting.py: what people write, and what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pd.peer.wants import Spec
from protocol.errors import Fault
from protocol.keys import NetworkSecret
from protocol.tracker import By
from tests.fakes.asker import ID, SHA, Asker, put, run
from tests.fakes.swarm import SECRET, Member, Swarm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("holiday video", [(By.TEXT, "holiday video")]),
        (ID, [(By.ID, ID), (By.SHA256, ID)]),
        ("20240131", [(By.ID, "20240131"), (By.SHA256, "20240131"), (By.TEXT, "20240131")]),
        (f"sha256:{SHA}", [(By.SHA256, SHA)]),
        ("name:a b.txt", [(By.NAME, "a b.txt")]),
    ],
)
def test_what_is_looked_for(tmp_path: Path, text: str, expected: list[tuple[By, str]]) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        item = await bob("want", text=text, directory=str(b.files), ext="txt", min_size_bytes=3)
        assert (item["want"], item["what"], item["state"], item["transfer"]) == ("w-1", text, "wanted", None)
        queries = Spec.read(b.service.wants.get("w-1").spec).queries
        assert [(query.by, query.text) for query in queries] == expected
        assert {(query.ext, query.min_size) for query in queries} == {("txt", 3)}

    run(tmp_path, work)


def test_from_the_want_to_the_file(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await bob("want", text="a.bin", directory=str(b.files))
        waiting = asyncio.ensure_future(bob("await_want", want="w-1"))
        await alice("add", path=put(a))
        item = await asyncio.wait_for(waiting, 10)
        assert item["state"] == "started"
        await bob("wait", transfer=item["transfer"])
        assert (await bob("wants"))["items"] == []
        [over] = (await bob("wants", all=True))["items"]
        assert (over["transfer_state"], over["path"]) == ("done", str(b.files / "downloaded_a.bin"))
        assert not (await bob("unwant", want="w-1"))["changed"]
        assert bob.events[0]["want"] == "w-1"

    run(tmp_path, work)


def test_with_another_password_it_is_said_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            bob = await swarm.peer("bob")
            ask = Asker(bob)
            assert (await ask("want", text="a.bin", directory=str(bob.files)))["error"] is None
            waiting = asyncio.ensure_future(ask("await_want", want="w-1"))
            await swarm.tracker_down()
            await swarm.tracker_up(NetworkSecret(bytes(32), SECRET.network))
            with pytest.raises(Fault) as caught:
                await asyncio.wait_for(waiting, 10)
            assert caught.value.code == "auth"
            item = await ask("want", text="a.bin", directory=str(bob.files))
            assert (item["state"], item["error"]["code"]) == ("wanted", "auth")

    asyncio.run(main())


def test_pages_and_giving_up(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        for word in ("one", "two", "three"):
            await bob("want", text=word, directory=str(b.files))
        first = await bob("wants", limit=2)
        rest = await bob("wants", limit=2, cursor=first["next"])
        assert [item["what"] for item in (*first["items"], *rest["items"])] == ["one", "two", "three"]
        assert rest["next"] is None
        waiting = asyncio.ensure_future(bob.fault("await_want", want="w-2"))
        await asyncio.sleep(0)
        assert (await bob("unwant", want="w-2"))["changed"]
        assert (await asyncio.wait_for(waiting, 10)).code == "not_found"
        assert [item["want"] for item in (await bob("wants"))["items"]] == ["w-1", "w-3"]

    run(tmp_path, work)


def test_what_cannot_be_wanted(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        here = str(b.files)
        assert (await bob.fault("want", text="x", directory="/nowhere/at/all")).code == "storage"
        for text in ("name:", "sha256:zz", '"open', " "):
            assert (await bob.fault("want", text=text, directory=here)).code == "usage", text
        assert (await bob.fault("want", text="x", directory=here, exists="skip")).code == "usage"
        assert (await bob.fault("unwant", want="w-9")).code == "not_found"
        assert (await bob("wants", all=True))["items"] == []

    run(tmp_path, work)
