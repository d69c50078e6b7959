"""p2pd/control/streaming.py: each method about streams, against a real swarm in this process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.asker import DATA, ID, SHA, Asker, run
from tests.fakes.reactors import DEADLINE
from tests.fakes.swarm import Member, eventually


async def read(begun: dict[str, Any]) -> bytes:
    """Everything, as a client gets it."""

    def work() -> bytes:
        octets = b""
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(DEADLINE)
            conn.connect(begun["path"])
            while data := conn.recv(1 << 20):
                octets += data
        return octets

    return await asyncio.to_thread(work)


@pytest.mark.parametrize("ref", ["a.bin", ID, SHA, f"sha256:{SHA}"])
def test_a_stream_and_its_end(tmp_path: Path, ref: str) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("stream", ref=ref)
        assert (begun["stream"], begun["id"], begun["name"]) == ("s-1", ID, "a.bin")
        assert (begun["state"], begun["sent_bytes"], begun["error"]) == ("locating", 0, None)
        assert await read(begun) == DATA
        ended = await bob("stream_status", stream="s-1", wait=True)
        assert (ended["state"], ended["sent_bytes"], ended["size_bytes"]) == ("done", len(DATA), len(DATA))
        assert (ended["sha256"], ended["error"], ended["eta_s"]) == (SHA, None, None)
        assert ended["from"] == [f"127.0.0.1:{a.service.router.port}"]
        assert await bob("stream_status", stream="s-1") == ended
        status = await bob("status")
        assert (status["peer"]["streams"], status["peer"]["downloaded_bytes"]) == (0, len(DATA))
        assert (await bob("transfers"))["items"] == []

    run(tmp_path, work)


def test_one_under_way(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("stream", ref=ID)
        assert (await bob("stream_status", stream=begun["stream"]))["state"] in ("locating", "streaming")
        assert (await bob("status"))["peer"]["streams"] == 1
        await b.service.streams.get("s-1").stop()
        ended = await bob("stream_status", stream="s-1", wait=True)
        assert (ended["state"], ended["error"]) == ("stopped", None)

    run(tmp_path, work)


def test_a_limit_of_its_own(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("stream", ref=ID, limit_bytes_per_s=4096)
        stream = b.service.streams.get(begun["stream"])
        await eventually(lambda: stream._driver is not None)
        assert stream._driver is not None
        assert stream._driver.bucket.rate == 4096
        await stream.stop()

    run(tmp_path, work)


def test_what_cannot_be(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        assert (await bob.fault("stream", ref="nothing.bin")).code == "not_found"
        assert (await bob.fault("stream")).code == "usage"
        assert (await bob.fault("stream_status", stream="s-9")).code == "not_found"
        assert (await Asker(None).fault("stream", ref=ID)).code == "refused"

    run(tmp_path, work)


def test_an_error_is_part_of_the_end(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await a.share("a.bin", DATA)
        begun = await bob("stream", ref=ID)
        stream = b.service.streams.get(begun["stream"])
        stream._tap.begin = None  # type: ignore[assignment, method-assign]
        ended = await bob("stream_status", stream="s-1", wait=True)
        assert (ended["state"], ended["error"]["code"]) == ("failed", "failure")

    run(tmp_path, work)
