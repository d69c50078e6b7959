"""p2pd/peer/tap.py: verified pieces in order to one local client, at its pace, until it goes."""

from __future__ import annotations

import hashlib
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.peer import tap as tap_module
from p2pd.peer.streambuffer import StreamBuffer
from p2pd.peer.tap import Tap
from protocol.errors import Fault
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.reactors import DEADLINE
from tests.fakes.swarm import manifest_of, octets

DATA = octets(3 * MIB + 9)
MANIFEST = manifest_of(DATA)


class Bench:
    """A tap and what it told."""

    def __init__(self, directory: Path, check_sha256: bool = False) -> None:
        self.path = directory / "s-1.sock"
        self.told: list[tuple[int, int]] = []
        self.over = threading.Event()
        self.tap = Tap(
            self.path,
            lambda octets, reach: self.told.append((octets, reach)),
            self.over.set,
            check_sha256=check_sha256,
        )

    def begin(self, manifest: Manifest = MANIFEST, pieces: int = 4, data: bytes = DATA) -> StreamBuffer:
        buffer = StreamBuffer(manifest, 0)
        for piece in range(pieces):
            self.put(buffer, piece, data)
        self.tap.begin(manifest, buffer)
        return buffer

    def put(self, buffer: StreamBuffer, piece: int, data: bytes = DATA) -> None:
        buffer.write(piece * MIB, memoryview(data)[piece * MIB : (piece + 1) * MIB])
        buffer.ready(piece)

    def connect(self) -> socket.socket:
        conn = socket.socket(socket.AF_UNIX)
        conn.settimeout(DEADLINE)
        conn.connect(str(self.path))
        return conn

    def ended(self) -> None:
        assert self.tap.join(DEADLINE)
        assert self.over.is_set()
        assert not self.path.exists()


def exactly(conn: socket.socket, octets: int) -> bytes:
    """So many."""
    read = b""
    while len(read) < octets:
        data = conn.recv(octets - len(read))
        assert data, "it ended too early"
        read += data
    return read


def read(conn: socket.socket) -> bytes:
    """Everything until the end."""
    octets = bytearray()
    while data := conn.recv(MIB):
        octets += data
    return bytes(octets)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.tap.stop()
    bench.ended()


def test_the_whole_file_in_order(bench: Bench) -> None:
    bench.begin()
    with bench.connect() as conn:
        assert read(conn) == DATA
    bench.ended()
    assert bench.tap.complete
    assert bench.told == [(MIB, 4), (MIB, 4), (MIB, 4), (9, 4)]


def test_only_its_user_may_connect_and_only_once(bench: Bench) -> None:
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600
    buffer = bench.begin(pieces=1)
    with bench.connect() as conn:
        assert exactly(conn, MIB) == DATA[:MIB]
        assert not bench.path.exists()
        for piece in (1, 2, 3):
            bench.put(buffer, piece)
        assert read(conn) == DATA[MIB:]


def test_a_client_may_connect_before_there_is_anything(bench: Bench) -> None:
    with bench.connect() as conn:
        bench.begin()
        assert read(conn) == DATA


def test_a_file_of_nothing(bench: Bench) -> None:
    bench.begin(manifest_of(b""), pieces=0)
    with bench.connect() as conn:
        assert read(conn) == b""
    bench.ended()
    assert bench.tap.complete


def test_a_client_that_does_not_read_holds_it_up(bench: Bench) -> None:
    large = 40 * MIB
    manifest = Manifest(large, MIB, bytes(32), bytes(32 * 40))
    bench.begin(manifest, pieces=40, data=bytes(large))
    with bench.connect() as conn:
        assert conn.recv(1) == b"\0"
        # Less than one piece fits the socket: however long we wait, the window does not move far.
        assert not bench.over.wait(0.3)
        assert len(bench.told) < 4
        assert len(read(conn)) == large - 1


def test_a_client_that_leaves_while_nothing_comes(bench: Bench) -> None:
    bench.begin(pieces=1)
    with bench.connect() as conn:
        assert exactly(conn, MIB) == DATA[:MIB]
    bench.ended()
    assert not bench.tap.complete


def test_a_client_that_leaves_before_there_is_a_manifest(bench: Bench) -> None:
    bench.connect().close()
    bench.ended()
    assert not bench.tap.complete


def test_a_client_that_leaves_in_the_middle_of_a_piece(bench: Bench) -> None:
    bench.begin()
    conn = bench.connect()
    assert conn.recv(10)
    conn.close()
    bench.ended()
    assert not bench.tap.complete


def test_a_client_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(tap_module, "LOOK_SECONDS", 0.02)
    bench = Bench(tmp_path)
    bench.ended()
    assert not bench.tap.complete


def test_a_stop_ends_a_write_that_is_stuck(bench: Bench) -> None:
    bench.begin(Manifest(4 * MIB, MIB, bytes(32), bytes(32 * 4)), data=bytes(4 * MIB))
    with bench.connect() as conn:
        assert conn.recv(1) == b"\0"
        bench.tap.stop()
        bench.ended()
    assert not bench.tap.complete


def test_the_last_piece_waits_for_the_sha256_that_was_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, check_sha256=True)
    bench.begin()
    with bench.connect() as conn:
        assert hashlib.sha256(read(conn)).digest() == MANIFEST.sha256
    bench.ended()
    assert bench.tap.complete


def test_with_another_sha256_the_last_piece_is_held_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, check_sha256=True)
    bench.begin(manifest_of(DATA, bytes(32)))
    with bench.connect() as conn:
        assert read(conn) == DATA[: 3 * MIB]
    bench.ended()
    assert not bench.tap.complete
    assert bench.tap.fault is not None
    assert bench.tap.fault.code == "integrity"


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        Tap(tmp_path / "missing" / "s-1.sock", lambda octets, reach: None, lambda: None)
    assert caught.value.code == "storage"
