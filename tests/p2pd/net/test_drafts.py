"""p2pd/net/drafts.py: sealed together, sent in order, and every buffer comes back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from p2pd.net.buffers import Buffers
from p2pd.net.drafts import COPY_BELOW, Drafts, SealedDraft
from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.lanes import STEP
from protocol.limits import MAX_BLOCK, MAX_DIALER_FRAME, MIB
from protocol.peer import Block
from protocol.session import Opened
from tests.fakes.manual import ManualReactor
from tests.fakes.pair import make_pair, receive


class Bench:
    """Drafts over real sessions; what is sent is kept."""

    def __init__(self) -> None:
        self.reactor = ManualReactor()
        self.buffers = Buffers(MAX_DIALER_FRAME, 8)
        self.sent: list[tuple[Any, Any]] = []
        self.drafts = Drafts(self.reactor, self.buffers, self.transmit, self.rekey)  # type: ignore[arg-type]
        self.rekeyed: list[Any] = []
        self.before: Callable[[Any], object] = lambda conn: None  # something is sent to a connection

    def transmit(self, conn: Any, record: Any) -> None:
        self.before(conn)
        self.sent.append((conn, record))

    def rekey(self, conn: Any, now: float) -> None:
        self.rekeyed.append(conn)

    def conn(self, seed: str = "pair") -> Any:
        pair = make_pair(seed)
        conn = SimpleNamespace(session=pair.b, closed=False, far=pair.a)

        def close(reason: str) -> None:
            conn.closed, conn.session = True, None

        conn.close = close
        return conn

    def draft(self, conn: Any, number: int, octets: int) -> SealedDraft:
        draft = SealedDraft(self.drafts, conn, encode(Block(number)), octets)
        draft.payload[:] = bytes([number]) * octets
        return draft

    def arrived(self) -> list[tuple[int, int]]:
        """Number and length of what the far ends can read of what was sent."""
        found = []
        for conn, record in self.sent:
            event = receive(conn.far, bytes(record))
            assert isinstance(event, Opened)
            assert event.payload == bytes(event.payload[:1]) * len(event.payload)
            found.append((event.payload[0], len(event.payload)))
        self.sent.clear()
        gc.collect()
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_few_are_sealed_together_and_in_order(bench: Bench) -> None:
    conn = bench.conn()
    for number in range(STEP):
        assert not bench.sent
        bench.draft(conn, number, 100_000 + number).send()
    assert bench.arrived() == [(number, 100_000 + number) for number in range(STEP)]
    assert bench.rekeyed == [conn] * STEP


def test_a_single_one_goes_when_there_is_nothing_else_to_do(bench: Bench) -> None:
    bench.draft(bench.conn(), 1, MAX_BLOCK).send()
    assert not bench.sent
    bench.reactor.run()
    assert bench.arrived() == [(1, MAX_BLOCK)]
    bench.drafts.flush()
    assert not bench.sent


def test_several_connections_share_a_step(bench: Bench) -> None:
    conns = [bench.conn(f"pair {number}") for number in range(STEP)]
    for number, conn in enumerate(conns):
        bench.draft(conn, number, MIB // (number + 1)).send()
    assert [conn for conn, _ in bench.sent] == conns
    assert bench.arrived() == [(number, MIB // (number + 1)) for number in range(STEP)]


@pytest.mark.parametrize("octets", [0, 1, 20_000])
def test_a_short_one_takes_no_buffer(bench: Bench, octets: int) -> None:
    before = bench.buffers.take()
    bench.buffers.give(before)
    bench.draft(bench.conn(), 2, octets).send()
    assert bench.buffers.take() is before
    bench.drafts.flush()
    ((conn, record),) = bench.sent
    assert len(record) < COPY_BELOW
    event = receive(conn.far, bytes(record))
    assert isinstance(event, Opened)
    assert event.payload == b"\2" * octets


@pytest.mark.parametrize("how", ["dropped", "gone before", "gone meanwhile", "no session", "cannot", "sent"])
def test_every_buffer_comes_back(bench: Bench, how: str) -> None:
    buffer = bench.buffers.take()
    bench.buffers.give(buffer)
    conn = bench.conn()
    draft = bench.draft(conn, 3, MIB)
    assert bench.buffers._free == type(bench.buffers._free)()
    if how == "dropped":
        draft.drop()
    elif how == "cannot":
        conn.session.seal_close(0, 0.0)
        with pytest.raises(LocalProtocolError):
            draft.send()
    else:
        conn.closed = how == "gone before"
        conn.session = None if how == "no session" else conn.session
        draft.send()
        conn.closed = conn.closed or how == "gone meanwhile"
        bench.drafts.flush()
    assert len(bench.sent) == (how == "sent")
    bench.sent.clear()
    gc.collect()
    assert bench.buffers.lent == 0
    assert bench.buffers.take() is buffer


def test_what_no_record_can_hold_is_refused(bench: Bench) -> None:
    with pytest.raises(LocalProtocolError, match="too long"):
        bench.draft(bench.conn(), 1, 2 * MIB)


def test_who_is_told_of_an_end_while_records_are_sent_does_not_come_before_them(bench: Bench) -> None:
    gone, other = bench.conn("gone"), bench.conn("other")
    told = encode(Block(9))

    def before(conn: Any) -> None:
        if conn is gone and not gone.closed:
            gone.close("gone")
            bench.drafts.flush()
            bench.transmit(other, other.session.seal(told, b"\x09", now=0.0))

    bench.before = before
    bench.draft(gone, 1, MIB).send()
    bench.draft(other, 2, MIB).send()
    bench.drafts.flush()
    bench.sent = [(conn, record) for conn, record in bench.sent if conn is other]
    assert bench.arrived() == [(2, MIB), (9, 1)]


def test_a_fault_in_sending_one_takes_only_its_connection(bench: Bench) -> None:
    bad, good = bench.conn("bad"), bench.conn("good")

    def before(conn: Any) -> None:
        if conn is bad:
            raise RuntimeError("a fault of ours")

    bench.before = before
    bench.draft(bad, 1, MIB).send()
    bench.draft(good, 2, MIB).send()
    bench.drafts.flush()
    assert bad.closed
    assert not good.closed
    assert bench.arrived() == [(2, MIB)]


def test_what_cannot_be_sealed_ends_its_connections(bench: Bench) -> None:
    conns = [bench.conn("one"), bench.conn("two")]
    bench.draft(conns[0], 1, MIB).send()
    bench.drafts._laid[0].sealing.token.release()
    bench.draft(conns[1], 2, MIB).send()
    bench.drafts.flush()
    assert all(conn.closed for conn in conns)
    assert not bench.sent
    later = bench.conn("later")
    bench.draft(later, 3, MIB).send()
    bench.drafts.flush()
    assert bench.arrived() == [(3, MIB)]
