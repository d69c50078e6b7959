"""p2pd/peer/uploads.py: never an octet of a file that changed, and no more files open than allowed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pd.peer.catalogue import Served
from p2pd.peer.uploads import OPEN_FILES
from p2pd.storage.hashing import stamp_from
from protocol.errors import Refusal
from protocol.limits import MIB
from protocol.peer import (
    Block,
    GetBlock,
    Refused,
)
from tests.fakes.uploading import DATA, ID, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.uploads.close()


def test_a_written_file_is_refused_withdrawn_and_reported_once(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    with bench.path.open("r+b") as stream:
        stream.write(b"changed")
    os.utime(bench.path, ns=(1, 1))
    bench.ask(conn, GetBlock(2, ID, 0, 0, 5))
    bench.ask(conn, GetBlock(3, ID, 0, 0, 5))
    assert [message for message, _ in conn.sent[1:]] == [
        Refused(2, Refusal.CHANGED),
        Refused(3, Refusal.NOT_FOUND),
    ]
    assert len(bench.changed) == 1
    assert bench.catalogue.find(ID) is None


@pytest.mark.parametrize("how", ["gone", "shorter", "replaced", "folder", "link"])
def test_other_ways_to_change(bench: Bench, how: str) -> None:
    if how == "gone":
        bench.path.unlink()
    elif how == "shorter":
        os.truncate(bench.path, 10)
    elif how == "folder":
        bench.path.unlink()
        bench.path.mkdir()
    else:
        other = bench.path.with_name("other")
        other.write_bytes(DATA)
        if how == "link":
            bench.path.unlink()
            bench.path.symlink_to(other)
        else:
            other.replace(bench.path)
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 1, 0, 5))
    assert conn.sent == [(Refused(1, Refusal.CHANGED), b"")]
    assert len(bench.changed) == 1


def test_a_file_written_while_it_is_read_is_not_served(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def write_meanwhile(fd: int, buffers: Any, offset: int) -> int:
        count = real(fd, buffers, offset)
        os.utime(bench.path, ns=(1, 1))
        return count

    monkeypatch.setattr(os, "preadv", write_meanwhile)
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    assert conn.sent == [(Refused(1, Refusal.CHANGED), b"")]


def test_a_file_hashed_again_is_opened_again(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    bench.path.unlink()
    bench.path.write_bytes(b"other" + DATA[5:])
    bench.serve()
    bench.ask(conn, GetBlock(2, ID, 0, 0, 5))
    assert conn.sent[1] == (Block(2), b"other")
    assert not bench.changed


def test_a_forgotten_file_is_closed(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    bench.ask(bench.conn(), GetBlock(1, ID, 0, 0, 5))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    bench.uploads.forget(ID)
    bench.uploads.forget(ID)
    assert len(os.listdir("/proc/self/fd")) == before


def test_open_files_are_bounded(bench: Bench, tmp_path: Path) -> None:
    conn = bench.conn()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_FILES + 6):
        path = tmp_path / str(number)
        path.write_bytes(b"12345")
        content_id = number.to_bytes(32, "big")
        bench.catalogue.put(Served(content_id, number, str(path), stamp_from(os.stat(path)), 5, MIB, 1))
        bench.ask(conn, GetBlock(number, content_id, 0, 0, 5))
    assert len(os.listdir("/proc/self/fd")) == before + OPEN_FILES
    bench.ask(conn, GetBlock(99, bytes(32), 0, 0, 5))
    assert conn.sent[-1] == (Block(99), b"12345")
