"""p2pd/net/landing.py: opened payloads begin at a page, and stay while they are kept."""

from __future__ import annotations

import ctypes

import pytest

from p2pd.net.buffers import PAGE
from p2pd.net.landing import PlainBuffer
from protocol.limits import MAX_BLOCK, MAX_DIALER_FRAME
from protocol.records import PLAIN_HEAD, room_to_open_record
from protocol.session import Opened


def land(plain: PlainBuffer, header: int, payload: int) -> Opened:
    """Stands for a session that opened a record there."""
    room = plain.room()
    start = PLAIN_HEAD + header
    event = Opened(room[PLAIN_HEAD:start], room[start : start + payload])
    plain.opened(event)
    return event


def aligned(view: memoryview) -> bool:
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % PAGE == 0


@pytest.mark.parametrize("header", [3, 5, 300])
def test_a_payload_behind_a_header_like_the_last_begins_a_page(header: int) -> None:
    plain = PlainBuffer()
    land(plain, header, MAX_BLOCK)
    assert aligned(land(plain, header, MAX_BLOCK).payload)
    land(plain, 40, 10)  # a small message says nothing about blocks
    assert aligned(land(plain, header, MAX_BLOCK).payload)
    assert not aligned(land(plain, header + 1, MAX_BLOCK).payload)
    assert aligned(land(plain, header + 1, MAX_BLOCK).payload)


def test_the_longest_record_has_room_whatever_header_came_before() -> None:
    plain = PlainBuffer()
    for header in (0, 100, PAGE + 7):
        assert len(plain.room()) >= room_to_open_record(MAX_DIALER_FRAME)
        land(plain, header, MAX_BLOCK)
    assert len(plain.room()) >= room_to_open_record(MAX_DIALER_FRAME)


def test_what_is_kept_stays_and_what_is_not_kept_is_overwritten() -> None:
    plain = PlainBuffer()
    first = land(plain, 4, 100).payload
    first[:] = b"a" * 100
    release = plain.keep()
    second = land(plain, 4, 100).payload
    second[:] = b"b" * 100
    assert bytes(first) == b"a" * 100
    land(plain, 4, 100).payload[:] = b"c" * 100
    assert bytes(second) == b"c" * 100
    release()
    plain.keep()
    land(plain, 4, 100).payload[:] = b"d" * 100
    assert bytes(first) == b"d" * 100


def test_records_that_are_opened_together_have_a_room_each_and_one_turn_after_the_other() -> None:
    plain = PlainBuffer()
    land(plain, 3, MAX_BLOCK)
    rooms = plain.rooms(3)
    starts = [ctypes.addressof(ctypes.c_char.from_buffer(room)) for room in rooms]
    assert len(set(starts)) == 3
    assert all(aligned(room[PLAIN_HEAD + 3 :]) for room in rooms)
    for number, room in enumerate(rooms):
        room[:100] = bytes([number]) * 100
    for number, start in enumerate(starts):
        assert ctypes.addressof(ctypes.c_char.from_buffer(plain.room())) == start
        assert plain.room()[:100] == bytes([number]) * 100
        plain.turn()
    plain.turn()  # the last one stays for the next record
    assert ctypes.addressof(ctypes.c_char.from_buffer(plain.room())) == starts[2]


def test_one_of_several_is_kept_beyond_its_turn() -> None:
    plain = PlainBuffer()
    rooms = plain.rooms(2)
    for number, room in enumerate(rooms):
        room[:10] = bytes([number]) * 10
    release = plain.keep()
    plain.turn()
    for _ in range(4):
        for room in plain.rooms(4):
            room[:10] = b"x" * 10
        plain.turn()
    assert rooms[0][:10] == bytes(10)
    release()
