"""p2pd/net/drafts.py: sealed together, sent in order, and every buffer comes back."""

from __future__ import annotations

import gc
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

    def transmit(self, conn: Any, record: Any) -> None:
        self.sent.append((conn, record))

    def rekey(self, conn: Any, now: float) -> None:
        self.rekeyed.append(conn)

    def conn(self, seed: str = "pair") -> Any:
        pair = make_pair(seed)
        return SimpleNamespace(session=pair.b, closed=False, far=pair.a)

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
