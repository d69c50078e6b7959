"""protocol/manifest.py: the same octets have one manifest, and one content id."""

from __future__ import annotations

from hashlib import sha256

import msgpack
import pytest
from blake3 import blake3

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import GIB, MAX_FILE, MAX_MANIFEST, MAX_PIECES, MIB, TIB
from protocol.manifest import Manifest, blocks, piece_count, piece_size_for, zero_hash

ABC = Manifest(3, MIB, sha256(b"abc").digest(), blake3(b"abc").digest())
EMPTY = Manifest(0, MIB, sha256(b"").digest(), b"")


def packed(*fields: object) -> tuple[bytes, bytes]:
    """Octets and their BLAKE3: what a liar could offer under an id of its own making."""
    data: bytes = msgpack.packb(list(fields))
    return data, blake3(data).digest()


def test_golden_manifest() -> None:
    expected = (
        "950103ce00100000c420ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        "c4206437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    )
    assert ABC.encode().hex() == expected
    assert ABC.content_id == blake3(bytes.fromhex(expected)).digest()
    assert Manifest.decode(bytes.fromhex(expected), ABC.content_id) == ABC


def test_empty_file() -> None:
    assert EMPTY.count == 0
    assert EMPTY.zero_pieces() == []
    assert Manifest.decode(EMPTY.encode(), EMPTY.content_id) == EMPTY
    with pytest.raises(LocalProtocolError, match="SHA-256"):
        Manifest(0, MIB, bytes(32), b"")


@pytest.mark.parametrize(
    ("size", "piece_size", "count"),
    [
        (0, MIB, 0),
        (1, MIB, 1),
        (MIB, MIB, 1),
        (MIB + 1, MIB, 2),
        (64 * GIB, MIB, MAX_PIECES),
        (64 * GIB + 1, 2 * MIB, MAX_PIECES // 2 + 1),
        (TIB, 16 * MIB, MAX_PIECES),
    ],
)
def test_piece_size(size: int, piece_size: int, count: int) -> None:
    assert piece_size_for(size) == piece_size
    assert piece_count(size) == count


@pytest.mark.parametrize("size", [-1, MAX_FILE + 1])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        piece_size_for(size)
    with pytest.raises(LocalProtocolError):
        Manifest(size, MIB, bytes(32), b"")


def test_pieces_of_a_file() -> None:
    manifest = Manifest(2 * MIB + 5, MIB, bytes(32), bytes(range(96)))
    assert manifest.count == 3
    assert [manifest.piece_length(i) for i in range(3)] == [MIB, MIB, 5]
    assert [manifest.piece_offset(i) for i in range(3)] == [0, MIB, 2 * MIB]
    assert manifest.piece_hash(2) == bytes(range(64, 96))
    for index in (-1, 3):
        for method in (manifest.piece_length, manifest.piece_offset, manifest.piece_hash):
            with pytest.raises(IndexError):
                method(index)


def test_blocks_cover_a_piece() -> None:
    assert blocks(5) == [(0, 5)]
    assert blocks(MIB) == [(0, MIB)]
    assert blocks(2 * MIB + 1) == [(0, MIB), (MIB, MIB), (2 * MIB, 1)]


def test_zero_pieces_are_found_also_the_short_last() -> None:
    zero, other = blake3(bytes(MIB)).digest(), bytes(range(32))
    assert zero_hash(MIB) == zero
    assert zero_hash(MIB + 7) == blake3(bytes(MIB + 7)).digest()
    manifest = Manifest(3 * MIB + 7, MIB, bytes(32), zero + other + zero + blake3(bytes(7)).digest())
    assert manifest.zero_pieces() == [0, 2, 3]
    # a short last piece is not a whole piece of zeros, nor the reverse
    assert Manifest(2 * MIB + 7, MIB, bytes(32), other + other + zero).zero_pieces() == []
    assert Manifest(2 * MIB, MIB, bytes(32), zero + zero).zero_pieces() == [0, 1]


def test_the_hash_is_checked_before_the_octets_are_looked_at() -> None:
    with pytest.raises(RemoteProtocolError, match="content id"):
        Manifest.decode(b"\xc1 not msgpack", ABC.content_id)
    with pytest.raises(RemoteProtocolError, match="too long"):
        Manifest.decode(bytes(MAX_MANIFEST + 1), bytes(32))


SHA, PIECE = bytes(32), bytes(32)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((2, 3, MIB, SHA, PIECE), "format 2"),
        ((1, 3, 2 * MIB, SHA, PIECE), "piece size"),
        ((1, 3, 1000, SHA, PIECE), "piece size"),
        ((1, 3, 0, SHA, PIECE), "piece size"),
        ((1, -1, MIB, SHA, PIECE), "size out of range"),
        ((1, MAX_FILE + 1, 16 * MIB, SHA, PIECE), "size out of range"),
        ((1, 3, MIB, SHA[:31], PIECE), "SHA-256"),
        ((1, 3, MIB, SHA + b"x", PIECE), "SHA-256"),
        ((1, 3, MIB, SHA, b""), "number of pieces"),
        ((1, 3, MIB, SHA, PIECE * 2), "number of pieces"),
        ((1, 3, MIB, SHA, PIECE[:31]), "number of pieces"),
        ((1, 0, MIB, SHA, b""), "SHA-256 for no octets"),
        ((1, 3, MIB, SHA), "malformed"),
        ((1, 3, MIB, SHA, PIECE, 0), "malformed|canonical"),
        ((1, 3.0, MIB, SHA, PIECE), "malformed|canonical"),
        ((1, "3", MIB, SHA, PIECE), "malformed"),
        ((1, 3, MIB, SHA.decode(), PIECE), "malformed|canonical"),
    ],
)
def test_a_manifest_that_does_not_fit_its_size(fields: tuple[object, ...], reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        Manifest.decode(*packed(*fields))


@pytest.mark.parametrize(
    "data",
    [
        b"\xdc\x00\x05" + ABC.encode()[1:],  # array16 instead of fixarray
        b"\x95\xcc\x01" + ABC.encode()[2:],  # uint8 instead of fixint
        ABC.encode().replace(b"\xc4\x20", b"\xc5\x00\x20", 1),  # bin16 instead of bin8
        ABC.encode()[:-34] + b"\xc5\x00\x20" + ABC.encode()[-32:],
        ABC.encode() + b"\x00",  # something after it
    ],
)
def test_another_encoding_of_the_same_manifest(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Manifest.decode(data, blake3(data).digest())


def test_from_a_memoryview() -> None:
    assert Manifest.decode(memoryview(bytearray(ABC.encode())), ABC.content_id) == ABC


def test_largest_manifest_fits_the_limit() -> None:
    largest = Manifest(TIB, 16 * MIB, SHA, bytes(32 * MAX_PIECES))
    assert len(largest.encode()) <= MAX_MANIFEST
    assert Manifest.decode(largest.encode(), largest.content_id) == largest


def test_repr_has_no_hashes() -> None:
    assert repr(ABC) == f"Manifest({ABC.content_id[:4].hex()}, 3 octets, 1 pieces)"
