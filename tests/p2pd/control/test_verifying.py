"""p2pd/control/verifying.py: results come as they are found, sums at the end, and it stops with whoever asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pd.control import verifying
from p2pd.control.server import ClientGone
from tests.fakes.asker import DATA, ID, Asker, put, run
from tests.fakes.swarm import Member


def rot(path: str) -> None:
    status = os.stat(path)
    with open(path, "r+b") as stream:
        stream.write(bytes([DATA[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def items(asker: Asker) -> list[dict[str, Any]]:
    return [item for event in asker.events for item in event.get("items", ())]


def test_found_and_repaired(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        path = put(b)
        await bob("add", path=path)
        rot(path)
        bob.events.clear()
        sums = await bob("verify", all=True)
        assert (sums["files"], sums["size_bytes"], sums["damaged"], sums["good"]) == (1, len(DATA), 1, 0)
        (item,) = items(bob)
        assert (item["id"], item["path"], item["state"], item["kind"]) == (ID, path, "damaged", "share")
        assert (item["pieces"], item["bad_pieces"], item["bad"], item["transfer"]) == (1, 1, [0], None)
        assert item["error"]["code"] == "integrity"
        assert bob.events[-1]["total_bytes"] == len(DATA)
        bob.events.clear()
        sums = await bob("verify", refs=["a.bin", ID, path], repair=True)
        assert (sums["files"], sums["repaired"], sums["damaged"]) == (1, 1, 0)
        assert items(bob)[0]["error"] is None
        assert Path(path).read_bytes() == DATA

    run(tmp_path, work)


def test_what_does_not_fit(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        for params in ({}, {"all": True, "refs": ["a"]}, {"all": True, "restore_changed": True}):
            assert (await bob.fault("verify", **params)).code == "usage"
        assert (await bob.fault("verify", refs=["nothing"])).code == "not_found"
        assert (await bob("verify", all=True))["files"] == 0

    run(tmp_path, work)


def test_many_results_travel_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "BATCH", 2)

    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        for number in range(5):
            await b.share(f"{number}", b"%d" % number, publish=False)
        assert (await bob("verify", all=True))["good"] == 5
        assert len(items(bob)) == 5
        assert max(len(event["items"]) for event in bob.events) <= 2

    run(tmp_path, work)


def test_it_stops_when_its_client_is_gone(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await b.share("a.bin", DATA, publish=False)

        async def gone(event: Mapping[str, Any]) -> None:
            raise ClientGone

        with pytest.raises(ClientGone):
            await bob.api.methods["verify"]({"all": True}, gone)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "verify"]
        assert (await bob("verify", all=True))["good"] == 1

    run(tmp_path, work)
