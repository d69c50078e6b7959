"""p2pd/peer/localpieces.py: pieces of our own files, verified, or somebody is told that there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.peer.localpieces import LocalPieces
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of, octets

DATA = octets(2 * MIB + 100)
MANIFEST = manifest_of(DATA)


class Reading:
    """Pieces of these files, and what was told."""

    def __init__(self, *paths: Path) -> None:
        self.failed: list[int] = []
        self.pieces = LocalPieces([str(path) for path in paths], MANIFEST, self.failed.append)

    def take(self, piece: int) -> bytes | None:
        view = self.pieces.take(piece, 0.0)
        return None if view is None else bytes(view)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    return path


def test_every_piece_of_a_good_file(path: Path) -> None:
    reading = Reading(path)
    assert b"".join(reading.take(piece) or b"" for piece in range(3)) == DATA
    assert reading.pieces.release(0) == MANIFEST.count
    assert reading.failed == []
    reading.pieces.close()
    reading.pieces.close()


def test_a_wrong_piece_is_not_given_and_told_once(path: Path) -> None:
    wrong = bytearray(DATA)
    wrong[MIB + 7] ^= 1
    path.write_bytes(wrong)
    reading = Reading(path)
    assert reading.take(0) == DATA[:MIB]
    assert [reading.take(1), reading.take(1)] == [None, None]
    assert reading.failed == [1]


@pytest.mark.parametrize("size", [0, 2 * MIB, 2 * MIB + 99])
def test_a_file_that_became_shorter(path: Path, size: int) -> None:
    path.write_bytes(DATA[:size])
    reading = Reading(path)
    assert reading.take(2) is None
    assert reading.failed == [2]


def test_another_file_takes_over_in_the_middle(path: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    short.write_bytes(DATA[:MIB])
    reading = Reading(tmp_path / "missing", short, path)
    assert b"".join(reading.take(piece) or b"" for piece in range(3)) == DATA
    assert reading.failed == []
    reading.pieces.close()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    reading = Reading(link)
    assert reading.take(0) is None
    assert reading.failed == [0]
