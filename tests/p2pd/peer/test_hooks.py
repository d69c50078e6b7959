"""p2pd/peer/hooks.py: each runs once, with its document, and whatever it does is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from p2pd.events import Events
from p2pd.peer.hooks import Hooks, HookSettings
from p2pd.storage.state import State
from protocol.errors import Fault
from tests.fakes.swarm import eventually

KEEP = "import sys, os; open('ran', 'a').write(os.environ['P2PD_HOOK'] + ' ' + sys.stdin.read())"


class Bench:
    """Hooks over a real database. `restart` is what a kill and another start do."""

    def __init__(self, directory: Path, script: str, seconds: float = 20.0) -> None:
        self.directory = directory
        self.argv = [sys.executable, "-c", script]
        self.seconds = seconds
        self.events = Events()
        self.store = State(directory / "peer.db")
        self.open()

    def open(self, programs: dict[str, list[str]] | None = None) -> None:
        given = {"download_done": self.argv} if programs is None else programs
        settings = HookSettings(given, self.seconds)
        self.hooks = Hooks(settings, self.store, self.events, self.directory, "/sock")

    def end(self, transfer: str, name: str = "download_done") -> None:
        """A download is over."""
        with self.store.transaction():
            self.hooks.due(name, transfer)
        self.hooks.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        self.hooks.start()
        task = asyncio.create_task(self.hooks.run())
        try:
            yield
        finally:
            await self.hooks.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def told(self) -> list[tuple[str, str]]:
        return [(item["kind"], item["transfer"]) for item in self.events.read(0, True, None, 99).items]

    async def over(self, count: int) -> None:
        """So many ended."""
        await eventually(lambda: sum(kind != "hook.started" for kind, _ in self.told()) >= count)

    def ran(self) -> list[str]:
        path = self.directory / "ran"
        return path.read_text().splitlines() if path.exists() else []


def on(bench: Bench, work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with bench.running():
            await work()

    with bench.store:
        asyncio.run(main())


def test_it_runs_once_with_its_document(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KEEP)
    bench.hooks.describe = lambda transfer: {"transfer": transfer, "name": "a\udcff"}

    async def work() -> None:
        bench.end("t-1")
        bench.end("t-2", "download_failed")  # nothing is set for that
        await bench.over(1)
        bench.hooks.wake()
        await asyncio.sleep(0)

    on(bench, work)
    (line,) = bench.ran()
    name, _, document = line.partition(" ")
    assert name == "download_done"
    assert json.loads(document) == {
        "schema": "p2p.hook/1",
        "hook": "download_done",
        "transfer": {"transfer": "t-1", "name": "a\udcff"},
    }
    assert bench.told() == [("hook.started", "t-1"), ("hook.done", "t-1")]


def test_many_at_once_all_run_and_only_some_at_a_time(tmp_path: Path) -> None:
    script = (
        "import os\nos.mkdir(str(os.getpid()))\n"
        "print(sum(name.isdigit() for name in os.listdir('.')))\nos.rmdir(str(os.getpid()))"
    )
    bench = Bench(tmp_path, script)

    async def work() -> None:
        for number in range(6):
            bench.end(f"t-{number}")
        await bench.over(6)
        running = most = 0
        for kind, _ in bench.told():
            running += 1 if kind == "hook.started" else -1
            most = max(most, running)
        assert most <= 2

    on(bench, work)
    assert {transfer for _, transfer in bench.told()} == {f"t-{number}" for number in range(6)}


def test_what_was_due_when_we_were_killed_runs_at_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KEEP)
    bench.end("t-1")
    bench.open()

    async def work() -> None:
        await bench.over(1)

    on(bench, work)
    assert len(bench.ran()) == 1


def test_what_ran_when_we_were_killed_is_told_and_not_run_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KEEP)
    bench.end("t-1")
    bench.store.start_hook(1, 1.0)
    bench.open()

    async def work() -> None:
        await bench.over(1)

    on(bench, work)
    (item,) = bench.events.read(0, True, None, 9).items
    assert (item["kind"], item["exit"], item["reason"]) == (
        "hook.failed",
        None,
        "p2pd was killed while it ran",
    )
    assert bench.ran() == []


def test_one_that_is_not_set_any_more_is_dropped(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KEEP)
    bench.end("t-1")
    bench.open({})

    async def work() -> None:
        await eventually(lambda: bench.store.hooks() == [])

    on(bench, work)
    assert bench.told() == []


def test_a_stop_kills_what_runs_and_keeps_what_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "import time; time.sleep(600)")

    async def work() -> None:
        for number in range(3):
            bench.end(f"t-{number}")
        await eventually(lambda: sum(kind == "hook.started" for kind, _ in bench.told()) == 2)
        await bench.hooks.close()
        assert [due.transfer_id for due in bench.store.hooks()] == ["t-2"]

    on(bench, work)
    assert sorted(bench.told())[:2] == [("hook.failed", "t-0"), ("hook.failed", "t-1")]


def test_failures_are_told_and_its_words_are_logged_safely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "p2pd.peer.hooks")
    bench = Bench(tmp_path, "print('oh\\x1b[31m'); print('no\\n' * 99); raise SystemExit(3)")

    async def work() -> None:
        bench.end("t-1")
        await bench.over(1)

    on(bench, work)
    item = bench.events.read(0, True, None, 9).items[-1]
    assert (item["kind"], item["exit"], item["reason"]) == ("hook.failed", 3, "exit status 3")
    lines = [record.getMessage() for record in caplog.records]
    assert "< hook download_done for t-1: oh\x1b[31m" in lines  # the log's format escapes it
    assert "< hook download_done for t-1: more is left out" in lines
    assert len(lines) < 50


def test_a_transfer_that_is_not_listed_any_more_has_its_hook_all_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KEEP)

    def unknown(transfer: str) -> dict[str, Any]:
        raise Fault("not_found", "no transfer")

    bench.hooks.describe = unknown

    async def work() -> None:
        bench.end("t-1")
        await bench.over(1)

    on(bench, work)
    assert json.loads(bench.ran()[0].partition(" ")[2])["transfer"] == {"transfer": "t-1"}


def test_without_a_store_there_are_none() -> None:
    hooks = Hooks(HookSettings({"download_done": ["/bin/true"]}))
    hooks.due("download_done", "t-1")
    hooks.wake()
