"""p2pd/net/reactor.py: calls, timers, sockets and works of one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import zmq

from p2pd.net.reactor import LANE_FULL, Reactor
from tests.fakes.reactors import Box, Clock, until


class Bench:
    """One reactor with what it needs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.executor = ThreadPoolExecutor(1)
        self.reactor = Reactor("bench", self.context, self.executor, self.clock)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    assert bench.reactor.stop(10)
    bench.executor.shutdown()
    bench.context.destroy(linger=0)


def test_calls_run_in_order_on_the_reactors_thread(bench: Bench) -> None:
    seen: Box[tuple[int, str]] = Box()
    for number in range(200):
        bench.reactor.call(lambda number: seen.put((number, threading.current_thread().name)), number)
    assert not seen.items
    bench.reactor.start()
    assert bench.reactor.running
    assert seen.wait(200) == [(number, "bench") for number in range(200)]


def test_calls_of_a_call_run_later_and_all_before_the_end(bench: Bench) -> None:
    seen: Box[str] = Box()

    def first() -> None:
        bench.reactor.call(seen.put, "second")
        seen.put("first")

    bench.reactor.start()
    bench.reactor.call(first)
    assert seen.wait(2) == ["first", "second"]
    bench.reactor.call(seen.put, "last")
    assert bench.reactor.stop(10)
    assert seen.items[-1] == "last"
    assert not bench.reactor.running


def test_stopped_before_it_started_and_called_after_its_end(bench: Bench) -> None:
    assert bench.reactor.stop(10)
    bench.reactor.call(print, "never")


def test_a_reactor_that_is_busy_does_not_stop_in_time(bench: Bench) -> None:
    release, entered = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        release.wait(10)

    bench.reactor.start()
    bench.reactor.call(block)
    assert entered.wait(10)
    assert not bench.reactor.stop(0.01)
    release.set()


def test_timers_fire_in_the_order_of_their_times(bench: Bench) -> None:
    seen: Box[int] = Box()

    def arm() -> None:
        for delay in (300, 100, 200, 100):
            bench.reactor.later(delay, seen.put, delay)

    bench.reactor.start()
    bench.reactor.call(arm)
    bench.reactor.call(seen.put, 0)
    assert seen.wait(1) == [0]
    bench.clock.ahead = 150
    bench.reactor.call(seen.put, 1)
    assert seen.wait(4) == [0, 1, 100, 100]
    bench.clock.ahead = 1000
    bench.reactor.call(seen.put, 2)
    assert seen.wait(7) == [0, 1, 100, 100, 2, 200, 300]


def test_a_short_timer_needs_no_other_event(bench: Bench) -> None:
    seen: Box[str] = Box()
    bench.reactor.start()
    bench.reactor.call(bench.reactor.later, 0.01, seen.put, "fired")
    assert seen.get(0.9) == "fired"


def test_a_cancelled_timer_does_not_fire(bench: Bench) -> None:
    seen: Box[str] = Box()

    def arm() -> None:
        timer = bench.reactor.later(1, seen.put, "cancelled")
        timer.cancel()
        timer.cancel()
        bench.reactor.later(2, seen.put, "fired")

    bench.reactor.start()
    bench.reactor.call(arm)
    bench.reactor.call(setattr, bench.clock, "ahead", 10.0)
    assert seen.get() == "fired"


def test_a_socket_is_read_until_it_is_removed(bench: Bench) -> None:
    seen: Box[bytes] = Box()
    here, there = bench.context.socket(zmq.PAIR), bench.context.socket(zmq.PAIR)
    here.bind("inproc://pair")
    there.connect("inproc://pair")
    bench.reactor.start()
    bench.reactor.call(bench.reactor.add_socket, here, lambda: seen.put(here.recv()))
    for text in (b"1", b"2"):
        there.send(text)
    assert seen.wait(2) == [b"1", b"2"]
    gone: Box[None] = Box()
    bench.reactor.call(bench.reactor.remove_socket, here)
    bench.reactor.call(bench.reactor.remove_socket, here)
    bench.reactor.call(gone.put, None)
    gone.get()
    there.send(b"3")
    bench.reactor.call(gone.put, None)
    gone.get()
    assert len(seen.items) == 2
    assert bench.reactor.stop(10)
    here.close()
    there.close()


def test_work_is_done_between_other_things_until_there_is_none(bench: Bench) -> None:
    seen: Box[str] = Box()
    left = [3]

    def work() -> bool:
        left[0] -= 1
        seen.put(f"work {left[0]}")
        if left[0] == 1:
            bench.reactor.call(seen.put, "call")
        return left[0] > 0

    def begin() -> None:
        bench.reactor.add_work(work)
        bench.reactor.add_work(work)

    bench.reactor.start()
    bench.reactor.call(begin)
    assert seen.wait(4) == ["work 2", "work 1", "call", "work 0"]
    left[0] = 1
    bench.reactor.call(bench.reactor.add_work, work)
    assert seen.wait(5)[4] == "work 0"


def test_offloaded_work_comes_back_to_the_thread_with_its_result_or_its_error(bench: Bench) -> None:
    seen: Box[tuple[object, object, str, str]] = Box()
    names: list[str] = []

    def work() -> int:
        names.append(threading.current_thread().name)
        return 7

    def then(result: object, error: BaseException | None) -> None:
        seen.put((result, str(error), names[-1], threading.current_thread().name))

    def fail() -> None:
        raise ValueError("no")

    bench.reactor.start()
    bench.reactor.call(bench.reactor.offload, work, then)
    result, error, worker, thread = seen.get()
    assert (result, error, thread) == (7, "None", "bench")
    assert worker != "bench"
    bench.reactor.call(bench.reactor.offload, fail, then)
    assert seen.get()[:2] == (None, "no")


def test_a_callback_that_fails_takes_nothing_with_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    seen: Box[str] = Box()

    def fail(*_: object) -> bool:
        raise RuntimeError("a bug")

    def begin() -> None:
        bench.reactor.add_work(fail)
        bench.reactor.later(0, fail)
        bench.reactor.call(fail)
        bench.reactor.call(bench.reactor.later, 0.02, seen.put, "alive")

    bench.reactor.start()
    with caplog.at_level(logging.ERROR):
        bench.reactor.call(begin)
        assert seen.get() == "alive"
    assert len(caplog.records) == 3
    assert all(record.exc_info for record in caplog.records)


def test_the_end_of_the_context_ends_the_thread(bench: Bench) -> None:
    socket = bench.context.socket(zmq.DEALER)
    bench.reactor.add_socket(socket, lambda: None)
    bench.reactor.start()
    terminator = threading.Thread(target=bench.context.term)
    terminator.start()
    bench.reactor._thread.join(10)
    assert not bench.reactor.running
    socket.close()
    terminator.join(10)
    assert not terminator.is_alive()


def test_works_of_one_key_keep_their_order_in_other_threads(bench: Bench) -> None:
    seen: Box[tuple[int, str]] = Box()
    gate = threading.Event()
    order: list[int] = []
    bench.reactor.start()

    def work(number: int) -> int:
        assert gate.wait(10)
        order.append(number)
        return number

    def then(result: int, error: BaseException | None) -> None:
        assert error is None
        seen.put((result, threading.current_thread().name))

    futures = [bench.reactor.in_order(8, lambda number=number: work(number), then) for number in range(50)]
    assert not any(future.done() for future in futures)
    gate.set()
    assert seen.wait(50) == [(number, "bench") for number in range(50)]
    assert order == list(range(50))
    assert all(future.done() for future in futures)


def test_a_second_thread_is_used_when_the_first_has_enough(bench: Bench) -> None:
    gates = {key: threading.Event() for key in range(LANE_FULL + 2)}
    ran: Box[tuple[int, int]] = Box()
    bench.reactor.start()

    def work(key: int) -> None:
        assert gates[key].wait(10)
        ran.put((key, threading.get_ident()))

    def submit(*keys: int) -> None:
        for key in keys:
            bench.reactor.in_order(key, lambda key=key: work(key), lambda result, error: None)

    def lanes() -> list[int]:
        return list(bench.reactor._in_lane)

    bench.reactor.call(submit, *range(LANE_FULL + 1))
    until(lambda: lanes() == [LANE_FULL, 1])
    gates[LANE_FULL].set()
    ((key, second),) = ran.wait(1)
    assert key == LANE_FULL
    until(lambda: lanes() == [LANE_FULL, 0])
    bench.reactor.call(submit, 0)  # where its first one is, although that lane is full
    until(lambda: lanes() == [LANE_FULL + 1, 0])
    for gate in gates.values():
        gate.set()
    first = {thread for key, thread in ran.wait(LANE_FULL + 2) if key != LANE_FULL}
    assert len(first) == 1
    assert second not in first
    until(lambda: lanes() == [0, 0])
    assert bench.reactor._lane_of == {}


def test_a_work_in_order_that_fails_tells_why_and_the_next_goes_on(bench: Bench) -> None:
    seen: Box[object] = Box()
    bench.reactor.start()
    bench.reactor.in_order(1, lambda: 1 // 0, lambda result, error: seen.put(type(error)))
    bench.reactor.in_order(1, lambda: 7, lambda result, error: seen.put(result))
    assert seen.wait(2) == [ZeroDivisionError, 7]
