"""p2pd.supervision: what signals do before, while and after it runs, and what the manager hears of a reload."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pd import supervision as module
from p2pd.supervision import Supervision, has_terminal
from protocol.errors import Fault
from tests.fakes.supervised import Manager, make_supervision
from tests.fakes.swarm import eventually


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logger = logging.getLogger("p2pd")
    before = logger.level
    yield
    logger.setLevel(before)


class Bench:
    """Supervision with a manager, and a daemon that counts its stops."""

    def __init__(self, home: Path, manager: Manager) -> None:
        self.home = home
        self.manager = manager
        self.supervision: Supervision = make_supervision(home, None, {"NOTIFY_SOCKET": manager.address})
        self.stops = 0
        self.summary = "fine"

    def stop(self) -> None:
        self.stops += 1

    def level(self, level: str) -> None:
        (self.home / "p2pd.toml").write_text(f"[log]\nlevel = '{level}'\n")

    def holds(self, level: str) -> bool:
        return bool(self.supervision.tuning.current("log.level").running == level)

    async def hear(self) -> dict[str, str]:
        return await asyncio.to_thread(self.manager.hear)


def run(home: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        with Manager(str(home / "s")) as manager:
            bench = Bench(home, manager)
            bench.supervision.begin(bench.stop)
            try:
                await work(bench)
            finally:
                bench.supervision.stopping()
                await bench.supervision.close()
                bench.supervision.notifier.close()

    asyncio.run(main())


def test_a_hangup_reads_the_settings_again(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.supervision.ready([], lambda: bench.summary)
        assert await bench.hear() == {"READY": "1", "STATUS": "fine"}
        bench.level("debug")
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await bench.hear())["RELOADING"] == "1"
        assert await bench.hear() == {"READY": "1", "STATUS": "fine"}
        assert bench.holds("debug")
        assert bench.stops == 0

    run(tmp_path, work)


def test_a_mistake_is_told_to_the_manager_and_changes_nothing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.supervision.ready([], lambda: bench.summary)
        await bench.hear()
        bench.level("loud")
        with pytest.raises(Fault):
            await bench.supervision.reload()
        await bench.hear()
        assert "p2pd.toml:2" in (await bench.hear())["STATUS"]
        os.kill(os.getpid(), signal.SIGHUP)
        await bench.hear()
        assert "not reloaded" in (await bench.hear())["STATUS"]
        assert bench.holds("info")

    run(tmp_path, work)


def test_a_hangup_before_it_is_ready_counts_when_it_is(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.level("debug")
        bench.supervision.hangup()
        await asyncio.sleep(0)
        assert bench.holds("info")
        bench.supervision.ready([], lambda: bench.summary)
        await eventually(lambda: bench.holds("debug"))

    run(tmp_path, work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_end_it(tmp_path: Path, number: signal.Signals) -> None:
    async def work(bench: Bench) -> None:
        os.kill(os.getpid(), number)
        await eventually(lambda: bench.stops == 1)

    run(tmp_path, work)


def test_a_terminal_that_has_gone_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [True]
    monkeypatch.setattr(module, "has_terminal", lambda: there[0])

    async def work(bench: Bench) -> None:
        bench.supervision.ready([], lambda: bench.summary)
        bench.supervision.hangup()
        assert bench.stops == 0
        there[0] = False
        bench.supervision.hangup()
        assert bench.stops == 1

    run(tmp_path, work)


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_nohup_is_obeyed(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    with ignored(signal.SIGHUP):
        run(tmp_path, work)


def test_news_for_the_manager_between_reloads(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.supervision.ready([], lambda: bench.summary)
        await bench.hear()
        bench.supervision._now_and_then()
        bench.summary = "busy"
        bench.supervision._now_and_then()
        assert await bench.hear() == {"STATUS": "busy"}

    run(tmp_path, work)


def test_a_process_without_a_terminal_says_so() -> None:
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child's answer is its status
        os.setsid()
        os._exit(3 if has_terminal() else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
