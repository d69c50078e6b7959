"""Sessions in the long run: keys wear out, silence is probed, and the dead are given up."""

from __future__ import annotations

import pytest

from protocol import session as module
from protocol.codec import encode
from protocol.errors import AuthenticationError, LocalProtocolError, RemoteProtocolError
from protocol.fernet import TokenKey
from protocol.keys import expand
from protocol.limits import DEAD_SECONDS, PING_SECONDS, REKEY_SECONDS
from protocol.session import KeyUpdated, Opened
from tests.fakes.pair import forge, make_established, make_pair, receive

HEADER = encode([16, "hello"])


# -- rekeying ---------------------------------------------------------------------------------------------


def test_rekey_ratchets_one_direction_and_keeps_the_count() -> None:
    pair = make_pair()
    here, there = make_established()
    receive(pair.b, pair.a.seal(HEADER, now=0.0))
    assert receive(pair.b, pair.a.seal_rekey(0.0)) == KeyUpdated()
    record = pair.a.seal(HEADER, b"new", now=0.0)
    key = expand(here.send_key, b"p2pd/1 rekey")
    assert TokenKey(key).open(record[9:])[:8] == (2).to_bytes(8, "big")
    with pytest.raises(AuthenticationError):
        TokenKey(here.send_key).open(record[9:])
    assert isinstance(receive(pair.b, record), Opened)
    back = pair.b.seal(HEADER, now=0.0)
    assert TokenKey(there.send_key).open(back[9:])[:8] == bytes(8)
    assert isinstance(receive(pair.a, back), Opened)


def test_old_key_is_refused_after_a_rekey() -> None:
    pair = make_pair()
    receive(pair.b, pair.a.seal_rekey(0.0))
    with pytest.raises(AuthenticationError):
        receive(pair.b, forge(1, HEADER))


def test_many_rekeys() -> None:
    pair = make_pair()
    for number in range(20):
        assert receive(pair.b, pair.a.seal_rekey(0.0)) == KeyUpdated()
        event = receive(pair.b, pair.a.seal(HEADER, bytes([number]), now=0.0))
        assert isinstance(event, Opened)
        assert event.payload == bytes([number])


def test_rekey_is_due_by_time_of_use() -> None:
    pair = make_pair()
    assert not pair.a.rekey_due(10 * REKEY_SECONDS), "an unused key does not age"
    pair.a.seal(HEADER, now=100.0)
    assert not pair.a.rekey_due(99.0 + REKEY_SECONDS)
    assert pair.a.rekey_due(100.0 + REKEY_SECONDS)
    pair.a.seal_rekey(100.0 + REKEY_SECONDS)
    assert not pair.a.rekey_due(100.0 + REKEY_SECONDS)


def test_rekey_is_due_by_records_and_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REKEY_RECORDS", 3)
    pair = make_pair()
    due = []
    for _ in range(3):
        pair.a.seal(HEADER, now=0.0)
        due.append(pair.a.rekey_due(0.0))
    assert due == [False, False, True]
    monkeypatch.setattr(module, "REKEY_RECORDS", 2**20)
    monkeypatch.setattr(module, "REKEY_OCTETS", 1000)
    pair = make_pair()
    pair.a.seal(HEADER, now=0.0)
    assert not pair.a.rekey_due(0.0)
    pair.a.seal(HEADER, bytes(900), now=0.0)
    assert pair.a.rekey_due(0.0)


@pytest.mark.parametrize(
    ("name", "value", "now"),
    [("_MAX_RECORDS", 2, 0.0), ("_MAX_OCTETS", 150, 0.0), ("", 0, 1.1 * REKEY_SECONDS)],
)
def test_an_overdue_rekey_stops_everything_but_rekey_and_close(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, now: float
) -> None:
    if name:
        monkeypatch.setattr(module, name, value)
    pair = make_pair()
    for _ in range(2):
        receive(pair.b, pair.a.seal(HEADER, now=0.0))
    for use in (
        lambda: pair.a.seal(HEADER, now=now),
        lambda: pair.a.seal_ping(now),
        lambda: pair.a.seal_pong(0, now),
    ):
        with pytest.raises(LocalProtocolError, match="overdue"):
            use()
    assert receive(pair.b, pair.a.seal_rekey(now), now) == KeyUpdated()
    assert isinstance(receive(pair.b, pair.a.seal(HEADER, now=now), now), Opened)
    receive(pair.b, pair.a.seal_close(0, now), now)


@pytest.mark.parametrize(("name", "value"), [("_MAX_RECORDS", 2), ("_MAX_OCTETS", 150)])
@pytest.mark.parametrize("header", [HEADER, encode([3, 0])], ids=["message", "ping"])
def test_a_sender_that_does_not_rekey_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, header: bytes
) -> None:
    monkeypatch.setattr(module, name, value)
    pair = make_pair()
    for seq in range(2):
        receive(pair.b, forge(seq, HEADER))
    with pytest.raises(RemoteProtocolError, match="rekey"):
        receive(pair.b, forge(2, header))


# -- deadlines --------------------------------------------------------------------------------------------


def test_a_silent_session_is_probed_and_then_dead() -> None:
    pair = make_pair(now=100.0)
    assert not pair.a.ping_due(99.9 + PING_SECONDS)
    assert pair.a.ping_due(100.0 + PING_SECONDS)
    pair.a.seal_ping(100.0 + PING_SECONDS)
    assert not pair.a.ping_due(100.1 + PING_SECONDS), "one PING at a time"
    assert pair.a.ping_due(100.0 + 2 * PING_SECONDS)
    assert not pair.a.dead(99.9 + DEAD_SECONDS)
    assert pair.a.dead(100.0 + DEAD_SECONDS)


def test_any_good_record_is_a_sign_of_life_and_a_bad_one_is_not() -> None:
    pair = make_pair(now=100.0)
    receive(pair.a, pair.b.seal(HEADER, now=150.0), 150.0)
    assert pair.a.last_received == 150.0
    assert not pair.a.dead(149.9 + DEAD_SECONDS)
    assert not pair.a.ping_due(149.9 + PING_SECONDS)
    receive(pair.a, pair.b.seal_ping(160.0), 160.0)
    assert pair.a.last_received == 160.0
    with pytest.raises(RemoteProtocolError):
        receive(pair.a, b"garbage", 200.0)
    assert pair.a.last_received == 160.0
    assert not pair.a.ping_due(1000.0), "a broken session is not probed"
    assert not pair.a.rekey_due(1e9)
