"""p2pd/engine/pieces.py: each piece is in exactly one of have, in flight and wanted."""

from __future__ import annotations

import pytest

from p2pd.engine.pieces import PieceMap, indexes, lowest
from protocol.errors import LocalProtocolError


def test_bits_are_read_from_the_lowest() -> None:
    assert lowest(0b1011000) == 3
    assert lowest(1 << 65_535) == 65_535
    assert list(indexes(0)) == []
    assert list(indexes(0b1010_0001 | 1 << 65_535)) == [0, 5, 7, 65_535]


def test_a_new_map_wants_all_that_it_does_not_have() -> None:
    pieces = PieceMap(4, 0b0101)
    assert (pieces.have, pieces.wanted, pieces.in_flight) == (0b0101, 0b1010, {})
    assert not pieces.complete
    pieces.check()


def test_a_file_without_pieces_is_complete() -> None:
    assert PieceMap(0).complete


@pytest.mark.parametrize("have", [1 << 4, 1 << 60])
def test_a_piece_beyond_the_end_is_refused(have: int) -> None:
    with pytest.raises(LocalProtocolError):
        PieceMap(4, have)


def test_an_asked_piece_is_in_flight_and_a_done_one_is_had() -> None:
    pieces = PieceMap(3)
    pieces.ask(1, "a")
    assert (pieces.wanted, pieces.in_flight) == (0b101, {1: {"a"}})
    pieces.check()
    assert pieces.done(1)
    assert (pieces.have, pieces.wanted, pieces.in_flight) == (0b010, 0b101, {})
    pieces.check()
    assert not pieces.done(1)


def test_a_piece_may_come_unasked() -> None:
    pieces = PieceMap(2)
    assert pieces.done(0)
    assert (pieces.have, pieces.wanted) == (0b01, 0b10)
    pieces.check()


def test_a_piece_asked_of_two_is_wanted_again_only_when_both_gave_up() -> None:
    pieces = PieceMap(2)
    pieces.ask(0, "a")
    pieces.ask(0, "b")
    pieces.give_up(0, "a")
    assert (pieces.wanted, pieces.in_flight) == (0b10, {0: {"b"}})
    pieces.give_up(0, "b")
    assert (pieces.wanted, pieces.in_flight) == (0b11, {})
    pieces.check()


def test_giving_up_what_was_not_asked_changes_nothing() -> None:
    pieces = PieceMap(2)
    pieces.give_up(0, "a")
    pieces.ask(0, "a")
    pieces.give_up(0, "b")
    assert (pieces.wanted, pieces.in_flight) == (0b10, {0: {"a"}})


@pytest.mark.parametrize("piece", [0, 1])
def test_a_piece_is_not_asked_twice_of_one_nor_when_it_is_had(piece: int) -> None:
    pieces = PieceMap(2, have=0b10)
    if piece == 0:
        pieces.ask(0, "a")
    with pytest.raises(LocalProtocolError):
        pieces.ask(piece, "a")


def test_a_lost_piece_is_wanted_again_and_only_one_that_was_had() -> None:
    pieces = PieceMap(2, have=0b01)
    pieces.lose(0)
    pieces.lose(1)
    assert (pieces.have, pieces.wanted) == (0, 0b11)
    pieces.check()


@pytest.mark.parametrize(
    ("have", "wanted", "flying"), [(1, 1, {}), (1, 2, {0: {"a"}}), (0, 1, {}), (1, 2, {0: set()})]
)
def test_check_finds_a_broken_map(have: int, wanted: int, flying: dict[int, set[str]]) -> None:
    pieces = PieceMap(2)
    pieces.have, pieces.wanted, pieces.in_flight = have, wanted, flying
    with pytest.raises(AssertionError):
        pieces.check()
