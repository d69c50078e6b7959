"""Sessions: order, keys, control messages, limits, deadlines, and the golden vector."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from cryptography.fernet import Fernet

from protocol.codec import encode
from protocol.errors import AuthenticationError, LocalProtocolError, Refusal, RemoteProtocolError
from protocol.fernet import TokenKey
from protocol.limits import (
    MAX_BLOCK,
    MAX_CONTROL_MESSAGE,
    MAX_DIALER_FRAME,
    MAX_LISTENER_FRAME,
    RECORD_OVERHEAD,
)
from protocol.records import record_size, room_to_open_record
from protocol.session import (
    Closed,
    Opened,
    Pinged,
    Ponged,
    Session,
    State,
)
from tests.fakes.pair import UNIX_TIME, Seeded, forge, handshake_pair, make_established, make_pair, receive

HEADER = encode([16, "hello"])


# -- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(256)) * 200])
def test_messages_arrive_in_both_directions(payload: bytes) -> None:
    pair = handshake_pair()
    for _ in range(3):
        for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a)):
            event = receive(receiver, sender.seal(HEADER, payload, now=0.0))
            assert isinstance(event, Opened)
            assert event.header == HEADER
            assert event.payload == payload


def test_a_long_header_arrives() -> None:
    pair = make_pair()
    header = encode([16, "x" * 40_000])
    event = receive(pair.b, pair.a.seal(header, b"payload", now=0.0))
    assert isinstance(event, Opened)
    assert (event.header, event.payload) == (header, b"payload")


def test_the_record_is_as_specified() -> None:
    pair = make_pair()
    here, _ = make_established()
    pair.a.seal(HEADER, now=0.0)
    record = pair.a.seal(HEADER, b"payload", now=0.0)
    assert len(record) == record_size(len(HEADER), 7)
    assert record[0] == 0x10
    assert record[1:9] == here.sid
    plain = Fernet(urlsafe_b64encode(here.send_key)).decrypt(urlsafe_b64encode(record[9:]))
    assert plain == (1).to_bytes(8, "big") + len(HEADER).to_bytes(2, "big") + HEADER + b"payload"
    assert int.from_bytes(record[10:18], "big") == UNIX_TIME


def test_header_and_payload_are_views_into_the_callers_buffer() -> None:
    pair = make_pair()
    record = pair.a.seal(HEADER, b"payload", now=0.0)
    out = bytearray(room_to_open_record(len(record)))
    event = pair.b.open_into(memoryview(bytearray(record)), memoryview(out), 0.0)
    assert isinstance(event, Opened)
    assert event.payload.obj is out
    assert event.header.obj is out
    out[:] = b"z" * len(out)
    assert event.payload == b"z" * 7


def test_seal_into_uses_the_beginning_of_the_buffer() -> None:
    pair = make_pair()
    out = memoryview(bytearray(5000))
    size = pair.a.seal_into(out, HEADER, memoryview(bytearray(b"payload")), 0.0)
    assert size == record_size(len(HEADER), 7)
    assert not any(out[size:])
    event = pair.b.open_into(out[:size], memoryview(bytearray(5000)), 0.0)
    assert isinstance(event, Opened)
    assert event.payload == b"payload"


def test_a_whole_block_fits_and_the_limits_agree() -> None:
    pair = make_pair()
    record = pair.b.seal(HEADER, bytes(MAX_BLOCK), now=0.0)
    assert len(record) <= MAX_DIALER_FRAME
    assert len(record) - MAX_BLOCK <= RECORD_OVERHEAD
    assert isinstance(receive(pair.a, record), Opened)
    assert MAX_CONTROL_MESSAGE + RECORD_OVERHEAD <= MAX_LISTENER_FRAME


@pytest.mark.parametrize(("to_listener", "limit"), [(True, MAX_LISTENER_FRAME), (False, MAX_DIALER_FRAME)])
def test_a_listener_takes_small_records_only(to_listener: bool, limit: int) -> None:
    pair = make_pair()
    sender, receiver = (pair.a, pair.b) if to_listener else (pair.b, pair.a)
    longest = max(n for n in range(limit - 120, limit) if record_size(len(HEADER), n) <= limit)
    with pytest.raises(LocalProtocolError, match="too long"):
        sender.seal(HEADER, bytes(longest + 1), now=0.0)
    assert isinstance(receive(receiver, sender.seal(HEADER, bytes(longest), now=0.0)), Opened)


def test_a_listener_refuses_a_larger_record_before_it_looks() -> None:
    pair = make_pair()
    with pytest.raises(RemoteProtocolError, match="not a record"):
        receive(pair.b, forge(0, HEADER, bytes(MAX_LISTENER_FRAME)))


def test_ivs_come_from_the_caller_and_never_repeat() -> None:
    pair = make_pair("ivs")
    entropy = Seeded("ivs iv a")
    ivs = [pair.a.seal(HEADER, now=0.0)[18:34] for _ in range(50)]
    assert ivs == [entropy(16) for _ in range(50)]
    assert len(set(ivs)) == 50


# -- misuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [b"", b"\x10", encode([]), encode([1]), encode([15, 3]), encode(["x"]), encode([256])]
)
def test_only_messages_of_a_dialect_are_sealed(header: bytes) -> None:
    pair = make_pair()
    with pytest.raises(LocalProtocolError, match="tag"):
        pair.a.seal(header, now=0.0)
    assert isinstance(receive(pair.b, pair.a.seal(HEADER, now=0.0)), Opened), "nothing was counted"


def test_too_long_or_no_room() -> None:
    pair = make_pair()
    with pytest.raises(LocalProtocolError, match="too long"):
        pair.b.seal(HEADER, bytes(MAX_DIALER_FRAME - 60), now=0.0)
    with pytest.raises(LocalProtocolError, match="too long"):
        pair.a.seal(encode([16, "x" * 65_536]), now=0.0)
    with pytest.raises(LocalProtocolError, match="no room"):
        pair.a.seal_into(memoryview(bytearray(record_size(len(HEADER), 9) - 1)), HEADER, b"x" * 9, 0.0)
    record = pair.a.seal(HEADER, now=0.0)
    with pytest.raises(LocalProtocolError, match="no room"):
        pair.b.open_into(record, memoryview(bytearray(room_to_open_record(len(record)) - 1)), 0.0)
    assert isinstance(receive(pair.b, record), Opened), "nothing was counted"


# -- what breaks a session --------------------------------------------------------------------------------


def assert_broken(session: Session, good: bytes) -> None:
    assert session.state is State.BROKEN
    assert session.dead(0.0)
    for use in (
        lambda: receive(session, good),
        lambda: session.seal(HEADER, now=0.0),
        lambda: session.seal_ping(0.0),
        lambda: session.seal_rekey(0.0),
        lambda: session.seal_close(0, 0.0),
    ):
        with pytest.raises(LocalProtocolError, match="broken"):
            use()


@pytest.mark.parametrize("at", [0, 1, 8, 9, 10, 17, 18, 33, 34, -33, -32, -1])
def test_a_flipped_bit_breaks_the_session(at: int) -> None:
    pair = make_pair()
    record = pair.a.seal(HEADER, b"payload", now=0.0)
    forged = bytearray(record)
    forged[at] ^= 0x10
    with pytest.raises(RemoteProtocolError):
        receive(pair.b, bytes(forged))
    assert_broken(pair.b, record)


def test_wrong_mac_is_an_authentication_error() -> None:
    pair = make_pair()
    record = pair.a.seal(HEADER, now=0.0)
    with pytest.raises(AuthenticationError):
        receive(pair.b, record[:-1] + bytes([record[-1] ^ 1]))


def test_replay_loss_and_reordering_break_the_session() -> None:
    for order in ([0, 0], [1], [0, 2]):
        pair = make_pair()
        records = [pair.a.seal(HEADER, now=0.0) for _ in range(3)]
        for at in order[:-1]:
            receive(pair.b, records[at])
        with pytest.raises(RemoteProtocolError, match="order"):
            receive(pair.b, records[order[-1]])
        assert_broken(pair.b, records[0])


def test_reflection_breaks_the_session() -> None:
    pair = make_pair()
    record = pair.a.seal(HEADER, now=0.0)
    with pytest.raises(AuthenticationError):
        receive(pair.a, record)


def test_a_record_of_another_session_breaks_the_session() -> None:
    pair, other = make_pair(), make_pair("other")
    foreign = other.a.seal(HEADER, now=0.0)
    with pytest.raises(RemoteProtocolError, match="of this session"):
        receive(pair.b, foreign)
    pair = make_pair()
    with pytest.raises(AuthenticationError):
        receive(pair.b, b"\x10" + pair.b.sid + foreign[9:])


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x10",
        b"\x11" + bytes(100),
        forge(0, b""),
        forge(0, b"\x91"),
        forge(0, encode([])),
        forge(0, encode([0])),
        forge(0, encode([5])),
        forge(0, encode([15, 1])),
        forge(0, encode({"tag": 16})),
        forge(0, encode(16)),
        forge(0, b"\x91\xcc\x10"),  # tag 16, not in its shortest form
        forge(0, b"\x91\xcd\x00\x10"),
        forge(0, encode([256])),
        forge(0, HEADER, length=len(HEADER) + 1),
        forge(0, HEADER, length=0),
        forge(0, encode([1]), b"payload"),
        forge(0, encode([1, 1])),
        forge(0, encode([2])),
        forge(0, encode([2, 256])),
        forge(0, encode([2, -1])),
        forge(0, encode([3, 2**32])),
        forge(0, encode([3, "x"])),
        forge(0, encode([4, 0])),  # a PONG without its PING
        forge(1, HEADER),
        forge(2**64 - 1, HEADER),
        b"\x10" + bytes(MAX_DIALER_FRAME),
    ],
    ids=range(27),
)
def test_what_is_no_record_breaks_the_session(record: bytes) -> None:
    pair = make_pair()
    with pytest.raises(RemoteProtocolError):
        receive(pair.b, record)
    assert_broken(pair.b, pair.a.seal(HEADER, now=0.0))


def test_an_authentic_token_too_short_for_a_record() -> None:
    here, _ = make_established()
    pair = make_pair()
    with pytest.raises(RemoteProtocolError, match="order"):
        receive(pair.b, b"\x10" + here.sid + TokenKey(here.send_key).seal(bytes(9), bytes(16), 0))


def test_forge_makes_good_records_too() -> None:
    pair = make_pair()
    assert isinstance(receive(pair.b, forge(0, HEADER, b"payload")), Opened)
    assert receive(pair.b, forge(1, encode([2, 9]))) == Closed(9)


# -- control messages -------------------------------------------------------------------------------------


def test_close_ends_both_ends() -> None:
    pair = make_pair()
    late = pair.b.seal(HEADER, now=0.0)
    record = pair.a.seal_close(Refusal.CLOSING, 0.0)
    assert receive(pair.b, record) == Closed(Refusal.CLOSING)
    for session in (pair.a, pair.b):
        assert session.state is State.CLOSED
        assert session.dead(0.0)
        for use in (
            lambda session=session: session.seal(HEADER, now=0.0),
            lambda session=session: session.seal_close(0, 0.0),
            lambda session=session: receive(session, late),
        ):
            with pytest.raises(LocalProtocolError, match="closed"):
                use()


def test_ping_and_pong() -> None:
    pair = make_pair()
    for number in range(3):
        assert receive(pair.b, pair.a.seal_ping(0.0)) == Pinged(number)
    assert receive(pair.a, pair.b.seal_pong(0, 0.0)) == Ponged(0)
    assert receive(pair.a, pair.b.seal_pong(2, 0.0)) == Ponged(2), "one answer may serve for several"


@pytest.mark.parametrize("numbers", [[0, 0], [1, 0], [2]])
def test_a_pong_out_of_turn_breaks_the_session(numbers: list[int]) -> None:
    pair = make_pair()
    for _ in range(2):
        receive(pair.b, pair.a.seal_ping(0.0))
    for number in numbers[:-1]:
        receive(pair.a, pair.b.seal_pong(number, 0.0))
    with pytest.raises(RemoteProtocolError, match="PONG"):
        receive(pair.a, pair.b.seal_pong(numbers[-1], 0.0))
