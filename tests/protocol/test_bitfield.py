"""protocol/bitfield.py: one set, one encoding."""

from __future__ import annotations

import pytest

from protocol.bitfield import Bitfield
from protocol.errors import LocalProtocolError, RemoteProtocolError


def test_golden_octets() -> None:
    assert Bitfield(10, [0, 7, 8]).to_bytes() == b"\x81\x80"
    assert Bitfield.complete(10).to_bytes() == b"\xff\xc0"
    assert Bitfield(10, [0, 9]).bits == 0b10_0000_0001
    assert Bitfield(0).to_bytes() == b""


def test_add_and_discard_say_whether_they_changed_anything() -> None:
    field = Bitfield(9)
    assert field.add(8)
    assert not field.add(8)
    assert 8 in field
    assert len(field) == 1
    assert field.discard(8)
    assert not field.discard(8)
    assert 8 not in field
    assert len(field) == 0


@pytest.mark.parametrize("index", [-1, 9, 15, 16, 10**9])
def test_out_of_range(index: int) -> None:
    field = Bitfield(9)
    assert index not in field
    with pytest.raises(IndexError):
        field.add(index)
    with pytest.raises(IndexError):
        field.discard(index)
    assert field.to_bytes() == b"\0\0"


def test_full() -> None:
    field = Bitfield(3, [0, 1])
    assert not field.full
    field.add(2)
    assert field.full
    assert Bitfield(0).full
    assert list(field.missing()) == []


def test_missing_and_algebra() -> None:
    left, right = Bitfield(12, [0, 5, 11]), Bitfield(12, [5, 6])
    assert list(left.missing()) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert list(left | right) == [0, 5, 6, 11]
    assert list(left & right) == [5]
    assert list(left - right) == [0, 11]
    assert list(left) == [0, 5, 11]


def test_ranges_do_not_mix() -> None:
    with pytest.raises(LocalProtocolError):
        _ = Bitfield(8) | Bitfield(9)
    with pytest.raises(LocalProtocolError):
        Bitfield(-1)
    with pytest.raises(LocalProtocolError):
        Bitfield.from_bits(3, 8)
    with pytest.raises(LocalProtocolError):
        Bitfield.from_bits(3, -1)
    assert Bitfield(8) != Bitfield(9)
    assert Bitfield(8) != 0


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"\0\0", 8), (b"\0", 9), (b"\0", 0)])
def test_wrong_length(data: bytes, count: int) -> None:
    with pytest.raises(RemoteProtocolError, match="octets"):
        Bitfield.from_bytes(data, count)


@pytest.mark.parametrize(
    ("data", "count"), [(b"\x01", 7), (b"\x40", 1), (b"\xff\xc1", 10), (b"\xff\xe0", 10)]
)
def test_spare_bits(data: bytes, count: int) -> None:
    with pytest.raises(RemoteProtocolError, match="spare"):
        Bitfield.from_bytes(data, count)


def test_from_a_memoryview_is_a_copy() -> None:
    data = bytearray(b"\x80")
    field = Bitfield.from_bytes(memoryview(data), 8)
    data[0] = 0
    assert 0 in field


def test_copy_changes_on_its_own() -> None:
    field = Bitfield(9, [1])
    other = field.copy()
    assert other == field
    other.add(2)
    assert list(field) == [1]


def test_it_cannot_be_a_key_because_it_changes() -> None:
    with pytest.raises(TypeError):
        hash(Bitfield(1))
