"""p2pd.heartbeat: the watchdog is fed while all reactors move, and only then."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from p2pd.heartbeat import BEAT_SECONDS, Heartbeat
from p2pd.notify import Notifier
from tests.fakes.reactors import DEADLINE, Net, until
from tests.fakes.supervised import Manager


def settled(heart: Heartbeat) -> None:
    """Those that were asked have answered."""
    until(lambda: not heart._asked)


def test_one_reactor_that_stands_keeps_the_dog_hungry(tmp_path: Path) -> None:
    now = [0.0]
    beats: list[int] = []
    with Manager(str(tmp_path / "s")) as manager, Net() as net:
        notifier = Notifier({"NOTIFY_SOCKET": manager.address})
        heart = Heartbeat([net.listening, net.dialling], notifier, lambda: beats.append(1), lambda: now[0])
        heart.ask()
        settled(heart)
        assert heart.beat()
        assert manager.hear() == {"WATCHDOG": "1"}
        settled(heart)
        held, go = threading.Event(), threading.Event()
        net.dialling.call(lambda: (held.set(), go.wait(DEADLINE)))
        assert held.wait(DEADLINE)
        assert heart.beat()  # it had answered before it stood still
        until(lambda: len(heart._asked) == 1)
        now[0] += 5
        assert not heart.beat()
        assert not heart.beat()
        go.set()
        settled(heart)
        assert heart.beat()
        assert manager.hear() == manager.hear() == {"WATCHDOG": "1"}
        notifier.close()
        manager.socket.setblocking(False)
        assert len(beats) == 5


def test_it_beats_as_often_as_the_manager_wants(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "3000000"}
    notifier = Notifier(environ)
    assert Heartbeat([], notifier, lambda: None).interval == 1.0
    notifier.watchdog_s = 3600.0
    assert Heartbeat([], notifier, lambda: None).interval == BEAT_SECONDS
    notifier.close()
    assert Heartbeat([], Notifier({}), lambda: None).interval == BEAT_SECONDS


def test_it_runs_until_it_is_cancelled(tmp_path: Path) -> None:
    async def work() -> None:
        with Manager(str(tmp_path / "s")) as manager:
            notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000"})
            task = asyncio.create_task(Heartbeat([], notifier, lambda: None).run())
            for _ in range(2):
                assert (await asyncio.to_thread(manager.hear)) == {"WATCHDOG": "1"}
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            notifier.close()

    asyncio.run(work())
