"""p2pd/peer/growing.py: pieces of an unfinished file, read while it is written, renamed and closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pd.peer.growing import Growing
from protocol.bitfield import Bitfield
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of, octets

DATA = octets(2 * MIB + 9)
MANIFEST = manifest_of(DATA)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "part"
    path.write_bytes(DATA)
    return path


def growing(path: Path, have: int = 0b001) -> Growing:
    return Growing(MANIFEST, os.open(path, os.O_RDONLY), have)


def test_it_has_what_was_verified(path: Path) -> None:
    some = growing(path)
    assert [some.has(piece) for piece in range(4)] == [True, False, False, False]
    some.add(2)
    assert (some.has(2), some.complete) == (True, False)
    assert Bitfield.from_bytes(some.bitfield, MANIFEST.count).bits == 0b101
    some.add(1)
    assert some.complete
    assert (some.content_id, some.octets) == (MANIFEST.content_id, MANIFEST.encode())
    some.close()


def test_where_a_piece_ends(path: Path) -> None:
    some = growing(path)
    assert some.within(0, 0, MIB)
    assert some.within(2, 4, 5)
    assert not some.within(2, 5, 5)
    assert not some.within(1, 1, MIB)
    assert not some.within(3, 0, 1)
    some.close()


def test_octets_are_read_also_after_the_file_got_its_name(path: Path) -> None:
    some = growing(path)
    view = memoryview(bytearray(9))
    assert some.read_into(2, 0, view)
    assert view == DATA[-9:]
    path.rename(path.with_name("finished"))
    assert some.read_into(0, 5, view)
    assert view == DATA[5:14]
    os.truncate(path.with_name("finished"), 7)
    assert not some.read_into(1, 0, view)
    some.close()


def test_after_the_end_nothing_is_read(path: Path) -> None:
    some = growing(path)
    some.close()
    some.close()
    assert not some.read_into(0, 0, memoryview(bytearray(1)))
