"""p2pd/control/loglines.py: the newest lines, those that follow, and what was missed."""

from __future__ import annotations

import asyncio
from typing import Any

from p2pd.control.loglines import MESSAGE, TRACEBACK, LogLines
from p2pd.logring import Line, Ring
from protocol.control import encode_reply
from tests.fakes.reactors import DEADLINE


class Bench:
    """The method, over a ring."""

    def __init__(self, lines: int = 100) -> None:
        self.ring = Ring(lines)
        self._method = LogLines(self.ring).logs

    def log(self, message: str, level: str = "info", exception: str = "") -> None:
        self.ring.add(Line(1787044364.1239, level, "p2pd.x", message, exception))

    async def ask(self, **params: Any) -> dict[str, Any]:
        async def progress(event: Any) -> None:
            raise AssertionError("no progress")

        return dict(await self._method(params, progress))


def test_the_newest_lines() -> None:
    async def work() -> None:
        bench = Bench()
        assert await bench.ask() == {"items": [], "next": "0", "partial": False, "warnings": [], "lost": 0}
        bench.log("one")
        bench.log("two", "error", "Traceback\n  x")
        bench.log("three")
        answer = await bench.ask(lines=2)
        assert (answer["next"], answer["lost"]) == ("3", 0)
        assert answer["items"][0] == {
            "seq": 2,
            "time": "2026-08-18T09:12:44.123Z",
            "level": "error",
            "area": "p2pd.x",
            "message": "two",
            "exception": ["Traceback", "  x"],
        }
        assert [item["seq"] for item in (await bench.ask(level="warning"))["items"]] == [2]
        assert (await bench.ask(lines=0))["next"] == "3"

    asyncio.run(work())


def test_lines_that_follow_are_waited_for() -> None:
    async def work() -> None:
        bench = Bench()
        bench.log("one")
        assert (await bench.ask(after=1))["items"] == []
        waiting = asyncio.create_task(bench.ask(after=1, level="warning", wait_s=DEADLINE))
        await asyncio.sleep(0)
        bench.log("not this")
        await asyncio.sleep(0.01)
        assert not waiting.done()
        bench.log("two", "warning")
        answer = await asyncio.wait_for(waiting, DEADLINE)
        assert ([item["message"] for item in answer["items"]], answer["next"]) == (["two"], "3")
        # Nothing of that level, but the place moves on.
        bench.log("nor this")
        answer = await bench.ask(after=3, level="warning", wait_s=0.01)
        assert (answer["items"], answer["next"]) == ([], "4")

    asyncio.run(work())


def test_a_slow_reader_is_told_what_it_missed() -> None:
    async def work() -> None:
        bench = Bench(lines=2)
        for number in range(10):
            bench.log(f"m{number}")
        answer = await bench.ask(after=3)
        assert (answer["lost"], answer["partial"]) == (5, True)
        assert [item["seq"] for item in answer["items"]] == [9, 10]

    asyncio.run(work())


def test_an_answer_fits_one_message_and_goes_on() -> None:
    async def work() -> None:
        bench = Bench(lines=3000)
        for number in range(2000):
            bench.log(f"{number} " + "ä" * 5000, "error", "\n".join(["x" * 5000] * 200))
        seen = 0
        last = 0
        while last < bench.ring.last():
            answer = await bench.ask(after=last)
            encode_reply(1, answer)
            last = int(answer["next"])
            seen += len(answer["items"]) + answer["lost"]
            for item in answer["items"]:
                assert len(item["message"]) <= MESSAGE
                assert len(item["exception"]) <= TRACEBACK
        assert seen == 2000
        newest = await bench.ask(lines=1000)
        encode_reply(1, newest)
        assert newest["items"][-1]["seq"] == 2000

    asyncio.run(work())
