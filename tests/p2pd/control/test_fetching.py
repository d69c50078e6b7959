"""p2pd/control/fetching.py: each method about downloads, against a real swarm in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.asker import DATA, ID, SHA, Asker, put, run
from tests.fakes.swarm import Member, manifest_of


def test_download_and_wait(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("download", ref="a.bin", directory=str(b.files))
        assert (begun["id"], begun["path"]) == (ID, str(b.files / "downloaded_a.bin"))
        ended = await bob("wait", transfer=begun["transfer"])
        assert (ended["state"], ended["verified"], ended["received_bytes"], ended["sha256"]) == (
            "done",
            True,
            len(DATA),
            SHA,
        )
        assert ended["from"] == [f"127.0.0.1:{a.service.router.port}"]
        assert Path(ended["path"]).read_bytes() == DATA
        if bob.events:
            assert bob.events[0]["transfer"] == begun["transfer"]
        assert (await bob("wait", transfer=begun["transfer"]))["state"] == "done"
        assert [item["transfer"] for item in (await bob("transfers"))["items"]] == [begun["transfer"]]
        assert (await bob("cancel", transfer=begun["transfer"]))["state"] == "done"
        assert (await bob.fault("wait", transfer="t-99")).code == "not_found"

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("params", "name", "checked"),
    [
        ({"ref": "a.bin"}, "downloaded_a.bin", False),
        ({"ref": f"sha256:{SHA}"}, "downloaded_a.bin", True),
        ({"ref": SHA}, "downloaded_a.bin", True),
        ({"ref": ID, "prefix": ""}, "a.bin", False),
        ({"ref": ID, "file": "mine"}, "mine", False),
    ],
)
def test_where_it_goes_and_what_is_checked(
    tmp_path: Path, params: dict[str, Any], name: str, checked: bool
) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("download", directory=str(b.files), share=False, **params)
        ended = await bob("wait", transfer=begun["transfer"])
        assert (ended["path"], ended["sha256_checked"]) == (str(b.files / name), checked)
        assert b.service.store.list_shares() == []

    run(tmp_path, work)


def test_targets_that_exist(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        directory = str(b.files)
        path = put(b, "downloaded_a.bin", b"mine")
        fault = await bob.fault("download", ref=ID, directory=directory)
        assert (fault.code, fault.details["path"]) == ("exists", path)
        skipped = await bob("download", ref=ID, directory=directory, exists="skip")
        assert (skipped["state"], skipped["transfer"], skipped["path"]) == ("skipped", None, path)
        assert (await bob("transfers"))["items"] == []
        assert "rename" in (await bob.fault("download", ref=ID, directory=directory, exists="eat")).hint
        begun = await bob("download", ref=ID, directory=directory, exists="rename")
        ended = await bob("wait", transfer=begun["transfer"])
        assert ended["path"] == str(b.files / "downloaded_a (1).bin")
        assert Path(path).read_bytes() == b"mine"

    run(tmp_path, work)


def test_transfers_are_listed_in_pages_newest_first_and_cancelled(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        begun = [await b.begin(manifest_of(DATA), file=str(number)) for number in range(3)]
        ids = [transfer.row.transfer_id for transfer in begun]
        first = await bob("transfers", limit=2)
        assert [item["transfer"] for item in first["items"]] == ids[:0:-1]
        rest = await bob("transfers", limit=2, cursor=first["next"])
        assert [item["transfer"] for item in rest["items"]] == ids[:1]
        assert rest["next"] is None
        waiting = asyncio.create_task(bob("wait", transfer=ids[0]))
        await asyncio.sleep(0)
        assert (await bob("cancel", transfer=ids[0]))["state"] == "cancelled"
        assert (await waiting)["state"] == "cancelled"
        assert bob.events[0]["transfer"] == ids[0]

    run(tmp_path, work)
