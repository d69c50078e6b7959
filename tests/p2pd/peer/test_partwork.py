"""The part file of a download between database and disk: what is believed, what is kept, what it is called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from blake3 import blake3

from p2pd.peer import partwork
from p2pd.peer.partwork import PartWork, octets_of
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import DiskFull, Root
from p2pd.storage.state import Download, State
from protocol.bitfield import Bitfield
from protocol.errors import Fault
from protocol.limits import MIB
from protocol.manifest import Manifest

DATA = os.urandom(2 * MIB + 5)
PIECES = [DATA[start : start + MIB] for start in range(0, len(DATA), MIB)]
MANIFEST = Manifest(len(DATA), MIB, sha256(DATA).digest(), b"".join(blake3(piece).digest() for piece in PIECES))
ALL = 0b111


class Bench:
    """A database, a directory and one download of DATA."""

    def __init__(self, place: Path, home: str = "a") -> None:
        (place / "downloads").mkdir(exist_ok=True)
        self.store = State(place / f"{home}.db")
        self.root = Root(place / "downloads")
        self.work = PartWork(self.store)
        row = self.store.add_download(
            MANIFEST.content_id, "x.bin", MANIFEST.size, str(place / "downloads"), "x.bin", 1.0
        )
        self.transfer_id = row.transfer_id

    @property
    def row(self) -> Download:
        return self.store.get_download(self.transfer_id)

    def open(self) -> tuple[PartFile, int]:
        return self.work.open(self.root, MANIFEST, self.row)

    def fill(self, part: PartFile, *pieces: int) -> None:
        for piece in pieces:
            part.write(MANIFEST.piece_offset(piece), PIECES[piece])

    def close(self) -> None:
        self.root.close()
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_new_part_file_is_recorded_before_its_first_octet(bench: Bench) -> None:
    part, have = bench.open()
    with part:
        assert have == 0
        assert bench.row.part_name == part.name
        assert bench.row.part_stamp == part.identity


def test_committed_pieces_are_there_after_a_restart(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        bench.fill(part, 0, 2)
        bench.work.last_commit(part, bench.row, MANIFEST, 0b101, 5)
    assert bench.row.received_bytes == 5
    part, have = bench.open()
    with part:
        assert have == 0b101
        assert bench.work.resumed == octets_of(MANIFEST, 0b101) == MIB + 5


def test_pieces_written_after_the_last_commit_are_found(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        bench.fill(part, 0)
        bench.work.commit(part, bench.row, MANIFEST, 0b001, MIB)
        bench.fill(part, 1)
    part, have = bench.open()
    part.close()
    assert have == 0b011


def test_what_another_program_wrote_into_it_after_an_orderly_stop_is_not_believed(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        bench.fill(part, 0, 1)
        bench.work.last_commit(part, bench.row, MANIFEST, 0b011, 2 * MIB)
        path = Path(bench.root.path) / part.name
    with path.open("r+b") as stream:
        stream.write(b"damage")
    os.utime(path, ns=(1, 1))  # whatever the resolution of the file system's clock is
    part, have = bench.open()
    part.close()
    assert have == 0b010


def test_two_daemons_in_one_directory_have_part_files_of_their_own(tmp_path: Path) -> None:
    first, second = Bench(tmp_path, "a"), Bench(tmp_path, "b")
    one, _ = first.open()
    two, _ = second.open()
    with one, two:
        assert first.transfer_id == second.transfer_id
        assert one.name != two.name
        assert first.root.exists(one.name)
    first.close()
    second.close()


def test_a_name_that_was_taken_meanwhile_costs_nothing(bench: Bench) -> None:
    part, _ = bench.open()
    bench.fill(part, 0, 1, 2)
    taken = Path(bench.root.path) / "x.bin"
    taken.write_text("somebody else's")
    path = Path(bench.work.finish(part, bench.row))
    assert taken.read_text() == "somebody else's"
    assert path.name == "x (1).bin"
    assert path.read_bytes() == DATA


def test_the_name_is_used_when_it_is_free(bench: Bench) -> None:
    part, _ = bench.open()
    bench.fill(part, 0, 1, 2)
    assert Path(bench.work.finish(part, bench.row)).read_bytes() == DATA
    assert bench.work.finished_before(bench.root, bench.row) == str(Path(bench.root.path) / "x.bin")


def test_nothing_was_finished_while_the_part_file_is_there(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        assert bench.work.finished_before(bench.root, bench.row) is None


def test_a_part_file_that_vanished_is_begun_again(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        bench.fill(part, 0)
        bench.work.commit(part, bench.row, MANIFEST, 0b001, MIB)
    bench.root.unlink(part.name)
    part, have = bench.open()
    with part:
        assert have == 0
        assert bench.work.resumed == 0


def test_a_file_that_cannot_fit_is_not_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partwork, "FREE_RESERVE", 2**62)
    with pytest.raises(DiskFull, match="not enough room"):
        bench.open()
    assert not bench.row.part_name


def test_a_wrong_claim_about_the_sha256_is_found(bench: Bench) -> None:
    part, _ = bench.open()
    with part:
        bench.fill(part, 0, 1, 2)
        bench.work.check_sha256(bench.root, part, MANIFEST, bench.row)
        lying = replace(MANIFEST, sha256=bytes(32))
        with pytest.raises(Fault, match="SHA-256") as caught:
            bench.work.check_sha256(bench.root, part, lying, bench.row)
    assert caught.value.code == "integrity"


def test_remove_takes_the_part_file_away_once(bench: Bench) -> None:
    part, _ = bench.open()
    part.close()
    bench.work.remove(bench.row)
    assert not bench.root.exists(part.name)
    bench.work.remove(bench.row)


def test_octets_of_a_set_of_pieces() -> None:
    for pieces in ([], [0], [2], [0, 1, 2]):
        bits = Bitfield(3, pieces).bits
        assert octets_of(MANIFEST, bits) == sum(MANIFEST.piece_length(piece) for piece in pieces)
    assert octets_of(MANIFEST, ALL) == len(DATA)
