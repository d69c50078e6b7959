"""A bitfield is a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.bitfield import Bitfield
from protocol.errors import RemoteProtocolError

counts = st.integers(0, 200)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, set[int], set[int]]:
    count = draw(counts)
    members = st.sets(st.integers(0, count - 1)) if count else st.just(set[int]())
    return count, draw(members), draw(members)


@given(pairs())
def test_algebra_is_that_of_sets(case: tuple[int, set[int], set[int]]) -> None:
    count, left, right = case
    a, b = Bitfield(count, left), Bitfield(count, right)
    for field, expected in (
        (a, left),
        (a | b, left | right),
        (a & b, left & right),
        (a - b, left - right),
        (a.missing(), set(range(count)) - left),
        (a.copy(), left),
        (Bitfield.from_bytes(a.to_bytes(), count), left),
        (Bitfield.from_bits(count, a.bits), left),
    ):
        assert list(field) == sorted(expected)
        assert len(field) == len(expected)
        assert field == Bitfield(count, expected)
        assert field.full == (len(expected) == count)
        assert field.bits == sum(1 << index for index in expected)
    assert (a == b) == (left == right)


@given(pairs())
def test_changes_are_those_of_sets(case: tuple[int, set[int], set[int]]) -> None:
    count, members, changes = case
    field = Bitfield(count, members)
    for index in changes:
        assert (index in field) == (index in members)
        if index % 2:
            assert field.add(index) == (index not in members)
            members.add(index)
        else:
            assert field.discard(index) == (index in members)
            members.discard(index)
    assert list(field) == sorted(members)
    assert len(field) == len(members)


@given(st.binary(max_size=20), counts)
def test_any_octets_are_rejected_or_come_back(data: bytes, count: int) -> None:
    try:
        field = Bitfield.from_bytes(data, count)
    except RemoteProtocolError:
        return
    assert field.to_bytes() == data
    assert all(index < count for index in field)
