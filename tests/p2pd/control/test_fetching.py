"""p2pd/control/fetching.py: each method about downloads, against a real swarm in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer import attempt
from tests.fakes.asker import DATA, ID, SHA, Asker, put, run
from tests.fakes.swarm import Member, look_often, manifest_of


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


def test_the_first_of_several(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        never = await b.begin(manifest_of(b"nobody"), file="never")
        await a.share("a.bin", DATA)
        begun = await bob("download", ref="a.bin", directory=str(b.files))
        names = [never.row.transfer_id, begun["transfer"]]
        assert (await bob("wait", any=names))["transfer"] == begun["transfer"]
        assert (await bob("wait", any=names))["state"] == "done"  # it was so already
        for params in ({}, {"any": []}, {"any": names, "transfer": names[0]}):
            assert (await bob.fault("wait", **params)).code == "usage"
        assert (await bob.fault("wait", any=["t-1", "t-99"])).code == "not_found"

    run(tmp_path, work)


def test_who_is_not_patient_is_told_of_a_failure_that_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "HOPE_SECONDS", 0.05)

    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        look_often(b, 0.02)
        begun = await b.begin(manifest_of(b"nobody"))
        name = begun.row.transfer_id
        item = await bob("wait", transfer=name, patient=False)
        assert (item["state"], item["error"]["code"], item["retries"]) == ("retrying", "network", 1)
        assert item["retry_at"] is not None
        assert f"p2pctl cancel {name}" in item["error"]["hint"]
        waiting = asyncio.create_task(bob("wait", transfer=name))
        assert (await bob("cancel", transfer=name))["changed"]
        assert (await waiting)["state"] == "cancelled"

    run(tmp_path, work)


def test_pause_resume_retry_and_the_queue(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        begun = [await b.begin(manifest_of(b"nobody"), file=str(number)) for number in range(3)]
        first, second, _ = [transfer.row.transfer_id for transfer in begun]
        paused = await bob("pause", transfer=first)
        assert (paused["state"], paused["changed"]) == ("paused", True)
        assert (await bob("pause", transfer=first))["changed"] is False
        assert [item["transfer"] for item in (await bob("transfers", states=["paused"]))["items"]] == [first]
        assert await bob("queue", max_active=1) == {"max_active": 1, "active": 2, "queued": 0, "paused": 1}
        resumed = await bob("resume", transfer=first)
        assert (resumed["state"], resumed["changed"]) == ("queued", True)
        assert (await bob("resume", transfer=first))["changed"] is False
        assert (await bob("retry", transfer=first))["changed"] is False
        await bob("cancel", transfer=second)
        again = await bob("retry", transfer=second)
        assert (again["state"], again["changed"], again["finished_at"]) == ("queued", True, None)
        for method in ("pause", "resume", "retry", "cancel"):
            assert (await bob.fault(method, transfer="t-99")).code == "not_found"
        assert (await bob.fault("queue", max_active=0)).code == "usage"

    run(tmp_path, work)


def test_a_watcher_sees_each_change_and_each_end_once(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        downloads = b.service.downloads
        paused = await b.begin(manifest_of(b"nobody"), file="paused")
        await downloads.pause(paused.row.transfer_id)
        ended = await b.begin(manifest_of(b"nobody"), file="ended")
        events: list[Any] = []
        more = asyncio.Event()

        async def progress(event: Any) -> None:
            events.append(event)
            more.set()

        async def next_event() -> Any:
            more.clear()
            await asyncio.wait_for(more.wait(), 10)
            return events[-1]

        watching = asyncio.create_task(bob.api.methods["watch"]({"interval_s": 0.2}, progress))
        event = await next_event()
        names = {item["transfer"] for item in event["items"]}
        assert names == {paused.row.transfer_id, ended.row.transfer_id} == set(event["live"])
        assert (event["paused"], event["active"]) == (1, 1)
        await downloads.cancel(ended.row.transfer_id)
        event = await next_event()
        assert [item["state"] for item in event["items"]] == ["cancelled"]
        assert event["live"] == [paused.row.transfer_id]
        assert (await next_event())["items"] == []
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    run(tmp_path, work)
