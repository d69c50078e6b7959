"""Sessions, several records at a time: sealed where they lie, opened before their turn, and nothing let in that would not be one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protocol.codec import encode
from protocol.errors import AuthenticationError, LocalProtocolError, RemoteProtocolError
from protocol.fernet import Octets, Sealing, seal_all
from protocol.limits import MAX_DIALER_FRAME
from protocol.records import payload_at, record_size, room_to_open_record
from protocol.session import Closed, KeyUpdated, Opened, Session, State
from tests.fakes.pair import make_pair, receive

HEADER = encode([16, "hello"])


def lay(session: Session, payload: bytes) -> tuple[Sealing, memoryview]:
    """A record whose payload was written where it is to be sealed."""
    out = memoryview(bytearray(record_size(len(HEADER), len(payload)) + 5))
    at = payload_at(len(HEADER))
    out[at : at + len(payload)] = payload
    sealing = session.lay(out, HEADER, len(payload), 0.0)
    return sealing, out[: record_size(len(HEADER), len(payload))]


def rooms(records: Sequence[Octets]) -> list[tuple[Octets, memoryview]]:
    return [(record, memoryview(bytearray(room_to_open_record(len(record))))) for record in records]


def test_what_is_laid_is_what_is_sealed() -> None:
    pair, twin = make_pair(), make_pair()
    payloads = [b"", b"x" * 100, bytes(70_000)]
    laid = [lay(pair.b, payload) for payload in payloads]
    seal_all([sealing for sealing, _ in laid])
    assert [bytes(record) for _, record in laid] == [
        twin.b.seal(HEADER, payload, now=0.0) for payload in payloads
    ]


def test_laying_is_refused_as_sealing_is() -> None:
    pair = make_pair()
    room = memoryview(bytearray(MAX_DIALER_FRAME * 2))
    with pytest.raises(LocalProtocolError, match="too long"):
        pair.b.lay(room, HEADER, MAX_DIALER_FRAME, 0.0)
    with pytest.raises(LocalProtocolError, match="tag"):
        pair.b.lay(room, encode([3, 1]), 10, 0.0)
    with pytest.raises(LocalProtocolError, match="no room"):
        pair.b.lay(room[: record_size(len(HEADER), 10) - 1], HEADER, 10, 0.0)
    sealing, record = lay(pair.b, b"first")
    seal_all([sealing])
    assert isinstance(receive(pair.a, record), Opened)  # nothing was counted of what was refused
    pair.b.seal_close(0, 0.0)
    with pytest.raises(LocalProtocolError, match="closed"):
        pair.b.lay(room, HEADER, 10, 0.0)


def test_records_opened_ahead_say_the_same_in_their_turn() -> None:
    pair = make_pair()
    records = [pair.b.seal(HEADER, bytes([number]) * 50_000, now=0.0) for number in range(4)]
    places = rooms(records)
    for number, (ahead, (record, room)) in enumerate(zip(pair.a.ahead(places), places, strict=True)):
        assert ahead is not None
        event = pair.a.open_into(record, room, 0.0, ahead)
        assert isinstance(event, Opened)
        assert (event.header, event.payload) == (HEADER, bytes([number]) * 50_000)
        assert event.payload.obj is room.obj


def test_the_other_end_may_change_its_key_among_them() -> None:
    pair = make_pair()
    records = [pair.b.seal(HEADER, b"old", now=0.0), pair.b.seal_rekey(0.0)]
    records += [pair.b.seal(HEADER, b"new", now=0.0), pair.b.seal_close(0, 0.0)]
    places = rooms(records)
    aheads = pair.a.ahead(places)
    assert [ahead is not None for ahead in aheads] == [True, True, False, False]
    events = [
        pair.a.open_into(record, room, 0.0, ahead)
        for ahead, (record, room) in zip(aheads, places, strict=True)
    ]
    assert [type(event) for event in events] == [Opened, KeyUpdated, Opened, Closed]
    assert isinstance(events[2], Opened)
    assert events[2].payload == b"new"


def test_what_was_opened_under_an_old_key_is_not_taken_under_the_next() -> None:
    pair = make_pair()
    first, second = (pair.b.seal(HEADER, bytes([n]), now=0.0) for n in range(2))
    places = rooms([first, second])
    ahead = pair.a.ahead(places)
    pair.a.open_into(first, places[0][1], 0.0, ahead[0])
    pair.a._recv.ratchet()
    with pytest.raises(AuthenticationError):
        pair.a.open_into(second, places[1][1], 0.0, ahead[1])
    assert pair.a.state is State.BROKEN


@pytest.mark.parametrize("what", ["changed", "repeated", "swapped", "another session"])
def test_opening_ahead_lets_nothing_in(what: str) -> None:
    pair = make_pair()
    one, two = (pair.b.seal(HEADER, bytes([n]) * 100, now=0.0) for n in range(2))
    if what == "changed":
        two = two[:50] + bytes([two[50] ^ 1]) + two[51:]
    records = {"repeated": [one, one], "swapped": [two, one]}.get(what, [one, two])
    if what == "another session":
        records = [bytes([one[0]]) + bytes(8) + one[9:], two]
    places = rooms(records)
    aheads = pair.a.ahead(places)

    def take() -> None:
        for ahead, (record, room) in zip(aheads, places, strict=True):
            pair.a.open_into(record, room, 0.0, ahead)

    with pytest.raises(RemoteProtocolError):
        take()
    assert pair.a.state is State.BROKEN
