"""p2pd/tracker/server.py: requests of members to the service, on a clock that never goes back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pd.net.bans import Ban
from p2pd.tracker import server, workers
from p2pd.tracker.reach import Probe
from p2pd.tracker.registry import Registry, RegistryError
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.server import SWEEP_SECONDS, SteadyClock, TrackerServer, system_rng
from p2pd.tracker.service import BANS_SECONDS, TrackerService
from p2pd.tracker.workers import Workers
from protocol.checks import Clock, ClockIs, Reach, Reachable, Reached
from protocol.codec import encode
from protocol.errors import Refusal, RemoteProtocolError
from protocol.limits import ANNOUNCE_LIFETIME, FORGET_SECONDS
from protocol.tracker import (
    Announce,
    Announced,
    By,
    Bye,
    Entry,
    Hits,
    Ok,
    Publish,
    Published,
    Refused,
    Search,
    Stats,
)
from tests.fakes.manual import ManualReactor
from tests.fakes.processes import until
from tests.fakes.reactors import HOST

EPOCH = b"e" * 8


class FakeConn:
    """Stands in for router.Conn."""

    def __init__(self, name: bytes = b"a") -> None:
        self.device_id = name * 20
        self.host = HOST
        self.sent: list[object] = []
        self.closed: list[str] = []

    def send(self, message: object, payload: bytes = b"") -> None:
        self.sent.append(message)

    def close(self, reason: str) -> None:
        self.closed.append(reason)


class Bench:
    """A server over a real registry, with a clock of its own."""

    def __init__(self, registry: Registry | None = None, threads: int = 0) -> None:
        self.registry = registry or SqliteRegistry(":memory:")
        self.reactor = ManualReactor()
        self.now = 1000.0
        self.trouble = ""
        self.service = TrackerService(self.registry, "", random.Random(1))
        self.workers = Workers(self.reactor, threads) if threads else None  # type: ignore[arg-type]
        self.server = TrackerServer(
            self.reactor,  # type: ignore[arg-type]
            self.service,
            lambda: self.now,
            workers=self.workers,
            trouble=lambda: self.trouble,
        )

    def ask(self, conn: FakeConn, message: object) -> object:
        before = len(conn.sent)
        self.say(conn, message)
        while self.server._work():
            pass
        assert len(conn.sent) == before + 1
        return conn.sent[-1]

    def say(self, conn: FakeConn, message: object) -> None:
        self.server.message(conn, memoryview(encode(message)), memoryview(b""))  # type: ignore[arg-type]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.reactor.advance(seconds)

    def found(self) -> int:
        reply = self.ask(FakeConn(b"z"), Search(9, By.ALL))
        assert isinstance(reply, Hits)
        return len(reply.items)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.registry.close()


def share(bench: Bench, conn: FakeConn) -> None:
    """One file, announced and published."""
    assert isinstance(bench.ask(conn, Announce(1, EPOCH, 1, 8001)), Announced)
    entry = Entry(bytes(32), bytes(32), 5, "a.bin", 1)
    assert isinstance(bench.ask(conn, Publish(2, EPOCH, 0, 1, True, False, [entry], [])), Published)


def test_the_clock_never_goes_back() -> None:
    read = iter([5.0, 7.0, 3.0, 6.0, 8.0])
    clock = SteadyClock(lambda: next(read))
    assert [clock() for _ in range(5)] == [5.0, 7.0, 7.0, 7.0, 8.0]


def test_the_clock_is_the_wall_clock() -> None:
    assert SteadyClock()() > 1_700_000_000


def test_each_request_has_one_answer(bench: Bench) -> None:
    conn = FakeConn()
    bench.server.opened(conn)  # type: ignore[arg-type]
    share(bench, conn)
    assert bench.found() == 1
    assert bench.server.stats()["devices"] == 1
    assert bench.ask(conn, Bye(3)) == Ok(3)
    assert bench.found() == 0
    bench.server.writable(conn)  # type: ignore[arg-type]
    bench.server.closed(conn)  # type: ignore[arg-type]


def publish(base: int) -> Publish:
    return Publish(
        base, EPOCH, base, base + 1, True, True, [Entry(bytes(32), bytes(32), 5, f"{base}.bin", 1)], []
    )


def test_a_search_does_not_wait_for_batches_that_came_before_it(bench: Bench) -> None:
    alice, bob = FakeConn(b"a"), FakeConn(b"b")
    bench.ask(alice, Announce(1, EPOCH, 9, 8001))
    for base in range(3):
        bench.say(alice, publish(base))
    bench.say(bob, Search(7, By.ALL))
    assert bob.sent == [Hits(7, [], "")]
    assert bench.reactor.works == [bench.server._work]
    assert [bench.server._work() for _ in range(3)] == [True, True, False]
    assert alice.sent[1:] == [Published(base, base + 1) for base in range(3)]
    assert bench.server._work() is False


def test_what_a_device_says_after_a_batch_waits_behind_it(bench: Bench) -> None:
    conn = FakeConn()
    bench.ask(conn, Announce(1, EPOCH, 9, 8001))
    bench.say(conn, publish(0))
    bench.say(conn, Bye(5))
    assert len(conn.sent) == 1
    while bench.server._work():
        pass
    assert conn.sent[1:] == [Published(0, 1), Ok(5)]
    bench.say(conn, Bye(6))
    assert conn.sent[-1] == Ok(6)


def test_the_queue_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUEUE", 2)
    conn = FakeConn()
    bench.ask(conn, Announce(1, EPOCH, 9, 8001))
    for base in range(5):
        bench.say(conn, publish(base))
    assert conn.sent[1:] == [Published(base, base + 1) for base in range(3)]


@pytest.mark.parametrize(
    ("header", "payload"),
    [(b"", b""), (b"\x92\x10\x01", b""), (encode([99, 1]), b""), (encode(Bye(1)), b"x")],
)
def test_what_breaks_the_rules_ends_the_session(bench: Bench, header: bytes, payload: bytes) -> None:
    conn = FakeConn()
    with pytest.raises(RemoteProtocolError):
        bench.server.message(conn, memoryview(header), memoryview(payload))  # type: ignore[arg-type]
    assert conn.sent == []


def test_whoever_is_not_heard_of_is_gone_and_later_forgotten(bench: Bench) -> None:
    share(bench, FakeConn())
    bench.advance(ANNOUNCE_LIFETIME + 1)
    assert bench.found() == 0
    assert bench.server.stats()["devices"] == 0
    assert isinstance(bench.ask(FakeConn(), Announce(1, EPOCH, 1, 8001)), Announced)
    assert bench.found() == 1
    bench.now += ANNOUNCE_LIFETIME + FORGET_SECONDS + 1
    bench.advance(2 * SWEEP_SECONDS)
    reply = bench.ask(FakeConn(), Announce(1, EPOCH, 1, 8001))
    assert isinstance(reply, Announced)
    assert reply.known_revision == 0


def test_a_registry_that_fails_is_a_refusal_and_the_server_goes_on() -> None:
    class Failing:
        """A registry on a broken disk, once it is started."""

        def resume(self, now: float, until: float) -> None:
            """Works."""

        def bans(self, now: float) -> list[object]:
            """Works."""
            return []

        def __getattr__(self, name: str) -> object:
            def fail(*_: object, **__: object) -> None:
                raise RegistryError("no")

            return fail

    bench = Bench(Failing())  # type: ignore[arg-type]
    bench.advance(3 * SWEEP_SECONDS)
    reply = bench.ask(FakeConn(), Announce(1, EPOCH, 1, 8001))
    assert isinstance(reply, Refused)
    assert reply.code == Refusal.STORAGE
    assert bench.reactor.timers


def test_the_real_randomness_differs() -> None:
    assert system_rng().random() != system_rng().random()


class FakeProber:
    """Stands in for reach.Prober: keeps what is asked, and answers when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Probe, Callable[[Reached], object]]] = []
        self.full = False

    def start(self, probe: Probe, done: Callable[[Reached], object]) -> bool:
        self.asked.append((probe, done))
        return not self.full


def test_a_dial_back_is_answered_when_it_is_over(bench: Bench) -> None:
    prober = FakeProber()
    bench.server._prober = prober  # type: ignore[assignment]
    conn = FakeConn()
    share(bench, conn)
    before = len(conn.sent)
    bench.server.message(conn, memoryview(encode(Reach(5))), memoryview(b""))  # type: ignore[arg-type]
    assert len(conn.sent) == before
    bench.ask(conn, Announce(6, EPOCH, 1, 8001))  # others are answered meanwhile
    ((probe, done),) = prober.asked
    assert probe == Probe(5, conn.device_id, HOST, 8001)
    done(Reached(5, Reachable.YES, HOST, 8001, 3))
    assert conn.sent[-1] == Reached(5, Reachable.YES, HOST, 8001, 3)
    prober.full = True
    reply = bench.ask(conn, Reach(7))
    assert isinstance(reply, Refused)
    assert (reply.code, reply.retry_s) == (Refusal.BUSY, 1)


def test_without_a_prober_nobody_is_dialled(bench: Bench) -> None:
    share(bench, conn := FakeConn())
    assert isinstance(bench.ask(conn, Reach(5)), Refused)


def test_the_time_is_that_of_the_server(bench: Bench) -> None:
    assert bench.ask(FakeConn(), Clock(5)) == ClockIs(5, 1_000_000, 0, 0)


# -- a registry that is shared: requests are handled in threads ---------------------------------------------


@pytest.fixture
def shared() -> Iterator[Bench]:
    bench = Bench(threads=2)
    yield bench
    assert bench.workers is not None
    assert bench.workers.close(10.0)
    bench.registry.close()


def turn(bench: Bench, ready: Callable[[], bool]) -> None:
    """Turns the reactor until something is so."""

    def probe() -> bool:
        bench.reactor.run()
        return ready()

    until(probe, 10.0, "the answer is there")


def tell(bench: Bench, conn: FakeConn, *messages: object) -> None:
    """Sends requests, and waits for no answer."""
    for message in messages:
        bench.server.message(conn, memoryview(encode(message)), memoryview(b""))  # type: ignore[arg-type]


def test_requests_of_one_session_are_answered_in_order_by_threads(shared: Bench) -> None:
    conn = FakeConn()
    entries = [Entry(bytes([number]) * 32, bytes(32), 5, f"{number}.bin", 1) for number in range(5)]
    batches = [
        Publish(2 + number, EPOCH, number, number + 1, not number, False, [one], [])
        for number, one in enumerate(entries)
    ]
    tell(shared, conn, Announce(1, EPOCH, 5, 8001), *batches, Search(9, By.ALL))
    assert conn.sent == [], "the reactor does not wait"
    turn(shared, lambda: len(conn.sent) == 7)
    assert [type(reply) for reply in conn.sent] == [Announced, *[Published] * 5, Hits]
    assert len(conn.sent[-1].items) == 5  # type: ignore[attr-defined]
    assert shared.server.stats()["announces"] == 1


def test_a_session_that_asks_too_much_at_a_time_is_told(
    shared: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "WAITING", 1)
    conn = FakeConn()
    go = threading.Event()
    handle = shared.service.handle

    def slow(*args: Any) -> Any:
        go.wait(10.0)
        return handle(*args)

    monkeypatch.setattr(shared.service, "handle", slow)
    tell(shared, conn, *(Stats(number) for number in range(4)))
    assert [(reply.req, reply.code) for reply in conn.sent] == [(2, Refusal.BUSY), (3, Refusal.BUSY)]  # type: ignore[attr-defined]
    go.set()
    turn(shared, lambda: len(conn.sent) == 4)


def test_a_fault_of_ours_ends_the_session(
    shared: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(shared.service, "handle", broken)
    conn = FakeConn()
    tell(shared, conn, Bye(1))
    turn(shared, lambda: bool(conn.closed))
    assert (conn.sent, conn.closed) == ([], ["internal error"])
    assert "could not be handled" in caplog.text


def test_a_session_that_ends_takes_back_what_waits(shared: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    conn, go = FakeConn(), threading.Event()
    handle = shared.service.handle
    monkeypatch.setattr(shared.service, "handle", lambda *args: (go.wait(10.0), handle(*args))[1])
    tell(shared, conn, Stats(1), Stats(2))
    shared.server.closed(conn)  # type: ignore[arg-type]
    go.set()
    turn(shared, lambda: len(conn.sent) == 1)


def test_a_ban_of_another_tracker_is_taken_up_by_the_reactor(shared: Bench) -> None:
    shared.registry.ban(Ban("10.0.0.0/8"), shared.now)
    shared.advance(BANS_SECONDS + 1)
    turn(shared, lambda: len(shared.service.bans.all(shared.now)) == 1)


def test_status_tells_of_a_registry_that_is_away(shared: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert shared.server.stats()["trouble"] == ""
    shared.trouble = "nobody answers"
    stats = shared.server.stats()
    assert (stats["devices"], stats["files"], stats["trouble"]) == (None, None, "nobody answers")
    shared.trouble = ""
    shared.registry.close()
    assert shared.server.stats()["trouble"]
    shared.advance(SWEEP_SECONDS)
    turn(shared, lambda: "the registry failed" in caplog.text)
    assert shared.reactor.timers
