"""p2pd/peer/slots.py: what is asked for leaves in turns, at the limit, in blocks that suit it."""

from __future__ import annotations

from typing import Any

import pytest

from p2pd.peer.slots import SLOTS, UploadQueue
from protocol import limits
from protocol.errors import Refusal
from protocol.frames import Feature, Info
from protocol.lanes import STEP
from protocol.limits import KIB, MIB, MIN_BLOCK
from protocol.peer import GetBlock, GetManifest, Pace, Refused
from tests.fakes.manual import ManualReactor

ID = bytes(32)


class FakeConn:
    def __init__(self, features: int = Feature.PACE) -> None:
        self.sent: list[Any] = []
        self.info = Info("", 0, features)
        self.blocked = False
        self.closed = False

    def send(self, message: object, payload: object = b"") -> None:
        self.sent.append(message)


class Bench:
    """A queue whose requests are counted when they are served."""

    def __init__(self) -> None:
        self.reactor = ManualReactor()
        self.served: list[tuple[Any, Any]] = []
        self.queue = UploadQueue(self.serve)
        self.queue.run_on(self.reactor)  # type: ignore[arg-type]

    def serve(self, conn: Any, request: Any) -> int:
        self.served.append((conn, request))
        return request.length if isinstance(request, GetBlock) else 0

    def conn(self, features: int = Feature.PACE) -> Any:
        conn = FakeConn(features)
        self.queue.came(conn)  # type: ignore[arg-type]
        return conn

    def octets(self, conn: object = None) -> int:
        return sum(request.length for who, request in self.served if conn is None or who is conn)

    def keep_busy(self, conns: list[Any], length: int, seconds: float) -> None:
        """Each always waits for a few blocks, for so long."""
        end = self.reactor.now + seconds
        while self.reactor.now < end:
            for conn in conns:
                while self.queue._turns.waiting(conn) < 4:
                    self.queue.add(conn, GetBlock(0, ID, 0, 0, length))
            self.reactor.run()
            self.reactor.advance(0.005)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_without_a_limit_all_is_served_at_once(bench: Bench) -> None:
    conn = bench.conn()
    for number in range(10):
        bench.queue.add(conn, GetBlock(number, ID, 0, 0, MIB))
    bench.reactor.run()
    assert len(bench.served) == 10
    assert conn.sent == []


def test_a_few_are_served_between_two_looks_at_the_network(bench: Bench) -> None:
    conn = bench.conn()
    for number in range(STEP + 1):
        bench.queue.add(conn, GetBlock(number, ID, 0, 0, MIB))
    assert bench.queue.step()
    assert len(bench.served) == STEP
    assert not bench.queue.step()
    assert len(bench.served) == STEP + 1


@pytest.mark.parametrize("rate", [100 * KIB, MIB, 50 * MIB])
@pytest.mark.parametrize("peers", [1, 4])
def test_the_limit_holds_and_is_shared(bench: Bench, rate: int, peers: int) -> None:
    bench.queue.set_limit(rate)
    conns = [bench.conn() for _ in range(peers)]
    length = conns[0].sent[0].length
    bench.keep_busy(conns, length, 10.0)
    assert bench.octets() == pytest.approx(10 * rate, rel=0.05)
    for conn in conns:
        assert bench.octets(conn) == pytest.approx(10 * rate / peers, rel=0.1)


def test_a_limit_changes_while_it_waits(bench: Bench) -> None:
    conn = bench.conn()
    bench.queue.set_limit(10 * KIB)
    for number in range(20):
        bench.queue.add(conn, GetBlock(number, ID, 0, 0, MIN_BLOCK))
    bench.reactor.run()
    assert len(bench.served) == 1
    bench.queue.set_limit(0)
    bench.reactor.run()
    assert len(bench.served) == 20
    assert bench.queue.limit == 0


def test_downloaders_are_told_how_long_a_block_should_be(bench: Bench) -> None:
    early, old = bench.conn(), bench.conn(features=0)
    bench.queue.set_limit(MIB)
    late = bench.conn()
    bench.queue.set_limit(MIB + 1)  # the same blocks suit it
    bench.queue.set_limit(0)
    assert early.sent == late.sent == [Pace(64 * KIB), Pace(MIB)]
    assert old.sent == []


def test_long_blocks_of_before_are_asked_for_again(bench: Bench) -> None:
    bench.queue.set_limit(64 * MIB)
    conn = bench.conn()
    for number in range(4):
        bench.queue.add(conn, GetBlock(number, ID, 0, 0, MIB if number % 2 else MIN_BLOCK))
    bench.queue.add(conn, GetManifest(9, ID, 0))
    bench.queue.set_limit(100 * KIB)
    assert conn.sent[1:] == [Pace(MIN_BLOCK), Refused(1, Refusal.LIMIT, 1), Refused(3, Refusal.LIMIT, 1)]
    bench.queue.set_limit(0)
    bench.reactor.run()
    assert [request.req for _, request in bench.served] == [0, 2, 9]


def test_a_manifest_costs_nothing(bench: Bench) -> None:
    bench.queue.set_limit(10 * KIB)
    conn = bench.conn()
    for number in range(5):
        bench.queue.add(conn, GetManifest(number, ID, 0))
    bench.reactor.run()
    assert len(bench.served) == 5


def test_what_one_may_have_waiting_is_bounded(bench: Bench) -> None:
    conn = bench.conn()
    room = [
        bench.queue.add(conn, GetBlock(number, ID, 0, 0, 1))
        for number in range(limits.MAX_OUTSTANDING_BLOCKS + 1)
    ]
    assert room == [True] * limits.MAX_OUTSTANDING_BLOCKS + [False]


def test_who_leaves_is_forgotten(bench: Bench) -> None:
    conn, other = bench.conn(), bench.conn()
    bench.queue.add(conn, GetBlock(1, ID, 0, 0, 1))
    bench.queue.add(other, GetBlock(2, ID, 0, 0, 1))
    bench.queue.left(conn)
    bench.queue.set_limit(MIB)
    bench.reactor.run()
    assert [who for who, _ in bench.served] == [other]
    assert conn.sent == []


def test_newcomers_come_in_while_others_download(bench: Bench) -> None:
    bench.queue.set_limit(10 * MIB)
    conns = [bench.conn() for _ in range(SLOTS + 4)]
    bench.keep_busy(conns, MIB, 30.0)
    assert min(bench.octets(conn) for conn in conns) > 10 * MIB
