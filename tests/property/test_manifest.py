"""A manifest has one encoding, and every change of it is seen."""

from __future__ import annotations

from hashlib import sha256

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.limits import MIB
from protocol.manifest import Manifest, blocks, piece_count, piece_size_for


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    size = draw(st.integers(0, 6 * MIB))
    whole = draw(st.binary(min_size=32, max_size=32)) if size else sha256(b"").digest()
    pieces = draw(st.binary(min_size=32 * piece_count(size), max_size=32 * piece_count(size)))
    return Manifest(size, piece_size_for(size), whole, pieces)


@given(manifests())
def test_round_trip(manifest: Manifest) -> None:
    again = Manifest.decode(manifest.encode(), manifest.content_id)
    assert again == manifest
    assert again.content_id == manifest.content_id
    assert sum(manifest.piece_length(index) for index in range(manifest.count)) == manifest.size


@given(manifests(), st.data())
def test_any_change_is_rejected_under_the_old_id(manifest: Manifest, data: st.DataObject) -> None:
    octets = manifest.encode()
    position = data.draw(st.integers(0, len(octets) - 1))
    flipped = bytearray(octets)
    flipped[position] ^= data.draw(st.integers(1, 255))
    extra = data.draw(st.binary(min_size=1, max_size=4))
    for changed in (bytes(flipped), octets[:position], octets + extra):
        with pytest.raises(RemoteProtocolError):
            Manifest.decode(changed, manifest.content_id)


@given(manifests(), st.data())
def test_under_its_own_id_a_change_is_rejected_or_is_itself_canonical(
    manifest: Manifest, data: st.DataObject
) -> None:
    flipped = bytearray(manifest.encode())
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = Manifest.decode(flipped, blake3(bytes(flipped)).digest())
    except RemoteProtocolError:
        return
    assert other.encode() == bytes(flipped)
    assert other.content_id != manifest.content_id


@given(st.binary(max_size=120))
def test_any_octets_are_rejected_or_come_back(octets: bytes) -> None:
    try:
        manifest = Manifest.decode(octets, blake3(octets).digest())
    except RemoteProtocolError:
        return
    assert manifest.encode() == octets


@given(st.integers(1, 16 * MIB))
def test_blocks_are_a_partition(length: int) -> None:
    position = 0
    for offset, size in blocks(length):
        assert offset == position
        assert 0 < size <= MIB
        position += size
    assert position == length
