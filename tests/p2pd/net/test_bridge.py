"""p2pd/net/bridge.py: results and errors cross between the event loop and a reactor's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from p2pd.net.bridge import ask, post, run_on, settle
from p2pd.net.dealer import Lost
from p2pd.net.router import Conn
from protocol.errors import Fault
from protocol.peer import Available, Interest
from tests.fakes.reactors import Box, Net, Recorder

ID = bytes(32)


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def test_work_runs_on_the_reactor_and_its_result_comes_back(net: Net) -> None:
    async def main() -> str:
        return await run_on(net.dialling, lambda: threading.current_thread().name)

    assert asyncio.run(main()) == "dialling"


def test_its_exception_comes_back_too(net: Net) -> None:
    def fail() -> None:
        raise Fault("storage", "no")

    async def main() -> None:
        await run_on(net.dialling, fail)

    with pytest.raises(Fault) as caught:
        asyncio.run(main())
    assert caught.value.code == "storage"


def test_whoever_waits_no_more_is_not_told(net: Net) -> None:
    async def main() -> None:
        entered, leave = threading.Event(), threading.Event()

        def block() -> int:
            entered.set()
            leave.wait(10)
            return 1

        task = asyncio.create_task(run_on(net.dialling, block))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        leave.set()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert await run_on(net.dialling, lambda: 2) == 2

    asyncio.run(main())


def test_a_loop_that_has_ended_takes_nothing() -> None:
    async def main() -> tuple[asyncio.AbstractEventLoop, asyncio.Future[int]]:
        loop = asyncio.get_running_loop()
        return loop, loop.create_future()

    loop, future = asyncio.run(main())
    settle(loop, future, 1)
    post(loop, future.set_result, 1)
    assert not future.done()


def test_a_future_is_settled_once_from_any_thread() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        for number in (1, 2):
            await asyncio.to_thread(settle, loop, future, number)
        return await future

    assert asyncio.run(main()) == 1


def test_posts_keep_their_order_and_run_on_the_loop() -> None:
    async def main() -> list[tuple[int, bool]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[int, bool]] = []
        done = asyncio.Event()
        here = threading.current_thread()

        def posted(number: int) -> None:
            seen.append((number, threading.current_thread() is here))
            if number == 9:
                done.set()

        def work() -> None:
            for number in range(10):
                post(loop, posted, number)

        await asyncio.to_thread(work)
        await asyncio.wait_for(done.wait(), 10)
        return seen

    assert asyncio.run(main()) == [(number, True) for number in range(10)]


def test_a_request_is_awaited_like_any_other_call(net: Net) -> None:
    asked: Box[Conn] = Box()

    def answer(conn: Conn, request: object, payload: memoryview) -> None:
        asked.put(conn)
        if len(asked.items) == 1:
            conn.send(Available(1, True))
        else:
            conn.close("enough")

    dialled = net.dial(net.listen(Recorder(answer)).port)
    dialled.ready.get()

    async def main() -> tuple[object, object]:
        first = await ask(net.dialling, dialled.link, Interest(0, ID), 10)
        return first, await ask(net.dialling, dialled.link, Interest(0, ID), 10)

    reply, lost = asyncio.run(main())
    assert reply == Available(1, True)
    assert not isinstance(reply, Lost)
    assert isinstance(lost, Lost)
    assert isinstance(lost, Lost)
    assert lost.code == "lost"
