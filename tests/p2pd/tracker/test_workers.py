"""p2pd/tracker/workers.py: order for each connection, others beside, and a bound to what waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from p2pd.tracker import workers as module
from p2pd.tracker.workers import Workers
from tests.fakes.manual import ManualReactor
from tests.fakes.processes import until

SECONDS = 10.0


class Bench:
    """Workers, and a reactor that is turned by hand."""

    def __init__(self, threads: int = 2) -> None:
        self.reactor = ManualReactor()
        self.workers = Workers(self.reactor, threads)  # type: ignore[arg-type]
        self.done: list[object] = []

    def submit(self, key: str, work: Callable[[], object]) -> bool:
        return self.workers.submit(key, work, lambda result, error: self.done.append(error or result))

    def turn_until(self, count: int) -> list[object]:
        def ready() -> bool:
            self.reactor.run()
            return len(self.done) >= count

        until(ready, SECONDS, f"{count} are done")
        return self.done


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    assert bench.workers.close(SECONDS)


def test_one_key_is_served_in_order(bench: Bench) -> None:
    seen: list[int] = []
    for number in range(20):
        assert bench.submit("a", lambda number=number: seen.append(number))  # type: ignore[misc]
    bench.turn_until(20)
    assert seen == list(range(20))


def test_a_slow_one_holds_up_nobody_else(bench: Bench) -> None:
    go = threading.Event()
    bench.submit("slow", lambda: go.wait(SECONDS))
    bench.submit("slow", lambda: "second")
    bench.submit("quick", lambda: "quick")
    assert bench.turn_until(1) == ["quick"]
    go.set()
    assert bench.turn_until(3) == ["quick", True, "second"]


def test_what_fails_is_told_and_the_next_is_served(bench: Bench) -> None:
    error = ValueError("no")

    def fail() -> None:
        raise error

    bench.submit("a", fail)
    bench.submit("a", lambda: "next")
    assert bench.turn_until(2) == [error, "next"]


def test_many_connections_cannot_have_very_much_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One member may have a hundred connections: what waited for all of them was no longer small."""
    monkeypatch.setattr(module, "WAITING_ALL", 3)
    go = threading.Event()
    for key in "abc":
        bench.submit(key, lambda: go.wait(SECONDS))
    assert [bench.submit("a", lambda: "x") for _ in range(4)] == [True, True, True, False]
    assert [bench.submit("b", lambda: "x") for _ in range(2)] == [True, False]
    bench.workers.forget("a")
    assert [bench.submit("c", lambda: "x") for _ in range(3)] == [True, True, False]
    go.set()
    bench.turn_until(6)
    assert bench.submit("a", lambda: go.wait(SECONDS))
    assert [bench.submit("a", lambda: "x") for _ in range(3)] == [True, True, True]
    bench.turn_until(10)


def test_what_waits_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    go = threading.Event()
    assert bench.submit("a", lambda: go.wait(SECONDS))
    assert [bench.submit("a", lambda: "x") for _ in range(3)] == [True, True, False]
    assert bench.submit("b", lambda: "b")
    go.set()
    assert sorted(map(str, bench.turn_until(4))) == ["True", "b", "x", "x"]
    assert bench.submit("a", lambda: "again")
    assert bench.turn_until(5)[-1] == "again"


def test_nothing_is_done_for_whoever_is_gone(bench: Bench) -> None:
    go = threading.Event()
    bench.submit("a", lambda: go.wait(SECONDS))
    bench.submit("a", lambda: "never")
    bench.workers.forget("a")
    bench.workers.forget("unknown")
    go.set()
    assert bench.turn_until(1) == [True]
    bench.submit("a", lambda: "new")
    assert bench.turn_until(2) == [True, "new"]


def test_the_end_waits_no_longer_than_it_is_told() -> None:
    bench = Bench(1)
    go = threading.Event()
    bench.submit("a", lambda: go.wait(SECONDS))
    bench.submit("b", lambda: "never")
    assert not bench.workers.close(0.05)
    go.set()
    assert bench.workers.close(SECONDS)
    bench.reactor.run()
    assert bench.done == [True]
    assert bench.submit("c", lambda: "too late")
    bench.reactor.run()
    assert bench.done == [True]
