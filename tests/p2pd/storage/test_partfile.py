"""p2pd/storage/partfile.py: what is on the disk is never claimed wrongly, and never lost."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from p2pd.storage.hashing import Cancelled, FileIdentity
from p2pd.storage.partfile import PartFile, PartGone, find_finished, part_name_for
from p2pd.storage.root import DiskFull, Root, StorageFailed, StorageMissing
from protocol.bitfield import Bitfield
from protocol.errors import Fault, LocalProtocolError
from protocol.limits import MIB
from protocol.manifest import Manifest
from protocol.names import BadName, check_name

DATA = random.Random(7).randbytes(MIB) + bytes(MIB) + random.Random(8).randbytes(2 * MIB + 333)
"""Five pieces; the second is zeros, the last is short."""


def manifest_of(data: bytes) -> Manifest:
    pieces = b"".join(blake3(data[start : start + MIB]).digest() for start in range(0, len(data), MIB))
    return Manifest(len(data), MIB, hashlib.sha256(data).digest(), pieces)


MANIFEST = manifest_of(DATA)
PART = part_name_for("t-1", MANIFEST.content_id)


def write_piece(part: PartFile, index: int) -> None:
    start = part.manifest.piece_offset(index)
    part.write(start, DATA[start : start + part.manifest.piece_length(index)])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    with Root(tmp_path) as root:
        yield root


@pytest.fixture
def part(root: Root) -> Iterator[PartFile]:
    with PartFile.create(root, PART, MANIFEST) as part:
        yield part


def test_the_part_name_is_no_name_for_a_shared_file() -> None:
    assert part_name_for("t-12", bytes(32)) == ".t-12-00000000.p2pd-part"
    with pytest.raises(BadName):
        check_name(PART)


def test_a_new_part_has_its_size_no_data_and_its_zero_pieces(root: Root, part: PartFile) -> None:
    status = os.stat(os.path.join(root.path, PART))
    assert status.st_size == len(DATA)
    assert status.st_blocks * 512 < MIB
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert part.identity == FileIdentity(status.st_ino, status.st_dev)
    assert [part.verify(index) for index in range(5)] == [False, True, False, False, False]


def test_a_taken_name_is_refused(root: Root, part: PartFile) -> None:
    with pytest.raises(Fault) as caught:
        PartFile.create(root, PART, MANIFEST)
    assert caught.value.code == "exists"


def test_write_read_verify(part: PartFile) -> None:
    part.write(0, DATA[:1000])
    assert not part.verify(0)
    part.write(1000, memoryview(bytearray(DATA[1000:MIB])))
    assert part.verify(0)
    out = bytearray(2000)
    part.read_into(MIB - 1000, memoryview(out))
    assert bytes(out) == DATA[MIB - 1000 : MIB + 1000]
    write_piece(part, 4)
    assert part.verify(4)
    part.write(MIB - 1, b"\xff" if DATA[MIB - 1] != 0xFF else b"\x00")
    assert not part.verify(0)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (len(DATA), 1), (len(DATA) - 1, 2), (2**62, 1)])
def test_nothing_is_written_or_read_beyond_the_end(part: PartFile, offset: int, length: int) -> None:
    with pytest.raises(LocalProtocolError):
        part.write(offset, bytes(length))
    with pytest.raises(LocalProtocolError):
        part.read_into(offset, memoryview(bytearray(length)))
    assert os.stat(os.path.join(part.root.path, PART)).st_size == len(DATA)


def test_short_writes_are_continued(root: Root) -> None:
    sizes: list[int] = []

    def stingy(fd: int, data: bytes | memoryview, offset: int) -> int:
        sizes.append(len(data))
        return os.pwrite(fd, data[:100_000], offset)

    with PartFile.create(root, PART, MANIFEST, write=stingy) as part:
        write_piece(part, 0)
        assert part.verify(0)
    assert sizes == list(range(MIB, 0, -100_000))


def test_a_write_of_nothing_is_an_error_and_no_endless_loop(root: Root) -> None:
    part = PartFile.create(root, PART, MANIFEST, write=lambda fd, data, offset: 0)
    with part, pytest.raises(StorageFailed, match="nothing was written"):
        part.write(0, b"abc")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, StorageMissing),
        (errno.ENODEV, StorageMissing),
        (errno.EROFS, StorageFailed),
    ],
)
def test_write_errors_are_classed_and_do_not_stick(root: Root, number: int, kind: type[Fault]) -> None:
    left = [MIB // 2]

    def quota(fd: int, data: bytes | memoryview, offset: int) -> int:
        if left[0] <= 0:
            raise OSError(number, "injected")
        written = os.pwrite(fd, data[: left[0]], offset)
        left[0] -= written
        return written

    with PartFile.create(root, PART, MANIFEST, write=quota) as part:
        with pytest.raises(kind):
            write_piece(part, 0)
        assert not part.verify(0)
        left[0] = MIB  # space is back
        write_piece(part, 0)
        assert part.verify(0)


def test_reopened_after_a_stop_the_committed_pieces_are_trusted(root: Root) -> None:
    with PartFile.create(root, PART, MANIFEST) as part:
        identity = part.identity
        write_piece(part, 0)
    again, trusted = PartFile.reopen(root, PART, MANIFEST, identity)
    with again:
        assert trusted
        assert again.verify(0)
        assert again.identity == identity


def test_another_file_in_its_place_is_not_trusted(root: Root) -> None:
    with PartFile.create(root, PART, MANIFEST) as part:
        identity = part.identity
        os.rename(os.path.join(root.path, PART), os.path.join(root.path, "kept"))
    Path(root.path, PART).write_bytes(DATA)
    again, trusted = PartFile.reopen(root, PART, MANIFEST, identity)
    with again:
        assert not trusted
        assert all(again.verify(index) for index in range(5))


def test_a_file_of_another_size_is_not_trusted_and_gets_its_size(root: Root) -> None:
    with PartFile.create(root, PART, MANIFEST) as part:
        identity = part.identity
        write_piece(part, 0)
    for size in (MIB, len(DATA) + 1000):
        os.truncate(os.path.join(root.path, PART), size)
        again, trusted = PartFile.reopen(root, PART, MANIFEST, identity)
        with again:
            assert not trusted
            assert again.verify(0)
            assert os.stat(os.path.join(root.path, PART)).st_size == len(DATA)


def test_without_a_record_or_on_request_it_is_not_trusted(root: Root) -> None:
    with PartFile.create(root, PART, MANIFEST) as part:
        identity = part.identity
    for recorded, recheck in ((None, False), (identity, True)):
        again, trusted = PartFile.reopen(root, PART, MANIFEST, recorded, recheck=recheck)
        with again:
            assert not trusted


def test_a_part_that_is_gone_and_a_drive_that_is_gone(root: Root) -> None:
    for recorded in (None, FileIdentity(5, root.device)):
        with pytest.raises(PartGone):
            PartFile.reopen(root, PART, MANIFEST, recorded)
    with pytest.raises(StorageMissing) as caught:
        PartFile.reopen(root, PART, MANIFEST, FileIdentity(5, root.device + 1))
    assert not isinstance(caught.value, PartGone)


class Counting(PartFile):
    """Notes which pieces are read."""

    def verify(self, piece: int) -> bool:
        self.__dict__.setdefault("read", []).append(piece)
        return super().verify(piece)


def test_recover_finds_what_was_written_but_not_committed(root: Root) -> None:
    with Counting.create(root, PART, MANIFEST) as part:
        assert isinstance(part, Counting)
        write_piece(part, 0)
        write_piece(part, 2)
        part.write(MANIFEST.piece_offset(3), DATA[3 * MIB : 3 * MIB + 50_000])  # torn
        committed = Bitfield(5, [0])
        assert list(part.recover(committed)) == [1, 2]
        assert 0 not in part.__dict__["read"]  # what is committed is not read again
        assert {2, 3} <= set(part.__dict__["read"])
        assert list(committed) == [0]
        assert list(part.recover(Bitfield.complete(5))) == []


def test_recover_reads_zero_pieces_only_if_something_was_written_there(root: Root) -> None:
    with Counting.create(root, PART, MANIFEST) as part:
        part.write(MIB + 5, b"x")
        assert list(part.recover(Bitfield(5))) == []
        part.write(MIB + 5, b"\0")
        assert list(part.recover(Bitfield(5))) == [1]


def test_recover_can_be_stopped(part: PartFile) -> None:
    write_piece(part, 0)
    with pytest.raises(Cancelled):
        part.recover(Bitfield(5), cancelled=lambda: True)


def test_finish(root: Root) -> None:
    part = PartFile.create(root, PART, MANIFEST)
    for index in range(5):
        write_piece(part, index)
    part.sync()
    path = part.finish("report.pdf")
    assert path == os.path.join(root.path, "report.pdf")
    assert Path(path).read_bytes() == DATA
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(root.path) == ["report.pdf"]
    with pytest.raises(LocalProtocolError):
        part.write(0, b"x")


def test_finish_of_an_empty_file(root: Root) -> None:
    empty = manifest_of(b"")
    part = PartFile.create(root, PART, empty)
    assert part.recover(Bitfield(0)).full
    path = part.finish("empty")
    assert os.stat(path).st_size == 0


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_finish_where_a_file_appeared_meanwhile(root: Root, part: PartFile, policy: str) -> None:
    Path(root.path, "a").write_bytes(b"theirs")
    with pytest.raises(Fault) as caught:
        part.finish("a", policy)
    assert caught.value.code == "exists"
    assert Path(root.path, "a").read_bytes() == b"theirs"
    part.write(0, b"still usable")
    assert part.finish("b", policy).endswith("/b")


def test_finish_under_the_next_free_name(root: Root) -> None:
    for expected in ("a.txt", "a (1).txt", "a (2).txt"):
        assert PartFile.create(root, PART, MANIFEST).finish("a.txt", "rename") == os.path.join(
            root.path, expected
        )


def test_finish_over_another(root: Root, part: PartFile) -> None:
    Path(root.path, "a").write_bytes(b"old")
    assert os.stat(part.finish("a", "overwrite")).st_size == len(DATA)


def test_finish_under_an_odd_name(root: Root, part: PartFile) -> None:
    with pytest.raises(BadName):
        part.finish("a:b")
    with pytest.raises(Fault):
        part.finish("../a", from_user=True)
    with pytest.raises(LocalProtocolError):
        part.finish("a", "whatever")
    assert part.finish("a:b", from_user=True) == os.path.join(root.path, "a:b")


@pytest.mark.parametrize("how", ["sync", "finish"])
def test_a_failed_sync_is_final(root: Root, part: PartFile, how: str) -> None:
    write_piece(part, 0)
    good = os.dup(part._fd)
    reader, writer = os.pipe()  # something that cannot be synced
    try:
        os.dup2(reader, part._fd)
        with pytest.raises(StorageFailed) as caught:
            part.sync() if how == "sync" else part.finish("a")
        assert caught.value.details["verify"] is True
        os.dup2(good, part._fd)
    finally:
        for fd in (good, reader, writer):
            os.close(fd)
    with pytest.raises(StorageFailed, match="before"):
        part.sync()
    with pytest.raises(StorageFailed, match="before"):
        part.finish("a")
    assert os.listdir(root.path) == [PART]
    identity = part.identity
    part.close()
    again, trusted = PartFile.reopen(root, PART, MANIFEST, identity, recheck=True)
    with again:
        assert not trusted
        assert again.verify(0)
        again.sync()


def test_a_part_removed_under_us_is_noticed(root: Root, part: PartFile) -> None:
    write_piece(part, 0)
    root.unlink(PART)
    with pytest.raises(PartGone):
        part.sync()
    with pytest.raises(PartGone):
        part.finish("a")


def test_a_name_given_just_before_a_kill_is_found_again(root: Root) -> None:
    assert find_finished(root, "a", len(DATA), FileIdentity(1, 1)) is None
    Path(root.path, "a").write_bytes(b"theirs")
    with PartFile.create(root, PART, MANIFEST) as part:
        identity = part.identity
        path = part.finish("a", "rename")
    assert find_finished(root, "a", len(DATA), identity) == path == os.path.join(root.path, "a (1)")
    assert find_finished(root, "a", len(DATA) + 1, identity) is None
    assert find_finished(root, "a", len(DATA), None) is None


def test_discard(root: Root, part: PartFile) -> None:
    part.discard()
    assert os.listdir(root.path) == []
    part.discard()


def test_close_waits_for_the_calls_under_way(root: Root) -> None:
    entered, closed = threading.Event(), threading.Event()
    wrote: list[int] = []

    def slow(fd: int, data: bytes | memoryview, offset: int) -> int:
        entered.set()
        assert closed.wait(10)
        wrote.append(os.pwrite(fd, data, offset))  # raises if the descriptor was closed
        return wrote[-1]

    part = PartFile.create(root, PART, MANIFEST, write=slow)
    fd = part._fd
    thread = threading.Thread(target=part.write, args=(0, b"abc"))
    thread.start()
    assert entered.wait(10)
    part.close()
    part.close()
    with pytest.raises(LocalProtocolError):
        part.sync()
    closed.set()
    thread.join(10)
    assert wrote == [3]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
