"""From the event loop to a reactor and back: awaitable calls into another thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from p2pd.net.dealer import Link
from p2pd.net.reactor import Reactor

T = TypeVar("T")


def settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], result: T) -> None:
    """Gives a future of `loop` its result, from any thread; nothing happens when it was cancelled meanwhile or the loop has ended."""

    def put() -> None:
        if not future.done():
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(put)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Runs `callback(*args)` on the loop soon, from any thread; nothing when the loop has ended."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass  # as above


async def run_on(reactor: Reactor, work: Callable[[], T]) -> T:
    """The result of `work()` run on the reactor's thread; its exception is raised here."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # carried over to the caller, who judges it
            settle(loop, future, (None, error))
        else:
            settle(loop, future, (result, None))

    reactor.call(run)
    result, error = await future
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


async def ask(reactor: Reactor, link: Link, message: Any, timeout: float) -> Any:
    """The reply to a request over `link` (without its payload), or a Lost."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def answer(reply: Any, payload: memoryview) -> None:
        settle(loop, future, reply)

    reactor.call(link.ask, message, answer, timeout)
    return await future
