"""p2pd/peer/interest.py: who showed interest hears of each new piece, once, soon."""

from __future__ import annotations

from typing import Any

from p2pd.peer.interest import NEWS_SECONDS, Interests
from protocol.peer import Have
from tests.fakes.manual import ManualReactor

ID, OTHER = bytes(32), b"1" * 32


class FakeConn:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: object, payload: object = b"") -> None:
        self.sent.append(message)


def make() -> tuple[Any, ManualReactor]:
    interests, reactor = Interests(), ManualReactor()
    interests.run_on(reactor)  # type: ignore[arg-type]
    return interests, reactor


def test_news_come_together_and_only_what_is_new() -> None:
    interests, reactor = make()
    early, late = FakeConn(), FakeConn()
    interests.add(early, ID, 0b001)
    interests.gained(ID, 0b010)
    interests.add(late, ID, 0b011)
    interests.gained(ID, 0b100)
    interests.gained(OTHER, 0b1)
    assert early.sent == []
    reactor.advance(NEWS_SECONDS)
    assert early.sent == [Have(ID, [1, 2])]
    assert late.sent == [Have(ID, [2])]
    interests.gained(ID, 0b100)
    reactor.advance(NEWS_SECONDS)
    assert len(early.sent) == 1


def test_many_pieces_are_cut_into_messages() -> None:
    interests, reactor = make()
    conn = FakeConn()
    interests.add(conn, ID, 0)
    interests.gained(ID, (1 << 2000) - 1)
    reactor.advance(NEWS_SECONDS)
    assert [len(message.pieces) for message in conn.sent] == [1024, 976]


def test_who_left_hears_nothing_and_is_forgotten() -> None:
    interests, reactor = make()
    conn = FakeConn()
    interests.add(conn, ID, 0)
    interests.gained(ID, 1)
    interests.left(conn)
    reactor.advance(NEWS_SECONDS)
    assert conn.sent == []
    assert interests._told == {}


def test_the_last_news_go_out_when_it_is_over() -> None:
    interests, reactor = make()
    conn = FakeConn()
    interests.add(conn, ID, 0)
    interests.gained(ID, 1)
    interests.over(ID)
    interests.gained(ID, 2)
    assert conn.sent == [Have(ID, [0])]
    reactor.advance(NEWS_SECONDS)
    assert len(conn.sent) == 1
