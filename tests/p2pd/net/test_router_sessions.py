"""p2pd/net/router.py, sessions: whoever breaks a rule loses his, and a slow reader holds up nobody."""

from __future__ import annotations

import logging
import os

import pytest

from p2pd.net.router import BACKLOG, STALL_SECONDS, Conn
from protocol import limits
from protocol.codec import encode
from protocol.errors import LocalProtocolError, Refusal, RemoteProtocolError
from protocol.frames import PROVE, RECORD, parse_refuse
from protocol.limits import MIB
from protocol.peer import Available, Block, GetBlock, Interest
from protocol.session import Closed, KeyUpdated, Opened, Pinged, Ponged
from tests.fakes.pair import make_initiator
from tests.fakes.reactors import Net, Recorder, Stranger, until

ID = bytes(32)


def test_a_replayed_record_ends_the_session(handler: Recorder, member: Stranger) -> None:
    record = member.seal(Interest(1, ID))
    member.send(record)
    member.reply()
    member.send(record)
    assert handler.closings.get() is handler.openings.get()
    assert len(handler.requests.items) == 1
    member.send(member.seal(Interest(2, ID)))
    assert parse_refuse(member.receive())[0] == Refusal.NO_SESSION


def test_a_record_of_another_connection_ends_only_the_one_it_came_on(
    net: Net, handler: Recorder, port: int, member: Stranger
) -> None:
    thief = net.stranger(port)
    thief.shake_hands("thief")
    owner_conn, thief_conn = handler.openings.wait(2)
    record = member.seal(Interest(1, ID))
    thief.send(record)
    assert handler.closings.get() is thief_conn
    assert not owner_conn.closed
    member.send(record)
    assert member.reply() == (Available(1, True), b"")


KINDS = [
    "changed",
    "cut",
    "garbage",
    "hello",
    "prove",
    "empty",
    "two parts",
    "out of order",
    "unknown message",
    "no message",
]


@pytest.mark.parametrize("kind", KINDS)
def test_anything_but_the_next_record_ends_a_session(handler: Recorder, member: Stranger, kind: str) -> None:
    session = member.session
    assert session is not None
    now = member.net.clock()
    if kind == "unknown message":
        frames: tuple[bytes, ...] = (session.seal(encode([99, 1]), now=now),)
    elif kind == "no message":
        frames = (session.seal(encode([16, "x"]), now=now),)
    else:
        record = member.seal(Interest(1, ID))
        frames = {
            "changed": (record[:-1] + bytes((record[-1] ^ 1,)),),
            "cut": (record[:-16],),
            "garbage": (bytes((RECORD,)) + os.urandom(200),),
            "hello": (make_initiator().hello(),),
            "prove": (bytes((PROVE,)) * 100,),
            "empty": (b"",),
            "two parts": (record, record),
            "out of order": (member.seal(Interest(2, ID)),),
        }[kind]
    member.send(*frames)
    handler.closings.get()
    assert not handler.requests.items
    assert member.hears_nothing()


def test_a_handler_that_finds_a_broken_rule_ends_the_session(handler: Recorder, member: Stranger) -> None:
    def refuse(conn: Conn, request: object, payload: memoryview) -> None:
        raise RemoteProtocolError("no")

    handler.answer = refuse
    member.send(member.seal(Interest(1, ID)))
    handler.closings.get()


def test_close_is_said_by_either_end(net: Net, handler: Recorder, port: int, member: Stranger) -> None:
    assert member.session is not None
    member.send(member.session.seal_close(0, net.clock()))
    first = handler.closings.get()
    other = net.stranger(port)
    other.shake_hands("other")
    conn = handler.openings.wait(2)[1]
    assert conn is not first
    net.listening.call(conn.close, "enough")
    assert other.event() == Closed(0)
    assert handler.closings.get() is conn
    net.listening.call(conn.close, "again")
    net.listening.call(conn.send, Available(1, True))
    assert other.hears_nothing()


def test_shut_says_close_to_everybody(net: Net, handler: Recorder, member: Stranger) -> None:
    router = net.routers.pop()
    net.on(net.listening, router.shut)
    net.on(net.listening, router.shut)
    assert member.event() == Closed(0)
    assert len(handler.closings.items) == 1


def test_silence_is_probed_and_then_ends(net: Net, handler: Recorder, member: Stranger) -> None:
    net.advance(limits.PING_SECONDS + 0.5)
    event = member.event()
    assert event == Pinged(0)
    net.advance(limits.PING_SECONDS)
    assert member.event() == Pinged(1)
    assert not handler.closings.items
    net.advance(limits.DEAD_SECONDS - 2 * limits.PING_SECONDS)
    handler.closings.get()


def test_a_pong_keeps_a_quiet_session(net: Net, handler: Recorder, member: Stranger) -> None:
    assert member.session is not None
    for number in range(6):
        net.advance(limits.PING_SECONDS + 0.5)
        assert member.event() == Pinged(number)
        member.send(member.session.seal_pong(number, net.clock()))
        member.send(member.session.seal_ping(net.clock()))
        assert member.event() == Ponged(number)
    assert not handler.closings.items


def test_keys_are_changed_after_an_hour(net: Net, handler: Recorder, member: Stranger) -> None:
    updates = 0
    assert member.session is not None
    for number in range(75):
        net.advance(50)
        if member.session.rekey_due(net.clock()):
            member.send(member.session.seal_rekey(net.clock()))
        member.send(member.seal(Interest(number, ID)))
        while not isinstance(event := member.event(), Opened):
            if isinstance(event, KeyUpdated):
                updates += 1
            else:
                assert isinstance(event, Pinged)
    assert updates == 1
    assert not handler.closings.items


# -- back-pressure ----------------------------------------------------------------------------------------


def slow_member(net: Net, handler: Recorder, port: int) -> tuple[Stranger, Conn]:
    """A member whose queues are as small as they get, and its connection."""
    slow = net.stranger(port, rcvhwm=1, rcvbuf=4096)
    slow.shake_hands("slow")
    return slow, handler.openings.get()


def test_a_slow_reader_gets_everything_in_order_and_the_handler_hears_of_room(
    net: Net, handler: Recorder, port: int
) -> None:
    slow, conn = slow_member(net, handler, port)
    payload = os.urandom(MIB)
    count = 40

    def send_all() -> None:
        for number in range(count):
            conn.send(Block(number), payload)

    net.on(net.listening, send_all)
    assert conn.blocked
    other = net.stranger(port)
    other.shake_hands("quick")
    other.send(other.seal(Interest(7, ID)))
    assert other.reply() == (Available(7, True), b"")
    for number in range(count):
        reply, got = slow.reply()
        assert reply == Block(number)
        assert got == payload
    assert handler.room.get() is conn
    assert not conn.blocked
    assert not handler.closings.items


def test_a_reader_that_lets_too_much_pile_up_is_dropped(net: Net, handler: Recorder, port: int) -> None:
    _, conn = slow_member(net, handler, port)
    payload = bytes(MIB)

    def flood() -> int:
        sent = 0
        while not conn.closed and sent < BACKLOG + 60:
            conn.send(Block(sent), payload if sent < 40 else b"")
            sent += 1
        return sent

    assert BACKLOG < net.on(net.listening, flood) < BACKLOG + 60
    assert handler.closings.get() is conn
    assert not handler.room.items


def test_a_reader_that_takes_nothing_for_long_is_dropped(net: Net, handler: Recorder, port: int) -> None:
    _, conn = slow_member(net, handler, port)

    def fill() -> None:
        for number in range(40):
            conn.send(Block(number), bytes(MIB))

    net.on(net.listening, fill)
    assert conn.blocked
    net.advance(STALL_SECONDS + 0.1)
    assert handler.closings.get() is conn


def test_a_vanished_peer_is_noticed_when_it_is_sent_to(net: Net, handler: Recorder, member: Stranger) -> None:
    conn = handler.openings.get()
    # Without the monitor's word only EHOSTUNREACH tells.
    net.on(net.listening, net.routers[0]._by_descriptor.clear)
    member.socket.close(linger=0)

    def send() -> bool:
        net.on(net.listening, lambda: conn.send(Available(1, True)))
        return conn.closed

    until(send)
    assert handler.closings.get() is conn
    assert not handler.closings.items
    assert not net.routers[0].conns


def test_a_vanished_peer_is_noticed_by_its_connection(net: Net, handler: Recorder, member: Stranger) -> None:
    member.socket.close(linger=0)
    assert handler.closings.get() is handler.openings.get()
    until(lambda: net.admission.counts()["connections"] == 0)


def test_a_record_too_long_for_the_other_end_is_our_own_mistake(
    net: Net, handler: Recorder, member: Stranger
) -> None:
    conn = handler.openings.get()
    with pytest.raises(LocalProtocolError):
        net.on(net.listening, lambda: conn.send(Block(1), bytes(2 * MIB)))
    net.on(net.listening, lambda: conn.send(Available(2, True)))
    assert member.reply() == (Available(2, True), b"")


def test_requests_decode_as_the_dialect_says(handler: Recorder, member: Stranger) -> None:
    assert member.session is not None
    member.send(member.session.seal(encode(GetBlock(1, ID, 0, 0, MIB)), now=member.net.clock()))
    assert handler.requests.get() == GetBlock(1, ID, 0, 0, MIB)


def test_a_session_of_nothing_but_pings_changes_its_keys_too(
    net: Net, handler: Recorder, member: Stranger
) -> None:
    """Past the hard limit of a key nothing can be sealed: the ping must be preceded by the change."""
    updates = 0
    assert member.session is not None
    for number in range(110):
        net.advance(45)
        while not isinstance(event := member.event(), Pinged):
            assert isinstance(event, KeyUpdated)
            updates += 1
        assert number == event.number
        if member.session.rekey_due(net.clock()):
            member.send(member.session.seal_rekey(net.clock()))
        member.send(member.session.seal_pong(number, net.clock()))
        member.send(member.session.seal_ping(net.clock()))
        while not isinstance(event := member.event(), Ponged):
            assert isinstance(event, KeyUpdated)
            updates += 1
    assert updates == 1
    assert not handler.closings.items


def test_a_ping_by_one_that_does_not_read_is_no_fault_of_ours_when_keys_are_due(
    net: Net, handler: Recorder, member: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    """The change of keys, which goes before the pong, ends the connection then."""
    caplog.set_level(logging.INFO)
    conn = handler.openings.get()
    member.send(member.seal(Interest(0, ID)))  # keys that sealed nothing are not changed
    member.reply()
    handler.requests.get()
    handler.answer = None
    assert member.session is not None
    net.on(net.listening, lambda: conn.backlog.extend([b""] * BACKLOG))
    since = net.clock()
    while net.clock() - since < limits.REKEY_SECONDS:
        net.advance(45)
        member.send(member.seal(Interest(1, ID)))
        handler.requests.get()
    member.send(member.session.seal_ping(net.clock()))
    assert handler.closings.get() is conn
    assert "does not read" in caplog.text
    assert "internal error" not in caplog.text
    assert "could not be handled" not in caplog.text


def test_the_banned_are_expelled_and_told_so(net: Net, handler: Recorder, member: Stranger) -> None:
    conn = handler.openings.get()
    router = net.routers[0]
    assert net.on(net.listening, lambda: router.expel(lambda device_id, host: device_id == b"another")) == 0
    assert (
        net.on(net.listening, lambda: router.expel(lambda device_id, host: device_id == conn.device_id)) == 1
    )
    assert member.event() == Closed(Refusal.BANNED)
    assert handler.closings.get() is conn
    assert router.received_bytes > 0
    assert router.sent_bytes > 0
