"""p2pd/peer/assembly.py: a piece is good when all of it came and its hash is right."""

from __future__ import annotations

from blake3 import blake3

from p2pd.peer.assembly import Assembly

DATA = b"0123456789"


def test_a_piece_is_judged_when_all_of_it_came() -> None:
    assembly = Assembly(10, blake3(DATA).digest(), whole=False)
    assert assembly.take(memoryview(DATA[:4])) is None
    assert (assembly.left, assembly.good) == (6, False)
    assert assembly.take(memoryview(DATA[4:])) is True
    assert (assembly.left, assembly.good) == (0, True)


def test_a_wrong_octet_is_found() -> None:
    assembly = Assembly(10, blake3(DATA).digest(), whole=True)
    assert assembly.take(memoryview(b"0123456780")) is False
    assert not assembly.good


def test_the_order_of_the_parts_counts() -> None:
    assembly = Assembly(10, blake3(DATA).digest(), whole=False)
    assembly.take(memoryview(DATA[5:]))
    assert assembly.take(memoryview(DATA[:5])) is False
