"""p2pd/peer/sources.py: who has a content, as the trackers say, and as we remember."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.peer.foreign import Foreign
from p2pd.peer.sources import MAX_SOURCES, REMEMBER_SECONDS, SourceFinder
from p2pd.storage.state import State
from protocol.errors import Fault
from protocol.tracker import Ok, Source, Sources
from tests.fakes.manual import FakePeer, ManualReactor

ID = bytes(32)
OWN = b"o" * 20


class FakeTracker:
    """Answers a Find with a list, a Fault or nonsense."""

    def __init__(self, answer: Any, loopback: bool = False) -> None:
        self.endpoint = Endpoint("tracker", 9000)
        self.loopback = loopback
        self.answer = answer

    def patience(self, trackers: int) -> float:
        return 1.0

    async def request(self, message: Any, timeout: float = 10.0) -> Any:
        if isinstance(self.answer, Fault):
            raise self.answer
        if isinstance(self.answer, list):
            return Sources(1, self.answer)
        return self.answer


class FakeLinks:
    """Keeps who was attached."""

    def __init__(self) -> None:
        self.attached: list[tuple[bytes, Endpoint]] = []
        self.foreign = Foreign()

    def attach(self, device_id: bytes, endpoint: Endpoint, user: object) -> None:
        self.attached.append((device_id, endpoint))


class Bench:
    """A finder over a real state."""

    def __init__(self, directory: Path, *trackers: FakeTracker) -> None:
        self.store = State(directory / "peer.db")
        self.reactor = ManualReactor()
        self.links = FakeLinks()
        self.finder = SourceFinder(self.store, self.reactor, self.links, list(trackers), OWN)  # type: ignore[arg-type]

    def offer(self) -> Fault | None:
        problem = asyncio.run(self.finder.offer(ID, object()))  # type: ignore[arg-type]
        self.reactor.run()
        return problem


def device(number: int) -> bytes:
    return bytes((number,)) * 20


DOWN = Fault("network", "no tracker")


def test_the_sources_of_all_trackers_are_attached_once(tmp_path: Path) -> None:
    first = FakeTracker([Source(device(1), "10.0.0.1", 8001), Source(OWN, "10.0.0.9", 8001)])
    second = FakeTracker([Source(device(1), "10.0.0.1", 8001), Source(device(2), "10.0.0.2", 8001)])
    bench = Bench(tmp_path, first, second)
    with bench.store:
        assert bench.offer() is None
    assert sorted(bench.links.attached) == [
        (device(1), Endpoint("10.0.0.1", 8001)),
        (device(2), Endpoint("10.0.0.2", 8001)),
    ]


def test_no_more_than_some_are_dialled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker([Source(device(n), f"10.0.0.{n}", 8001) for n in range(1, 40)]))
    with bench.store:
        assert bench.offer() is None
    assert len(bench.links.attached) == MAX_SOURCES


@pytest.mark.parametrize(
    ("host", "port", "loopback", "dialled"),
    [
        ("169.254.169.254", 8001, False, False),
        ("127.0.0.1", 8001, False, False),
        ("127.0.0.1", 8001, True, True),
        ("localhost", 8001, True, False),
        ("0.0.0.0", 8001, False, False),
        ("10.0.0.1", 8001, False, True),
    ],
)
def test_addresses_no_peer_can_have_are_not_dialled(
    tmp_path: Path, host: str, port: int, loopback: bool, dialled: bool
) -> None:
    bench = Bench(tmp_path, FakeTracker([Source(device(1), host, port)], loopback))
    with bench.store:
        assert (bench.offer() is None) == dialled
    assert bool(bench.links.attached) == dialled


def test_a_source_that_proved_good_is_remembered_for_a_day_when_trackers_are_silent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker(DOWN))
    with bench.store as store:
        assert bench.offer() is DOWN
        peer = FakePeer("a")
        bench.finder.proved(ID, peer)  # type: ignore[arg-type]
        store.remember_source(ID, OWN, "10.0.0.9", 8001, time.time())
        store.remember_source(ID, device(3), "10.0.0.3", 8001, time.time() - REMEMBER_SECONDS - 1)
        assert bench.offer() is None
    assert bench.links.attached == [(peer.device_id, peer.endpoint)]


def test_what_is_said_when_there_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker([]), FakeTracker(DOWN))
    with bench.store:
        problem = bench.offer()
        assert problem is not None
        assert problem is not DOWN
        assert (problem.code, "nobody" in problem.message) == ("network", True)
        found, faults = asyncio.run(bench.finder.find(ID))
    assert (found, faults) == ({}, [DOWN])


def test_another_answer_than_was_asked_for_is_a_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker(Ok(1)))
    with bench.store:
        problem = bench.offer()
    assert problem is not None
    assert "another answer" in problem.message


def test_sources_that_all_have_another_password_are_a_reason(tmp_path: Path) -> None:
    sources = [Source(bytes([number]) * 20, "10.0.0.1", 8000 + number + 1024) for number in range(2)]
    bench = Bench(tmp_path, FakeTracker(sources))
    assert bench.offer() is None
    bench.links.foreign.note(sources[0].device_id, bench.reactor.clock())
    assert bench.offer() is None
    bench.links.foreign.note(sources[1].device_id, bench.reactor.clock())
    problem = bench.offer()
    assert problem is not None
    assert problem.code == "auth"
    assert "p2pctl rotate" in problem.hint
    bench.store.close()
